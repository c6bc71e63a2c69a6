//! The only place that prints.
#![expect(clippy::print_stdout, reason = "a command-line program answers on stdout")]

use std::io::Write;

/// Prints one line and hands it over at once, so that a log shows where a run is.
pub(crate) fn line(text: &str) {
    println!("{text}");
    // A closed pipe is the reader's choice; the exit code still tells the outcome.
    if std::io::stdout().flush().is_err() {}
}
