//! A person's or a supervisor's wish to end, and who listens to it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

/// Told once, known to everyone from then on.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    told: Arc<AtomicBool>,
    woken: Arc<Notify>,
}

impl Stop {
    /// Tells it.
    pub fn tell(&self) {
        self.told.store(true, Ordering::SeqCst);
        self.woken.notify_waiters();
    }

    /// Whether it was told.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.told.load(Ordering::SeqCst)
    }

    /// Done when it is told.
    pub async fn wait(&self) {
        let woken = self.woken.notified();
        if !self.is_told() {
            woken.await;
        }
    }
}
