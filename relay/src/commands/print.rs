//! The only place of the program that prints.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program answers on stdout and fails on stderr"
)]

use std::process::ExitCode;

use crate::config::Stop;

/// One line of an answer.
pub(super) fn line(text: &str) {
    println!("{text}");
}

/// One line for the person, not for a pipe.
pub(super) fn error(text: &str) {
    eprintln!("{text}");
}

/// A failure in one sentence.
pub(super) fn failed(why: &str) -> ExitCode {
    eprintln!("relay: {why}");
    ExitCode::FAILURE
}

/// What ended the program before it began: help, version, or a wrong setting.
pub(super) fn stopped(stop: &Stop) -> ExitCode {
    match stop {
        Stop::Answer(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Stop::Usage(text) => {
            eprint!("{text}");
            ExitCode::from(2)
        }
        Stop::Setting(why) => failed(&why.to_string()),
    }
}
