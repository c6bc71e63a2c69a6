//! `provision deployment doctor`.

use anyhow::Result;
use clap::Args;
use provision::{
    deployment::{
        Deployment,
        checkup::{self, Finding, From},
    },
    doctor::State,
};
use serde::Serialize;

use crate::{
    commands::wait::{self, Screen},
    out::{self, Usage},
};

const EXAMPLES: &str = "\
Examples:
  provision deployment doctor ash
  provision deployment doctor ash --listen 1m
  provision deployment doctor ash --json | jq '.findings[] | select(.state != \"ok\")'

What anybody outside sees is looked at from here, by the public name; the rest by the doctor of the host.
Exit codes: 0 nothing failed (there may be warnings), 1 something failed, 2 wrong usage. Nothing is changed.";

/// Of which one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// The deployment.
    pub(crate) name: Option<String>,
    /// How long to listen for events.
    #[arg(long, value_name = "TIME", default_value = "15s")]
    listen: String,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// The answer as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) name: String,
    pub(super) worst: State,
    pub(super) findings: Vec<Finding>,
}

impl Answer {
    pub(super) fn of(deployment: &Deployment, findings: Vec<Finding>) -> Self {
        let worst = findings.iter().map(|finding| finding.state).max().unwrap_or(State::Ok);
        Self { name: deployment.name().to_owned(), worst, findings }
    }

    /// Shows how many of each there are; `false` when something failed.
    pub(super) fn sum(&self) -> bool {
        let count = |state| self.findings.iter().filter(|one| one.state == state).count();
        out::line("");
        out::line(&format!(
            "{} ok, {} to look at, {} failed",
            count(State::Ok),
            count(State::Warn),
            count(State::Fail)
        ));
        self.worst != State::Fail
    }
}

/// Looks at everything; `false` when something failed.
pub(crate) fn run(deployment: &Deployment, args: &DoctorArgs) -> Result<bool> {
    let listen = super::span("--listen", &args.listen).map_err(Usage)?;
    let mut screen = Screen::new();
    let findings = wait::on(async {
        let mut tell = |told| screen.tell(told);
        checkup::both(deployment, listen, &mut tell).await
    })?;
    screen.clear();
    let answer = Answer::of(deployment, findings);
    if args.json {
        out::json(&answer)?;
        return Ok(answer.worst != State::Fail);
    }
    for (from, title) in [(From::Here, "from here"), (From::Host, "on the host")] {
        out::line(&format!("{title}:"));
        answer.findings.iter().filter(|finding| finding.from == from).for_each(show);
    }
    Ok(answer.sum())
}

/// A finding for a person.
pub(super) fn show(finding: &Finding) {
    let Finding { check, state, what, cause, fix, .. } = finding;
    out::line(&format!("{} {check:<10} {what}", super::word(*state)));
    for (sign, text) in [("why:", cause), ("do: ", fix)] {
        if !text.is_empty() {
            out::line(&format!("                {sign} {text}"));
        }
    }
}
