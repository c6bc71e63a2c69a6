//! The only place that prints.
#![expect(clippy::print_stdout, reason = "a command-line program answers on stdout")]

use std::io::Write;

/// Prints one line and hands it over at once, so that a log shows where a run is.
pub(crate) fn line(text: &str) {
    println!("{text}");
    // A closed pipe is the reader's choice; the exit code still tells the outcome.
    if std::io::stdout().flush().is_err() {}
}

/// Hands a result over at once; `false` when nobody reads any more.
#[cfg(feature = "operate")]
pub(crate) fn result(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

/// Tells a person what is going on or went wrong, beside the results.
pub(crate) fn note(text: &str) {
    // Whoever closes stderr wants the results alone.
    if writeln!(std::io::stderr().lock(), "{text}").is_err() {}
}
