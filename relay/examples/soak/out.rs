//! The only place of the soak that prints.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a soak talks to a person")]

/// One line of what was asked for.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// One line about what is wrong.
pub(crate) fn error(text: &str) {
    eprintln!("{text}");
}
