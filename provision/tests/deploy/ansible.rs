//! Runs playbooks as a person does, and reads what they did.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use provision::run;
use serde_json::Value;

use crate::{root, tasks};

/// The directory of Ansible's programs: `ANSIBLE_BIN`, else that of the `PATH`.
pub(crate) fn program(name: &str) -> String {
    let bin = std::env::var_os("ANSIBLE_BIN").map(PathBuf::from);
    bin.map_or_else(|| name.to_owned(), |bin| bin.join(name).to_string_lossy().into_owned())
}

/// What a run did, host by host.
#[derive(Debug)]
pub(crate) struct Played {
    /// As Ansible tells it.
    said: Value,
}

impl Played {
    /// How many tasks changed something on a host, and how many failed.
    pub(crate) fn counts(&self, host: &str) -> (u64, u64) {
        let count = |name| self.said["stats"][host][name].as_u64().unwrap_or(u64::MAX);
        (count("changed"), count("failures"))
    }

    /// The sentence with which a host failed.
    pub(crate) fn failure(&self, host: &str) -> String {
        let failed = |answer: &&Value| answer["failed"] == true;
        let found = self.answers(host).map(|(_, answer)| answer).find(failed);
        found.and_then(|answer| answer["msg"].as_str()).unwrap_or_default().to_owned()
    }

    /// Names of the tasks that changed a host.
    pub(crate) fn changes(&self, host: &str) -> Vec<String> {
        let changed = self.answers(host).filter(|(_, answer)| answer["changed"] == true);
        changed.map(|(name, _)| name).collect()
    }

    fn answers<'a>(&'a self, host: &'a str) -> impl Iterator<Item = (String, &'a Value)> {
        let plays = self.said["plays"].as_array().into_iter().flatten();
        let tasks = plays.flat_map(|play| play["tasks"].as_array().into_iter().flatten());
        tasks.filter_map(move |task| {
            let answer = task["hosts"].get(host)?;
            let name = task["task"]["name"].as_str()?;
            // The role stands before it.
            Some((name.rsplit(" : ").next().unwrap_or(name).to_owned(), answer))
        })
    }
}

/// Plays a book.
///
/// * `before` – words before the program, such as those that enter a namespace
/// * `words` – its own
pub(crate) fn play(before: &[String], inventory: &Path, words: &[&str]) -> Result<Played> {
    let (playbook, inventory) = (program("ansible-playbook"), inventory.to_string_lossy());
    let mut all: Vec<&str> = before.iter().map(String::as_str).collect();
    all.extend([&*playbook, "-i", &inventory]);
    all.extend(words);
    let mut command = run::program(&root().join("ansible"), &all);
    command.env("ANSIBLE_STDOUT_CALLBACK", "ansible.posix.json");
    tasks::noted(&mut command);
    let (_, text) = run::captured(command)?;
    // Warnings stand before and behind it.
    let json = text.find("\n{").map_or(0, |at| at + 1);
    let mut values = serde_json::Deserializer::from_str(text.get(json..).unwrap_or_default());
    let said = serde::Deserialize::deserialize(&mut values)
        .with_context(|| format!("read what ansible-playbook said:\n{text}"))?;
    Ok(Played { said })
}
