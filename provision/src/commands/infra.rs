//! `provision infra`: the host of a deployment.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use provision::{
    deployment::Deployment,
    infra::{self, Infra},
};

use crate::out::{self, Usage};

const EXAMPLES: &str = "\
Examples:
  cp terraform/examples/hetzner-cloud-hil.tfvars deployments/hil/terraform.tfvars   then edit it
  provision infra plan hil
  provision infra apply hil
  provision infra apply rbx --reinstall ns1.ip-192-0-2.eu/first   erases and installs a rented server
  provision infra destroy hil --confirm hil

Tokens come from the environment (HCLOUD_TOKEN, OVH_…, CLOUDFLARE_API_TOKEN, ROBOT_…). State, inventory.yml
and settings.env are written to deployments/NAME; none of them holds a secret. Interrupted, run it again.
Exit codes: 0 done, 1 Terraform failed, 2 wrong usage.";

/// What to do.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InfraArgs {
    #[command(subcommand)]
    verb: Verb,
    /// The checkout, which has `terraform` and `deployments`.
    #[arg(long, value_name = "DIR", default_value = ".", global = true)]
    checkout: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows what would be done, and does nothing.
    Plan {
        /// The deployment.
        name: String,
        /// The server's own name, a slash and a new word: erases and installs a server that is rented.
        #[arg(long, value_name = "SERVER/WORD")]
        reinstall: Option<String>,
    },
    /// Makes or changes the host, and writes inventory.yml and settings.env.
    Apply {
        /// The deployment.
        name: String,
        /// The server's own name, a slash and a new word: erases and installs a server that is rented.
        #[arg(long, value_name = "SERVER/WORD")]
        reinstall: Option<String>,
        /// Do not ask before.
        #[arg(long)]
        yes: bool,
    },
    /// Writes inventory.yml and settings.env again.
    Write {
        /// The deployment.
        name: String,
    },
    /// Deletes everything that was made; rented servers and their contracts stay.
    Destroy {
        /// The deployment.
        name: String,
        /// Its name again.
        #[arg(long, value_name = "NAME")]
        confirm: String,
    },
}

/// Does it; `false` when Terraform failed.
pub(crate) fn run(args: &InfraArgs) -> Result<bool> {
    let (Verb::Plan { name, .. }
    | Verb::Apply { name, .. }
    | Verb::Write { name }
    | Verb::Destroy { name, .. }) = &args.verb;
    if let Verb::Destroy { confirm, .. } = &args.verb
        && confirm != name
    {
        return Err(Usage(format!("--confirm {confirm} is not {name}; nothing was done")).into());
    }
    let host = Deployment::place(&args.checkout, name)
        .and_then(|deployment| Infra::of(&deployment))
        .map_err(|error| Usage(format!("{error:#}")))?;
    infra::terraform_is_there()?;
    host.init()?;
    let word = |word: Option<&String>| -> Vec<String> {
        word.map(|word| format!("-var=reinstall={word}")).into_iter().collect()
    };
    match &args.verb {
        Verb::Plan { reinstall, .. } => host.plan(&word(reinstall.as_ref())),
        Verb::Apply { reinstall, yes, .. } => {
            Ok(host.apply(&word(reinstall.as_ref()), !yes)? && write(&host)?)
        }
        Verb::Write { .. } => write(&host),
        Verb::Destroy { .. } => host.destroy(),
    }
}

pub(crate) fn write(host: &Infra) -> Result<bool> {
    for file in host.write()? {
        out::note(&format!("{} {}", out::did(file.change, false), file.path.display()));
    }
    let records = host.records_by_hand()?;
    if !records.is_empty() {
        out::note("Enter these records at whoever serves your zone:");
        out::text(&records);
    }
    Ok(true)
}
