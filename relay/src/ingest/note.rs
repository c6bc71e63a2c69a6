//! The note of a log record: what replay needs and the frame does not hold (I3).
//!
//! ```text
//! offset  size  meaning
//! 0       1     version, 1
//! 1       1     flags: 1 identity, 2 key, 4 host, 8 upstream status, 16 the repository does not
//!               follow what was known of it, 32 a #sync that leaves its data as it was, 64 the host
//!               with authority is another than the one that spoke last, or none spoke before
//! …       8     identity: when it was checked, ms since 1970, little endian
//! …       34    key, only with `identity`; without it the account has no usable key
//! …       4     host with authority, little endian, when it is not the record's host
//! …       1+n   upstream status: length and text, when the frame does not tell it
//! ```
//!
//! At most 177 bytes; most records have none. Our own decisions are not in it: the store holds them
//! before anything else knows of them.

use bytes::{BufMut, Bytes, BytesMut};

use crate::domain::{HostId, UpstreamStatus};

const VERSION: u8 = 1;
const IDENTITY: u8 = 1;
const KEY: u8 = 2;
const HOST: u8 = 4;
const UPSTREAM: u8 = 8;
const BREAKS: u8 = 16;
const SAME_DATA: u8 = 32;
const MOVED: u8 = 64;

/// What a note says; all `None` is written as no bytes at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Note {
    /// When the identity was checked, and the key found then.
    pub(super) identity: Option<(u64, Option<[u8; 34]>)>,
    /// The account's host, when it is not the one in the record's header.
    pub(super) host: Option<HostId>,
    /// The host's word, when the frame does not tell it.
    pub(super) upstream: Option<UpstreamStatus>,
    /// How the event's repository state follows the one before.
    pub(super) course: Course,
    /// The host with authority is another than the one that spoke last, or none spoke before.
    pub(super) moved: bool,
}

/// How the state of a repository follows the one that was known before the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Course {
    /// A commit builds on it. Also of all events that are not about a repository, and of those that
    /// were written before this was noted.
    #[default]
    Follows,
    /// A commit that does not build on it, or there was none.
    Breaks,
    /// A `#sync` whose data is the known one.
    SameData,
}

/// How an event of the log follows the state of its repository before it, from the record's note.
pub fn course(note: &[u8]) -> Course {
    Note::decode(note).unwrap_or_default().course
}

/// Whether the account has another host than the one whose event was the last before, or none was: what
/// that one said at the end may not have been heard.
pub fn is_move(note: &[u8]) -> bool {
    Note::decode(note).is_some_and(|note| note.moved)
}

/// Whether the note says that the host has deleted the account.
pub fn is_deletion(note: &[u8]) -> bool {
    Note::decode(note).is_some_and(|note| note.upstream == Some(UpstreamStatus::Deleted))
}

impl Note {
    /// The bytes for the log.
    pub(super) fn encode(&self) -> Bytes {
        if *self == Self::default() {
            return Bytes::new();
        }
        let mut out = BytesMut::with_capacity(64);
        out.put_u8(VERSION);
        let has_key = self.identity.is_some_and(|(_, key)| key.is_some());
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        out.put_u8(
            flag(self.identity.is_some(), IDENTITY)
                | flag(has_key, KEY)
                | flag(self.host.is_some(), HOST)
                | flag(self.upstream.is_some(), UPSTREAM)
                | flag(self.course == Course::Breaks, BREAKS)
                | flag(self.course == Course::SameData, SAME_DATA)
                | flag(self.moved, MOVED),
        );
        if let Some((checked_ms, key)) = self.identity {
            out.put_u64_le(checked_ms);
            out.extend_from_slice(key.as_ref().map_or(&[], |key| key.as_slice()));
        }
        if let Some(host) = self.host {
            out.put_u32_le(host.0);
        }
        if let Some(upstream) = &self.upstream {
            let text = upstream.as_text();
            // `UpstreamStatus` keeps at most 128 bytes.
            out.put_u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(text.as_bytes());
        }
        out.freeze()
    }

    /// Reads what [`Self::encode`] gave; `None` for anything else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut note = Self::default();
        let Some((&version, rest)) = bytes.split_first() else { return Some(note) };
        let (&flags, mut rest) = rest.split_first()?;
        if version != VERSION {
            return None;
        }
        note.course = match flags & (BREAKS | SAME_DATA) {
            BREAKS => Course::Breaks,
            SAME_DATA => Course::SameData,
            _ => Course::Follows,
        };
        note.moved = flags & MOVED != 0;
        if flags & IDENTITY != 0 {
            let (checked, after) = rest.split_first_chunk::<8>()?;
            rest = after;
            let mut key = None;
            if flags & KEY != 0 {
                let (bytes, after) = rest.split_first_chunk::<34>()?;
                rest = after;
                key = Some(*bytes);
            }
            note.identity = Some((u64::from_le_bytes(*checked), key));
        }
        if flags & HOST != 0 {
            let (host, after) = rest.split_first_chunk::<4>()?;
            rest = after;
            note.host = Some(HostId(u32::from_le_bytes(*host)));
        }
        if flags & UPSTREAM != 0 {
            let (&length, after) = rest.split_first()?;
            let (text, after) = after.split_at_checked(usize::from(length))?;
            rest = after;
            note.upstream = Some(UpstreamStatus::from_text(std::str::from_utf8(text).ok()?));
        }
        rest.is_empty().then_some(note)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn notes() -> impl Strategy<Value = Note> {
        let identity = (any::<u64>(), any::<Option<[u8; 32]>>()).prop_map(|(checked, key)| {
            (
                checked,
                key.map(|key| {
                    let mut bytes = [2; 34];
                    bytes[2..].copy_from_slice(&key);
                    bytes
                }),
            )
        });
        let upstream = "\\PC{0,32}".prop_map(|text| UpstreamStatus::from_wire(false, Some(&text)));
        (
            prop::option::of(identity),
            prop::option::of(any::<u32>().prop_map(HostId)),
            prop::option::of(upstream),
            prop::sample::select(vec![Course::Follows, Course::Breaks, Course::SameData]),
            any::<bool>(),
        )
            .prop_map(|(identity, host, upstream, course, moved)| Note {
                identity,
                host,
                upstream,
                course,
                moved,
            })
    }

    proptest! {
        /// I3: a note survives the log, and fits into it (at most 255 bytes).
        #[test]
        fn a_note_reads_as_it_was_written(note in notes()) {
            let bytes = note.encode();
            prop_assert!(bytes.len() <= 255);
            prop_assert_eq!(Note::decode(&bytes), Some(note));
        }

        /// Damaged notes are refused or read as another note, never a panic.
        #[test]
        fn a_cut_note_is_refused(note in notes(), cut in 1_usize..200) {
            let bytes = note.encode();
            if cut < bytes.len() {
                prop_assert_eq!(Note::decode(&bytes[..cut]), None);
            }
        }
    }

    /// What readers of the log are told of the course of a repository.
    #[test]
    fn the_course_a_move_and_a_deletion_are_read_from_a_note() {
        for course in [Course::Follows, Course::Breaks, Course::SameData] {
            let deleted = Note {
                upstream: Some(UpstreamStatus::Deleted),
                host: Some(HostId(7)),
                course,
                ..Note::default()
            };
            assert_eq!(super::course(&deleted.encode()), course);
            assert!(is_deletion(&deleted.encode()) && !is_move(&deleted.encode()));
            assert!(is_move(&Note { moved: true, course, ..Note::default() }.encode()));
            let note = Note { course, ..Note::default() }.encode();
            assert_eq!((super::course(&note), is_deletion(&note)), (course, false));
            assert_eq!(note.is_empty(), course == Course::Follows, "most records have no note");
        }
    }

    /// A later version is not guessed at.
    #[test]
    fn another_version_is_refused() {
        assert_eq!(Note::decode(&[2, 0]), None);
        assert_eq!(Note::decode(&[1, 0]), Some(Note::default()));
        assert_eq!(Note::decode(&[]), Some(Note::default()));
    }
}
