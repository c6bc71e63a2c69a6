//! What the service manager is told: that the relay serves, that it is alive, that it stops.
//!
//! Without one nothing happens. systemd says by `NOTIFY_SOCKET` and `WATCHDOG_USEC` that it listens
//! (`Type=notify`, `WatchdogSec=`).

use std::{future, time::Duration};

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

/// Signs of life in the time that the service manager allows: one may be lost, one may be late.
const BEATS: u32 = 3;

/// Says that the listeners answer.
pub(super) fn ready() {
    tell(&NotifyState::Ready);
}

/// Says that a stop has begun, which may take a while.
pub(super) fn stopping() {
    tell(&NotifyState::Stopping);
}

/// Gives signs of life for as long as it is polled, and never ends.
///
/// It runs on the thread of `main` beside the wait for signals: a runtime that does not get there
/// would not hear a signal either, and is ended by the service manager.
pub(super) async fn alive() {
    let Some(within) = sd_notify::watchdog_enabled().filter(|within| !within.is_zero()) else {
        return future::pending().await;
    };
    let mut beats = tokio::time::interval(beat(within));
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        tell(&NotifyState::Watchdog);
    }
}

/// Time between two signs of life.
fn beat(within: Duration) -> Duration {
    (within / BEATS).max(Duration::from_millis(1))
}

fn tell(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
