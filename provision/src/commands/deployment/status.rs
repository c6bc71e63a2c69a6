//! `provision deployment status`.

use anyhow::Result;
use clap::Args;
use provision::{
    deployment::{Deployment, status},
    doctor::State,
};

use crate::{commands::wait, out};

const EXAMPLES: &str = "\
Examples:
  provision deployment status ash
  provision deployment status ash --json | jq '.host.metrics.relay_eventlog_head_seq'

The host is asked once by ssh, and the public name from here.
Exit codes: 0 nothing is down (there may be warnings), 1 something is, 2 wrong usage.";

/// Of which one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    /// The deployment.
    pub(crate) name: Option<String>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// Shows it; `false` when a part is down.
pub(crate) fn run(deployment: &Deployment, args: &StatusArgs) -> Result<bool> {
    let status = wait::on(status::look(deployment))?;
    let is_up = status.worst() != State::Fail;
    if args.json {
        out::json(&status)?;
        return Ok(is_up);
    }
    out::line(&format!("{}  {}  {}\n", status.name, status.hostname, status.destination));
    for row in &status.rows {
        out::line(&format!("{} {:<12} {}", super::word(row.state), row.part, row.what));
        if !row.todo.is_empty() {
            out::line(&format!("                  do: {}", row.todo));
        }
    }
    Ok(is_up)
}
