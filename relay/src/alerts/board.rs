//! What is so now, for those who look instead of being told.

use std::sync::Arc;

use parking_lot::Mutex;

use super::finding::Kind;

/// Something that people should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertView {
    /// What it is about.
    pub kind: Kind,
    /// The host that it is about, if it is about one.
    pub host: Option<String>,
    /// One sentence.
    pub words: String,
    /// Since when, ms since 1970; of a silenced one that is not kept.
    pub since_ms: Option<u64>,
    /// An operator does not want to hear of it: nobody is told.
    pub silenced: bool,
}

/// The alerts of the last look; cheap to clone. At most one per host and kind.
#[derive(Debug, Clone, Default)]
pub struct Alerts {
    board: Arc<Mutex<Board>>,
}

#[derive(Debug, Clone, Default)]
struct Board {
    alerts: Vec<AlertView>,
    looked_ms: Option<u64>,
}

impl Alerts {
    /// What is so, those that are told first, and when it was looked, ms since 1970; `None` before the
    /// first look.
    pub fn now(&self) -> (Vec<AlertView>, Option<u64>) {
        let Board { alerts, looked_ms } = self.board.lock().clone();
        (alerts, looked_ms)
    }

    pub(super) fn set(&self, alerts: Vec<AlertView>, now_ms: u64) {
        *self.board.lock() = Board { alerts, looked_ms: Some(now_ms) };
    }
}
