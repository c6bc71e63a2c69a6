//! What one event of the log says about the collections of its account. Pure.

use relay_protocol::{
    Blocks, Commit, CommitMessage, EMPTY_TREE, Inversion, Message, invert_and_learn,
};

use crate::{
    collections::index::Doubt,
    domain::{EventKind, UpstreamStatus},
    eventlog::Event,
    ingest::{Course, course, is_deletion, is_move},
};

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// The account has records in exactly these.
    Exactly(Vec<String>),
    /// It has records in some and in some not, of others nothing is said.
    Partly {
        /// Those that have a record.
        present: Vec<String>,
        /// Those that have none any more.
        absent: Vec<String>,
        /// The others may have changed too, unseen by us.
        breaks: bool,
    },
    /// Anything may have changed.
    Unproven(Doubt),
    /// The account was deleted with all its records.
    Gone,
    /// Its host serves it, and we do.
    Active {
        /// It came to this host, and what the one before said last may not have been heard.
        moved: bool,
    },
    /// Its host does not, or we do not.
    Inactive,
    /// There is such an account.
    Named {
        /// As of [`Word::Active`].
        moved: bool,
    },
    /// Nothing that matters here.
    Nothing,
}

/// Reads an event. A frame that cannot be read, which this relay does not write, proves nothing.
pub(super) fn word(event: &Event) -> Word {
    if is_deletion(&event.note) {
        return Word::Gone;
    }
    if event.kind == EventKind::Identity {
        return Word::Named { moved: is_move(&event.note) };
    }
    let course = course(&event.note);
    match Message::decode(&event.frame) {
        Ok(Message::Commit(commit)) => {
            said_by_commit(&commit, course).unwrap_or(Word::Unproven(Doubt::Lenient))
        }
        Ok(Message::Sync(sync)) => match (data(sync.blocks), course) {
            (Some(EMPTY_TREE), _) => Word::Exactly(Vec::new()),
            (_, Course::SameData) => Word::Active { moved: false },
            (_, Course::Follows | Course::Breaks) => Word::Unproven(Doubt::Sync),
        },
        Ok(Message::Account(account)) => {
            match UpstreamStatus::from_wire(account.active, account.status) {
                UpstreamStatus::Deleted => Word::Gone,
                status if status.is_active() => Word::Active { moved: is_move(&event.note) },
                _ => Word::Inactive,
            }
        }
        Ok(Message::Identity(_) | Message::Info(..) | Message::Error(..) | Message::Ignored) => {
            Word::Nothing
        }
        Err(_unreadable) => Word::Unproven(Doubt::Lenient),
    }
}

/// `None` when the commit proves nothing.
fn said_by_commit(message: &CommitMessage<'_>, course: Course) -> Option<Word> {
    let blocks = Blocks::read(message.blocks).ok()?;
    let commit = Commit::decode(blocks.get(&blocks.root().0).ok()??).ok()?;
    let prev_data = message.prev_data.unwrap_or(EMPTY_TREE);
    let (Inversion::Ok, learned) =
        invert_and_learn(&commit.data, &prev_data, &message.ops, &blocks)
    else {
        return None;
    };
    let owned = |name: &str| name.to_owned();
    let present = learned.present().map(owned).collect();
    Some(if learned.is_whole() {
        Word::Exactly(present)
    } else {
        let absent = learned.absent().map(owned).collect();
        Word::Partly { present, absent, breaks: course == Course::Breaks }
    })
}

/// Root of the tree of the commit in these blocks.
fn data(car: &[u8]) -> Option<relay_protocol::DataCid> {
    let blocks = Blocks::read(car).ok()?;
    let commit = Commit::decode(blocks.get(&blocks.root().0).ok()??).ok()?;
    Some(commit.data)
}
