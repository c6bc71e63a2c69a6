//! The only place of the demo that prints.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a demo talks to a person")]

/// One line of what was asked for.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// One line about what is wrong.
pub(crate) fn error(text: &str) {
    eprintln!("{text}");
}
