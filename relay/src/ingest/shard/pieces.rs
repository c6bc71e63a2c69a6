//! What a checkpoint asks of all rows of a shard, done in pieces so that no event waits long for it.

use tokio::sync::oneshot;

use super::{Shard, reply};
use crate::ingest::commands::Copied;

/// Rows that are copied, or marked as written, between two batches of events: less than 1 ms of work.
pub(super) const PIECE: usize = 1_000;

/// What a checkpoint wants of the rows, done in pieces between batches of events.
#[derive(Debug)]
pub(super) enum Piecework {
    /// Copies of all unwritten rows.
    Copy(oneshot::Sender<Copied>),
    /// The mark that they are written.
    Settle(oneshot::Sender<()>),
}

impl Shard {
    /// Goes on with what the checkpoint wants.
    pub(super) fn work_a_piece(&mut self, rows_max: usize) {
        self.piecework = match self.piecework.take() {
            None => None,
            Some(Piecework::Copy(answer)) => match self.table.copy_some(rows_max) {
                None => Some(Piecework::Copy(answer)),
                Some(copied) => {
                    reply(answer, copied);
                    None
                }
            },
            Some(Piecework::Settle(answer)) if !self.table.settle_some(rows_max) => {
                Some(Piecework::Settle(answer))
            }
            Some(Piecework::Settle(answer)) => {
                reply(answer, ());
                None
            }
        };
    }
}
