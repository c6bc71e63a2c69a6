//! Verbs that wait for networks.

use anyhow::{Context as _, Result};
use provision::told::Told;

use crate::out;

/// Runs a verb to its end.
pub(crate) fn on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().context("start the runtime")?.block_on(work)
}

/// Done when a person types Ctrl-C, or a supervisor asks the program to end.
pub(crate) async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => {
            if interrupted.is_err() {
                std::future::pending::<()>().await;
            }
        }
        _ = terminated.recv() => {}
    }
}

/// Results to stdout, notes to stderr.
pub(crate) fn tell(told: Told) -> bool {
    match told {
        Told::Result(line) => out::result(&line),
        Told::Note(line) => {
            out::note(&line);
            true
        }
    }
}
