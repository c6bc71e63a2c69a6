//! What was done of a deployment, so that a run that was interrupted is gone on with.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Deployment;
use crate::files;

/// Its file.
const FILE: &str = "progress.json";

/// A step that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {
    /// Its name.
    pub(super) step: String,
    /// How long it took, in seconds.
    pub(super) seconds: u64,
    /// What it was done for: a digest of all that a person may have changed since.
    inputs: String,
}

/// The steps of the last run, in order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The steps that were done.
    pub(super) done: Vec<Done>,
    /// When the run reached its end, in UTC; there is nothing to go on with then.
    pub(super) finished: Option<String>,
    #[serde(skip)]
    path: PathBuf,
}

impl Progress {
    /// What is known; a file that cannot be understood is as good as none.
    pub(super) fn read(deployment: &Deployment) -> Result<Self> {
        let path = deployment.file(FILE);
        let text = files::read(&path)?.unwrap_or_default();
        let known: Self = serde_json::from_str(&text).unwrap_or_default();
        Ok(Self { path, ..known })
    }

    /// Begins a run: keeps what an interrupted one has done for the same inputs, up to the first step
    /// whose inputs are others.
    ///
    /// * `inputs` – the digest for the step of a name
    pub(super) fn begin(&mut self, inputs: impl Fn(&str) -> Result<String>) -> Result<()> {
        let is_over = self.finished.take().is_some();
        let mut kept = 0;
        for done in &self.done {
            if is_over || inputs(&done.step)? != done.inputs {
                break;
            }
            kept += 1;
        }
        self.done.truncate(kept);
        Ok(())
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        self.done.clear();
    }

    /// What is known of a step.
    pub(super) fn of(&self, step: &str) -> Option<&Done> {
        self.done.iter().find(|done| done.step == step)
    }

    /// A step is done.
    pub(super) fn add(&mut self, step: &str, seconds: u64, inputs: String) -> Result<()> {
        self.done.retain(|done| done.step != step);
        self.done.push(Done { step: step.to_owned(), seconds, inputs });
        self.write()
    }

    /// The run has reached its end.
    pub(super) fn finish(&mut self, moment: String) -> Result<()> {
        self.finished = Some(moment);
        self.write()
    }

    fn write(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("write what was done")?;
        files::write(&self.path, &format!("{text}\n"), 0o600)?;
        Ok(())
    }
}

/// A digest of files of the deployment, and of words.
pub(super) fn digest(deployment: &Deployment, names: &[&str], words: &[String]) -> Result<String> {
    let mut hasher = Sha256::new();
    for name in names {
        let text = files::read(&deployment.file(name))?;
        hasher.update(name.as_bytes());
        hasher.update([u8::from(text.is_some())]);
        hasher.update(text.unwrap_or_default().as_bytes());
    }
    for word in words {
        hasher.update([0]);
        hasher.update(word.as_bytes());
    }
    Ok(data_encoding::HEXLOWER.encode(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn deployment() -> Result<(tempfile::TempDir, Deployment)> {
        let dir = tempfile::tempdir()?;
        fs::create_dir_all(dir.path().join("ansible"))?;
        fs::write(dir.path().join("ansible/site.yml"), "")?;
        fs::create_dir_all(dir.path().join("deployments/ash"))?;
        let found = Deployment::open(dir.path(), None)?;
        Ok((dir, found))
    }

    /// After Ctrl-C the next run goes on where it was, unless something was changed that an earlier step
    /// depends on; after a run that reached its end everything is looked at again.
    #[test]
    fn an_interrupted_run_is_gone_on_with() -> Result<()> {
        let (_dir, found) = deployment()?;
        let same = |_: &str| Ok("one".to_owned());
        let mut first = Progress::read(&found)?;
        first.begin(same)?;
        for step in ["programs", "host", "machine"] {
            first.add(step, 7, "one".to_owned())?;
        }
        let names = |progress: &Progress| {
            progress.done.iter().map(|done| done.step.clone()).collect::<Vec<_>>()
        };
        let mut again = Progress::read(&found)?;
        again.begin(same)?;
        assert_eq!(names(&again), ["programs", "host", "machine"]);

        let mut changed = Progress::read(&found)?;
        changed.begin(|step| Ok(if step == "host" { "two" } else { "one" }.to_owned()))?;
        assert_eq!(names(&changed), ["programs"]);

        again.finish("2027-01-01T00:00:00Z".to_owned())?;
        let mut next = Progress::read(&found)?;
        next.begin(same)?;
        assert!(names(&next).is_empty());
        fs::write(found.file(FILE), "{")?;
        assert!(Progress::read(&found)?.done.is_empty());
        Ok(())
    }

    /// A file that appears or changes gives another digest.
    #[test]
    fn the_digest_knows_what_was_changed() -> Result<()> {
        let (_dir, found) = deployment()?;
        let names = ["env", "group_vars/relay.yml"];
        let none = digest(&found, &names, &[])?;
        fs::write(found.file("env"), "")?;
        let empty = digest(&found, &names, &[])?;
        fs::write(found.file("env"), "A=1\n")?;
        let one = digest(&found, &names, &[])?;
        assert!(none != empty && empty != one);
        assert_ne!(one, digest(&found, &names, &["word".to_owned()])?);
        Ok(())
    }
}
