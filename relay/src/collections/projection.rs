//! The event log as the index of collections sees it: a reader of the log, as a consumer is, whose
//! place is kept in the index itself.
//!
//! ```text
//!  eventlog ─events─► word: what each says ─► sheet: what changes ─Batch, position─► index
//! ```
//!
//! Nothing waits for it: the shards do not know it, and it takes the log from where it is, after a
//! crash too. What the stream proves is exact; what it cannot show makes the account unsure, and
//! `backfill` asks its host. Where the log does not reach back to the place, the accounts that may have
//! changed meanwhile become unsure.
//!
//! Bounds (I5): 4 MiB of frames at once and the index' rows of their accounts.

mod sheet;
mod word;

use std::{collections::BTreeMap, time::Duration};

use metrics::{counter, gauge};
use tokio_util::sync::CancellationToken;

use self::{sheet::Sheet, word::word};
use super::index::{Batch, Change, Doubt, Index, IndexError, Whole};
use crate::{
    clock::Clock,
    domain::{Account, AccountNo, Seq, UpstreamStatus, effective},
    eventlog::{Event, Position, ReadError, Reader},
    store::{Store, StoreError},
    tasks::Tasks,
    telemetry::metrics as names,
};

/// Frames that are read at once.
const BATCH_BYTES: usize = 4 << 20;
/// Events wait this long for others that share the sync of the index with them.
const GATHER: Duration = Duration::from_millis(250);
/// With so many events waiting nobody waits for more.
const EVENTS_MANY: u64 = 1_000;
/// Time to the next try after something that may pass: a full disk, a file that could not be read.
const RETRY: Duration = Duration::from_secs(5);
/// Accounts of the store that are looked at together.
const ROWS: u32 = 2_000;
/// How often it is looked which checkpoint is the last.
const LOOK_EVERY_MS: u64 = 60_000;
/// Position of a checkpoint whose rows hold nothing that the index does not: the index has come to where
/// the log ended when that checkpoint had been written.
const CHECKPOINT_KEY: &[u8] = b"projection/checkpoint";
/// Id of the event log and database that the index is made from.
pub(super) const HISTORY_KEY: &[u8] = b"projection/history";

/// What it reads and fills.
#[derive(Debug, Clone)]
pub struct Projection {
    /// Filled.
    pub index: Index,
    /// Read.
    pub reader: Reader,
    /// Knows the accounts that were there before the index was.
    pub store: Store,
    /// For the age of the newest event.
    pub clock: Clock,
}

/// Why it does not go on now.
#[derive(Debug)]
enum Trouble {
    /// May pass.
    Passing(String),
    /// Will not: the index takes nothing any more.
    Lasting(String),
}

impl From<IndexError> for Trouble {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Full(why) | IndexError::Limit(why) => Self::Passing(why),
            IndexError::Failed(why) | IndexError::Damaged(why) => Self::Lasting(why),
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Passing(error.to_string())
    }
}

/// Where the log is read.
struct Place {
    log: Position,
    /// The last checkpoint and where the log ended after it, until the index has come there.
    ahead: Option<(Seq, Seq)>,
    /// When that was looked for last, by the steady clock.
    looked_ms: Option<u64>,
}

impl Place {
    fn new(log: Position) -> Self {
        Self { log, ahead: None, looked_ms: None }
    }
}

impl Projection {
    /// Follows the log until the tasks stop. A batch that is being applied is finished.
    pub async fn run(self, tasks: Tasks) {
        let stopping = tasks.stopping().clone();
        let mut was_well = true;
        while !stopping.is_cancelled() {
            let trouble = match self.follow(&stopping).await {
                Ok(()) => return,
                Err(trouble) => trouble,
            };
            match trouble {
                Trouble::Lasting(why) => {
                    tracing::error!(
                        %why,
                        "the index of collections is not kept up any more, the relay goes on without; \
                         restart it, and if this comes again, remove the directory of the index: it is \
                         then filled anew"
                    );
                    self.index.stop(&why);
                    return;
                }
                Trouble::Passing(why) if was_well => {
                    tracing::warn!(%why, "the index of collections falls behind, will be tried again");
                }
                Trouble::Passing(_same) => {}
            }
            was_well = false;
            stopping.run_until_cancelled(tokio::time::sleep(RETRY)).await;
        }
    }

    /// Returns when it shall stop.
    async fn follow(&self, stopping: &CancellationToken) -> Result<(), Trouble> {
        let Some(mut place) = self.begin(stopping).await? else { return Ok(()) };
        loop {
            let read = tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                read = self.gather(&mut place.log) => read,
            };
            match read {
                Ok(events) => self.take(events, &mut place).await?,
                Err(ReadError::Io(why)) => return Err(Trouble::Passing(why)),
                Err(ReadError::Overtaken) => match self.leap(&place, stopping).await? {
                    Some(leapt) => place = leapt,
                    None => return Ok(()),
                },
            }
        }
    }

    /// The place after what the index holds. A new index holds nothing of the accounts that there are:
    /// all of them have older records, and it begins at the head.
    async fn begin(&self, stopping: &CancellationToken) -> Result<Option<Place>, Trouble> {
        if let Some(position) = self.index.position() {
            return Ok(Some(Place::new(self.reader.after(position))));
        }
        let head = self.reader.window().head;
        let new = |whole, account: &Account| {
            let is_unknown =
                whole == Whole::Unmarked && account.upstream != UpstreamStatus::Deleted;
            is_unknown.then_some(Whole::Unsure(Doubt::OlderRecords))
        };
        let marked = self.mark(new, stopping);
        let Some(marked) = marked.await? else { return Ok(None) };
        let history = self.store.instance_id().await?;
        let progress = vec![(HISTORY_KEY.to_vec(), Some(history.into_bytes()))];
        self.apply(Batch { progress, ..Batch::default() }).await?;
        self.apply(Batch { position: Some(head), ..Batch::default() }).await?;
        if marked > 0 {
            tracing::info!(
                accounts = marked,
                "the index of collections is new: the hosts of all accounts will be asked"
            );
        }
        Ok(Some(Place::new(self.reader.after(head))))
    }

    /// Goes on where the log begins now. Of what was between, the rows of the accounts tell whom it
    /// concerned: a checkpoint is never older than what the log forgets. An event that the index missed
    /// came after the checkpoint of the note, so that a later one wrote the row of its account.
    async fn leap(
        &self,
        place: &Place,
        stopping: &CancellationToken,
    ) -> Result<Option<Place>, Trouble> {
        let from = place.log.seq();
        let to = Seq(self.reader.window().oldest.0.saturating_sub(1)).max(from);
        let note = self.index.progress(CHECKPOINT_KEY);
        // Without a note anybody may have written.
        let since = note.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
        let missed = |whole, account: &Account| lost(whole, account, Seq(since));
        let marked = self.mark(missed, stopping);
        let Some(marked) = marked.await? else { return Ok(None) };
        tracing::warn!(
            after = from.0,
            up_to = to.0,
            accounts = marked,
            "the event log does not reach back to the index of collections: the hosts of all \
             accounts that may have written meanwhile will be asked"
        );
        counter!(names::COLLECTIONS_GAPS).increment(1);
        self.apply(Batch { position: Some(to), ..Batch::default() }).await?;
        Ok(Some(Place::new(self.reader.after(to))))
    }

    /// Marks the accounts of the store as `choose` says of what is known of each; gives how many, `None`
    /// when it shall stop. Done anew after a crash, since the position has not moved.
    async fn mark(
        &self,
        choose: impl Fn(Whole, &Account) -> Option<Whole>,
        stopping: &CancellationToken,
    ) -> Result<Option<u64>, Trouble> {
        let (mut after, mut marked) = (AccountNo(0), 0_u64);
        loop {
            if stopping.is_cancelled() {
                return Ok(None);
            }
            let rows = self.store.accounts_after(after, ROWS).await?;
            let Some(last) = rows.last() else { return Ok(Some(marked)) };
            after = last.number;
            let mut changes = Vec::new();
            for row in &rows {
                let (whole, _) = self.index.of_account(row.number)?;
                if let Some(whole) = choose(whole, row) {
                    changes.push(Change::Mark { account: row.number, whole });
                }
            }
            marked = marked.saturating_add(u64::try_from(changes.len()).unwrap_or(u64::MAX));
            if !changes.is_empty() {
                self.apply(Batch { changes, ..Batch::default() }).await?;
            }
        }
    }

    /// The next events. Cancel safe.
    async fn gather(&self, place: &mut Position) -> Result<Vec<Event>, ReadError> {
        place.ready().await;
        if self.reader.window().head.0.saturating_sub(place.seq().0) < EVENTS_MANY {
            tokio::time::sleep(GATHER).await;
        }
        place.read(BATCH_BYTES).await
    }

    /// Brings events into the index.
    async fn take(&self, events: Vec<Event>, place: &mut Place) -> Result<(), Trouble> {
        let Some(last) = events.last() else { return Ok(()) };
        let (seq, time_us) = (last.seq, last.time_us);
        let index = self.index.clone();
        // Inversion and reads of files: not on a worker of the runtime.
        let begun = tokio::time::Instant::now();
        let read = tokio::task::spawn_blocking(move || read(&index, &events)).await;
        let changes = read.map_err(|error| Trouble::Passing(error.to_string()))??;
        let progress = self.reached(seq, place).await?;
        self.apply(Batch { position: Some(seq), changes, progress }).await?;
        let left = self.reader.window().head.0.saturating_sub(seq.0);
        self.show(left, time_us);
        if left >= EVENTS_MANY {
            // Catching up takes half of a core at most: the shards have the rest.
            tokio::time::sleep(begun.elapsed()).await;
        }
        Ok(())
    }

    /// The note on the last checkpoint, when the index comes to where the log ended after it.
    async fn reached(
        &self,
        seq: Seq,
        place: &mut Place,
    ) -> Result<Vec<(Vec<u8>, Option<Vec<u8>>)>, Trouble> {
        let now_ms = self.clock.steady_ms();
        let is_due =
            place.looked_ms.is_none_or(|then| now_ms.saturating_sub(then) >= LOOK_EVERY_MS);
        if place.ahead.is_none() && is_due {
            place.looked_ms = Some(now_ms);
            // In this order: its rows hold nothing that the log does not at its end then.
            let checkpoint = self.store.last_checkpoint().await?;
            place.ahead = checkpoint.map(|checkpoint| (checkpoint, self.reader.window().head));
        }
        let reached = place.ahead.take_if(|(_, head)| *head <= seq);
        let note = |(checkpoint, _): (Seq, Seq)| {
            (CHECKPOINT_KEY.to_vec(), Some(checkpoint.0.to_be_bytes().to_vec()))
        };
        Ok(reached.map(note).into_iter().collect())
    }

    async fn apply(&self, batch: Batch) -> Result<(), Trouble> {
        let index = self.index.clone();
        let applied = tokio::task::spawn_blocking(move || index.apply(&batch)).await;
        Ok(applied.map_err(|error| Trouble::Passing(error.to_string()))??)
    }

    #[expect(clippy::cast_precision_loss, reason = "levels for people")]
    fn show(&self, left: u64, time_us: u64) {
        let age_us = if left == 0 { 0 } else { self.clock.now_us().saturating_sub(time_us) };
        gauge!(names::COLLECTIONS_LAG_EVENTS).set(left as f64);
        gauge!(names::COLLECTIONS_LAG_SECONDS).set(age_us as f64 / 1e6);
    }
}

/// What is to be thought of an account after events of the log were missed.
///
/// * `since` – a row that no later checkpoint has written holds no event that was missed
fn lost(whole: Whole, account: &Account, since: Seq) -> Option<Whole> {
    if account.upstream == UpstreamStatus::Deleted {
        return (whole != Whole::Gone).then_some(Whole::Gone);
    }
    // The very checkpoint too: the next may have stood at the same place.
    let wrote = account.last_seq >= since;
    let inactive = Whole::Unsure(Doubt::Inactive);
    if !effective(&account.upstream, account.local).active {
        return (whole != inactive).then_some(inactive);
    }
    match whole {
        Whole::Unsure(Doubt::Inactive) => Some(Whole::Unsure(Doubt::LogLost)),
        Whole::Unsure(_) => None,
        Whole::Complete if !wrote => None,
        Whole::Complete | Whole::Gone | Whole::Unmarked => Some(Whole::Unsure(Doubt::LogLost)),
    }
}

/// What the events change.
fn read(index: &Index, events: &[Event]) -> Result<Vec<Change>, IndexError> {
    let mut sheet = Sheet::new(index);
    for event in events {
        sheet.take(event.account, word(event))?;
    }
    if sheet.refused > 0 {
        counter!(names::COLLECTIONS_REFUSED).increment(sheet.refused);
    }
    let (changes, doubts): (_, BTreeMap<_, _>) = sheet.finish();
    for (doubt, accounts) in doubts {
        counter!(names::COLLECTIONS_DOUBTS, "reason" => doubt).increment(accounts);
    }
    Ok(changes)
}

#[cfg(test)]
mod tests;
