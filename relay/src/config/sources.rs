//! Gathers the texts of all settings: defaults < TOML file < `.env` < environment < flags.
//!
//! Each layer is a figment provider whose name is the origin that people are shown, so that
//! figment keeps for every value where it came from.

use std::{collections::BTreeMap, fs, io, path::Path};

use figment::{
    Error, Figment, Metadata, Profile, Provider,
    providers::{Format as _, Toml},
    value::{Dict, Map, Value},
};

use super::{
    cli::{Flags, hosts::PULL_HOSTS},
    schema::{CONFIG_FILE, NOT_YET, OBSOLETE, SETTINGS, Setting, setting},
};
use crate::crash;

/// Origin of what the process was given.
const ENVIRONMENT: &str = "env";

/// Values of one origin.
struct Layer {
    origin: String,
    values: Dict,
}

impl Layer {
    fn one(origin: String, key: &str, texts: Vec<String>) -> Self {
        Self { origin, values: Dict::from([(key.to_owned(), texts.into())]) }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// All layers, and what was noticed on the way.
#[derive(Debug, Default)]
pub(super) struct Sources {
    figment: Figment,
    pub(super) warnings: Vec<String>,
    pub(super) problems: Vec<String>,
}

impl Sources {
    /// Reads every layer.
    pub(super) fn gather(flags: &Flags, env: &[(String, String)], cwd: &Path) -> Self {
        let mut sources = Self::default();
        let env: BTreeMap<&str, &str> =
            env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let dot_env = sources.dot_env(&cwd.join(".env"));
        let dot_env: BTreeMap<&str, &str> = dot_env
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| !env.contains_key(name))
            .collect();

        let mut layers: Vec<Layer> = SETTINGS.iter().map(default).collect();
        let mut later = sources.environment(&dot_env, ".env");
        later.extend(sources.environment(&env, ENVIRONMENT));
        for (key, flag, values) in &flags.0 {
            let is_list = setting(key).is_some_and(|setting| setting.kind.is_list());
            let texts = values.iter().flat_map(|value| split(is_list, value)).collect();
            later.push(Layer::one(format!("flag --{flag}"), key, texts));
        }
        for flag in &flags.1 {
            sources.not_yet(&format!("--{flag}"));
        }
        let named =
            |layer: &Layer| layer.values.get(CONFIG_FILE).and_then(|value| texts(value)?.pop());
        if let Some(path) = later.iter().filter_map(named).next_back() {
            layers.extend(sources.file(&cwd.join(path)));
        }
        layers.extend(later);
        sources.figment = layers.into_iter().fold(Figment::new(), Figment::merge);
        sources
    }

    /// Texts and origin of a setting; `None` when its value is neither text nor list.
    pub(super) fn get(&self, key: &str) -> (Option<Vec<String>>, String) {
        let origin = self.figment.find_metadata(key).map(|found| found.name.to_string());
        let value = self.figment.find_value(key).ok();
        let is_list = setting(key).is_some_and(|setting| setting.kind.is_list());
        let texts = value.as_ref().and_then(texts);
        // One text in the file may hold a list, as `relay config` prints it.
        let parts = |text: &String| split(is_list, text).collect::<Vec<_>>();
        (texts.map(|texts| texts.iter().flat_map(parts).collect()), origin.unwrap_or_default())
    }

    /// Names and values of a `.env` file; none when there is no file.
    fn dot_env(&mut self, path: &Path) -> Vec<(String, String)> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.problems.push(format!("{} cannot be read: {error}", path.display()));
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for line in dotenvy::from_read_iter(text.as_bytes()) {
            match line {
                Ok(pair) => found.push(pair),
                Err(error) => {
                    // The line itself is not shown: it may hold a password (I8).
                    let number = match error {
                        dotenvy::Error::LineParse(wrong, _) => {
                            text.lines().position(|line| line.contains(wrong.trim()))
                        }
                        _ => None,
                    };
                    let place =
                        number.map_or(String::new(), |number| format!(" in line {}", number + 1));
                    self.problems.push(format!(
                        "{} has an error{place}: allowed is NAME=VALUE, with quotes around a value \
                         that holds spaces or `#`",
                        path.display()
                    ));
                    break;
                }
            }
        }
        found
    }

    /// One layer per setting that is in the environment; an empty value counts as not set.
    fn environment(&mut self, env: &BTreeMap<&str, &str>, source: &str) -> Vec<Layer> {
        let mut layers = Vec::new();
        for setting in SETTINGS {
            let mut set = setting
                .env
                .iter()
                .filter_map(|name| Some((name, env.get(name).filter(|value| !value.is_empty())?)));
            let Some((name, value)) = set.next() else { continue };
            for (other, _) in set {
                self.warnings.push(format!("{other} is ignored because {name} is set"));
            }
            let texts = split(setting.kind.is_list(), value).collect();
            layers.push(Layer::one(format!("{source} {name}"), setting.key, texts));
        }
        for name in env.keys() {
            // Of the environment itself it is judged where it is read.
            if *name == crash::VARIABLE && source == ENVIRONMENT {
                continue;
            }
            self.judge_name(name);
        }
        layers
    }

    /// Warns of a name that looks like a setting and has no effect.
    fn judge_name(&mut self, name: &str) {
        let is_known = SETTINGS.iter().any(|setting| setting.env.contains(&name));
        if is_known || PULL_HOSTS.contains(&name) {
            return;
        }
        if OBSOLETE.contains(&name) {
            self.warnings.push(format!("{name} is obsolete: this relay archives nothing"));
        } else if NOT_YET.iter().any(|(_, names)| names.contains(&name)) {
            self.not_yet(name);
        } else if name.starts_with("RELAY_") {
            let known = SETTINGS.iter().flat_map(|setting| setting.env.iter().copied());
            self.warnings.push(format!("{name} is not a setting{}", did_you_mean(name, known)));
        }
    }

    fn not_yet(&mut self, name: &str) {
        self.warnings.push(format!("{name} is not yet supported by this relay, ignored"));
    }

    fn file(&mut self, path: &Path) -> Option<Layer> {
        let shown = path.display();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                self.problems.push(format!("the settings file {shown} cannot be read: {error}"));
                return None;
            }
        };
        let values = match Toml::string(&text).data() {
            Ok(mut profiles) => profiles.remove(&Profile::Default).unwrap_or_default(),
            Err(error) => {
                // The first line says where; the others quote the file, which may hold a password.
                let said = error.to_string();
                let first = said.lines().next().unwrap_or_default();
                self.problems.push(format!("the settings file {shown}: {first}"));
                return None;
            }
        };
        for key in values.keys() {
            if key == CONFIG_FILE {
                self.problems.push(format!("{shown}: a settings file cannot name another one"));
            } else if setting(key).is_none() {
                let known = SETTINGS.iter().map(|setting| setting.key);
                let near = did_you_mean(key, known);
                self.problems.push(format!("{shown}: `{key}` is not a setting{near}"));
            }
        }
        Some(Layer { origin: format!("file {shown}"), values })
    }
}

fn default(setting: &Setting) -> Layer {
    let texts = split(setting.kind.is_list(), setting.default).collect();
    Layer::one("default".to_owned(), setting.key, texts)
}

/// The parts of a list, or the one text as it is.
fn split(is_list: bool, text: &str) -> impl Iterator<Item = String> {
    let (parts, whole) = if is_list { (Some(text.split(',')), None) } else { (None, Some(text)) };
    parts.into_iter().flatten().chain(whole).map(ToOwned::to_owned)
}

/// A value as texts: numbers and truth values of TOML are read like their spelling.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(_, items) => items.iter().map(text).collect(),
        single => text(single).map(|text| vec![text]),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Bool(_, truth) => Some(truth.to_string()),
        Value::Num(_, number) => number
            .to_i128()
            .map(|number| number.to_string())
            .or_else(|| number.to_f64().map(|number| number.to_string())),
        _ => None,
    }
}

/// `; did you mean X?` when one of the known names is near.
fn did_you_mean(name: &str, known: impl Iterator<Item = &'static str>) -> String {
    known
        .map(|other| (distance(name, other), other))
        .min()
        .filter(|(distance, _)| *distance * 3 <= name.len())
        .map_or(String::new(), |(_, other)| format!("; did you mean {other}?"))
}

/// Edits that turn one name into the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            left = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, left);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The suggestion is the nearest name, and none when nothing is near.
    #[test]
    fn the_nearest_name_is_suggested() {
        for (a, b, expected) in
            [("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("a", "a", 0)]
        {
            assert_eq!(distance(a, b), expected);
        }
        let known = || ["RELAY_API_BIND", "RELAY_SHARDS"].into_iter();
        assert_eq!(did_you_mean("RELAY_API_BNID", known()), "; did you mean RELAY_API_BIND?");
        assert_eq!(did_you_mean("RELAY_SOMETHING_ELSE_ALTOGETHER", known()), "");
    }
}
