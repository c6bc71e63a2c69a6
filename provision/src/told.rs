//! What a verb tells while it runs.

/// One line for the person or program that started a verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A result; goes to stdout.
    Result(String),
    /// What it is doing, or what goes wrong meanwhile; goes to stderr.
    Note(String),
    /// What it is doing now, for as long as nothing else is told.
    Doing(String),
    /// How far it is with something long; a bar on a terminal, a line now and then elsewhere.
    Progress {
        /// What it is doing.
        what: String,
        /// How much of it is done.
        done: u64,
        /// How much there is, in the same unit.
        total: u64,
        /// What is counted.
        unit: Unit,
    },
}

/// What is counted while something long is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of a file.
    Bytes,
    /// Seconds of a measurement.
    Seconds,
    /// Hosts, accounts and the like.
    Things,
}

/// Takes the lines. `false` means that nobody reads results any more, and that the verb is to end.
pub type Tell<'a> = dyn FnMut(Told) -> bool + Send + 'a;

/// Text from outside with everything that could steer a terminal made visible, and cut to a length.
///
/// * `chars_max` – characters that are shown; more become `…`
#[must_use]
pub fn harmless(text: &str, chars_max: usize) -> String {
    let mut shown: String = text.chars().take(chars_max).flat_map(visible).collect();
    if text.chars().nth(chars_max).is_some() {
        shown.push('…');
    }
    shown
}

/// The character, or its escape when it is a control, a mark of direction or no character at all.
fn visible(character: char) -> impl Iterator<Item = char> {
    let is_odd = character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let escaped = is_odd.then(|| character.escape_unicode());
    let plain = (!is_odd).then_some(character);
    escaped.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A handle cannot clear the screen of who looks at it, or turn its text around.
    #[test]
    fn what_steers_a_terminal_is_made_visible() {
        assert_eq!(harmless("alice.test", 80), "alice.test");
        assert_eq!(harmless("a\u{1b}[2Jb\u{202e}", 80), "a\\u{1b}[2Jb\\u{202e}");
        assert_eq!(harmless("äöüß", 2), "äö…");
    }
}
