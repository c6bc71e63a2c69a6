//! Every task of the daemon hangs here, so that shutdown waits for it and a failure stops the rest.

use std::future::Future;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Starts tasks and knows when all have ended; cheap to clone.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    soft: CancellationToken,
    fatal: tokio::sync::watch::Sender<Option<String>>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            tracker: TaskTracker::new(),
            soft: CancellationToken::new(),
            fatal: tokio::sync::watch::Sender::new(None),
        }
    }
}

impl Tasks {
    /// Starts a task that ends by itself once [`Self::stopping`] is cancelled.
    pub fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// Cancelled when the daemon stops.
    pub fn stopping(&self) -> &CancellationToken {
        &self.soft
    }

    /// A child set whose own `stopping` can be cancelled earlier; shutdown waits for it too.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            tracker: self.tracker.clone(),
            soft: self.soft.child_token(),
            fatal: self.fatal.clone(),
        }
    }

    /// Reports a failure after which the process must not go on; the first one counts.
    pub fn fail(&self, why: impl Into<String>) {
        let why = why.into();
        self.fatal.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                *first = Some(why);
            }
            is_first
        });
        self.soft.cancel();
    }

    /// Why the process must stop, once [`Self::fail`] was called.
    pub fn failure(&self) -> Option<String> {
        self.fatal.borrow().clone()
    }

    /// Asks all tasks to stop and waits for them.
    pub async fn stop(&self) {
        self.soft.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
