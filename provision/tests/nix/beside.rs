//! The small units beside the relay, started as systemd starts them, with a real relay.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use relay_simnet::Net;
use tempfile::TempDir;

use crate::{
    binaries,
    evaluator::{realise_text, said},
    process::{PASSWORD, RelayProcess, Setup},
    programs::Configuration,
};

/// Where the units of a test find and leave things.
struct Place {
    dir: TempDir,
    found: Configuration,
}

impl Place {
    /// The configuration of a machine on which this relay runs, with a list of one host.
    fn new(relay: &RelayProcess, host: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        for name in ["credentials", "runtime", "metrics", "backups", "bin"] {
            fs::create_dir(dir.path().join(name))?;
        }
        fs::write(dir.path().join("hosts"), format!("{host}\n"))?;
        fs::write(dir.path().join("credentials/admin-password"), format!("{PASSWORD}\n"))?;
        let at = |name: &str| dir.path().join(name).display().to_string();
        let text = format!(
            "{{ services.atproto-relay = {{
                enable = true;
                dataDir = \"{}\";
                settings = {{ dev = true; admin_bind = \"{}\"; }};
                credentials.adminPasswordFile = \"/run/secrets/admin\";
                bootstrap = {{ enable = true; from = [ \"{}\" ]; }};
                backup = {{ enable = true; to = \"{}\"; keep.last = 2; }};
            }}; }}",
            relay.data().display(),
            relay.admin_address(),
            at("hosts"),
            at("backups"),
        );
        let found = realise_text("shown", &text, dir.path())?;
        Ok(Self { dir, found })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What stands for the package, and places of the machine, in place of which the test has its own.
    fn ours(&self, text: &str) -> String {
        let mut text =
            text.replace("/var/lib/relay-metrics", &self.at("metrics").to_string_lossy());
        while let Some((before, rest)) = text.split_once("/nix/store/") {
            let (_, after) = rest.split_once("/bin/provision").unwrap_or((rest, ""));
            text = format!("{before}{}{after}", env!("CARGO_BIN_EXE_provision"));
        }
        text
    }

    /// Runs what one line of a unit names.
    fn run(&self, unit: &str, line: &str) -> Result<()> {
        let text = self.found.units.get(unit).with_context(|| format!("a unit {unit}"))?;
        let head = format!("{line}=");
        let value = text.lines().find_map(|line| line.strip_prefix(&head)).context("a command")?;
        let value = self.ours(value.trim_start_matches('+'));
        let value = value.replace("%d", &self.at("credentials").to_string_lossy());
        let mut words = value.split(' ');
        let program = Path::new(words.next().context("a program")?);
        let mut command = if program.starts_with(self.at("store")) {
            let script = self.at("bin").join(program.file_name().context("a name")?);
            fs::write(&script, self.ours(&fs::read_to_string(program)?))?;
            let mut command = Command::new("sh");
            command.arg(script);
            command
        } else {
            Command::new(program)
        };
        command.args(words).current_dir(self.dir.path());
        command.env("CREDENTIALS_DIRECTORY", self.at("credentials"));
        let output = command.env("RUNTIME_DIRECTORY", self.at("runtime")).output()?;
        ensure!(output.status.success(), "{unit}: {}", said(&output));
        Ok(())
    }
}

/// A new relay gets its hosts, and its backups are made, looked at and told to Prometheus, without anybody
/// who does it.
#[tokio::test]
#[ignore = "needs Nix; type `just stage build,nix`"]
async fn units_bring_hosts_and_make_backups_that_can_be_restored() -> Result<()> {
    let net = Net::seeded(41).await?;
    let host = net.pds("alpha").await?;
    let binary = Some(binaries::relay()?);
    let relay = RelayProcess::start(&net, Setup { binary, ..Setup::default() }).await?;
    let place = Place::new(&relay, &host.hostname())?;

    place.run("relay-hosts", "ExecStart")?;
    host.connected().await?;

    place.run("relay-backup", "ExecStart")?;
    place.run("relay-backup", "ExecStartPost")?;
    place.run("relay-backup-verify", "ExecStart")?;
    place.run("relay-backup-verify", "ExecStartPost")?;
    assert_eq!(fs::read_dir(place.at("backups"))?.count(), 1);
    for name in ["backup", "backup_verify"] {
        let told = fs::read_to_string(place.at("metrics").join(format!("relay_{name}.prom")))?;
        let head = format!("relay_{name}_success_timestamp_seconds ");
        let last = told.lines().last().and_then(|line| line.strip_prefix(&head));
        ensure!(last.is_some_and(|time| time.parse::<u64>().is_ok()), "{told}");
    }
    Ok(())
}
