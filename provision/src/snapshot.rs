//! What a person would collect by hand when a relay is slow, in one file; and what differs between two
//! of them.
//!
//! A part that cannot be had is there with its reason, because that is a symptom too. Passwords are not in
//! it: settings are redacted, and nothing reads the environment of a process.

mod difference;
mod machine;
mod relay_parts;

use std::collections::BTreeMap;

use anyhow::Result;
use relay::config::Config;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::difference::{Changed, Difference, difference};
use crate::{moment, roster::Target};

/// The version of this form.
const FORM: u64 = 1;

/// One part: what was found, or why nothing was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Why there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// All parts at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The version of this form.
    pub form: u64,
    /// When it was taken, ms since 1970.
    pub taken_ms: u64,
    /// The parts by name.
    pub parts: BTreeMap<String, Part>,
}

impl Snapshot {
    /// Takes one. Each part that needs an answer waits for it some seconds at most.
    pub async fn take(config: &Config, target: &Target) -> Self {
        let mut parts = BTreeMap::new();
        let mut keep = |name: &str, found: Result<Value>| {
            let part = match found {
                Ok(value) => Part { value: Some(value), error: None },
                Err(error) => Part { value: None, error: Some(format!("{error:#}")) },
            };
            parts.insert(name.to_owned(), part);
        };
        for (name, path) in [
            ("status", "/admin/v1/status"),
            ("hosts", "/admin/v1/hosts?limit=1000"),
            ("consumers", "/admin/consumers/list"),
        ] {
            keep(name, target.get(path).await);
        }
        keep("health", relay_parts::health(config).await);
        keep("metrics", relay_parts::metrics(config).await);
        keep("settings", Ok(relay_parts::settings(config)));
        keep("postgres", relay_parts::postgres(config).await);
        keep("disk", machine::disk(config));
        for (name, read) in machine::PARTS {
            keep(name, read());
        }
        Self { form: FORM, taken_ms: moment::now_ms(), parts }
    }

    /// Names of the parts that could not be had, and why.
    pub fn missing(&self) -> impl Iterator<Item = (&str, &str)> {
        let parts = self.parts.iter();
        parts.filter_map(|(name, part)| Some((name.as_str(), part.error.as_deref()?)))
    }

    /// The value of a part.
    fn value(&self, name: &str) -> Option<&Value> {
        self.parts.get(name)?.value.as_ref()
    }
}
