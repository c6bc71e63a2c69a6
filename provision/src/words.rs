//! Numbers and paragraphs for people. Pure.

/// Decimal units, as makers of disks and sellers of traffic count.
const DECIMAL: [(&str, u64); 4] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];

/// A size in decimal units with three digits at most: `1.92 TB`, `633 GB`.
pub fn bytes(size: u64) -> String {
    let Some((suffix, unit)) = DECIMAL.iter().find(|(_, unit)| size >= *unit) else {
        return format!("{size} B");
    };
    let (whole, rest) = (size / unit, size % unit);
    match whole {
        0..=9 if rest * 100 / unit > 0 => {
            let digits = format!("{:02}", rest * 100 / unit);
            format!("{whole}.{} {suffix}", digits.trim_end_matches('0'))
        }
        10..=99 if rest * 10 / unit > 0 => format!("{whole}.{} {suffix}", rest * 10 / unit),
        _ => format!("{whole} {suffix}"),
    }
}

/// A number with commas: `1,048,576`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 core`, `2 cores`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// The lines of a paragraph, none longer than `width` characters unless a word is.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// People compare these with what a provider's page says.
    #[test]
    fn sizes_have_three_digits_at_most() {
        for (size, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_920_000_000_000, "1.92 TB"),
            (2_000_000_000_000, "2 TB"),
            (9_720_000_000_000, "9.72 TB"),
            (633_400_000_000, "633 GB"),
            (17_250_000_000, "17.2 GB"),
            (1_001_000, "1 MB"),
            (1_050_000, "1.05 MB"),
        ] {
            assert_eq!(bytes(size), text);
        }
    }

    #[test]
    fn numbers_have_a_comma_before_each_three_digits() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_048_576, "1,048,576")] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn paragraphs_are_broken_between_words_only() {
        assert_eq!(wrapped("one two  three", 8), ["one two", "three"]);
        assert_eq!(wrapped("a-very-long-word b", 4), ["a-very-long-word", "b"]);
        assert_eq!(wrapped("", 4), [""]);
    }
}
