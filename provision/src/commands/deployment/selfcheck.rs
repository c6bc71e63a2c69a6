//! `provision deployment selfcheck`.

use anyhow::Result;
use clap::Args;
use provision::{
    deployment::{
        Deployment, checkup,
        selfcheck::{self, Later, Outcome, UNIT},
    },
    doctor::State,
};
use serde_json::json;

use super::doctor::{self, Answer};
use crate::{
    commands::{selfcheck::show, wait},
    out::{self, Usage},
};

const EXAMPLES: &str = "\
Examples:
  provision deployment selfcheck ash                   now, by the public name; and what came out of the last one
  provision deployment selfcheck ash --after 24h       later, on the host: hosts and events beside bsky.network
  provision deployment selfcheck ash --after 1h -- --for 30m --hosts 2900

What is to come later neither needs this machine nor is lost with a restart of the host. After `--` stand
arguments of `provision selfcheck`.
Exit codes: 0 all is well, 1 something is not, 2 wrong usage.";

/// Of which one, and when.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SelfcheckArgs {
    /// The deployment.
    pub(crate) name: Option<String>,
    /// Let the host make one by itself, so much later.
    #[arg(long, value_name = "TIME")]
    after: Option<String>,
    /// How long to listen for events.
    #[arg(long, value_name = "TIME", default_value = "15s")]
    listen: String,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
    /// Arguments of `provision selfcheck`, for later.
    #[arg(last = true, requires = "after")]
    words: Vec<String>,
}

/// Looks now, or lets the host look later; `false` when something is not well.
pub(crate) fn run(deployment: &Deployment, args: &SelfcheckArgs) -> Result<bool> {
    let after = args.after.as_deref().map(|text| super::span("--after", text));
    let after = after.transpose().map_err(Usage)?;
    let listen = super::span("--listen", &args.listen).map_err(Usage)?;
    let remote = deployment.remote()?;
    if let Some(after) = after {
        let host = deployment.host()?;
        let moment = wait::on(selfcheck::schedule(&remote, &host, after, &args.words))?;
        if args.json {
            out::json(&json!({ "next": moment }))?;
        } else {
            out::line(&format!("the host looks by itself at {moment}"));
            out::note(&format!("later: provision deployment selfcheck {}", deployment.name()));
        }
        return Ok(true);
    }
    let mut findings = Vec::new();
    let later = wait::on(async {
        let mut take = |finding| {
            if !args.json {
                doctor::show(&finding);
            }
            findings.push(finding);
        };
        checkup::outside(deployment, listen, &mut take).await?;
        selfcheck::show(&remote).await
    })?;
    let answer = Answer::of(deployment, findings);
    let is_kept = match &later.result {
        None => true,
        Some(Outcome::Judged(judged)) => judged.is_kept(),
        Some(Outcome::Failed { .. }) => false,
    };
    let is_well = answer.worst != State::Fail && is_kept;
    if args.json {
        out::json(&json!({ "now": answer, "later": later }))?;
        return Ok(is_well);
    }
    answer.sum();
    shown(&later);
    Ok(is_well)
}

fn shown(later: &Later) {
    match &later.result {
        Some(Outcome::Judged(judged)) => {
            out::line(&format!("\nthe host's own selfcheck of {}:", judged.at));
            show(judged);
        }
        Some(Outcome::Failed { error }) => {
            out::line(&format!("\nthe host's own selfcheck could not be made: {error}"));
        }
        None => {}
    }
    if later.is_running {
        out::note(&format!("the host looks just now: provision deployment logs -f --unit {UNIT}"));
    }
    if let Some(next) = &later.next {
        out::note(&format!("the host looks by itself at {next}"));
    }
    if later.result.is_none() && later.next.is_none() && !later.is_running {
        out::note("the host makes none by itself; `--after 24h` lets it");
    }
}
