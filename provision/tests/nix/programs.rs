//! What the modules write, in the programs that read it on a machine.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use relay::config::{Config, Flags, Invocation, Secret};
use serde::Deserialize;

use crate::{
    binaries,
    evaluator::{evaluate, realise},
    postgres::Cluster,
};

/// A configuration as programs read it.
#[derive(Deserialize)]
pub(crate) struct Configuration {
    env: String,
    pub(crate) units: BTreeMap<String, String>,
    timers: BTreeMap<String, String>,
    caddy: BTreeMap<String, String>,
    postgres: BTreeMap<String, String>,
}

fn configurations() -> Result<BTreeMap<String, Configuration>> {
    evaluate("programs", "")
}

/// A setting that the relay does not take stops it at the next start, on a machine that serves.
#[test]
#[ignore = "needs Nix; type `just stage build,nix`"]
fn the_relay_takes_every_environment() -> Result<()> {
    let relay = binaries::relay()?;
    for (name, configuration) in configurations()? {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join(".env"), &configuration.env)?;
        let mut config = Command::new(&relay);
        config.arg("config").env_clear().current_dir(&dir);
        if configuration.env.contains("RELAY_SLACK_ALERT_CHANNEL=") {
            // A secret, which comes by `environmentFiles`; one does not go without the other.
            config.env("RELAY_SLACK_ALERT_TOKEN", "xoxb-of-a-test");
        }
        let output = config.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.is_empty(),
            "{name}: {said}\n{}",
            configuration.env
        );
        let shown = String::from_utf8(output.stdout)?;
        let told = shown.lines().filter(|line| line.contains("# .env")).count();
        let lines = configuration.env.lines().filter(|line| !line.starts_with("PROVISION_"));
        let foreign = lines.clone().filter(|line| line.starts_with("SSL_")).count();
        assert_eq!(told, lines.count() - foreign, "{name}: {shown}");
    }
    Ok(())
}

/// What a person wrote arrives as it was written, quotes and dollars too.
#[test]
#[ignore = "needs Nix; type `just stage build,nix`"]
fn a_text_arrives_as_it_was_written() -> Result<()> {
    for (name, written) in [
        ("quotes-stay-what-they-are", "a \"b\" $HOME \\ `c`"),
        ("quotes-of-both-kinds-stay-too", "a \"b\" 'c' $HOME \\ `d`"),
    ] {
        let found: Configuration = evaluate(&format!("programs.{name}"), "")?;
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join(".env"), &found.env)?;
        assert_eq!(Config::load(&Flags::default(), &[], dir.path())?.contact, written);
    }
    Ok(())
}

/// The scripts of a configuration, where they can be started, by their names.
fn scripts(store: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(store.join("store"))? {
        let path = entry?.path();
        let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
        if let Some((_, name)) = name.split_once('-') {
            found.insert(name.to_owned(), path);
        }
    }
    Ok(found)
}

/// Secrets reach the relay as they are, whatever characters they have; and an empty file, which a tool for
/// secrets leaves when it fails, stops the start instead of opening the admin API to everyone.
#[test]
#[ignore = "needs Nix; type `just stage build,nix`"]
fn secrets_reach_the_relay_as_they_are() -> Result<()> {
    let store = tempfile::tempdir()?;
    let found: Configuration = realise("programs.secrets-stay-outside-of-the-store", store.path())?;
    assert!(found.units["relay"].contains("-relay-secrets\n"), "{}", found.units["relay"]);
    let write = scripts(store.path())?.remove("relay-secrets").context("a script")?;
    let (given, made) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let password = "a \"b\" \\c $HOME `d` 'e' %f";
    let url = "postgres://relay:a%22b@db.example.com/relay";
    fs::write(given.path().join("admin-password"), format!("{password}\n"))?;
    fs::write(given.path().join("database-url"), url)?;
    let run = || {
        let mut command = Command::new("sh");
        command.arg(&write).env("CREDENTIALS_DIRECTORY", given.path());
        command.env("RUNTIME_DIRECTORY", made.path()).output()
    };
    let output = run()?;
    assert!(output.status.success(), "{output:?}");
    let file = made.path().join("relay.toml");
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let words = ["relay", "config", "--config", &file.to_string_lossy()];
    let config = Invocation::new(words, &[], made.path())?.config;
    let passwords: Vec<&str> = config.admin_passwords.iter().map(Secret::expose).collect();
    assert_eq!((passwords, config.database_url.expose()), (vec![password], url));

    fs::write(given.path().join("admin-password"), "")?;
    let output = run()?;
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("admin-password is empty"));
    Ok(())
}

/// Programs of the machine in place of those of the store, so that systemd finds them.
fn on_this_machine(text: &str, store: &Path, beside: &Path) -> Result<String> {
    let relay = binaries::relay()?.display().to_string();
    let mut words = Vec::new();
    for line in text.lines() {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let below = store.join("store").display().to_string();
        if !name.starts_with("Exec") {
            words.push(line.replace(&below, &beside.display().to_string()));
            continue;
        }
        let (program, rest) = value.split_once(' ').unwrap_or((value, ""));
        let bare = program.trim_start_matches(['+', '-']);
        let sign = program.strip_suffix(bare).unwrap_or_default();
        let program = bare;
        let there = match program.rsplit('/').next() {
            Some("relay") => relay.clone(),
            Some("provision") => env!("CARGO_BIN_EXE_provision").to_owned(),
            Some(of_coreutils @ ("install" | "kill" | "mv")) => format!("/usr/bin/{of_coreutils}"),
            _ => {
                let name = Path::new(program).file_name().context("a name")?;
                let copy = beside.join(name);
                fs::copy(program, &copy).with_context(|| program.to_owned())?;
                fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
                copy.display().to_string()
            }
        };
        words.push(format!("{name}={sign}{there} {rest}"));
    }
    Ok(words.join("\n") + "\n")
}

fn analyze(words: &[&str], unit: &Path) -> Result<String> {
    let mut command = Command::new("systemd-analyze");
    let output = command.args(words).arg(unit).output().context("start systemd-analyze")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "systemd-analyze {}: {said}", words.join(" "));
    Ok(said)
}

/// A unit that systemd does not understand is left out in silence, line by line; and one that may do all is
/// worth a break-in. The relay's exposure is 1.5 of 10 at most, that of what runs beside it 5.
#[test]
#[ignore = "needs Nix and systemd; type `just stage build,nix`"]
fn systemd_understands_every_unit_and_finds_it_hardened() -> Result<()> {
    for name in ["example-minimal", "example-full", "backups-elsewhere", "postgres-on-this-machine"]
    {
        let (store, units) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let found: Configuration = realise(&format!("programs.{name}"), store.path())?;
        for (unit, text) in &found.units {
            let path = units.path().join(format!("{unit}.service"));
            fs::write(&path, on_this_machine(text, store.path(), units.path())?)?;
            let said = analyze(&["verify", "--man=no"], &path)?;
            let ours: Vec<&str> =
                said.lines().filter(|line| line.contains(unit.as_str())).collect();
            assert!(ours.is_empty(), "{name}: {ours:?}");
            let most = if unit == "relay" { "--threshold=15" } else { "--threshold=50" };
            analyze(&["security", "--offline=true", "--no-pager", most], &path)?;
        }
        for (timer, when) in &found.timers {
            let output = Command::new("systemd-analyze").args(["calendar", when]).output()?;
            assert!(output.status.success(), "{timer}: {when}");
        }
    }
    Ok(())
}

/// A front door that Caddy refuses keeps the public out of a relay that is well.
#[test]
#[ignore = "needs Nix and Caddy; type `just stage build,nix`"]
fn caddy_takes_every_front_door() -> Result<()> {
    let Some(caddy) = binaries::caddy() else { return Ok(()) };
    let mut doors = 0;
    for (name, found) in configurations()? {
        if found.caddy.is_empty() {
            continue;
        }
        let dir = tempfile::tempdir()?;
        let mut environment = found.caddy;
        // The store of this run is nowhere.
        if let Some(more) = environment.get_mut("RELAY_CADDY_MORE") {
            ensure!(more.starts_with("import /nix/store/") && more.ends_with("-dashboard.caddy"));
            let file = binaries::root().join("provision/assets/dashboard.caddy");
            *more = format!("import {}", file.display());
        }
        let mut command = Command::new(&caddy);
        command.args(["validate", "--adapter", "caddyfile", "--config"]);
        command.arg(binaries::root().join("Caddyfile")).envs(&environment);
        let log = dir.path().join("access.log");
        command.env("RELAY_CADDY_LOG", log).env("XDG_DATA_HOME", dir.path());
        let output = command.env("XDG_CONFIG_HOME", dir.path()).output()?;
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        doors += 1;
    }
    assert!(doors >= 5, "{doors} front doors");
    Ok(())
}

/// Postgres does not start with a setting that it does not know, and the relay waits for it.
#[test]
#[ignore = "needs Nix and Postgres; type `just stage build,nix`"]
fn postgres_starts_with_the_settings() -> Result<()> {
    let Some(cluster) = Cluster::start() else { return Ok(()) };
    let found: Configuration = evaluate("programs.example-full", "")?;
    // What the server of the tests has on its command line, and where it listens, is its own.
    let ours =
        |name: &str| !["max_connections", "shared_buffers", "listen_addresses"].contains(&name);
    let lines = found.postgres.iter().filter(|(name, _)| ours(name));
    let lines: Vec<String> = lines.map(|(name, value)| format!("{name} = '{value}'\n")).collect();
    assert!(lines.len() > 15, "{lines:?}");
    let config =
        PathBuf::from(cluster.sql("postgres", "SHOW data_directory")).join("postgresql.conf");
    let old = fs::read_to_string(&config)?;
    fs::write(&config, format!("{old}\n{}", lines.concat()))?;
    cluster.stop();
    cluster.resume();
    let wrong = "SELECT name, error FROM pg_file_settings WHERE error IS NOT NULL \
                 AND name NOT IN ('max_connections', 'shared_buffers')";
    assert_eq!(cluster.sql("postgres", wrong), "");
    let set = "SELECT count(DISTINCT name) FROM pg_file_settings WHERE applied";
    let set: usize = cluster.sql("postgres", set).parse()?;
    assert!(set >= lines.len(), "{set} of {} are in effect", lines.len());
    assert_eq!(cluster.sql("postgres", "SHOW synchronous_commit"), "on");
    Ok(())
}
