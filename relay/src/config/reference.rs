//! What people read about the settings: `env.example` and `relay config`; and what the NixOS module
//! reads. Made from the table.

use serde_json::{Value, json};

use super::{
    Config,
    schema::{SETTINGS, Setting},
    value::Kind,
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

/// The table for programs, as `nix/settings.json` has it: of each setting its key, its name in the
/// environment, what it takes, its default and its sentences.
pub fn settings_json() -> String {
    let rows: Vec<Value> = SETTINGS
        .iter()
        .map(|setting| {
            json!({
                "key": setting.key,
                "env": setting.env.first(),
                "aliases": setting.env.get(1..).unwrap_or_default(),
                "section": setting.section,
                "takes": takes(setting.kind),
                "allowed": setting.kind.allowed(),
                "secret": setting.kind.is_secret(),
                "default": setting.default,
                "doc": setting.doc,
            })
        })
        .collect();
    format!("{:#}\n", Value::from(rows))
}

/// What a value has to be, as far as a program can see it without reading texts.
fn takes(kind: Kind) -> Value {
    match kind {
        Kind::Number(least, most) => json!({ "a": "number", "least": least, "most": most }),
        Kind::AutoNumber(least, most) => {
            json!({ "a": "number", "least": least, "most": most, "auto": true })
        }
        Kind::Size(..) => json!({ "a": "size" }),
        Kind::AutoSize(..) => json!({ "a": "size", "auto": true }),
        Kind::Duration(..) => json!({ "a": "duration" }),
        Kind::Switch => json!({ "a": "switch" }),
        Kind::Choice(choices) => {
            let names = choices.iter().filter(|(name, meaning)| name == meaning);
            json!({ "a": "choice", "of": names.map(|(name, _)| *name).collect::<Vec<_>>() })
        }
        Kind::Path => json!({ "a": "path" }),
        Kind::Day => json!({ "a": "day" }),
        Kind::Address => json!({ "a": "address" }),
        Kind::Text
        | Kind::Database
        | Kind::Url
        | Kind::Endpoint
        | Kind::HiddenEndpoint
        | Kind::Token
        | Kind::OptionalPath
        | Kind::Share => json!({ "a": "text" }),
        Kind::NameServers
        | Kind::Networks
        | Kind::Hosts
        | Kind::DatedHosts
        | Kind::Siblings
        | Kind::Passwords => json!({ "a": "list" }),
    }
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
