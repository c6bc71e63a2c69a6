//! `provision robot`: servers that are rented from Hetzner.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use provision::robot::{Confirmed, Disk, Firewall, Image, Install, Journal, Login, Robot, Server};

use super::wait;
use crate::out::{self, Usage};

const EXAMPLES: &str = "\
Examples:
  provision robot list
  provision robot check 321 --ipv4 203.0.113.10 --ipv6 2001:db8:321::1
  provision robot rdns 321 relay.example.com
  provision robot firewall 321 --ssh-source 198.51.100.0/24
  provision robot install 321 --confirm 321 --word first --hostname relay.example.com \\
      --key ~/.ssh/id_ed25519.pub --system-disk /dev/disk/by-id/nvme-A --system-disk /dev/disk/by-id/nvme-B \\
      --raid-level 1 --data-disk /dev/disk/by-id/nvme-C

Environment: ROBOT_USER and ROBOT_PASSWORD of \"Web service and app settings\" in Robot; they are never
written anywhere. ROBOT_IDENTITY is the same as --identity. What restarts or erases a server wants its number a second time (--confirm).
`install` writes the system to the system disks with software RAID and leaves all others alone. It
remembers what it did: interrupted, run it again; done, it does nothing until the word is another.
Exit codes: 0 done, 1 it could not be done or differs, 2 wrong usage.";

/// What to do.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RobotArgs {
    #[command(subcommand)]
    verb: Verb,
    /// User of the web service.
    #[arg(long, env = "ROBOT_USER", value_name = "USER", hide_env_values = true, global = true)]
    user: Option<String>,
    /// Another address of the web service, for tests.
    #[arg(long, env = "ROBOT_URL", value_name = "URL", hide = true, global = true)]
    service: Option<String>,
    /// Pause between two attempts.
    #[arg(long, env = "ROBOT_PAUSE", default_value = "2s", value_parser = humantime::parse_duration, hide = true, global = true)]
    pause: Duration,
    /// How long an answer may take.
    #[arg(long, env = "ROBOT_ANSWER_MAX", default_value = "60s", value_parser = humantime::parse_duration, hide = true, global = true)]
    answer_max: Duration,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows the servers of the account.
    List {
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Looks whether a server has these addresses and its contract goes on.
    Check {
        /// Hetzner's number of the server.
        number: u64,
        /// Its main IPv4 address.
        #[arg(long)]
        ipv4: Option<Ipv4Addr>,
        /// An address in its IPv6 network.
        #[arg(long)]
        ipv6: Option<Ipv6Addr>,
    },
    /// Lets the addresses of a server lead back to a name.
    Rdns {
        /// Hetzner's number of the server.
        number: u64,
        /// The name.
        hostname: String,
    },
    /// Sets the firewall of a server: http, https, icmp, and ssh from these networks.
    Firewall {
        /// Hetzner's number of the server.
        number: u64,
        /// A network in CIDR notation; up to four.
        #[arg(long, required = true, value_name = "CIDR")]
        ssh_source: Vec<String>,
        /// Port of sshd.
        #[arg(long, default_value_t = 22)]
        ssh_port: u16,
    },
    /// Restarts a server by its reset button.
    Reset {
        /// Hetzner's number of the server.
        number: u64,
        /// The same number again.
        #[arg(long, value_name = "NUMBER")]
        confirm: u64,
    },
    /// Erases the system disks of a server and installs a system on them.
    Install(Box<InstallArgs>),
}

#[derive(Debug, Args)]
struct InstallArgs {
    /// Hetzner's number of the server.
    number: u64,
    /// The same number again.
    #[arg(long, value_name = "NUMBER")]
    confirm: u64,
    /// Name of this installation; another word installs again.
    #[arg(long)]
    word: String,
    /// Name of the host.
    #[arg(long)]
    hostname: String,
    /// debian-12, debian-13 or ubuntu-24.04.
    #[arg(long, default_value = "debian-12")]
    os: String,
    /// File with the public key that may log in.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// File with its private key, unless an agent has it.
    #[arg(long, env = "ROBOT_IDENTITY", value_name = "FILE")]
    identity: Option<PathBuf>,
    /// A disk for the system, which is erased: its name in /dev/disk/by-id.
    #[arg(long, required = true, value_name = "DISK")]
    system_disk: Vec<String>,
    /// RAID of several system disks.
    #[arg(long, value_name = "LEVEL")]
    raid_level: Option<u8>,
    /// A disk for data, which stays as it is: its name in /dev/disk/by-id.
    #[arg(long, required = true, value_name = "DISK")]
    data_disk: Vec<String>,
    /// Where the steps that are done are kept; by default robot-NUMBER.json here.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// How long the server may take to start, and to be written.
    #[arg(long, default_value = "20m", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Port of the rescue system's sshd, for tests.
    #[arg(long, env = "ROBOT_SSH_PORT", default_value_t = 22, hide = true)]
    port: u16,
}

/// Does it; `false` when a check finds a difference.
pub(crate) fn run(args: &RobotArgs) -> Result<bool> {
    let user = args.user.as_deref().unwrap_or_default();
    let password = std::env::var_os("ROBOT_PASSWORD").unwrap_or_default();
    let password = password.to_string_lossy();
    if user.is_empty() || password.is_empty() {
        let why = "set ROBOT_USER and ROBOT_PASSWORD, of \"Web service and app settings\" in Robot";
        return Err(Usage(why.to_owned()).into());
    }
    let robot = Robot::new(args.service.as_deref(), user, &password, args.pause)?
        .with_patience(args.answer_max)?;
    match &args.verb {
        Verb::List { json } => list(&robot, *json),
        Verb::Check { number, ipv4, ipv6 } => check(&robot, *number, *ipv4, *ipv6),
        Verb::Rdns { number, hostname } => point_back(&robot, *number, hostname),
        Verb::Firewall { number, ssh_source, ssh_port } => {
            let firewall = Firewall::new(*ssh_port, ssh_source).map_err(Usage)?;
            let changed = wait::on(async { Ok(robot.protect(*number, &firewall).await?) })?;
            out::note(if changed {
                "the firewall was changed"
            } else {
                "the firewall is so already"
            });
            Ok(true)
        }
        Verb::Reset { number, confirm } => {
            let server = confirmed(*number, *confirm)?;
            wait::on(async { Ok(robot.reset(server).await?) })?;
            out::note(&format!("server {number}: restarted"));
            Ok(true)
        }
        Verb::Install(install) => run_install(&robot, install, args.pause),
    }
}

fn confirmed(number: u64, typed: u64) -> Result<Confirmed> {
    let why = format!("--confirm {typed} is not the number {number}; nothing was done");
    Confirmed::new(number, typed).ok_or_else(|| Usage(why).into())
}

fn list(robot: &Robot, json: bool) -> Result<bool> {
    let servers = wait::on(async { Ok(robot.servers().await?) })?;
    if json {
        out::json(&servers)?;
        return Ok(true);
    }
    for Server { number, name, product, dc, status, cancelled, ipv4, .. } in &servers {
        let address = ipv4.map_or("-".to_owned(), |address| address.to_string());
        let end = if *cancelled { ", its contract ends" } else { "" };
        out::line(&format!(
            "{number:<9} {address:<16} {product:<14} {dc:<10} {status}{end}  {name}"
        ));
    }
    Ok(true)
}

fn check(
    robot: &Robot,
    number: u64,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
) -> Result<bool> {
    let server = wait::on(async { Ok(robot.server(number).await?) })?;
    let mut wrong = Vec::new();
    if let Some(asked) = ipv4.filter(|asked| server.ipv4 != Some(*asked)) {
        let has = server.ipv4.map_or("none".to_owned(), |address| address.to_string());
        wrong.push(format!("server {number} has the address {has}, not {asked}"));
    }
    let net = |address: Ipv6Addr| address.to_bits() >> 64;
    if let Some(asked) = ipv6.filter(|asked| server.ipv6_net.map(net) != Some(net(*asked))) {
        let has = server.ipv6_net.map_or("none".to_owned(), |address| format!("{address}/64"));
        wrong.push(format!(
            "server {number} has the IPv6 network {has}, which does not hold {asked}"
        ));
    }
    if server.cancelled {
        wrong.push(format!("server {number}: its contract ends"));
    }
    for line in &wrong {
        out::line(line);
    }
    Ok(wrong.is_empty())
}

fn point_back(robot: &Robot, number: u64, hostname: &str) -> Result<bool> {
    wait::on(async {
        let server = robot.server(number).await?;
        let all = [server.ipv4.map(IpAddr::from), server.ipv6().map(IpAddr::from)];
        for address in all.into_iter().flatten() {
            let changed = robot.point_back(address, hostname).await?;
            let did = if changed { "leads back to" } else { "leads already back to" };
            out::note(&format!("{address} {did} {hostname}"));
        }
        Ok(true)
    })
}

fn run_install(robot: &Robot, args: &InstallArgs, pause: Duration) -> Result<bool> {
    let server = confirmed(args.number, args.confirm)?;
    let disks =
        |all: &[String]| all.iter().map(|text| Disk::parse(text)).collect::<Result<Vec<_>, _>>();
    let image = disks(&args.system_disk).and_then(|system| {
        Image::new(&args.hostname, system, disks(&args.data_disk)?, args.raid_level, &args.os)
    });
    let image = image.map_err(|error| Usage(error.to_string()))?;
    let key = fs::read_to_string(&args.key)
        .with_context(|| format!("read the public key {}", args.key.display()))?;
    if !key.starts_with("ssh-") && !key.starts_with("ecdsa-") {
        let why = format!("{} is no public key; its name ends in .pub", args.key.display());
        return Err(Usage(why).into());
    }
    let journal =
        args.journal.clone().unwrap_or_else(|| format!("robot-{}.json", args.number).into());
    wait::on(async {
        let found = robot.server(args.number).await?;
        let address = found.ipv4.map(IpAddr::from).or(found.ipv6().map(IpAddr::from));
        let login = Login {
            address: address.context("the server has no address")?,
            port: args.port,
            identity: args.identity.clone(),
            known_hosts: journal.with_extension("known_hosts"),
            pause: Some(pause),
        };
        let mut journal = Journal::open(&journal, args.number, &args.word)?;
        let install =
            Install { server, image, key: key.trim().to_owned(), login, wait_max: args.wait };
        install.run(robot, &mut journal, &mut wait::tell).await?;
        Ok(true)
    })
}
