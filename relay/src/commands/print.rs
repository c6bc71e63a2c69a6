//! The only place of the program that prints.

use std::{
    io::{self, ErrorKind, Write as _},
    process::ExitCode,
};

use crate::config::{Config, Stop};

/// Why a command ended early.
#[derive(Debug)]
pub(super) enum Ended {
    /// Nobody reads the answer any more, as in `relay config | head -1`: no failure.
    Unread,
    /// A failure in one sentence.
    Failed(String),
}

impl From<String> for Ended {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// One line of an answer.
pub(super) fn line(text: &str) -> Result<(), Ended> {
    text_out(&format!("{text}\n"))
}

fn text_out(text: &str) -> Result<(), Ended> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Ended::Unread,
        _ => Ended::Failed(format!("the answer could not be written: {error}")),
    })
}

/// For the person, not for a pipe. A terminal that has gone away takes no complaint about it either.
fn text_err(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

/// How far something is, for the person who waits.
pub(super) fn note(text: &str) {
    text_err(&format!("{text}\n"));
}

/// The names among the settings that have no effect.
pub(super) fn warnings(config: &Config) {
    for warning in config.warnings() {
        text_err(&format!("warning: {warning}\n"));
    }
}

/// The exit code of a command.
pub(super) fn ended(outcome: Result<(), Ended>) -> ExitCode {
    match outcome {
        Ok(()) | Err(Ended::Unread) => ExitCode::SUCCESS,
        Err(Ended::Failed(why)) => failed(&why),
    }
}

/// A failure in one sentence; several are one line each.
pub(super) fn failed(why: &str) -> ExitCode {
    for line in why.lines() {
        text_err(&format!("relay: {line}\n"));
    }
    ExitCode::FAILURE
}

/// What ended the program before it began: help, version, or a wrong setting.
pub(super) fn stopped(stop: &Stop) -> ExitCode {
    match stop {
        Stop::Answer(text) => ended(text_out(text)),
        Stop::Usage(text) => {
            text_err(text);
            ExitCode::from(2)
        }
        Stop::Setting(why) => failed(&why.to_string()),
    }
}
