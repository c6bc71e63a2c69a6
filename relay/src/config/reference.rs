//! What people read about the settings: `env.example` and `relay config`. Made from the table.

use super::{
    Config,
    schema::{SETTINGS, Setting},
};

/// Columns after which an origin no longer moves to the right for a long value.
const REPORT_WIDTH: usize = 60;

/// Columns of a comment in `env.example`.
const WIDTH: usize = 100;

/// The text of `env.example`: every setting with its default, none of them in effect.
pub fn env_example() -> String {
    let mut text = String::from(
        "# Every setting of the relay, with its default. Nothing is required: copy the lines that you\n\
         # change into `.env` in the directory where the relay runs, or into its environment.\n\
         # `relay config` prints what is in effect and where it came from. An empty value counts as\n\
         # not set. This file is made from the table in relay/src/config/schema.rs.\n",
    );
    let mut section = "";
    for setting in SETTINGS {
        if setting.section != section {
            section = setting.section;
            text.extend(["\n\n# ", &section.to_uppercase(), "\n"]);
        }
        text.push('\n');
        for line in wrapped(&describe(setting)) {
            text.extend(["# ", &line, "\n"]);
        }
        let name = setting.env.first().unwrap_or(&setting.key);
        text.extend(["#", name, "=", setting.default, "\n"]);
    }
    text
}

fn describe(setting: &Setting) -> String {
    let mut parts = Vec::new();
    if setting.kind.is_secret() {
        parts.push("Secret.".to_owned());
    }
    parts.push(setting.doc.to_owned());
    parts.push(format!("Takes {}.", setting.kind.allowed()));
    if setting.default.is_empty() {
        parts.push("Not set unless you do.".to_owned());
    }
    let (_, aliases) = setting.env.split_at(setting.env.len().min(1));
    let flags = setting.flags.iter().map(|flag| format!("--{flag}"));
    let names: Vec<String> = aliases.iter().map(ToString::to_string).chain(flags).collect();
    parts.push(format!("Also {}.", names.join(", ")));
    parts.join(" ")
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= WIDTH - 2 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

impl Config {
    /// The answer of `relay config`: one line per setting with value and origin, secrets redacted.
    /// Values stand as TOML spells them.
    pub fn report(&self) -> String {
        let lines: Vec<(String, &str)> = self
            .effective()
            .iter()
            .map(|found| {
                (format!("{} = {}", found.key, toml_string(&found.value)), found.origin.as_str())
            })
            .collect();
        let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or(0).min(REPORT_WIDTH);
        lines.iter().fold(String::new(), |report, (line, origin)| {
            report + &format!("{line:width$}  # {origin}\n")
        })
    }
}

/// A basic string; escapes as TOML has them.
fn toml_string(text: &str) -> String {
    let escaped: String = text
        .chars()
        .flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            c if c.is_control() => format!("\\u{:04X}", u32::from(c)).chars().collect(),
            c => vec![c],
        })
        .collect();
    format!("\"{escaped}\"")
}
