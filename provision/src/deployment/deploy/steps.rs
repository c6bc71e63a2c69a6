//! What each step does.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::{process::Command, task::spawn_blocking, time::sleep};

use crate::{
    deployment::{
        Deployment, Host, System, nixos,
        order::{Order, START_MAX},
        playbook::{Played, account, play},
        stop::Stop,
    },
    infra::{self, Infra},
    moment, run,
    told::{Tell, Told, harmless},
};

/// How often a name is asked for.
const NAMES_EVERY: Duration = Duration::from_secs(5);
/// Between two looks from outside.
const LIVE_EVERY: Duration = Duration::from_secs(5);
/// What is looked at from outside, unless `selfcheck_checks` says otherwise.
const CHECKS: [&str; 5] = ["dns", "tls", "websocket", "admin", "live"];
/// Whom a new relay asks for hosts, unless `hosts_from` says otherwise.
const HOSTS_FROM: &str = "bsky.network";

/// The steps, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Programs,
    Host,
    Ssh,
    Disks,
    Names,
    Machine,
    Hosts,
    Live,
}

/// All of them.
pub(super) const STEPS: [Step; 8] = [
    Step::Programs,
    Step::Host,
    Step::Ssh,
    Step::Disks,
    Step::Names,
    Step::Machine,
    Step::Hosts,
    Step::Live,
];

impl Step {
    /// Its name, and what it does.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Programs => ("programs", "have the relay's program"),
            Self::Host => ("host", "have the host"),
            Self::Ssh => ("ssh", "reach it, and be root there"),
            Self::Disks => ("disks", "look at the data disks; nothing is touched"),
            Self::Names => ("names", "find the host by the public name"),
            Self::Machine => ("machine", "set up everything on the host"),
            Self::Hosts => ("hosts", "tell the relay which hosts there are"),
            Self::Live => ("live", "read verified events by the public name, over TLS"),
        }
    }
}

/// Takes a step; gives what is to be said of it.
pub(super) async fn take(
    which: Step,
    (deployment, order): (&Deployment, &Order),
    stop: &Stop,
    tell: &mut Tell<'_>,
) -> Result<String> {
    match which {
        Step::Programs => programs(deployment, order).await,
        Step::Host => host(deployment, order, stop).await,
        Step::Ssh => ssh(deployment, stop, tell).await,
        Step::Disks if system(deployment)? == System::Nixos => {
            nixos::disks(deployment, order).await
        }
        Step::Machine if system(deployment)? == System::Nixos => {
            nixos::machine(deployment, order, stop, tell).await
        }
        Step::Disks => {
            let words = ["--tags", "storage", "--skip-tags", "packages", "--check"];
            let words = words.map(str::to_owned);
            let played = play(deployment, "site.yml", &words, stop, tell).await?;
            well(&played)?;
            let disks = deployment.host()?.data_disks;
            let shown = disks.iter().map(|disk| format!("{} at {}", disk.by_id, disk.mount));
            Ok(shown.collect::<Vec<_>>().join(", "))
        }
        Step::Names => names(&deployment.host()?, order, stop, tell).await,
        Step::Machine => {
            let mut words = programs_for(deployment, order)?;
            words.extend(["--skip-tags", "selfcheck"].map(str::to_owned));
            let played = play(deployment, "site.yml", &words, stop, tell).await?;
            well(&played)?;
            Ok(format!("{} changed ({})", played.changed, account(&played)))
        }
        Step::Hosts => hosts(deployment, stop).await,
        Step::Live => live(deployment, order, stop, tell).await,
    }
}

/// What runs on the host, or is to.
fn system(deployment: &Deployment) -> Result<System> {
    Ok(deployment.host()?.os)
}

/// A run of Ansible that has to end well.
fn well(played: &Played) -> Result<()> {
    if played.is_good {
        return Ok(());
    }
    let why = played.failure.as_deref().unwrap_or("it did not reach its end");
    bail!("{why} (all that was said: {})", played.log.display())
}

/// The relay's program: the one that was named, or built here.
///
/// # Errors
/// When there is none, or it does not compile.
pub(crate) async fn programs(deployment: &Deployment, order: &Order) -> Result<String> {
    if let Some(relay) = &order.relay {
        ensure!(relay.is_file(), "--relay {} is no file", relay.display());
        return Ok(relay.display().to_string());
    }
    let named = if infra::variables(deployment).is_none() || deployment.inventory().is_file() {
        let host = deployment.host()?;
        if host.os == System::Nixos {
            return nixos::programs().await;
        }
        let source = host.text("relay_source").unwrap_or("local").to_owned();
        if source != "local" {
            return Ok(format!("the host takes it from the {source}"));
        }
        host.text("relay_program").map(PathBuf::from)
    } else {
        None
    };
    if let Some(named) = named {
        ensure!(named.is_file(), "relay_program is {}, which is no file", named.display());
        return Ok(named.display().to_string());
    }
    let built = built(deployment);
    let words = ["build", "--profile", "dist", "--locked", "-p", "relay", "--bin", "relay"];
    let mut cargo = Command::new("cargo");
    cargo.args(words).current_dir(deployment.checkout()).kill_on_drop(true);
    let ended = cargo.stdin(std::process::Stdio::null()).status().await;
    let good = ended
        .context(
            "Rust is not installed; get it from https://rustup.rs, or name a program with --relay",
        )?
        .success();
    ensure!(good, "the relay could not be built: see what cargo says above");
    ensure!(built.is_file(), "cargo built no {}; is CARGO_TARGET_DIR set?", built.display());
    Ok(built.display().to_string())
}

/// Where a relay that was built for a deployment lies.
fn built(deployment: &Deployment) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| deployment.checkout().join("target")).join("dist/relay")
}

/// Which programs Ansible installs.
///
/// # Errors
/// When this program does not know where it lies.
pub(crate) fn programs_for(deployment: &Deployment, order: &Order) -> Result<Vec<String>> {
    let host = deployment.host()?;
    let mut given = serde_json::Map::new();
    match (&order.relay, host.text("relay_program")) {
        (Some(relay), _) => {
            let relay = relay.canonicalize().context("find the program of --relay")?;
            given.insert("relay_program".to_owned(), relay.to_string_lossy().into());
        }
        (None, Some(_)) => {}
        (None, None) => {
            let built = built(deployment);
            given.insert("relay_program".to_owned(), built.to_string_lossy().into());
        }
    }
    if host.text("relay_provision_program").is_none() {
        let me = std::env::current_exe().context("find the program provision itself")?;
        given.insert("relay_provision_program".to_owned(), me.to_string_lossy().into());
    }
    if given.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec!["--extra-vars".to_owned(), Value::Object(given).to_string()])
}

/// The host as the provider makes it; one that is there already is only named.
async fn host(deployment: &Deployment, order: &Order, stop: &Stop) -> Result<String> {
    if infra::variables(deployment).is_none() {
        let host = deployment.host()?;
        return Ok(format!("{} is there already", host.address));
    }
    let (deployment, order, stop) = (deployment.clone(), order.clone(), stop.clone());
    // Terraform asks the person at the terminal, and ends by itself when it is interrupted.
    spawn_blocking(move || applied(&deployment, &order, &stop)).await.context("run Terraform")?
}

fn applied(deployment: &Deployment, order: &Order, stop: &Stop) -> Result<String> {
    let terraform = Infra::of(deployment)?;
    let word: Vec<String> =
        order.reinstall.iter().map(|word| format!("-var=reinstall={word}")).collect();
    infra::terraform_is_there()?;
    terraform.init()?;
    let is_good = terraform.apply(&word, !order.yes)?;
    ensure!(!stop.is_told(), "it was interrupted");
    ensure!(is_good, "Terraform did not make the host: see what it says above");
    if order.reinstall.is_some() {
        // Another system shows other keys.
        forget_keys(deployment)?;
    }
    terraform.write()?;
    let records = terraform.records_by_hand()?;
    let host = deployment.host()?;
    let by_hand = if records.is_empty() {
        String::new()
    } else {
        format!("\nenter these records at whoever serves your zone:\n{records}")
    };
    Ok(format!("{} at {}{by_hand}", host.address, host.provider))
}

fn forget_keys(deployment: &Deployment) -> Result<()> {
    let known = deployment.file("known_hosts");
    match std::fs::remove_file(&known) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", known.display()))
        }
        _ => Ok(()),
    }
}

/// What is asked on the host: its kind, and what its programs are linked with.
const WHAT_IS_THERE: &str = ". /etc/os-release; echo \"$PRETTY_NAME\"; uname -m; getconf GNU_LIBC_VERSION || echo none; \
    command -v python3 >/dev/null && echo python3 || echo no-python3";

async fn ssh(deployment: &Deployment, stop: &Stop, tell: &mut Tell<'_>) -> Result<String> {
    let remote = deployment.remote()?;
    tokio::select! {
        reached = remote.wait(START_MAX, tell) => reached?,
        () = stop.wait() => bail!("it was interrupted"),
    }
    let said = remote.done("look at the system of the host", WHAT_IS_THERE, &[]).await?;
    let mut lines = said.lines();
    let mut line = || lines.next().unwrap_or_default().trim().to_owned();
    let (system_there, machine, libc, python) = (line(), line(), line(), line());
    ensure!(
        machine == std::env::consts::ARCH,
        "the host is {machine} and this side {}: programs of this side do not run there; deploy from a machine of \
         the same kind, or let the host take a release or a container (`relay_source` in {})",
        std::env::consts::ARCH,
        deployment.file("group_vars/relay.yml").display()
    );
    if system(deployment)? == System::Nixos {
        return Ok(format!("{}, {}", remote.destination(), harmless(&system_there, 80)));
    }
    ensure!(
        python == "python3",
        "the host has no python3, which Ansible needs: `ssh {} sudo apt-get install python3`",
        remote.destination()
    );
    if let (Some(there), Some(here)) = (version(&libc), own_libc())
        && here > there
    {
        tell(Told::Note(format!(
            "programs of this side are linked with glibc {}.{}, the host has {}.{}: should they not start there, build \
             them on an older system, or let the host take a release or a container (relay_source)",
            here.0, here.1, there.0, there.1
        )));
    }
    Ok(format!("{}, {}", remote.destination(), harmless(&system_there, 80)))
}

/// The two numbers in `glibc 2.36`.
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn own_libc() -> Option<(u32, u32)> {
    let asked =
        run::quiet(run::program(std::path::Path::new("/"), &["getconf", "GNU_LIBC_VERSION"]));
    asked.ok().as_deref().and_then(version)
}

/// Waits until the name leads to the host, because a certificate is given to nobody else.
async fn names(host: &Host, order: &Order, stop: &Stop, tell: &mut Tell<'_>) -> Result<String> {
    let own: Vec<IpAddr> = [&host.ipv4, &host.ipv6]
        .into_iter()
        .flatten()
        .filter_map(|text| text.parse().ok())
        .collect();
    let name = &host.hostname;
    let timer = moment::timer();
    let mut was_told = false;
    loop {
        let found = match tokio::net::lookup_host((name.as_str(), 443)).await {
            Ok(found) => found.map(|address| address.ip()).collect::<Vec<_>>(),
            Err(_nothing) => Vec::new(),
        };
        let strange: Vec<_> = found.iter().filter(|address| !own.contains(address)).collect();
        if !found.is_empty() && strange.is_empty() {
            let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
            return Ok(format!("{name} is {}", shown.join(", ")));
        }
        let state = if found.is_empty() {
            "is not known yet".to_owned()
        } else {
            let shown: Vec<_> = strange.iter().map(ToString::to_string).collect();
            format!("leads to {}, which is not this host", shown.join(", "))
        };
        let records: Vec<_> = own
            .iter()
            .map(|ip| format!("{name}. {} {ip}", if ip.is_ipv4() { "A" } else { "AAAA" }))
            .collect();
        let records = records.join("; ");
        if !was_told {
            tell(Told::Note(format!(
                "{name} {state}. Enter at whoever serves your zone: {records}"
            )));
            was_told = true;
        }
        if timer.elapsed() > order.names_max {
            bail!("{name} {state}; enter at whoever serves your zone: {records}");
        }
        tell(Told::Doing(format!("waiting for {name} ({} s)", timer.elapsed().as_secs())));
        tokio::select! {
            () = sleep(NAMES_EVERY) => {}
            () = stop.wait() => bail!("it was interrupted"),
        }
    }
}

/// On the host, which goes on with it when this side is gone.
async fn hosts(deployment: &Deployment, stop: &Stop) -> Result<String> {
    let host = deployment.host()?;
    let from = host.list("hosts_from").unwrap_or_else(|| vec![HOSTS_FROM.to_owned()]);
    if from.is_empty() {
        return Ok("none are asked for (hosts_from is empty)".to_owned());
    }
    for name in &from {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b".-_:/".contains(&b);
        ensure!(
            name.bytes().all(is_plain) && !name.starts_with('-'),
            "hosts_from holds `{}`, which is no relay or page",
            harmless(name, 100)
        );
    }
    let script = format!("exec {} hosts \"$@\" --add --env /etc/relay/env", host.os.program());
    let words: Vec<&str> = from.iter().map(String::as_str).collect();
    let remote = deployment.remote()?;
    let said = tokio::select! {
        said = remote.run(&script, &words) => said?,
        () = stop.wait() => bail!("it was interrupted"),
    };
    ensure!(said.code == 0, "{}", harmless(&said.text(), 500));
    Ok(harmless(said.err.lines().last().unwrap_or(said.last_line()), 200))
}

/// As anybody outside meets it; the last word is a consumer's, who has received verified events.
async fn live(
    deployment: &Deployment,
    order: &Order,
    stop: &Stop,
    tell: &mut Tell<'_>,
) -> Result<String> {
    let host = deployment.host()?;
    let checks = host.list("selfcheck_checks");
    let mut checks = checks.unwrap_or_else(|| CHECKS.map(str::to_owned).to_vec());
    if !checks.iter().any(|check| check == "live") {
        checks.push("live".to_owned());
    }
    let listen = host.text("selfcheck_listen").unwrap_or("15s").to_owned();
    let me = std::env::current_exe().context("find the program provision itself")?;
    let timer = moment::timer();
    loop {
        let mut doctor = Command::new(&me);
        doctor.args(["doctor", &host.hostname, "--json", "--listen", &listen, "--only"]);
        doctor.arg(checks.join(",")).arg("--env").arg(deployment.file("env"));
        doctor.kill_on_drop(true).stdin(std::process::Stdio::null());
        let output = tokio::select! {
            output = doctor.output() => output.context("look at the relay from outside")?,
            () = stop.wait() => bail!("it was interrupted"),
        };
        let answer: Value = serde_json::from_slice(&output.stdout).with_context(|| {
            format!("look at the relay from outside: {}", String::from_utf8_lossy(&output.stderr))
        })?;
        let lines = answer["lines"].as_array().cloned().unwrap_or_default();
        let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
        // Events that nobody could verify are not enough here; late ones are.
        let live = lines.iter().find(|line| line["check"] == "live" && line["state"] == "ok");
        let wrong: Vec<_> = lines
            .iter()
            .filter(|line| line["state"] == "fail" || (line["check"] == "live" && live.is_none()))
            .collect();
        if let Some(live) = live.filter(|_| wrong.is_empty()) {
            return Ok(text(live, "what"));
        }
        let shown: Vec<_> = wrong
            .iter()
            .map(|line| {
                format!("{} ({}; {})", text(line, "what"), text(line, "cause"), text(line, "fix"))
            })
            .collect();
        ensure!(
            timer.elapsed() < order.live_max,
            "{}. `just doctor {}` says more",
            shown.join("; "),
            deployment.name()
        );
        let first = wrong.first().map(|line| text(line, "what")).unwrap_or_default();
        tell(Told::Doing(format!("not yet ({} s): {first}", timer.elapsed().as_secs())));
        tokio::select! {
            () = sleep(LIVE_EVERY) => {}
            () = stop.wait() => bail!("it was interrupted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that is linked with a newer library than the host has may not start there.
    #[test]
    fn versions_of_the_library_are_compared_as_numbers() {
        assert_eq!(version("glibc 2.36\n"), Some((2, 36)));
        assert!(version("glibc 2.4") < version("glibc 2.36"));
        assert_eq!(version("none"), None);
    }
}
