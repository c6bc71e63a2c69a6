//! The settings that a relay knows, read from its `--help`, and how two relays differ in them.

use super::{Report, Weight};

/// A setting as a relay describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Setting {
    flag: String,
    /// Its names in the environment, the first one is the usual one.
    names: Vec<String>,
    default: Option<String>,
    about: String,
}

/// All settings that a relay knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known(Vec<Setting>);

impl Known {
    /// Reads the help of a relay: each flag, what it is for, and in brackets its names in the environment
    /// and its default.
    #[must_use]
    pub fn read(help: &str) -> Self {
        let mut blocks: Vec<String> = Vec::new();
        for line in help.lines() {
            let text = line.trim();
            if text.starts_with("--") {
                blocks.push(text.to_owned());
            } else if line.starts_with("    ")
                && !text.is_empty()
                && let Some(block) = blocks.last_mut()
            {
                block.push(' ');
                block.push_str(text);
            }
        }
        Self(blocks.iter().filter_map(|block| setting(block)).collect())
    }

    /// Whether there is none: then it was no help of a relay.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn by_name(&self, name: &str) -> Option<&Setting> {
        self.0.iter().find(|setting| setting.names.iter().any(|own| own == name))
    }
}

/// Reads `--flag <X>  What it is for. [NAME, OTHER; default X] [alias: --other]`.
fn setting(block: &str) -> Option<Setting> {
    let flag = block.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next()?;
    let (names, default, about) = block.match_indices('[').find_map(|(place, _)| {
        let inside = block.get(place + 1..)?.split(']').next()?;
        let (names, rest) = inside.split_once("; ").unwrap_or((inside, ""));
        let is_name = |name: &str| {
            let shape = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            name.len() > 2 && name.chars().all(shape)
        };
        let names: Vec<_> = names.split(", ").map(str::to_owned).collect();
        let default = rest.strip_prefix("default ").map(str::to_owned);
        let about = block.get(..place)?.split_once("  ").map_or("", |(_, about)| about);
        names.iter().all(|name| is_name(name)).then(|| (names, default, about.trim().to_owned()))
    })?;
    let about = if about.is_empty() {
        // The help of a long flag stands below it, one blank after it here.
        block.split_once("> ").map_or("", |(_, rest)| rest).split(" [").next().unwrap_or_default()
    } else {
        about.as_str()
    };
    Some(Setting { flag: flag.to_owned(), names, default, about: about.to_owned() })
}

/// Adds what is new, gone, and renamed.
pub(super) fn compare(
    before: &Known,
    after: &Known,
    env: &[(String, String)],
    report: &mut Report,
) {
    let is_set = |names: &[String]| env.iter().find(|(name, _)| names.contains(name));
    for old in &before.0 {
        let heir = old.names.iter().find_map(|name| after.by_name(name));
        let usual = old.names.first().cloned().unwrap_or_default();
        let Some(heir) = heir else {
            match is_set(&old.names) {
                Some((name, _)) => report.add(
                    Weight::Trouble,
                    format!("{name} is set, and the new relay does not know it"),
                    format!("take it out of the settings; it was for: {}", old.about),
                ),
                None => report.add(Weight::Note, format!("the setting {usual} is gone"), ""),
            }
            continue;
        };
        let lost = old.names.iter().filter(|name| !heir.names.contains(name));
        for lost in lost.filter(|lost| env.iter().any(|(name, _)| name == *lost)) {
            let new = heir.names.first().cloned().unwrap_or_default();
            let what = format!("{lost} is set, and the new relay does not know this name");
            report.add(Weight::Trouble, what, format!("call it {new}"));
        }
    }
    for new in &after.0 {
        if new.names.iter().any(|name| before.by_name(name).is_some()) {
            continue;
        }
        let usual = new.names.first().cloned().unwrap_or_default();
        let default = new.default.clone().unwrap_or_else(|| "not set".to_owned());
        let what = format!("there is a new setting {usual} ({default}): {}", new.about);
        report.add(Weight::Note, what, "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "\
Options:
  -h, --help     Print help

What is kept, and where:
      --config <PATH>
          File with settings. The rest
          of it. [RELAY_CONFIG]

Addresses:
      --bind <ADDRESS:PORT>  Firehose [and more]. [RELAY_API_BIND, RELAY_API_LISTEN; default 127.0.0.1:2470] [aliases: --api-bind]
      --dev[=<BOOL>]         Development mode. [RELAY_ALLOW_INSECURE_HOSTS; default false]

Without a command, `relay` is `relay serve`. Every setting also has a name in the environment.
";

    fn report() -> Report {
        Report { from: String::new(), to: String::new(), findings: Vec::new() }
    }

    #[test]
    fn settings_are_read_from_the_help() {
        let known = Known::read(HELP);
        let flags: Vec<_> = known.0.iter().map(|setting| setting.flag.as_str()).collect();
        assert_eq!(flags, ["--config", "--bind", "--dev"]);
        let bind = known.by_name("RELAY_API_LISTEN").unwrap();
        assert_eq!(bind.default.as_deref(), Some("127.0.0.1:2470"));
        assert_eq!(bind.about, "Firehose [and more].");
        let config = known.by_name("RELAY_CONFIG").unwrap();
        assert_eq!(
            (config.default.as_deref(), config.about.as_str()),
            (None, "File with settings. The rest of it.")
        );
        assert!(Known::read("Usage: true\n").is_empty());
    }

    /// Who has set what is gone must act; who has not, need not.
    #[test]
    fn what_is_gone_is_trouble_for_those_who_set_it() {
        let before = Known::read(HELP);
        let after =
            HELP.replace("[RELAY_CONFIG]", "[RELAY_FILE]").replace("RELAY_API_LISTEN, ", "");
        let after = Known::read(&after.replace(", RELAY_API_LISTEN", ""));
        let set = |name: &str| vec![(name.to_owned(), "x".to_owned())];

        let mut found = report();
        compare(&before, &after, &set("RELAY_CONFIG"), &mut found);
        assert!(found.has_trouble() && found.text().contains("RELAY_FILE"), "{}", found.text());
        let mut found = report();
        compare(&before, &after, &set("RELAY_API_LISTEN"), &mut found);
        assert!(found.has_trouble() && found.text().contains("call it RELAY_API_BIND"));
        let mut found = report();
        compare(&before, &after, &set("RELAY_API_BIND"), &mut found);
        assert!(!found.has_trouble(), "{}", found.text());
        assert_eq!(found.findings.len(), 2);
        let mut found = report();
        compare(&before, &before, &set("RELAY_CONFIG"), &mut found);
        assert_eq!(found.findings, []);
    }
}
