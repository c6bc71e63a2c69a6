//! Text from strangers, made fit for logs, the API and a person's eyes (SEC-10). Pure.

use std::time::Duration;

/// Longest wait that a peer may ask for with `Retry-After`.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// Part of an answer's body that is looked at to find words in it.
const BODY_BYTES_READ: usize = 4096;

/// At most `chars_max` characters of `text`, control and invisible ones escaped.
pub fn printable(text: &str, chars_max: usize) -> String {
    let mut out = String::new();
    let mut left = chars_max;
    for c in text.chars() {
        if left == 0 {
            out.push('…');
            break;
        }
        left -= 1;
        match c {
            '"' | '\'' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

/// What the body of an error says, as one short line: the fields of an XRPC error, the text of an
/// HTML page, or the text itself.
pub(super) fn body_in_words(body: &[u8], chars_max: usize) -> String {
    let body = body.get(..BODY_BYTES_READ).unwrap_or(body);
    if let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(body) {
        let field = |name| fields.get(name).and_then(serde_json::Value::as_str);
        match (field("error"), field("message")) {
            (Some(error), Some(message)) => {
                return printable(&format!("{error}: {message}"), chars_max);
            }
            (Some(only), None) | (None, Some(only)) => return printable(only, chars_max),
            (None, None) => {}
        }
    }
    let text = String::from_utf8_lossy(body);
    let text = if text.trim_start().starts_with('<') { without_tags(&text) } else { text.into() };
    let words: Vec<&str> = text.split_whitespace().collect();
    printable(&words.join(" "), chars_max)
}

/// The text between the tags of a page.
fn without_tags(page: &str) -> String {
    let mut out = String::new();
    let mut in_tag = false;
    for c in page.chars() {
        match c {
            '<' => {
                in_tag = true;
                out.push(' ');
            }
            '>' => in_tag = false,
            _ if !in_tag => out.push(c),
            _ => {}
        }
    }
    out
}

/// `Retry-After` in its seconds form, at most an hour. The date form is rare and taken as absent.
pub(super) fn retry_after(value: Option<&str>) -> Option<Duration> {
    let seconds: u64 = value?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-10: nothing from outside reaches a terminal or a log line raw.
    #[test]
    fn hostile_text_is_escaped_and_cut() {
        let rows = [
            ("plain \"text\"", 40, "plain \"text\""),
            ("two\nlines\u{1b}[31m", 40, "two\\nlines\\u{1b}[31m"),
            ("turned\u{202e}around", 40, "turned\\u{202e}around"),
            ("äöü", 3, "äöü"),
            ("äöü+", 3, "äöü…"),
            ("", 0, ""),
        ];
        for (text, chars_max, expected) in rows {
            assert_eq!(printable(text, chars_max), expected);
        }
    }

    /// UP-10, T20: an error page becomes a line that a person can read.
    #[test]
    fn bodies_of_errors_become_readable_words() {
        let page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body>";
        let rows: [(&[u8], &str); 6] = [
            (page.as_bytes(), "502 Bad Gateway nginx"),
            (br#"{"error":"TooMany","message":"slow down"}"#, "TooMany: slow down"),
            (br#"{"message":"only this"}"#, "only this"),
            (br#"{"other":1}"#, r#"{"other":1}"#),
            (b"just\n  text \xff", "just text \u{fffd}"),
            (b"", ""),
        ];
        for (body, expected) in rows {
            assert_eq!(body_in_words(body, 200), expected);
        }
        assert_eq!(body_in_words(&vec![b'x'; 100_000], 200).chars().count(), 201);
    }

    /// UP-10: `Retry-After` is honoured within reason.
    #[test]
    fn retry_after_is_read_and_limited() {
        let rows = [
            (Some("30"), Some(30)),
            (Some(" 7 "), Some(7)),
            (Some("99999999"), Some(3600)),
            (Some("-1"), None),
            (Some("Wed, 21 Oct 2026 07:28:00 GMT"), None),
            (Some(""), None),
            (None, None),
        ];
        for (value, expected) in rows {
            assert_eq!(retry_after(value), expected.map(Duration::from_secs), "{value:?}");
        }
    }
}
