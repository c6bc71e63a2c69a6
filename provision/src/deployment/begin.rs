//! Begins a deployment: the answers of a person become its directory.
//!
//! What is there is kept, as `provision init` keeps it; so it can be run again with another answer.

pub mod disks;

use std::{fs, net::IpAddr, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use self::disks::Found;
use super::{DataDisk, Deployment, Remote, System};
use crate::{
    files::{self, Change},
    init::{
        self, Begun,
        answers::{Answers, Store},
    },
    told::harmless,
};

/// Where machines are had, as Terraform and Ansible name them.
pub const PROVIDERS: [&str; 4] =
    ["existing-host", "hetzner-cloud", "hetzner-robot", "ovh-baremetal"];
/// Where the relay's data lie on a host.
pub const DATA: &str = "/data/relay";
/// Directory of the socket of the host's own Postgres.
const SOCKET: &str = "/run/postgresql";

/// Where `ssh` goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Who.
    pub user: String,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Login {
    /// Reads `USER@HOST`, `HOST` or `USER@HOST:PORT`; an IPv6 address with a port stands in brackets.
    ///
    /// # Errors
    /// What is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no way for ssh: allowed is ADDRESS, USER@ADDRESS or USER@ADDRESS:PORT, such as \
                 admin@192.0.2.7"
            )
        };
        let (user, rest) = text.trim().split_once('@').unwrap_or(("root", text.trim()));
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None if rest.matches(':').count() == 1 => {
                rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)))
            }
            None => (rest, None),
        };
        let port = port.map_or(Ok(22), |port| port.parse::<u16>().map_err(|_no_port| wrong()))?;
        let plain = |text: &str, more: &[u8]| {
            !text.is_empty()
                && !text.starts_with('-')
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
        };
        if port == 0 || !plain(user, b"_-.") || !plain(host, b"-.:") {
            return Err(wrong());
        }
        Ok(Self { user: user.to_owned(), host: host.to_owned(), port })
    }
}

/// What a person says.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// Public name of the relay.
    pub hostname: String,
    /// Where hosts reach its people: a URL or `mailto:`.
    pub contact: String,
    /// One of [`PROVIDERS`].
    pub provider: String,
    /// What is to run on the host.
    pub os: System,
    /// Replay window as the settings write it; `None` leaves it to `tune`.
    pub window: Option<String>,
    /// Names of data disks below `/dev/disk/by-id` and where they are mounted; empty = the blank one.
    pub disks: Vec<(String, String)>,
}

/// What was begun.
#[derive(Debug)]
pub struct Beginning {
    /// Settings and secrets.
    pub begun: Begun,
    /// The inventory or the variables, and what became of it.
    pub file: (PathBuf, Change),
    /// What a person has to do before `just deploy`.
    pub to_do: Vec<String>,
}

/// Writes settings and secrets.
fn settings(deployment: &Deployment, wishes: &Wishes) -> Result<Begun> {
    let answers = Answers {
        host: wishes.hostname.clone(),
        contact: wishes.contact.clone(),
        provider: wishes.provider.clone(),
        store: Store::parse("postgres", SOCKET).map_err(anyhow::Error::msg)?,
        window: wishes.window.clone(),
        data_dir: DATA.to_owned(),
    };
    Ok(init::begin(deployment.directory(), &answers, false)?)
}

/// Begins one on a host that is there already: finds its disks and addresses over ssh.
///
/// # Errors
/// When the host is not reached, or it is not clear which disk is meant.
pub async fn existing(
    deployment: &Deployment,
    wishes: &Wishes,
    login: &Login,
) -> Result<Beginning> {
    let begun = settings(deployment, wishes)?;
    let path = deployment.inventory();
    if path.is_file() {
        // A person may have written more into it than is known here.
        deployment.host()?;
        return Ok(Beginning { begun, file: (path, Change::Unchanged), to_do: Vec::new() });
    }
    let remote = Remote::to(deployment, &login.user, &login.host, login.port);
    let there = remote.done("look at the disks of the host", disks::SCRIPT, &[]).await?;
    let found = disks::read(&there)?;
    let chosen = chosen(&found, &wishes.disks)?;
    let ipv4 = found.addresses.iter().find(|ip| ip.is_ipv4()).copied();
    let ipv6 = found.addresses.iter().find(|ip| ip.is_ipv6()).copied();
    let named = login.host.parse::<IpAddr>().ok();
    let inventory = json!({ "relay": { "hosts": { deployment.name(): {
        "ansible_host": login.host,
        "ansible_user": login.user,
        "ansible_port": login.port,
        "relay_name": deployment.name(),
        "relay_hostname": wishes.hostname,
        "ipv4": named.filter(IpAddr::is_ipv4).or(ipv4),
        "ipv6": named.filter(IpAddr::is_ipv6).or(ipv6),
        "provider": "existing-host",
        "os": wishes.os,
        "data_disks": chosen,
    } } } });
    let text = serde_saphyr::to_string(&inventory).context("write the inventory")?;
    let change = files::write(&path, &text, 0o644)?;
    let mut to_do = Vec::new();
    for (family, ip) in [("A", ipv4), ("AAAA", ipv6)] {
        if let Some(ip) = ip {
            to_do.push(format!("let {} lead to the host: {family} {ip}", wishes.hostname));
        }
    }
    Ok(Beginning { begun, file: (path, change), to_do })
}

/// The disks that were named, or the only blank one.
fn chosen(found: &Found, named: &[(String, String)]) -> Result<Vec<DataDisk>> {
    if named.is_empty() {
        let blank: Vec<_> = found.disks.iter().filter(|disk| disk.is_blank).collect();
        return match &*blank {
            [only] => Ok(vec![only.at(DATA)]),
            [] => bail!(
                "the host has no blank disk for the relay's data. There are:\n{}\nAdd one (a volume, a disk), or empty \
                 one that nobody needs with `wipefs --all`, and run this again",
                found.list()
            ),
            _ => bail!(
                "the host has several blank disks; say which with --disk NAME=MOUNT, such as `--disk {}={DATA}`. There \
                 are:\n{}",
                blank.first().map(|disk| &*disk.by_id).unwrap_or_default(),
                found.list()
            ),
        };
    }
    named
        .iter()
        .map(|(by_id, mount)| {
            let disk =
                found.disks.iter().find(|disk| disk.by_id == *by_id || disk.names.contains(by_id));
            let disk = disk.with_context(|| {
                format!(
                    "the host has no disk {}. There are:\n{}",
                    harmless(by_id, 200),
                    found.list()
                )
            })?;
            Ok(DataDisk { by_id: by_id.clone(), ..disk.at(mount) })
        })
        .collect()
}

/// Begins one whose host Terraform makes: the example of its provider becomes its variables, and a
/// person edits them.
///
/// # Errors
/// When there is no such example, or a file cannot be written.
pub fn provided(deployment: &Deployment, wishes: &Wishes) -> Result<Beginning> {
    let begun = settings(deployment, wishes)?;
    let path = deployment.file("terraform.tfvars");
    if path.is_file() {
        return Ok(Beginning { begun, file: (path, Change::Unchanged), to_do: Vec::new() });
    }
    let examples = deployment.checkout().join("terraform/examples");
    let example = match &*wishes.provider {
        // There are two of it, a pair in two places.
        "hetzner-cloud" => "hetzner-cloud-hil.tfvars".to_owned(),
        other => format!("{other}.tfvars"),
    };
    let example = examples.join(example);
    let text =
        fs::read_to_string(&example).with_context(|| format!("read {}", example.display()))?;
    let mut text = filled(&text, deployment.name(), &wishes.hostname)?;
    if wishes.os == System::Nixos {
        text.push_str("\n# The machine comes with another system, which `just deploy` replaces.\nos = \"nixos\"\n");
    }
    let change = files::write(&path, &text, 0o644)?;
    let tokens = text.lines().find_map(|line| line.split_once("Environment: "));
    let mut to_do = vec![format!("edit {}: your keys, your zone, your size", path.display())];
    if let Some((_, tokens)) = tokens {
        to_do.push(format!("set in the environment: {}", tokens.trim_end_matches('.')));
    }
    Ok(Beginning { begun, file: (path, change), to_do })
}

/// An example with a name and a host name of one's own.
fn filled(example: &str, name: &str, hostname: &str) -> Result<String> {
    let set = |line: &str, variable: &str, value: &str| {
        let (head, _) = line.split_once('=')?;
        (head.trim() == variable).then(|| format!("{head}= {}", Value::from(value)))
    };
    let lines: Vec<_> = example
        .lines()
        .map(|line| {
            set(line, "name", name)
                .or_else(|| set(line, "hostname", hostname))
                .unwrap_or_else(|| line.to_owned())
        })
        .collect();
    let text = lines.join("\n") + "\n";
    ensure!(
        text.contains(&format!("\"{name}\"")) && text.contains(&format!("\"{hostname}\"")),
        "the example has no name and hostname to fill in"
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way in which people write where ssh goes is understood, and an option is none.
    #[test]
    fn the_way_for_ssh_is_read() {
        let login = |user: &str, host: &str, port| {
            Ok(Login { user: user.to_owned(), host: host.to_owned(), port })
        };
        assert_eq!(Login::parse("192.0.2.7"), login("root", "192.0.2.7", 22));
        assert_eq!(
            Login::parse("admin@relay.example.com:2222"),
            login("admin", "relay.example.com", 2222)
        );
        assert_eq!(Login::parse("a@2001:db8::7"), login("a", "2001:db8::7", 22));
        assert_eq!(Login::parse("a@[2001:db8::7]:2222"), login("a", "2001:db8::7", 2222));
        for wrong in
            ["", "-oProxyCommand=x", "a@-b", "a@b:0", "a@b:x", "a b@c", "a@b c", "a@b:70000"]
        {
            let said = Login::parse(wrong).expect_err(wrong);
            assert!(said.contains("admin@192.0.2.7"), "{said}");
        }
    }

    /// What is blank is taken by itself only when there is no doubt; a disk with something on it never.
    #[test]
    fn a_disk_is_taken_only_without_doubt() -> Result<()> {
        let found = |lines: &str| disks::read(lines);
        let system = "disk /dev/sda 40000000000 used ata-SYSTEM\n";
        let one = "disk /dev/sdb 800000000000 blank scsi-0HC_Volume_1 wwn-0x1\n";
        let two = "disk /dev/sdc 800000000000 blank scsi-0HC_Volume_2\n";
        let taken = chosen(&found(&format!("{system}{one}"))?, &[])?;
        assert_eq!(
            (&*taken[0].by_id, &*taken[0].mount, taken[0].size_gb),
            ("/dev/disk/by-id/scsi-0HC_Volume_1", DATA, 800)
        );
        let none = chosen(&found(system)?, &[]).expect_err("none").to_string();
        assert!(none.contains("no blank disk") && none.contains("ata-SYSTEM"), "{none}");
        let several = chosen(&found(&format!("{one}{two}"))?, &[]).expect_err("two").to_string();
        assert!(several.contains("--disk"), "{several}");
        let named = [("/dev/disk/by-id/wwn-0x1".to_owned(), "/data/postgres".to_owned())];
        let taken = chosen(&found(&format!("{one}{two}"))?, &named)?;
        assert_eq!(
            (&*taken[0].by_id, &*taken[0].mount),
            ("/dev/disk/by-id/wwn-0x1", "/data/postgres")
        );
        let nowhere = [("/dev/sdz".to_owned(), DATA.to_owned())];
        assert!(chosen(&found(one)?, &nowhere).is_err());
        Ok(())
    }

    /// An example gets a name and a host name, and keeps all else with its comments.
    #[test]
    fn an_example_is_filled_in() -> Result<()> {
        let text = "# a comment\nname          = \"hil\"\nhostname      = \"hil.example.com\"\nother = 1\n";
        let filled_in = filled(text, "ash", "relay.example.org")?;
        assert_eq!(
            filled_in,
            "# a comment\nname          = \"ash\"\nhostname      = \"relay.example.org\"\nother = 1\n"
        );
        assert!(filled("nothing = 1\n", "ash", "relay.example.org").is_err());
        Ok(())
    }
}
