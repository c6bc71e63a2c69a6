//! What the units of a host say, from its journal.
//!
//! Each entry has a cursor. When the connection is lost, the host is asked for what came after the last
//! entry that was seen: nothing is shown twice, and nothing is left out that the journal still has.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Result, bail, ensure};
use serde::Serialize;
use serde_json::Value;

use super::{
    Remote,
    lines::{self, Ended, quoted},
};
use crate::{
    moment,
    told::{Tell, Told, harmless},
};

/// How long a host that cannot be reached is waited for; who is tired of it types Ctrl-C.
const AWAY_MAX: Duration = Duration::from_hours(24 * 7);
/// Characters of an entry that are shown.
const TEXT_CHARS_MAX: usize = 4_000;
/// What is asked of each entry; its cursor and its time come always.
pub(super) const FIELDS: &str =
    "--output-fields=MESSAGE,PRIORITY,UNIT,_SYSTEMD_UNIT,SYSLOG_IDENTIFIER";

/// An entry of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its place.
    pub cursor: String,
    /// When, ms since 1970.
    pub at_ms: u64,
    /// Of which unit, without `.service`.
    pub unit: String,
    /// As syslog has it: 3 is an error, 4 a warning.
    pub priority: u8,
    /// What was said.
    pub text: String,
}

impl Entry {
    /// Reads what `journalctl --output=json` writes on a line; `None` when it is no entry.
    pub fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let micros: u64 = text("__REALTIME_TIMESTAMP")?.parse().ok()?;
        // What systemd says of a unit has the unit's name in another field.
        let unit =
            ["UNIT", "_SYSTEMD_UNIT", "SYSLOG_IDENTIFIER"].iter().find_map(|name| text(name));
        Some(Self {
            cursor: text("__CURSOR").filter(|cursor| is_cursor(cursor))?.to_owned(),
            at_ms: micros / 1_000,
            unit: unit.unwrap_or("-").trim_end_matches(".service").to_owned(),
            priority: text("PRIORITY").and_then(|level| level.parse().ok()).unwrap_or(6),
            text: message(value.get("MESSAGE")),
        })
    }

    /// For a person: time, unit, and each line of what was said.
    #[must_use]
    pub fn shown(&self) -> String {
        let (time, unit) = (moment::day_and_time(self.at_ms), harmless(&self.unit, 60));
        let mut shown = String::new();
        for line in harmless_lines(&self.text) {
            let gap = if shown.is_empty() { "" } else { "\n" };
            // Writing to a string does not fail.
            if write!(shown, "{gap}{time} {unit:<14} {line}").is_err() {}
        }
        shown
    }
}

fn harmless_lines(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split('\n').map(|line| harmless(line, TEXT_CHARS_MAX))
}

/// What was said; bytes that are no text come as numbers, and what is too long not at all.
fn message(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(bytes)) => {
            let bytes = bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok());
            String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
        }
        _ => "(too long to be shown)".to_owned(),
    }
}

fn is_cursor(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"=;".contains(&byte))
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Question {
    /// Units, also as patterns of systemd.
    pub units: Vec<String>,
    /// From when, as `journalctl --since` takes it; otherwise the last entries.
    pub since: Option<String>,
    /// How many of the last.
    pub last: u32,
    /// Whether to wait for more.
    pub follow: bool,
}

impl Question {
    /// Refuses what is no name of a unit.
    ///
    /// # Errors
    /// Which one it is.
    pub fn check(&self) -> Result<()> {
        for unit in &self.units {
            let is_plain =
                |byte: u8| byte.is_ascii_alphanumeric() || b"@_.:-*?[]\\".contains(&byte);
            ensure!(
                !unit.is_empty() && !unit.starts_with('-') && unit.bytes().all(is_plain),
                "`{}` is no name of a unit, such as relay or postgresql@15-relay",
                harmless(unit, 60)
            );
        }
        Ok(())
    }

    fn script(&self, after: Option<&str>) -> String {
        let mut script = format!("exec journalctl --quiet --no-pager --output=json {FIELDS}");
        for unit in &self.units {
            script.extend([" --unit=", &quoted(unit)]);
        }
        if self.follow {
            script.push_str(" --follow");
        }
        match (after, &self.since) {
            (Some(cursor), _) => script.extend([" --no-tail --after-cursor=", &quoted(cursor)]),
            (None, Some(since)) => script.extend([" --no-tail --since=", &quoted(since)]),
            (None, None) => script.extend([" --lines=", &self.last.to_string()]),
        }
        script + " </dev/null\n"
    }
}

/// Reads entries until there are no more, or nobody wants one; goes on where it was when the connection is
/// lost.
///
/// * `show` – takes an entry; `false` when no more are wanted
///
/// # Errors
/// When the host refuses, or cannot be reached at the beginning.
pub async fn read(
    remote: &Remote,
    question: &Question,
    show: &mut (dyn FnMut(&Entry) -> bool + Send),
    tell: &mut Tell<'_>,
) -> Result<()> {
    question.check()?;
    let mut after: Option<String> = None;
    let mut was_there = false;
    loop {
        let script = question.script(after.as_deref());
        let mut take = |line: &str| {
            let Some(entry) = Entry::parse(line) else { return true };
            let wanted = show(&entry);
            after = Some(entry.cursor);
            wanted
        };
        let ended = lines::read(remote, &script, &mut take).await?;
        let Ended::There(said) = ended else { return Ok(()) };
        if said.code == 0 {
            return Ok(());
        }
        if !said.is_cut() {
            bail!("the journal of the host: {}", harmless(said.last_line(), 300));
        }
        if !was_there && after.is_none() {
            // Never reached: the person learns why at once, unless it passes by itself.
            remote.wait(Duration::from_secs(30), tell).await?;
            was_there = true;
            continue;
        }
        again(remote, tell).await?;
    }
}

/// Waits until the host can be reached again.
pub(super) async fn again(remote: &Remote, tell: &mut Tell<'_>) -> Result<()> {
    tell(Told::Note(format!("the connection to {} is lost; waiting for it", remote.destination())));
    remote.wait(AWAY_MAX, tell).await?;
    tell(Told::Note("it is back; going on where it was".to_owned()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"__CURSOR":"s=1a;i=2","__REALTIME_TIMESTAMP":"1764216000123456","PRIORITY":"4",
        "_SYSTEMD_UNIT":"relay.service","MESSAGE":"one\ntwo \u001b[2J"}"#;

    #[test]
    fn entries_of_all_forms_are_read() {
        let entry = Entry::parse(&LINE.replace('\n', " ")).unwrap();
        assert_eq!((entry.at_ms, &*entry.unit, entry.priority), (1_764_216_000_123, "relay", 4));
        let shown = entry.shown();
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[0], "2025-11-27T04:00:00Z relay          one");
        assert!(lines[1].ends_with("two \\u{1b}[2J"), "it steers the terminal: {shown}");
        let bytes = LINE.replace(r#""one\ntwo \u001b[2J""#, "[104,105,255]").replace('\n', " ");
        assert_eq!(Entry::parse(&bytes).unwrap().text, "hi\u{fffd}");
        for no_entry in ["", "-- No entries --", "{}", "[]", &LINE.replace(";i=2", "' x")] {
            assert_eq!(Entry::parse(no_entry), None, "{no_entry}");
        }
    }

    /// After a lost connection it goes on behind the last entry, whatever it began with.
    #[test]
    fn what_was_seen_is_not_asked_for_again() {
        let mut question =
            Question { units: vec!["relay".to_owned()], since: None, last: 50, follow: true };
        assert!(question.script(None).contains("--unit='relay' --follow --lines=50 "));
        question.since = Some("-60s".to_owned());
        assert!(question.script(None).contains("--no-tail --since='-60s' "));
        let again = question.script(Some("s=1a;i=2"));
        assert!(again.contains("--no-tail --after-cursor='s=1a;i=2' "), "{again}");
        assert!(!again.contains("--since"), "{again}");
    }

    #[test]
    fn a_unit_is_no_option() {
        for unit in ["", "--vacuum-size=1", "a b", "$(id)"] {
            let question =
                Question { units: vec![unit.to_owned()], since: None, last: 1, follow: false };
            assert!(question.check().is_err(), "{unit}");
        }
    }
}
