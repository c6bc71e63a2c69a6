//! `provision deployment destroy`.

use std::io::{self, BufReader, IsTerminal as _};

use anyhow::{Result, bail};
use clap::Args;
use provision::{
    deployment::{Deployment, destroy},
    init::answers,
};

use super::deploy::until_stopped;
use crate::{
    commands::wait::Screen,
    out::{self, Usage},
};

const EXAMPLES: &str = "\
Examples:
  provision deployment destroy hil                    asks for the name
  provision deployment destroy hil --confirm hil

A host that Terraform made is deleted with its volumes and addresses. On a host that was there, or is rented, the
relay and what was set up with it is taken down; its data disks stay as they are, and so does the contract. The
directory of the deployment stays, with its secrets.
Exit codes: 0 done, 1 it failed, 2 wrong usage.";

/// What to take down.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DestroyArgs {
    /// The deployment.
    pub(super) name: String,
    /// Its name again.
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

/// Takes it down.
pub(super) fn run(deployment: &Deployment, args: &DestroyArgs) -> Result<bool> {
    confirmed(deployment, args.confirm.as_deref(), "everything of it is taken down")?;
    let mut screen = Screen::new();
    let done = until_stopped(async |stop| {
        destroy::run(deployment, stop, &mut |told| screen.tell(told)).await
    });
    screen.clear();
    out::line(&done?);
    Ok(true)
}

/// The name of the deployment was typed twice.
///
/// * `what` – what happens then
pub(super) fn confirmed(deployment: &Deployment, given: Option<&str>, what: &str) -> Result<()> {
    let name = deployment.name();
    let typed = match given {
        Some(given) => given.to_owned(),
        None if io::stdin().is_terminal() => {
            let mut terminal = (BufReader::new(io::stdin()), io::stderr());
            let question = format!("Type the name of the deployment ({what})");
            answers::ask(&mut terminal, &question, "", |text| Ok(text.trim().to_owned()))?
        }
        None => {
            return Err(Usage(format!(
                "say --confirm {name}, as there is no terminal to ask on; nothing was done"
            ))
            .into());
        }
    };
    if typed != name {
        bail!(Usage(format!("`{typed}` is not {name}; nothing was done")));
    }
    Ok(())
}
