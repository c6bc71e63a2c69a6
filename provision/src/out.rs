//! The only place that prints: results on stdout, progress on stderr.
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

/// Wrong usage: exit code 2.
#[cfg(feature = "operate")]
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

#[cfg(feature = "operate")]
impl std::fmt::Display for Usage {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(feature = "operate")]
impl std::error::Error for Usage {}

/// Prints lines that end as they should already.
#[cfg(feature = "operate")]
pub(crate) fn text(text: &str) {
    line(text.trim_end_matches('\n'));
}

/// Prints a value as JSON.
#[cfg(feature = "operate")]
pub(crate) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// What happened to a file, in a word or two.
#[cfg(feature = "operate")]
pub(crate) fn did(change: provision::files::Change, dry_run: bool) -> &'static str {
    use provision::files::Change;
    match (change, dry_run) {
        (Change::Made, false) => "made",
        (Change::Made, true) => "would make",
        (Change::Changed, false) => "changed",
        (Change::Changed, true) => "would change",
        (Change::Unchanged, _) => "unchanged",
    }
}
