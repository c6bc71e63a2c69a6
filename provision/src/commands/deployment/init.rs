//! `provision deployment init`.

use std::{
    io::{self, BufReader, IsTerminal as _},
    path::Path,
};

use anyhow::Result;
use clap::Args;
use provision::{
    deployment::{
        Deployment, System,
        begin::{self, Beginning, DATA, Login, PROVIDERS, Wishes},
    },
    init::answers,
};

use crate::{
    commands::wait,
    out::{self, Usage},
};

const EXAMPLES: &str = "\
Examples:
  provision deployment init relay.example.com --ssh admin@192.0.2.7 --contact mailto:you@example.com
  provision deployment init relay.example.com --ssh root@192.0.2.7 --disk nvme-SAMSUNG_X=/data/relay
  provision deployment init hil.example.com --provider hetzner-cloud --contact mailto:you@example.com
  provision deployment init relay.example.com --provider ovh-baremetal --name rbx
  provision deployment init relay.example.com --ssh root@192.0.2.7 --os nixos

With --ssh the host is looked at: its addresses, and its only blank disk. Nothing is changed there. With another
provider an example of Terraform's variables is written, to be edited. What is there already is kept.
Exit codes: 0 done, 1 something failed or a file says something else, 2 wrong usage.";

/// The answers; what is missing is asked for on a terminal.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InitArgs {
    /// Public name of the relay, such as relay.example.com.
    host: String,
    /// Name of the deployment; otherwise the first part of the public name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A host that is there already: USER@ADDRESS or USER@ADDRESS:PORT, with sudo unless it is root.
    #[arg(long, value_name = "DESTINATION", value_parser = Login::parse)]
    ssh: Option<Login>,
    /// Where the machine is had: existing-host, hetzner-cloud, hetzner-robot or ovh-baremetal.
    #[arg(long, value_name = "NAME", value_parser = PROVIDERS)]
    provider: Option<String>,
    /// A data disk by its name below /dev/disk/by-id, and where it is mounted; may be repeated.
    #[arg(long, value_name = "DISK[=MOUNT]", requires = "ssh")]
    disk: Vec<String>,
    /// What runs on the host: debian (set up by Ansible) or nixos (built by Nix on this side).
    #[arg(long, value_name = "NAME", default_value = "debian", value_parser = ["debian", "nixos"])]
    os: String,
    /// Where hosts reach its people: mailto: or a URL.
    #[arg(long, value_name = "URL")]
    contact: Option<String>,
    /// Age of the oldest event that a consumer can ask for, such as 72h; auto leaves it to `tune`.
    #[arg(long, value_name = "TIME", default_value = "auto")]
    window: String,
}

/// Begins it; `false` when an answer differs from what stands in a file.
pub(super) fn run(checkout: &Path, args: &InitArgs) -> Result<bool> {
    let hostname = answers::host(&args.host).map_err(Usage)?;
    let first = hostname.split('.').next().unwrap_or_default().to_owned();
    let name = args.name.clone().unwrap_or(first);
    let deployment =
        Deployment::place(checkout, &name).map_err(|error| Usage(format!("{error:#}")))?;
    let provider = match (&args.provider, &args.ssh) {
        (Some(provider), Some(_)) if provider != "existing-host" => {
            return Err(Usage(format!(
                "--ssh is for a host that is there already; {provider} makes one, or knows how to reach it"
            ))
            .into());
        }
        (Some(provider), _) => provider.clone(),
        (None, Some(_)) => "existing-host".to_owned(),
        (None, None) => asked(
            "Where is the machine (existing-host, hetzner-cloud, hetzner-robot, ovh-baremetal)",
            "--provider or --ssh",
            &|text| {
                let known = PROVIDERS.contains(&text.trim());
                known.then(|| text.trim().to_owned()).ok_or_else(|| PROVIDERS.join(", "))
            },
        )?,
    };
    let contact = match &args.contact {
        Some(contact) => answers::contact(contact).map_err(Usage)?,
        None => asked("Contact, mailto: or URL", "--contact", &answers::contact)?,
    };
    let wishes = Wishes {
        hostname,
        contact,
        window: answers::window(&args.window).map_err(Usage)?,
        disks: args.disk.iter().map(|text| disk(text)).collect::<Result<_, _>>().map_err(Usage)?,
        provider: provider.clone(),
        os: if args.os == "nixos" { System::Nixos } else { System::Debian },
    };
    let beginning = if provider == "existing-host" {
        let login = match &args.ssh {
            Some(login) => login.clone(),
            None => asked("How is it reached by ssh, USER@ADDRESS", "--ssh", &Login::parse)?,
        };
        wait::on(begin::existing(&deployment, &wishes, &login))?
    } else {
        begin::provided(&deployment, &wishes)?
    };
    explain(&deployment, &beginning);
    Ok(beginning.begun.conflicts.is_empty())
}

/// `NAME=MOUNT`, or a name alone.
fn disk(text: &str) -> Result<(String, String), String> {
    let (name, mount) = text.split_once('=').unwrap_or((text, DATA));
    let plain = |text: &str| {
        text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.:+".contains(&b))
            && !text.is_empty()
    };
    if !plain(name) || !plain(mount) || !mount.starts_with('/') || mount == "/" {
        return Err(format!(
            "--disk {text}: allowed is a name below /dev/disk/by-id and a directory, such as \
             nvme-SAMSUNG_X={DATA}"
        ));
    }
    let bare = name.trim_start_matches("/dev/disk/by-id/");
    Ok((format!("/dev/disk/by-id/{bare}"), mount.to_owned()))
}

/// Asks on a terminal; elsewhere says which flag is missing.
fn asked<T>(question: &str, flag: &str, check: &dyn Fn(&str) -> Result<T, String>) -> Result<T> {
    if !io::stdin().is_terminal() {
        return Err(Usage(format!(
            "{flag} is missing, and there is no terminal to ask on; see `provision deployment init --help`"
        ))
        .into());
    }
    let mut terminal = (BufReader::new(io::stdin()), io::stderr());
    Ok(answers::ask(&mut terminal, question, "", check)?)
}

fn explain(deployment: &Deployment, beginning: &Beginning) {
    for file in &beginning.begun.files {
        let did = out::did(file.change, false);
        out::line(&format!("{did:<14} {}  {}", file.path.display(), file.about));
    }
    let (path, change) = &beginning.file;
    out::line(&format!("{:<14} {}  the host", out::did(*change, false), path.display()));
    for conflict in &beginning.begun.conflicts {
        out::line(&format!(
            "kept           {} = {} in line {}; you asked for {}: change the line, or leave the answer out",
            conflict.name, conflict.kept, conflict.line, conflict.planned
        ));
    }
    out::line("");
    for line in &beginning.to_do {
        out::line(&format!("To do: {line}."));
    }
    out::line(&format!(
        "Secrets were made here and are shown nowhere; keep a copy of {}.",
        deployment.directory().display()
    ));
    out::line(&format!("Next: just deploy {}", deployment.name()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk may be named as a person copies it, with or without its directory and place.
    #[test]
    fn a_disk_is_named_in_short_or_whole() {
        let whole = ("/dev/disk/by-id/nvme-X".to_owned(), "/data/postgres".to_owned());
        assert_eq!(disk("/dev/disk/by-id/nvme-X=/data/postgres"), Ok(whole.clone()));
        assert_eq!(disk("nvme-X=/data/postgres"), Ok(whole));
        assert_eq!(disk("nvme-X").map(|(_, mount)| mount), Ok(DATA.to_owned()));
        for wrong in ["", "=x", "nvme-X=", "nvme-X=data", "nvme-X=/", "a b=/x", "$(id)=/x"] {
            assert!(disk(wrong).is_err(), "{wrong}");
        }
    }
}
