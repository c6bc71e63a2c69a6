//! Settings: defaults < TOML file < `.env` < environment < flags (DESIGN 6).
//!
//! Comes in: the command line, the environment, two files. Goes out: [`Config`], typed and
//! checked, and for each value where it came from. A wrong value stops the start with its name, the
//! value and what is allowed; secrets are redacted everywhere (I8). The table in `schema.rs` is the
//! only place that names a setting.

mod admin_password;
mod alerts;
mod cli;
mod reference;
mod schema;
mod secret;
mod sources;
mod value;

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZero,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use ipnet::IpNet;
use relay_protocol::Hostname;

pub use self::{
    alerts::AlertSettings,
    cli::{
        Command, DevOptions, Flags, Invocation, Stop,
        collections::CollectionsCommand,
        hosts::{HostsCommand, Reach},
        import::ImportOptions,
        log::LogCommand,
        parse,
    },
    reference::{env_example, settings_json},
    schema::{SETTINGS, Setting},
    secret::Secret,
    value::{Kind, sibling},
};
use self::{schema::setting, sources::Sources, value::Parsed};
use crate::{
    clients::TrustedProxies,
    crash,
    domain::AccountLimits,
    telemetry::{LogFormat, TraceOptions},
    units::Day,
};

/// Unsettled events of a host that 40 units of `RELAY_HOST_CONCURRENCY`, its default, stand for
/// (DESIGN 10.7).
const UNSETTLED_PER_40: u64 = 4096;

/// All settings, checked. What each does stands in the table (`SETTINGS`).
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Config {
    /// Directory of all that the relay keeps.
    pub data_dir: PathBuf,
    /// Address of the database; may hold a password.
    pub database_url: Secret,
    /// Connections to Postgres at most.
    pub database_connections: u32,
    /// Directory of the event log.
    pub persist_dir: PathBuf,
    /// Firehose and XRPC.
    pub api_bind: SocketAddr,
    /// Admin API.
    pub admin_bind: SocketAddr,
    /// Metrics and health.
    pub metrics_bind: SocketAddr,
    /// Proxies whose word about their clients is taken.
    pub trusted_proxies: TrustedProxies,
    /// Age of the oldest event kept.
    pub replay_window: Duration,
    /// Size of the event log at most, in bytes; `None` = from the free space at start.
    pub replay_max_bytes: Option<u64>,
    /// Size in bytes at which a segment is sealed.
    pub segment_bytes: u64,
    /// Level of zstd for sealed segments; 0 = they stay plain.
    pub log_compression: i32,
    /// Bytes of memory of the index of collections.
    pub collections_memory: u64,
    /// Lowest seq to give out next.
    pub initial_seq: u64,
    /// PLC directory, without slash at the end.
    pub plc_host: String,
    /// Requests per second to it.
    pub plc_rate: u32,
    /// Whether the operations of the PLC directory are followed (RES-7).
    pub plc_stream: bool,
    /// Requests to it under way at once; half as many to hosts of did:web.
    pub identity_concurrency: usize,
    /// Each opens the admin API; empty = none does.
    pub admin_passwords: Vec<Secret>,
    /// File with more of them, one per line; empty = none.
    pub admin_password_file: PathBuf,
    /// Addresses of sibling relays, without slash at the end.
    pub sibling_relays: Vec<String>,
    /// Policy file; empty = none.
    pub policy_file: PathBuf,
    /// Development mode (DESIGN 10.16).
    pub dev: bool,
    /// Lenient validation (DESIGN 10.14).
    pub lenient: bool,
    /// The same for single hosts, valid names, until a day.
    pub lenient_hosts: Vec<(String, Day)>,
    /// Hosts first seen since are strict at once.
    pub strict_since: Option<Day>,
    /// Unsettled events per host at most (DESIGN 10.7): the setting times 102.4.
    pub host_concurrency: usize,
    /// Frames of credit per host and shard (DESIGN 10.6).
    pub host_queue: usize,
    /// Accounts that a new host may have (HOST-7).
    pub default_account_limit: u64,
    /// Hosts with large limits: names, or `*.` and a domain.
    pub trusted_domains: Vec<String>,
    /// Hosts that requestCrawl from outside may add in 24 hours.
    pub new_hosts_per_day: u64,
    /// Whether limits of hosts grow with good behaviour.
    pub limits_grow: bool,
    /// What one account may send (HOST-12, VAL-20).
    pub account_limits: AccountLimits,
    /// After so long without its host an account is not listed by its collections.
    pub collections_host_away: Duration,
    /// Questions per second to hosts of one operator about uncertain collections; 0 = none by itself.
    pub collections_questions: u32,
    /// No requestCrawl from outside.
    pub disable_request_crawl: bool,
    /// What this relay is for; `production` refuses development mode.
    pub environment: String,
    /// Name servers instead of those of the machine.
    pub resolve_address: Vec<SocketAddr>,
    /// Ask them over UDP only.
    pub force_dns_udp: bool,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub log_level: String,
    /// Form of the logs.
    pub log_format: LogFormat,
    /// Hosts to add at start, valid names.
    pub crawl: Vec<String>,
    /// Relays whose lists of hosts are read, valid names.
    pub bootstrap_from: Vec<String>,
    /// Relays whose events are read (HOST-13), valid names.
    pub source_relays: Vec<String>,
    /// What becomes of unknown hosts in DID documents: `off`, `list` or `add`.
    pub host_candidates: String,
    /// Number of shards, at least 1.
    pub shards: usize,
    /// Accounts kept in memory.
    pub account_cache: usize,
    /// Hosts dialled at once.
    pub handshakes_max: usize,
    /// Consumers at once.
    pub max_consumers: usize,
    /// Consumers of one client at once.
    pub max_consumers_per_client: usize,
    /// Where traces go.
    pub traces: TraceOptions,
    /// Who is told of what needs people.
    pub alerts: AlertSettings,
    /// Contact in the User-Agent; may be empty.
    pub contact: String,
    /// Where a test lets the process die; no setting, see [`crash::VARIABLE`].
    pub crash_at: Option<crash::Plan>,
    effective: Vec<Effective>,
    warnings: Vec<String>,
}

/// A value in effect, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Name of the setting.
    pub key: &'static str,
    /// The value, secrets redacted; empty when there is none.
    pub value: String,
    /// `default`, `file PATH`, `.env NAME`, `env NAME` or `flag --NAME`.
    pub origin: String,
}

/// All that is wrong with the settings; one sentence each with name, value, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// Reads and checks all settings.
    ///
    /// * `flags` – of the command line, see [`parse`]
    /// * `env` – the environment; an empty value counts as not set
    /// * `cwd` – directory of `.env`, and of a settings file with a relative path
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong, not only the first.
    pub fn load(flags: &Flags, env: &[(String, String)], cwd: &Path) -> Result<Self, ConfigError> {
        let mut values =
            Values { sources: Sources::gather(flags, env, cwd), effective: Vec::new() };
        let mut config = values.config();
        config.crash_at = values.crash_at(env, config.dev);
        let Values { sources, effective } = values;
        if !sources.problems.is_empty() {
            return Err(ConfigError(sources.problems));
        }
        Ok(Self { effective, warnings: sources.warnings, ..config })
    }

    /// Sentences about names that have no effect, to be shown at start.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Every setting in effect, in the order of the table.
    pub fn effective(&self) -> &[Effective] {
        &self.effective
    }

    /// The settings of `relay dev`: everything in `dir`, strict, nothing of it is kept.
    #[must_use]
    pub fn for_dev(mut self, dir: &Path, options: &DevOptions) -> Self {
        self.data_dir = dir.to_path_buf();
        self.persist_dir = dir.join("persist");
        self.database_url = Secret::new(format!("sqlite://{}", dir.join("relay.sqlite").display()));
        self.dev = true;
        self.lenient = false;
        self.lenient_hosts = Vec::new();
        if let Some(plc) = &options.plc {
            self.plc_host.clone_from(plc);
        }
        self
    }
}

/// Reads values by key and remembers what was read, and what was wrong.
struct Values {
    sources: Sources,
    effective: Vec<Effective>,
}

/// Reads one setting of a kind; gives `$fallback` when the value is wrong, which is a problem then.
macro_rules! reader {
    ($name:ident, $variant:ident, $type:ty, $fallback:expr) => {
        fn $name(&mut self, key: &'static str) -> $type {
            match self.take(key) {
                Some(Parsed::$variant(value)) => value,
                _ => $fallback,
            }
        }
    };
}

impl Values {
    reader!(text, Text, String, String::new());
    reader!(auto_number, Number, Option<u64>, None);
    reader!(size, Size, Option<u64>, None);
    reader!(duration, Duration, Duration, Duration::ZERO);
    reader!(switch, Switch, bool, false);
    reader!(address, Address, SocketAddr, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    reader!(addresses, Addresses, Vec<SocketAddr>, Vec::new());
    reader!(networks, Networks, Vec<IpNet>, Vec::new());
    reader!(list, List, Vec<String>, Vec::new());
    reader!(secrets, Secrets, Vec<Secret>, Vec::new());
    reader!(dated, Dated, Vec<(String, Day)>, Vec::new());
    reader!(day, Day, Option<Day>, None);

    fn number(&mut self, key: &'static str) -> u64 {
        self.auto_number(key).unwrap_or_default()
    }

    fn count(&mut self, key: &'static str) -> usize {
        usize::try_from(self.number(key)).unwrap_or(usize::MAX)
    }

    fn count32(&mut self, key: &'static str) -> u32 {
        u32::try_from(self.number(key)).unwrap_or(u32::MAX)
    }

    fn take(&mut self, key: &'static str) -> Option<Parsed> {
        let (kind, (texts, origin)) = (setting(key)?.kind, self.sources.get(key));
        let parsed = texts.as_ref().and_then(|texts| kind.parse(texts));
        if let Some(value) = &parsed {
            self.effective.push(Effective { key, value: value.shown(), origin });
        } else {
            let value = texts.map_or("of a wrong type".to_owned(), |texts| kind.shown_text(&texts));
            self.wrong(key, &value, &origin, &kind.allowed());
        }
        parsed
    }

    fn wrong(&mut self, key: &str, value: &str, origin: &str, allowed: &str) {
        self.sources.problems.push(format!("{key} is {value} ({origin}): allowed is {allowed}"));
    }

    /// What another setting decides, now that both are known.
    fn object(&mut self, key: &str, allowed: &str) {
        let known = self.effective.iter().find(|effective| effective.key == key).cloned();
        if let Some(Effective { value, origin, .. }) = known {
            self.wrong(key, &format!("{value:?}"), &origin, allowed);
        }
    }

    fn config(&mut self) -> Config {
        self.config_file();
        let data_dir = PathBuf::from(self.text("data_dir"));
        let config = Config {
            persist_dir: self.below(&data_dir, "persist_dir").into(),
            database_url: Secret::new(self.below(&data_dir, "database_url")),
            database_connections: self.count32("database_connections"),
            replay_window: self.duration("replay_window"),
            replay_max_bytes: self.size("replay_max_bytes"),
            segment_bytes: self.size("segment_bytes").unwrap_or_default(),
            log_compression: compression(&self.text("log_compression")),
            collections_memory: self.size("collections_memory").unwrap_or_default(),
            initial_seq: self.number("initial_seq"),
            api_bind: self.address("api_bind"),
            metrics_bind: self.address("metrics_bind"),
            admin_bind: self.address("admin_bind"),
            trusted_proxies: TrustedProxies::new(self.networks("trusted_proxies")),
            crawl: self.list("crawl"),
            bootstrap_from: self.list("bootstrap_from"),
            source_relays: self.list("source_relays"),
            host_candidates: self.text("host_candidates"),
            disable_request_crawl: self.switch("disable_request_crawl"),
            default_account_limit: self.number("default_account_limit"),
            trusted_domains: self.list("trusted_domains"),
            new_hosts_per_day: self.number("new_hosts_per_day"),
            limits_grow: self.switch("limits_grow"),
            account_limits: AccountLimits {
                per_second: self.number("account_events_per_second"),
                per_hour: self.number("account_events_per_hour"),
                per_day: self.number("account_events_per_day"),
                discontinuities_per_day: self.number("account_discontinuities_per_day"),
            },
            collections_host_away: self.duration("collections_host_away"),
            collections_questions: self.count32("collections_questions"),
            contact: self.text("contact"),
            dev: self.switch("dev"),
            lenient: self.switch("lenient"),
            lenient_hosts: self.dated("lenient_hosts"),
            strict_since: self.day("strict_since"),
            environment: self.text("environment"),
            plc_host: self.text("plc_host"),
            plc_rate: self.count32("plc_rate"),
            plc_stream: self.switch("plc_stream"),
            identity_concurrency: self.count("identity_concurrency"),
            resolve_address: self.addresses("resolve_address"),
            force_dns_udp: self.switch("force_dns_udp"),
            admin_passwords: self.secrets("admin_passwords"),
            admin_password_file: self.text("admin_password_file").into(),
            sibling_relays: self.list("sibling_relays"),
            policy_file: self.text("policy_file").into(),
            log_level: self.text("log_level"),
            log_format: log_format(&self.text("log_format")),
            shards: self.shards(),
            account_cache: self.count("account_cache"),
            host_concurrency: window(self.number("host_concurrency")),
            host_queue: self.count("host_queue"),
            handshakes_max: self.count("handshakes_max"),
            max_consumers: self.count("max_consumers"),
            max_consumers_per_client: self.count("max_consumers_per_client"),
            traces: self.traces(),
            alerts: self.alerts(),
            crash_at: None,
            effective: Vec::new(),
            warnings: Vec::new(),
            data_dir,
        };
        self.cross_check(&config);
        config
    }

    /// A crash that a test asks for, by a variable of the process itself.
    fn crash_at(&mut self, env: &[(String, String)], dev: bool) -> Option<crash::Plan> {
        let name = crash::VARIABLE;
        let (_, text) = env.iter().find(|(known, _)| known == name)?;
        match text.parse() {
            Ok(plan) if dev => {
                let crash::Plan { point, count } = plan;
                let sources = &mut self.sources;
                sources.warnings.push(format!(
                    "{name} is set: this process kills itself at {point}, the time number {count}"
                ));
                Some(plan)
            }
            Ok(_) => {
                self.sources.problems.push(format!(
                    "{name} is set, which kills the relay on purpose: it is for tests in \
                     development mode"
                ));
                None
            }
            Err(allowed) => {
                self.wrong(name, text, &format!("env {name}"), &allowed);
                None
            }
        }
    }

    /// Read by the sources before anything else; here it is only shown.
    fn config_file(&mut self) {
        let (texts, origin) = self.sources.get(schema::CONFIG_FILE);
        let value = texts.unwrap_or_default().concat();
        self.effective.push(Effective { key: schema::CONFIG_FILE, value, origin });
    }

    /// A path or address whose default lies in the data directory.
    fn below(&mut self, data_dir: &Path, key: &'static str) -> String {
        let text = match self.take(key) {
            Some(Parsed::Text(text)) => text,
            Some(Parsed::Secret(secret)) => secret.expose().to_owned(),
            _ => String::new(),
        };
        let data_dir = data_dir.to_string_lossy();
        if let Some(shown) = self.effective.iter_mut().find(|effective| effective.key == key) {
            shown.value = shown.value.replace("<data_dir>", &data_dir);
        }
        text.replace("<data_dir>", &data_dir)
    }

    fn shards(&mut self) -> usize {
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        self.auto_number("shards")
            .map_or_else(cores, |shards| usize::try_from(shards).unwrap_or(usize::MAX))
    }

    fn traces(&mut self) -> TraceOptions {
        let headers = self.secrets("otlp_headers").pop();
        TraceOptions {
            endpoint: Some(self.text("otlp_endpoint")).filter(|endpoint| !endpoint.is_empty()),
            headers: headers.map_or_else(String::new, |headers| headers.expose().to_owned()),
            service_name: self.text("otlp_service_name"),
            sampler: self.text("otlp_sampler"),
            share_millionths: millionths(&self.text("otlp_sampler_arg")),
        }
    }

    fn cross_check(&mut self, config: &Config) {
        if config.dev && config.environment.eq_ignore_ascii_case("production") {
            self.object("dev", "`false` where ENVIRONMENT is `production`");
        }
        if config.plc_host.starts_with("http://") && !config.dev {
            self.object("plc_host", &Kind::Url.allowed());
        }
        if !config.dev && config.sibling_relays.iter().any(|one| sibling(one, false).is_none()) {
            self.object("sibling_relays", &Kind::Siblings.allowed());
        }
        let crawled: Vec<&str> = config.crawl.iter().map(String::as_str).collect();
        self.check_hosts("crawl", &crawled, config.dev);
        let relays: Vec<&str> = config.bootstrap_from.iter().map(String::as_str).collect();
        self.check_hosts("bootstrap_from", &relays, config.dev);
        let sources: Vec<_> = config.source_relays.iter().map(String::as_str).collect();
        self.check_hosts("source_relays", &sources, config.dev);
        let spared: Vec<&str> = config.lenient_hosts.iter().map(|(host, _)| &**host).collect();
        self.check_hosts("lenient_hosts", &spared, config.dev);
        let below = |pattern| -> &str { str::strip_prefix(pattern, "*.").unwrap_or(pattern) };
        let trusted: Vec<&str> =
            config.trusted_domains.iter().map(String::as_str).map(below).collect();
        // A rule about names, which reaches nobody: also names of development are none too many.
        self.check_hosts("trusted_domains", &trusted, true);
    }

    fn check_hosts(&mut self, key: &str, hosts: &[&str], dev: bool) {
        for host in hosts {
            if let Err(why) = Hostname::parse(host, dev) {
                let kind = setting(key).map_or(Kind::Hosts, |setting| setting.kind);
                self.object(key, &format!("{}; of {host:?}: {why}", kind.allowed()));
            }
        }
    }
}

/// A share in millionths, so that settings can be compared.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 1")]
fn millionths(share: &str) -> u32 {
    (share.parse().unwrap_or(1.0_f64) * 1e6).round() as u32
}

fn log_format(text: &str) -> LogFormat {
    match text {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        _ => LogFormat::Auto,
    }
}

/// Levels of zstd; see `docs/decisions` for what they take and give.
fn compression(text: &str) -> i32 {
    match text {
        "fast" => -3,
        "small" => 3,
        _ => 0,
    }
}

/// Workers as the reference counts them, in unsettled events.
fn window(workers: u64) -> usize {
    usize::try_from(workers * UNSETTLED_PER_40 / 40).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
