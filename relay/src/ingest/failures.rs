//! Frames on which this relay itself failed, kept for its developers (I6).

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::domain::{EventKind, HostId, HostSeq};

/// A frame has at most 5,000,000 bytes, so this is at most 40 MB, and only when we have a bug.
const KEPT_MAX: usize = 8;

/// A frame on which judging panicked.
#[derive(Debug, Clone)]
pub struct Failure {
    /// When, in ms since 1970.
    pub at_ms: u64,
    /// Host that sent it.
    pub host: HostId,
    /// Its number there.
    pub host_seq: HostSeq,
    /// Kind.
    pub kind: EventKind,
    /// The whole frame.
    pub frame: Bytes,
    /// What the panic said.
    pub message: String,
}

/// The last few of them.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<VecDeque<Failure>>);

impl Failures {
    pub(super) fn keep(&self, failure: Failure) {
        let mut kept = self.0.lock();
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(failure);
    }

    /// Oldest first.
    pub(super) fn all(&self) -> Vec<Failure> {
        self.0.lock().iter().cloned().collect()
    }
}
