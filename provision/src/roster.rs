//! The hosts that others know, and those of them that are new to a relay.
//!
//! Names are collected from relays (`listHosts`), pages and files, and handed to the relay by its
//! admin API, which alone writes. It takes an operator's word for a host: one that does not answer is
//! tried ever more slowly. Nothing is ever removed. What was added is known, so a run that was
//! interrupted goes on where it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use relay::config::Config;
use relay_protocol::Hostname;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    feed::{self, Address},
    files,
    told::{Tell, Told, Unit},
    tunnel::Tunnel,
};

/// Hosts of one page; what the method allows at most.
const PAGE: usize = 1_000;
/// Pages of one relay; a cursor that never ends is somebody's game.
const PAGES_MAX: usize = 100;
/// Bytes of a page or a list.
const BYTES_MAX: usize = 16 << 20;
/// Names handed over at once: one transaction of the relay, and a breath between two.
const BATCH: usize = 200;
/// How long the relay may take for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long the relay may take for a batch.
const BATCH_MAX: Duration = Duration::from_mins(1);
/// Statuses of hosts that another relay has given up for good reasons.
const UNWANTED: [&str; 1] = ["banned"];

/// Where names come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A relay.
    Relay(Address),
    /// A list in the web: a URL with a path.
    Page(String),
    /// A list in a file.
    File(PathBuf),
}

impl Source {
    /// Reads `bsky.network`, `https://example.com/hosts.txt` or a path such as `./hosts.txt`.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(text: &str) -> Result<Self> {
        if text.starts_with(['.', '/']) || PathBuf::from(text).is_file() {
            return Ok(Self::File(text.into()));
        }
        match (Address::parse(text), url::Url::parse(text)) {
            (Ok(address), _) => Ok(Self::Relay(address)),
            (Err(_), Ok(url)) if matches!(url.scheme(), "http" | "https") => {
                Ok(Self::Page(text.to_owned()))
            }
            (Err(error), _) => Err(error.context("neither a file (`./hosts.txt`) nor a page")),
        }
    }

    /// How people call it.
    pub fn name(&self) -> String {
        match self {
            Self::Relay(address) => address.name().to_owned(),
            Self::Page(url) => url.clone(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// All names that it gives, and how many accounts each has, as far as it says.
    ///
    /// # Errors
    /// When it does not answer, or gives something else.
    pub async fn names(&self) -> Result<BTreeMap<String, u64>> {
        let uncounted = |names: BTreeSet<String>| names.into_iter().map(|name| (name, 0)).collect();
        match self {
            Self::Relay(address) => of_relay(address).await,
            Self::Page(url) => {
                let body = feed::bytes(&feed::client()?, url, BYTES_MAX).await?;
                Ok(uncounted(of_text(&String::from_utf8_lossy(&body))))
            }
            Self::File(path) => {
                let text = files::read(path)?.with_context(|| format!("no {}", path.display()))?;
                Ok(uncounted(of_text(&text)))
            }
        }
    }
}

async fn of_relay(address: &Address) -> Result<BTreeMap<String, u64>> {
    let all = listed(address).await?.into_iter();
    let wanted = all.filter(|(_, (status, _))| !UNWANTED.contains(&status.as_str()));
    Ok(wanted.map(|(name, (_, accounts))| (name, accounts)).collect())
}

/// The hosts that a relay lists, and the status of each.
///
/// # Errors
/// When it does not answer, or its list has no end.
pub async fn statuses(address: &Address) -> Result<BTreeMap<String, String>> {
    Ok(listed(address).await?.into_iter().map(|(name, (status, _))| (name, status)).collect())
}

/// The hosts that a relay lists, with status and accounts.
async fn listed(address: &Address) -> Result<BTreeMap<String, (String, u64)>> {
    let client = feed::client()?;
    let mut found = BTreeMap::new();
    let mut cursor = String::new();
    for _ in 0..PAGES_MAX {
        let query = format!("/xrpc/com.atproto.sync.listHosts?limit={PAGE}{cursor}");
        let body = feed::bytes(&client, &address.http(&query), BYTES_MAX).await?;
        let page: Value = serde_json::from_slice(&body).context("read its list of hosts")?;
        let hosts = page.get("hosts").and_then(Value::as_array);
        let hosts = hosts.with_context(|| format!("{} lists no hosts", address.name()))?;
        for host in hosts {
            let text = |name: &str| host.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
            let status = text("status").unwrap_or_default();
            let accounts = host.get("accountCount").and_then(Value::as_u64).unwrap_or(0);
            found.extend(text("hostname").map(|name| (name, (status, accounts))));
        }
        let Some(next) = page.get("cursor").and_then(Value::as_str) else { return Ok(found) };
        let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        cursor = format!("&cursor={next}");
    }
    bail!("{} gave {PAGES_MAX} pages, and no end", address.name())
}

/// One name a line; what follows a blank or `#` is for people.
fn of_text(text: &str) -> BTreeSet<String> {
    let words = text.lines().filter_map(|line| line.split(['#', ' ', '\t']).next());
    words.filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect()
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Found {
    /// Sources, and how many names each gave; `None` when it failed.
    pub sources: Vec<(String, Option<usize>)>,
    /// Names that are none, as they came.
    pub wrong: BTreeSet<String>,
    /// Names that the relay knows already.
    pub known: usize,
    /// Names that are new to it.
    pub new: BTreeSet<String>,
    /// How many accounts hosts have elsewhere, by name.
    #[serde(skip)]
    pub accounts: BTreeMap<String, u64>,
}

/// The relay that takes hosts.
#[derive(Debug)]
pub struct Target {
    /// Its admin API, such as `http://127.0.0.1:2472`.
    pub admin: String,
    /// Its admin password.
    pub password: String,
    /// Whether it takes `localhost:PORT`, as in development.
    pub dev: bool,
    /// The way to another machine on which it runs.
    pub tunnel: Option<Tunnel>,
}

impl Target {
    /// The relay of these settings, unless its address or its password is given.
    ///
    /// # Errors
    /// When there is no password to be read.
    pub fn of(
        config: &Config,
        admin: Option<&str>,
        password: Option<Password<'_>>,
    ) -> Result<Self> {
        let own = config.data_dir.join("admin-password");
        let password = match (password, config.admin_passwords.first()) {
            (Some(Password::Text(text)), _) => text.to_owned(),
            (Some(Password::File(path)), _) => of_file(path)?,
            (None, Some(secret)) => secret.expose().to_owned(),
            (None, None) => of_file(&own)?,
        };
        let near = format!("http://{}", crate::doctor::near(config.admin_bind));
        let admin = admin.unwrap_or(&near).trim_end_matches('/').to_owned();
        let password = password.trim().to_owned();
        Ok(Self { admin, password, dev: config.dev, tunnel: None })
    }

    /// The same on another machine, to which `ssh` knows the way.
    ///
    /// * `to` – `USER@HOST`
    /// * `ssh_config` – another configuration than a person's own
    ///
    /// # Errors
    /// When there is no way.
    pub async fn through(mut self, to: &str, ssh_config: Option<&Path>) -> Result<Self> {
        let url = url::Url::parse(&self.admin).with_context(|| format!("read {}", self.admin))?;
        ensure!(
            url.scheme() == "http",
            "{} is reached through ssh, which encrypts it; write http:// and the address as that machine \
             sees it",
            self.admin
        );
        let host = url.host_str().with_context(|| format!("{} names no host", self.admin))?;
        let far = format!("{host}:{}", url.port_or_known_default().unwrap_or(80));
        self.tunnel = Some(Tunnel::open(to, ssh_config, &far).await?);
        Ok(self)
    }

    fn client(&self, patience: Duration) -> Result<reqwest::Client> {
        let builder = reqwest::Client::builder().timeout(patience).no_proxy();
        let builder = match &self.tunnel {
            Some(tunnel) => builder.unix_socket(tunnel.socket()),
            None => builder,
        };
        Ok(builder.build()?)
    }

    /// What it answers; when it does not, `ssh` may know why.
    async fn answer(&self, request: reqwest::RequestBuilder, url: &str) -> Result<Value> {
        let request = request.basic_auth("admin", Some(&self.password));
        let answered = answer(request, url).await;
        let trouble = match (&answered, &self.tunnel) {
            (Err(_), Some(tunnel)) => tunnel.trouble()?,
            _ => None,
        };
        trouble.map_or(answered, |trouble| Err(anyhow::anyhow!(trouble)))
    }

    /// The answer to a GET.
    ///
    /// # Errors
    /// When the relay does not answer, or does not take the password.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let url = format!("{}{path}", self.admin);
        self.answer(self.client(ANSWER_MAX)?.get(&url), &url).await
    }

    /// Names that it knows.
    ///
    /// # Errors
    /// When it does not answer, or does not take the password.
    pub async fn known(&self) -> Result<BTreeSet<String>> {
        let hosts = self.hosts().await?;
        let names = hosts.iter().filter_map(|host| host.get("hostname")?.as_str());
        Ok(names.map(ToOwned::to_owned).collect())
    }

    /// All hosts that it knows, with what it says of each.
    ///
    /// # Errors
    /// See [`Target::known`].
    pub async fn hosts(&self) -> Result<Vec<Value>> {
        let client = self.client(BATCH_MAX)?;
        let mut found = Vec::new();
        let mut cursor = String::new();
        loop {
            let url = format!("{}/admin/v1/hosts?limit={PAGE}{cursor}", self.admin);
            let page = self.answer(client.get(&url), &url).await?;
            let hosts = page.get("hosts").and_then(Value::as_array).context("no list of hosts")?;
            found.extend(hosts.iter().cloned());
            let Some(next) = page.get("cursor").and_then(Value::as_str) else { return Ok(found) };
            cursor = format!("&cursor={next}");
        }
    }

    /// Hands the new names over in batches, with what is known of their size, so that a large host is not
    /// throttled for being new; tells how far it is; gives what became of each.
    ///
    /// # Errors
    /// When the relay does not answer; what was added until then stays.
    pub async fn add(&self, found: &Found, tell: &mut Tell<'_>) -> Result<Added> {
        let client = self.client(BATCH_MAX)?;
        let names: Vec<&String> = found.new.iter().collect();
        let url = format!("{}/admin/v1/hosts", self.admin);
        let mut added = Added::default();
        for (index, batch) in names.chunks(BATCH).enumerate() {
            let counts = batch.iter().filter_map(|name| Some((*name, found.accounts.get(*name)?)));
            let counts: BTreeMap<&String, &u64> = counts.collect();
            let body = json!({ "hostnames": batch, "accountCounts": counts });
            let answered = self.answer(client.post(&url).json(&body), &url).await?;
            let results = answered.get("hosts").and_then(Value::as_array).context("no results")?;
            ensure!(results.len() == batch.len(), "{url} gave another number of results");
            for (name, result) in batch.iter().zip(results) {
                if result.get("id").is_some() {
                    added.added.insert((*name).clone());
                    continue;
                }
                let why = result.get("message").and_then(Value::as_str).unwrap_or("no reason");
                added.refused.push(((*name).clone(), crate::told::harmless(why, 200)));
            }
            let done = (index * BATCH + batch.len()).min(names.len());
            let (new, refused) = (added.added.len(), added.refused.len());
            let (unit, total) = (Unit::Things, u64::try_from(names.len())?);
            let what = format!("{new} added, {refused} refused");
            tell(Told::Progress { what, done: u64::try_from(done)?, total, unit });
        }
        Ok(added)
    }
}

/// The admin password, when a person says it.
#[derive(Debug, Clone, Copy)]
pub enum Password<'a> {
    /// As it is.
    Text(&'a str),
    /// In a file.
    File(&'a Path),
}

fn of_file(path: &Path) -> Result<String> {
    let text = files::read(path)?;
    text.with_context(|| {
        format!(
            "the admin password is not in {}; say with --password-file where it is, or set \
             RELAY_ADMIN_PASSWORD",
            path.display()
        )
    })
}

/// What became of the names.
#[derive(Debug, Default, Serialize)]
pub struct Added {
    /// Names that the relay reads now.
    pub added: BTreeSet<String>,
    /// Names that it refused, and why.
    pub refused: Vec<(String, String)>,
}

async fn answer(request: reqwest::RequestBuilder, url: &str) -> Result<Value> {
    let answer = request.send().await.with_context(|| {
        format!("ask {url}; is the relay running, and is this its admin address?")
    })?;
    let status = answer.status();
    ensure!(status.as_u16() != 401, "{url} does not take this password");
    ensure!(status.is_success(), "{url} answered {status}");
    answer.json().await.with_context(|| format!("read the answer of {url}"))
}

/// Collects from all sources; one that fails does not hide the others.
///
/// # Errors
/// When the relay does not say what it knows.
pub async fn collect(sources: &[Source], target: &Target, tell: &mut Tell<'_>) -> Result<Found> {
    let known = target.known().await?;
    let mut found = Found::default();
    for source in sources {
        let name = source.name();
        tell(Told::Doing(format!("asking {name}")));
        let names = match source.names().await {
            Ok(names) => names,
            Err(error) => {
                tell(Told::Note(format!("{name} gives no hosts: {error:#}")));
                found.sources.push((name, None));
                continue;
            }
        };
        found.sources.push((name, Some(names.len())));
        for (text, accounts) in names {
            match Hostname::parse(&text, target.dev) {
                Ok(host) => {
                    let most = found.accounts.entry(host.as_str().to_owned()).or_default();
                    *most = accounts.max(*most);
                    found.new.insert(host.as_str().to_owned())
                }
                Err(_) => found.wrong.insert(crate::told::harmless(&text, 100)),
            };
        }
    }
    let all = found.new.len();
    found.new.retain(|name| !known.contains(name));
    found.known = all - found.new.len();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart_as_people_write_them() {
        let kind = |text| match Source::parse(text) {
            Ok(Source::Relay(_)) => "relay",
            Ok(Source::Page(_)) => "page",
            Ok(Source::File(_)) => "file",
            Err(_) => "none",
        };
        for (text, expected) in [
            ("bsky.network", "relay"),
            ("https://relay.example.com/", "relay"),
            ("https://example.com/hosts.txt", "page"),
            ("./hosts.txt", "file"),
            ("/var/lib/hosts", "file"),
            ("ftp://example.com/x", "none"),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn a_list_may_have_words_for_people() {
        let names =
            of_text("# mine\na.example.com  # Alice\n\nb.example.com\ta note\na.example.com\n");
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a.example.com", "b.example.com"]);
    }
}
