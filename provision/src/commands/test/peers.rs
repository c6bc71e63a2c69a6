//! The downloads of the reference peers, beside compiling.

use std::{thread::ScopedJoinHandle, time::Instant};

use anyhow::{Result, anyhow};

use super::{Outcome, Workplace, deploy, now, seconds};
use crate::out;

/// Fetches both, unless a finished copy is there, and then what the stage `deploy` needs. Runs beside
/// compiling.
pub(crate) fn download(work: &Workplace, deploys: bool) -> (Result<()>, u64) {
    let began = now();
    let both = work.peers.npm(&work.root).and_then(|()| work.peers.python(&work.root));
    // What fails of it is tried again by the stage itself, which says so.
    if deploys && let Err(error) = deploy::prepare(work) {
        out::line(&format!("the blank host is not prepared yet: {error:#}"));
    }
    (both, seconds(began))
}

/// Waits for [`download`] and turns it into a line of the report.
pub(crate) fn joined(
    work: &Workplace,
    thread: ScopedJoinHandle<'_, (Result<()>, u64)>,
) -> Result<(&'static str, Outcome, u64)> {
    let waited: Instant = now();
    let (outcome, took) = thread.join().map_err(|_panic| anyhow!("the download thread failed"))?;
    out::line(&format!(
        "== downloads: took {took} s beside compiling, waited {} s",
        seconds(waited)
    ));
    Ok(match outcome {
        Ok(()) => ("downloads", Outcome::Passed, took),
        Err(error) => {
            out::line(&format!("{error:#}"));
            ("downloads", work.without(), took)
        }
    })
}
