//! What a new version of the relay changes, before it is installed: behind `provision upgrade --check`.
//!
//! Both programs are asked, in the operator's environment, and nothing is written: which settings they
//! know (`--help`), what is in effect (`config`), and what a start would do to the database (`tables`).

mod settings;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tokio::{process::Command, time::timeout};

pub use settings::Known;

/// How long a program may take for an answer; the database may be slow.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// What to look at.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The relay that is installed.
    pub old: PathBuf,
    /// The one that is to be.
    pub new: PathBuf,
    /// The environment in which it runs.
    pub env: Vec<(String, String)>,
    /// The directory in which it runs.
    pub dir: PathBuf,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Good to know.
    Note,
    /// Something behaves in another way from then on.
    Change,
    /// A person has to do something before.
    Trouble,
}

/// Something that the new version changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// What it is.
    pub what: String,
    /// What to do; empty when there is nothing to do.
    pub advice: String,
}

/// All that the new version changes.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What the old one calls itself.
    pub from: String,
    /// What the new one calls itself.
    pub to: String,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether a person has to do something before.
    #[must_use]
    pub fn has_trouble(&self) -> bool {
        self.findings.iter().any(|finding| finding.weight == Weight::Trouble)
    }

    /// For a person.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = vec![format!("from {} to {}", self.from, self.to)];
        for finding in &self.findings {
            let mark = match finding.weight {
                Weight::Note => "note",
                Weight::Change => "change",
                Weight::Trouble => "TROUBLE",
            };
            lines.push(format!("{mark:<8} {}", finding.what));
            if !finding.advice.is_empty() {
                lines.push(format!("         {}", finding.advice));
            }
        }
        if self.findings.is_empty() {
            lines.push("nothing changes for this relay".to_owned());
        }
        lines.join("\n")
    }

    fn add(&mut self, weight: Weight, what: impl Into<String>, advice: impl Into<String>) {
        self.findings.push(Finding { weight, what: what.into(), advice: advice.into() });
    }
}

/// Asks both programs.
///
/// # Errors
/// When one of them cannot be started, or is no relay.
pub async fn check(plan: &Plan) -> Result<Report> {
    let old = ask(&plan.old, &["--version"], plan).await?.answer(&plan.old)?;
    let new = ask(&plan.new, &["--version"], plan).await?.answer(&plan.new)?;
    let mut report = Report { from: old, to: new, findings: Vec::new() };
    let before = Known::read(&ask(&plan.old, &["--help"], plan).await?.answer(&plan.old)?);
    let after = Known::read(&ask(&plan.new, &["--help"], plan).await?.answer(&plan.new)?);
    for (program, known) in [(&plan.old, &before), (&plan.new, &after)] {
        ensure!(!known.is_empty(), "{} names no settings; is it a relay?", program.display());
    }
    settings::compare(&before, &after, &plan.env, &mut report);
    effective(plan, &mut report).await?;
    tables(plan, &mut report).await?;
    report.findings.sort_by_key(|finding| match finding.weight {
        Weight::Trouble => 0,
        Weight::Change => 1,
        Weight::Note => 2,
    });
    Ok(report)
}

/// What is in effect before and after, and whether the new one takes the settings at all.
async fn effective(plan: &Plan, report: &mut Report) -> Result<()> {
    let after = ask(&plan.new, &["config"], plan).await?;
    if !after.is_success {
        let advice = "set it right before the upgrade: the new relay would not start";
        for line in after.err.lines() {
            report.add(Weight::Trouble, line, advice);
        }
        return Ok(());
    }
    let before = ask(&plan.old, &["config"], plan).await?;
    for line in after.err.lines().filter(|line| !before.err.lines().any(|old| old == *line)) {
        report.add(Weight::Change, line, "");
    }
    let (before, after) = (values(&before.out), values(&after.out));
    for (key, new) in &after {
        if let Some(old) = before.get(key)
            && old != new
        {
            let what = format!("{key} becomes {new}, it is {old}");
            report.add(Weight::Change, what, format!("to keep it, set {key} to {old}"));
        }
    }
    Ok(())
}

/// What happens to the tables of the database, and whether there is a way back.
async fn tables(plan: &Plan, report: &mut Report) -> Result<()> {
    let after = ask(&plan.new, &["tables"], plan).await?;
    if !after.is_success {
        let advice = "the new relay would not start; see that the database answers";
        report.add(Weight::Trouble, after.err.trim(), advice);
        return Ok(());
    }
    let number = |values: &BTreeMap<String, String>, key: &str| -> Option<i64> {
        values.get(key)?.trim_matches('"').parse().ok()
    };
    let after = values(&after.out);
    let (found, known) = (number(&after, "found"), number(&after, "known"));
    let (Some(found), Some(known)) = (found, known) else {
        report.add(Weight::Note, "there are no tables yet; the first start makes them", "");
        return Ok(());
    };
    if found >= known {
        return Ok(());
    }
    let what = format!("the first start brings the tables from version {found} to {known}");
    report.add(Weight::Change, what, "make a backup before it");
    let before = ask(&plan.old, &["tables"], plan).await?;
    let of_old = number(&values(&before.out), "known").unwrap_or(found);
    if number(&after, "readable_from_known").is_none_or(|needed| needed > of_old) {
        let what = "there is no way back: the old relay cannot read the tables afterwards";
        report.add(Weight::Trouble, what, "to go back, restore the backup that was made before");
    }
    Ok(())
}

/// `key = value` of each line; what follows a `#` after the value is a remark.
fn values(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(key, rest)| {
            let value = rest.rsplit_once("  # ").map_or(rest, |(value, _)| value);
            (key.trim().to_owned(), value.trim().to_owned())
        })
        .collect()
}

/// What a program said.
struct Said {
    is_success: bool,
    out: String,
    err: String,
}

impl Said {
    /// Its answer, when it gave one.
    fn answer(self, program: &Path) -> Result<String> {
        let shown = program.display();
        ensure!(self.is_success, "{shown} is no relay that can be asked: {}", self.err.trim());
        Ok(self.out.trim().to_owned())
    }
}

async fn ask(program: &Path, words: &[&str], plan: &Plan) -> Result<Said> {
    let shown = program.display();
    let mut command = Command::new(program);
    command
        .args(words)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .envs(plan.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&plan.dir)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(ANSWER_MAX, command.output());
    let output =
        output.await.with_context(|| format!("{shown} {} does not end", words.join(" ")))?;
    let output = output.with_context(|| format!("start {shown}"))?;
    Ok(Said {
        is_success: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value may hold what looks like a remark.
    #[test]
    fn values_are_read_as_the_relay_prints_them() {
        let text = "replay_window = \"72h\"   # default\ncontact = \"a # b\"  # environment\nx\n";
        let found = values(text);
        assert_eq!(found["replay_window"], "\"72h\"");
        assert_eq!(found["contact"], "\"a # b\"");
        assert_eq!(found.len(), 2);
    }
}
