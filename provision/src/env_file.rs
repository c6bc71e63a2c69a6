//! Files of `NAME=VALUE`, as the relay, systemd and Docker read them, and the part of one that
//! `tune` owns.
//!
//! What a person wrote wins: `tune` keeps its values in a block of their own, and leaves out every
//! setting that stands outside of it, under any of its names.

use std::path::{Path, PathBuf};

use relay::config::{Config, ConfigError, Flags, SETTINGS};
use serde::Serialize;

use crate::{
    files::{self, FileError},
    sizing::Value,
    words,
};

const BEGIN: &str = "# >>> provision tune";
const END: &str = "# <<< provision tune";
const ABOUT: &str =
    "made by it, and made anew each time. Write your own values above or below: they win.";
const WIDTH: usize = 98;

/// A value that a person set and that the plan would set otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The name as it stands in the file.
    pub name: String,
    /// The line, from 1.
    pub line: usize,
    /// What stands there, and stays.
    pub kept: String,
    /// What the plan says.
    pub planned: String,
}

/// A value that stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// The value without quotes.
    pub value: String,
    /// The line, from 1.
    pub line: usize,
}

/// The text of such a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvFile {
    text: String,
}

impl EnvFile {
    /// The environment of a deployment: this file and `secrets/relay.env` beside it, as far as they are
    /// there.
    ///
    /// # Errors
    /// When one is there and cannot be read.
    pub fn of_deployment(env: &Path) -> Result<(Self, Vec<PathBuf>), FileError> {
        let secrets = env.parent().map(|dir| dir.join("secrets/relay.env"));
        let paths: Vec<PathBuf> =
            [Some(env.to_path_buf()), secrets].into_iter().flatten().collect();
        let mut text = String::new();
        for path in &paths {
            text += &files::read(path)?.unwrap_or_default();
            text.push('\n');
        }
        Ok((Self { text }, paths))
    }

    /// The settings as the relay would read them.
    ///
    /// * `near` – the directory of these files, where the relay would look for more
    ///
    /// # Errors
    /// [`ConfigError`], in the relay's words.
    pub fn config(&self, near: &Path) -> Result<Config, ConfigError> {
        let entries = self.all().into_iter();
        let pairs: Vec<_> = entries.map(|entry| (entry.name, entry.value)).collect();
        Config::load(&Flags::default(), &pairs, near)
    }

    /// Of a text. Lines that are not understood stay as they are.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// Values that a person, or `init`, wrote.
    pub fn by_hand(&self) -> Vec<Entry> {
        self.entries(false)
    }

    /// All values; those of the block come first, so that the last of a name is in effect.
    pub fn all(&self) -> Vec<Entry> {
        let mut found = self.entries(true);
        found.extend(self.entries(false));
        found
    }

    /// The value in effect under a name or, for a setting of the relay, under another of its names.
    pub fn value(&self, name: &str) -> Option<Entry> {
        let names = names_of(name);
        self.all().into_iter().rfind(|entry| names.contains(&entry.name.as_str()))
    }

    /// The same of what stands outside of the block.
    pub fn value_by_hand(&self, name: &str) -> Option<Entry> {
        let names = names_of(name);
        self.by_hand().into_iter().rfind(|entry| names.contains(&entry.name.as_str()))
    }

    /// The text with a block of these values, and what a person set otherwise.
    pub fn with_block(&self, values: &[Value]) -> (String, Vec<Conflict>) {
        let mut conflicts = Vec::new();
        let mut block = format!("{BEGIN}: {ABOUT}\n");
        for value in values {
            let Some(entry) = self.value_by_hand(value.name) else {
                for line in words::wrapped(&value.formula, WIDTH) {
                    block.extend(["# ", &line, "\n"]);
                }
                block.extend([value.name, "=", &value.value, "\n"]);
                continue;
            };
            if entry.value != value.value {
                let Entry { name, value: kept, line } = entry;
                conflicts.push(Conflict { name, line, kept, planned: value.value.clone() });
            }
        }
        block.extend([END, "\n"]);
        (self.replaced(&block), conflicts)
    }

    /// The text with another block in the place of the old one, or at the end.
    fn replaced(&self, block: &str) -> String {
        let (mut text, mut inside, mut placed) = (String::new(), false, false);
        for line in self.text.lines() {
            match (inside, line) {
                (_, line) if line.starts_with(BEGIN) => {
                    inside = true;
                    if !placed {
                        text.push_str(block);
                    }
                    placed = true;
                }
                (true, line) => inside = !line.starts_with(END),
                (false, line) => text.extend([line, "\n"]),
            }
        }
        if !placed {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(block);
        }
        text
    }

    fn entries(&self, of_block: bool) -> Vec<Entry> {
        let mut inside = false;
        let mut found = Vec::new();
        for (index, line) in self.text.lines().enumerate() {
            if line.starts_with(BEGIN) || line.starts_with(END) {
                inside = line.starts_with(BEGIN);
            }
            if inside == of_block
                && let Some((name, value)) = pair(line)
            {
                found.push(Entry { name, value, line: index + 1 });
            }
        }
        found
    }
}

/// A line as name and value; `None` for comments, empty values and what is neither.
fn pair(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if name.is_empty() || !is_name(name) {
        return None;
    }
    let value = value.trim();
    let quoted = ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value);
    (!quoted.is_empty()).then(|| (name.to_owned(), quoted.to_owned()))
}

/// All names of a setting of the relay; of anything else its own.
fn names_of(name: &str) -> Vec<&str> {
    let row = SETTINGS.iter().find(|setting| setting.env.contains(&name));
    row.map_or_else(|| vec![name], |row| row.env.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &'static str, value: &str) -> Value {
        let words = "as it is".to_owned();
        Value { name, value: value.to_owned(), formula: words.clone(), reason: words }
    }

    const PLAN: [(&str, &str); 2] = [("RELAY_SHARDS", "5"), ("MAX_DB_CONNECTIONS", "11")];

    fn plan() -> Vec<Value> {
        PLAN.iter().map(|(name, text)| value(name, text)).collect()
    }

    /// An operator who set a value by hand finds it as it was, also under an older name.
    #[test]
    fn what_a_person_wrote_wins_and_is_named() {
        let file = EnvFile::new("# mine\nexport MAX_METADB_CONNECTIONS='30'\nRELAY_SHARDS=\n");
        let (text, conflicts) = file.with_block(&plan());
        assert!(text.starts_with("# mine\nexport MAX_METADB_CONNECTIONS='30'\n"), "{text}");
        assert!(text.contains("RELAY_SHARDS=5\n") && !text.contains("MAX_DB_CONN"), "{text}");
        let expected = Conflict {
            name: "MAX_METADB_CONNECTIONS".to_owned(),
            line: 2,
            kept: "30".to_owned(),
            planned: "11".to_owned(),
        };
        assert_eq!(conflicts, [expected]);
    }

    /// Tuning twice changes nothing; tuning otherwise changes the block alone, in its place.
    #[test]
    fn the_block_is_replaced_in_its_place() {
        let (once, _) = EnvFile::new("A=1\n").with_block(&plan());
        let with_more = format!("{once}B=2\n");
        let (twice, conflicts) = EnvFile::new(with_more.clone()).with_block(&plan());
        assert_eq!((twice, conflicts.len()), (with_more.clone(), 0));
        let (other, _) = EnvFile::new(with_more).with_block(&[value("RELAY_SHARDS", "7")]);
        assert!(other.starts_with("A=1\n\n# >>> ") && other.ends_with(END_AND_B), "{other}");
        assert!(other.contains("RELAY_SHARDS=7") && !other.contains("MAX_DB"), "{other}");
    }

    const END_AND_B: &str = "# <<< provision tune\nB=2\n";

    /// A value that the person wrote like the plan is neither doubled nor a conflict.
    #[test]
    fn an_equal_value_by_hand_is_no_conflict() {
        let (text, conflicts) = EnvFile::new("RELAY_SHARDS=5\n").with_block(&plan());
        assert!(conflicts.is_empty());
        assert_eq!(text.matches("RELAY_SHARDS").count(), 1);
    }

    #[test]
    fn the_value_in_effect_is_that_of_the_person() {
        let (text, _) = EnvFile::new("").with_block(&plan());
        let file = EnvFile::new(format!("{text}RELAY_SHARDS=2\nRELAY_SHARDS=3\n"));
        assert_eq!(file.value("RELAY_SHARDS").map(|entry| entry.value), Some("3".to_owned()));
        assert_eq!(file.value("MAX_DB_CONNECTIONS").map(|e| e.value), Some("11".to_owned()));
        assert_eq!(file.value_by_hand("MAX_DB_CONNECTIONS"), None);
        assert_eq!(file.value("RELAY_CONTACT"), None);
    }
}
