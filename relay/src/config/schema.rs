//! The one table of settings: names, defaults, kinds, sentences. `env.example`, `--help`,
//! `relay config` and the drift test are made from it.

use super::value::Kind;

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Name in the TOML file and in messages.
    pub key: &'static str,
    /// Names in the environment; the first one set counts.
    pub env: &'static [&'static str],
    /// Flags without `--`; the first is shown.
    pub flags: &'static [&'static str],
    /// Default as one would type it; empty when there is none.
    pub default: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Heading it stands under.
    pub section: &'static str,
    /// What it does; the first sentence stands alone.
    pub doc: &'static str,
}

/// The setting that names the TOML file; it cannot stand in that file.
pub(super) const CONFIG_FILE: &str = "config";

const LISTEN: &str = "Addresses";
const KEEP: &str = "What is kept, and where";
const HOSTS: &str = "Hosts";
const RULES: &str = "Rules";
const IDENTITY: &str = "Identities and name resolution";
const ADMIN: &str = "Administration";
const LOGS: &str = "Logs";
const TRACES: &str = "Traces";
const ALERTS: &str = "Alerts to people";
const LOAD: &str = "Load";

const LOG_LEVELS: Kind = Kind::Choice(&[
    ("error", "error"),
    ("warn", "warn"),
    ("info", "info"),
    ("debug", "debug"),
    ("trace", "trace"),
    // Names of the loggers of older relays.
    ("warning", "warn"),
    ("dpanic", "error"),
    ("panic", "error"),
    ("fatal", "error"),
]);

const LOG_FORMATS: Kind = Kind::Choice(&[("auto", "auto"), ("text", "text"), ("json", "json")]);

const SAMPLERS: Kind = Kind::Choice(&[
    ("always_on", "always_on"),
    ("always_off", "always_off"),
    ("traceidratio", "traceidratio"),
    ("parentbased_always_on", "parentbased_always_on"),
    ("parentbased_always_off", "parentbased_always_off"),
    ("parentbased_traceidratio", "parentbased_traceidratio"),
]);

const LOG_COMPRESSIONS: Kind =
    Kind::Choice(&[("fast", "fast"), ("small", "small"), ("off", "off")]);

const CANDIDATES: Kind = Kind::Choice(&[("list", "list"), ("off", "off"), ("add", "add")]);

/// Sizes and counts end where no machine follows; the wall is against slips of the keyboard.
const TIB: u64 = 1 << 40;

macro_rules! settings {
    ($($key:literal, $kind:expr, $section:ident, $default:literal,
       env [$($env:literal),*], flags [$($flag:literal),*], $($doc:literal)+;)*) => {
        /// Every setting, in the order in which people read them.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            key: $key,
            env: &[$($env),*],
            flags: &[$($flag),*],
            default: $default,
            kind: $kind,
            section: $section,
            doc: concat!($($doc),+),
        }),*];
    };
}

settings! {
    "config", Kind::Path, KEEP, "", env ["RELAY_CONFIG"], flags ["config"],
        "File with settings in TOML: one `key = value` per line, keys as `relay config` prints \
         them. The environment and flags override it.";
    "data_dir", Kind::Path, KEEP, "data/relay",
        env ["RELAY_DATA_DIR", "DATA_DIR"], flags ["data-dir"],
        "Directory of all that the relay keeps, unless the next two say otherwise.";
    "persist_dir", Kind::Path, KEEP, "<data_dir>/persist",
        env ["RELAY_PERSIST_DIR", "RELAY_PERSISTER_DIR"], flags ["persist-dir"],
        "Directory of the event log, which the replay window fills.";
    "database_url", Kind::Database, KEEP, "sqlite://<data_dir>/relay.sqlite",
        env ["DATABASE_URL"], flags ["db-url"],
        "Where hosts and accounts are kept: a SQLite file, or Postgres.";
    "database_connections", Kind::Number(2, 1000), KEEP, "10",
        env ["MAX_DB_CONNECTIONS", "MAX_METADB_CONNECTIONS"], flags ["max-db-conn"],
        "Connections to Postgres at most. SQLite has one writer and up to four readers.";
    "replay_window", Kind::Duration(60, 100 * 365 * 86_400), KEEP, "72h",
        env ["RELAY_REPLAY_WINDOW", "RELAY_EVENT_PLAYBACK_TTL"], flags ["replay-window"],
        "Age of the oldest event that a consumer can ask for.";
    "replay_max_bytes", Kind::AutoSize(1 << 20, 1024 * TIB), KEEP, "auto",
        env ["RELAY_REPLAY_MAX_BYTES"], flags ["replay-max-bytes"],
        "Size of the event log at most, whatever the age. `auto` is 60 % of the space that is \
         free at the start.";
    "segment_bytes", Kind::Size(64 << 10, 16 << 30), KEEP, "256MiB",
        env ["RELAY_SEGMENT_BYTES"], flags ["segment-bytes"],
        "Size at which a file of the event log is sealed. Whole files are removed when they are \
         too old.";
    "log_compression", LOG_COMPRESSIONS, KEEP, "fast",
        env ["RELAY_LOG_COMPRESSION"], flags ["log-compression"],
        "How files of the event log that consumers near the newest event no longer read are \
         compressed. `small` takes a fifth less of the disk and five times the work; `off` leaves \
         them as they were written.";
    "collections_memory", Kind::Size(16 << 20, 64 << 30), KEEP, "256MiB",
        env ["RELAY_COLLECTIONS_MEMORY"], flags ["collections-memory"],
        "Memory of the index of which account has records in which collection, most of it for what \
         is not in its files yet. More makes large imports rewrite less.";
    "initial_seq", Kind::Number(1, (1 << 53) - 1), KEEP, "1",
        env ["RELAY_INITIAL_SEQ_NUMBER"], flags ["initial-seq-number"],
        "Number of the next event at least. Set it above the last number of a relay that this \
         one replaces.";

    "api_bind", Kind::Address, LISTEN, "127.0.0.1:2470",
        env ["RELAY_API_BIND", "RELAY_API_LISTEN"], flags ["bind", "api-bind", "api-listen"],
        "Firehose and XRPC. `:2470` listens on all interfaces.";
    "metrics_bind", Kind::Address, LISTEN, "127.0.0.1:2471",
        env ["RELAY_METRICS_LISTEN", "RELAY_METRICS_BIND"], flags ["metrics-listen", "metrics-bind"],
        "Prometheus metrics and health.";
    "admin_bind", Kind::Address, LISTEN, "127.0.0.1:2472",
        env ["RELAY_ADMIN_BIND", "RELAY_ADMIN_LISTEN"], flags ["admin-bind", "admin-listen"],
        "Admin API. The same address as that of the firehose puts both on one port, as the \
         reference relay does.";
    "trusted_proxies", Kind::Networks, LISTEN, "",
        env ["RELAY_TRUSTED_PROXIES"], flags ["trusted-proxies"],
        "Proxies before the relay, whose X-Forwarded-For says who the client is; limits per client, \
         logs and the list of consumers go by it. Without this the header is ignored, and all who \
         come through a proxy are one client. Name only what nobody else can connect from.";

    "crawl", Kind::Hosts, HOSTS, "", env ["RELAY_CRAWL"], flags ["crawl"],
        "Hosts to subscribe to at the start, besides those that are known.";
    "bootstrap_from", Kind::Hosts, HOSTS, "",
        env ["RELAY_BOOTSTRAP_FROM", "RELAY_UPSTREAM"], flags ["bootstrap-from", "upstream"],
        "Relays whose lists of hosts are read at the first start and again every six hours; hosts \
         that are new are subscribed to. Events are never taken from them.";
    "source_relays", Kind::Hosts, HOSTS, "", env ["RELAY_SOURCE_RELAYS"], flags ["source-relays"],
        "Relays whose events are read besides those of hosts, from the beginning of what they keep. Each \
         event is validated as one of a host; whose word counts for an account says its DID document, and \
         a host that is read itself goes before.";
    "host_candidates", CANDIDATES, HOSTS, "list",
        env ["RELAY_HOST_CANDIDATES"], flags ["host-candidates"],
        "What becomes of a host that a DID document names and that is not known: `off`, nothing; \
         `list`, operators see it; `add`, it is admitted as if it had asked.";
    "disable_request_crawl", Kind::Switch, HOSTS, "false",
        env ["RELAY_DISABLE_REQUEST_CRAWL"], flags ["disable-request-crawl"],
        "Refuses requestCrawl from outside; only the admin API adds hosts.";
    "default_account_limit", Kind::Number(0, 1_000_000_000), HOSTS, "100",
        env ["RELAY_DEFAULT_ACCOUNT_LIMIT", "RELAY_DEFAULT_REPO_LIMIT"],
        flags ["default-account-limit"],
        "Accounts that a new host may have. Hosts that are known keep their limit.";
    "trusted_domains", Kind::Hosts, HOSTS, "*.host.bsky.network",
        env ["RELAY_TRUSTED_DOMAINS"], flags ["trusted-domains"],
        "Hosts with large limits of accounts and events: `pds.example.com` is one host, \
         `*.example.com` all hosts below a domain. Their events are validated like all others.";
    "new_hosts_per_day", Kind::Number(0, 1_000_000), HOSTS, "50",
        env ["RELAY_NEW_HOSTS_PER_DAY_LIMIT"], flags ["new-hosts-per-day-limit"],
        "Hosts that requestCrawl from outside may add in 24 hours. Those that operators add are not \
         counted.";
    "limits_grow", Kind::Switch, HOSTS, "true", env ["RELAY_LIMITS_GROW"], flags ["limits-grow"],
        "Raises the limits of a host by half of what it has by the rules for each week in which its \
         events were valid, up to ten times.";
    "account_events_per_second", Kind::Number(0, 1000), HOSTS, "10",
        env ["RELAY_ACCOUNT_EVENTS_PER_SECOND"], flags ["account-events-per-second"],
        "Events that one account may send per second in the long run, and five times as many at once; \
         more of them wait. 0 is no limit, here and in the next three.";
    "account_events_per_hour", Kind::Number(0, 3_600_000), HOSTS, "5000",
        env ["RELAY_ACCOUNT_EVENTS_PER_HOUR"], flags ["account-events-per-hour"],
        "The same per hour. An account that sends more is throttled for ten minutes at least. One of \
         several accounts never has more than half of what its host may send.";
    "account_events_per_day", Kind::Number(0, 86_400_000), HOSTS, "35000",
        env ["RELAY_ACCOUNT_EVENTS_PER_DAY"], flags ["account-events-per-day"],
        "The same per day.";
    "account_discontinuities_per_day", Kind::Number(0, 1_000_000), HOSTS, "1000",
        env ["RELAY_ACCOUNT_DISCONTINUITIES_PER_DAY"], flags ["account-discontinuities-per-day"],
        "Commits per day that do not follow the one before, each of which makes consumers fetch a whole \
         repo. An account with more of them, or with more than half of its last hundred commits, is \
         throttled for six hours.";
    "collections_host_away", Kind::Duration(60, 100 * 365 * 86_400), HOSTS, "168h",
        env ["RELAY_COLLECTIONS_HOST_AWAY"], flags ["collections-host-away"],
        "Accounts of a host that has not been reached for so long are left out of \
         `listReposByCollection` until it is back.";
    "collections_questions", Kind::Number(0, 1000), HOSTS, "10",
        env ["RELAY_COLLECTIONS_QUESTIONS"], flags ["collections-questions"],
        "Questions per second to the hosts of one operator about accounts of which it is uncertain in \
         which collections they have records. 0 asks no host by itself; what an operator names with \
         `relay collections backfill` is asked about all the same.";
    "contact", Kind::Text, HOSTS, "", env ["RELAY_CONTACT"], flags ["contact"],
        "Where hosts reach the people of this relay: a URL or `mailto:`. It is part of the \
         User-Agent of every request.";

    "dev", Kind::Switch, RULES, "false", env ["RELAY_ALLOW_INSECURE_HOSTS"],
        flags ["dev", "allow-insecure-hosts"],
        "Development mode: plain ws and http, `localhost:PORT`, private addresses and `.test` \
         are permitted. Not with ENVIRONMENT=production.";
    "lenient", Kind::Switch, RULES, "false", env ["RELAY_LENIENT_SYNC_VALIDATION"],
        flags ["lenient-sync-validation"],
        "Passes events of hosts that never sent provable commits, and counts what strict \
         validation would have dropped.";
    "lenient_hosts", Kind::DatedHosts, RULES, "", env ["RELAY_LENIENT_HOSTS"],
        flags ["lenient-hosts"],
        "The same for these hosts alone, each until its day begins (UTC).";
    "strict_since", Kind::Day, RULES, "2027-07-01", env ["RELAY_STRICT_SINCE"], flags ["strict-since"],
        "Hosts first seen on this day (UTC) or later are not spared by the two settings above, \
         for good.";
    "environment", Kind::Text, RULES, "dev", env ["ENVIRONMENT"], flags ["env"],
        "What this relay is for, as `production`, where development mode is refused.";

    "plc_host", Kind::Url, IDENTITY, "https://plc.directory",
        env ["RELAY_PLC_HOST", "ATP_PLC_HOST"], flags ["plc-host"],
        "The PLC directory.";
    "plc_rate", Kind::Number(1, 10_000), IDENTITY, "100", env ["RELAY_PLC_RATE"], flags ["plc-rate"],
        "Requests per second to the PLC directory at most.";
    "plc_stream", Kind::Switch, IDENTITY, "false", env ["RELAY_PLC_STREAM"], flags ["plc-stream"],
        "Follows the operations of the PLC directory, so that identities that change are looked up before \
         the next event comes. Where the directory has no stream its export is read every ten seconds.";
    "identity_concurrency", Kind::Number(1, 1000), IDENTITY, "64",
        env ["RELAY_IDENTITY_CONCURRENCY"], flags ["identity-concurrency"],
        "Requests to the PLC directory under way at once. Those to the hosts of did:web are counted \
         apart; of them there are half as many at most, and at least one.";
    "resolve_address", Kind::NameServers, IDENTITY, "", env ["RESOLVE_ADDRESS"],
        flags ["resolve-address"],
        "Name servers to ask instead of those of the machine.";
    "force_dns_udp", Kind::Switch, IDENTITY, "false", env ["FORCE_DNS_UDP"],
        flags ["force-dns-udp"],
        "Asks the name servers of RESOLVE_ADDRESS over UDP only.";

    "admin_passwords", Kind::Passwords, ADMIN, "",
        env ["RELAY_ADMIN_PASSWORD", "RELAY_ADMIN_KEY"], flags ["admin-password"],
        "Passwords of the admin API; each of them opens it. Without one, a password is made in \
         the file `admin-password` of the data directory.";
    "admin_password_file", Kind::OptionalPath, ADMIN, "",
        env ["RELAY_ADMIN_PASSWORD_FILE"], flags ["admin-password-file"],
        "File with more passwords of the admin API, one per line, which others cannot read; a \
         credential of systemd for example.";
    "sibling_relays", Kind::Siblings, ADMIN, "", env ["RELAY_SIBLING_RELAYS"],
        flags ["sibling-relays"],
        "Other relays of yours, which are told of takedowns, bans, limits and new hosts until they \
         have taken them: a name, or the address of the admin API. The first admin password must be \
         valid there.";
    "policy_file", Kind::OptionalPath, ADMIN, "", env ["RELAY_POLICY_FILE"], flags ["policy-file"],
        "File with bans, trusted domains, limits of hosts, takedowns and siblings in TOML. It is \
         read at the start and on SIGHUP; `relay policy diff` says what it would change.";

    "log_level", LOG_LEVELS, LOGS, "info",
        env ["RELAY_LOG_LEVEL", "GO_LOG_LEVEL", "LOG_LEVEL", "GOLOG_LOG_LEVEL"],
        flags ["log-level"],
        "How much is logged.";
    "log_format", LOG_FORMATS, LOGS, "auto", env ["RELAY_LOG_FORMAT"], flags ["log-format"],
        "`auto` is text on a terminal and JSON elsewhere.";

    "otlp_endpoint", Kind::Endpoint, TRACES, "", env ["OTEL_EXPORTER_OTLP_ENDPOINT"],
        flags ["otel-exporter-otlp-endpoint"],
        "Collector that takes traces by OTLP over HTTP, as `http://127.0.0.1:4318`. Without it there \
         are none, and they cost nothing. Other OTEL_ names of the environment hold as OpenTelemetry \
         defines them.";
    "otlp_headers", Kind::Token, TRACES, "", env ["OTEL_EXPORTER_OTLP_HEADERS"],
        flags ["otel-exporter-otlp-headers"],
        "Headers of each request to the collector, as `api-key=SECRET`, separated by commas.";
    "otlp_service_name", Kind::Text, TRACES, "relay", env ["OTEL_SERVICE_NAME"],
        flags ["otel-service-name"],
        "What this relay is called there.";
    "otlp_sampler", SAMPLERS, TRACES, "parentbased_always_on", env ["OTEL_TRACES_SAMPLER"],
        flags ["otel-traces-sampler"],
        "Which traces are kept. There is one for each batch of events, checkpoint, lookup and \
         handshake.";
    "otlp_sampler_arg", Kind::Share, TRACES, "1", env ["OTEL_TRACES_SAMPLER_ARG"],
        flags ["otel-traces-sampler-arg"],
        "Share of traces that `traceidratio` keeps.";

    "alert_webhook", Kind::HiddenEndpoint, ALERTS, "", env ["RELAY_ALERT_WEBHOOK"],
        flags ["alert-webhook"],
        "Address to which alerts are sent as JSON: a host near its account limit, a trusted host that \
         is lost, a relay that hears nothing, a replay window that shrank; and when each is over.";
    "slack_alert_token", Kind::Token, ALERTS, "",
        env ["RELAY_SLACK_ALERT_TOKEN", "RELAY_ALERT_SLACK_TOKEN"], flags ["slack-alert-token"],
        "Token of a bot that sends the same to a channel of Slack. It needs `slack_alert_channel`.";
    "slack_alert_channel", Kind::Text, ALERTS, "",
        env ["RELAY_SLACK_ALERT_CHANNEL", "RELAY_ALERT_SLACK_CHANNEL"],
        flags ["slack-alert-channel"],
        "That channel, by its id or `#name`.";
    "account_limit_alert_threshold", Kind::Share, ALERTS, "0.80",
        env ["RELAY_ACCOUNT_LIMIT_ALERT_THRESHOLD"], flags ["account-limit-alert-threshold"],
        "Share of the accounts that a host may have, from which on people are told.";
    "account_limit_alert_interval", Kind::Duration(1, 86_400), ALERTS, "5m",
        env ["RELAY_ACCOUNT_LIMIT_ALERT_INTERVAL"], flags ["account-limit-alert-interval"],
        "How often the accounts of hosts are compared with their limits.";
    "account_limit_alert_repeat_interval", Kind::Duration(60, 365 * 86_400), ALERTS, "6h",
        env ["RELAY_ACCOUNT_LIMIT_ALERT_REPEAT_INTERVAL"],
        flags ["account-limit-alert-repeat-interval"],
        "After this time an alert that lasts is told again, of any kind.";
    "account_limit_alert_dashboard_url", Kind::Endpoint, ALERTS, "",
        env ["RELAY_ACCOUNT_LIMIT_ALERT_DASHBOARD_URL", "RELAY_ALERT_DASHBOARD_URL"],
        flags ["account-limit-alert-dashboard-url"],
        "Where a message leads to: a page of dashboards.";

    "shards", Kind::AutoNumber(1, 256), LOAD, "auto", env ["RELAY_SHARDS"], flags ["shards"],
        "Workers that verify events; an account always has the same one. `auto` is one per core.";
    "account_cache", Kind::Number(1000, 100_000_000), LOAD, "500000",
        env ["RELAY_ACCOUNT_CACHE", "RELAY_IDENT_CACHE_SIZE", "RELAY_DID_CACHE_SIZE"],
        flags ["account-cache", "ident-cache-size"],
        "Accounts kept in memory, of at most 400 bytes each.";
    "host_concurrency", Kind::Number(1, 400), LOAD, "40",
        env ["RELAY_HOST_CONCURRENCY", "RELAY_CONCURRENCY_PER_PDS"], flags ["host-concurrency"],
        "Share of one host in the work under way, in the workers that older relays give a host. \
         Each stands for 102 events that may wait for a verdict or for the disk; a host with \
         more is not read. 16 MiB per host is the limit in any case.";
    "host_queue", Kind::Number(1, 65_536), LOAD, "64", env ["RELAY_MAX_QUEUE_PER_PDS"],
        flags ["host-queue"],
        "Frames of one host that may wait at one worker. 2 MiB is the limit in any case.";
    "handshakes_max", Kind::Number(1, 10_000), LOAD, "64", env ["RELAY_HANDSHAKES_MAX"],
        flags ["handshakes-max"],
        "Hosts that are dialled at once.";
    "max_consumers", Kind::Number(1, 100_000), LOAD, "2000", env ["RELAY_MAX_CONSUMERS"],
        flags ["max-consumers"],
        "Consumers of the firehose at once. The next one is told to come again later (429). Each takes \
         as much of the link as the whole stream, some 30 Mbit/s.";
    "max_consumers_per_client", Kind::Number(1, 100_000), LOAD, "50",
        env ["RELAY_MAX_CONSUMERS_PER_CLIENT"], flags ["max-consumers-per-client"],
        "The same of one client: an IPv4 address, or a /64 network of IPv6. Programs of this machine \
         and those of `trusted_proxies` stand for many, and only the limit of all holds for them.";
}

/// Names of the archival relay that this one has no use for.
pub(super) const OBSOLETE: [&str; 4] = [
    "CARSTORE_DATABASE_URL",
    "MAX_CARSTORE_CONNECTIONS",
    "MAX_FETCH_CONCURRENCY",
    "RELAY_COMPACT_INTERVAL",
];

/// Settings of the reference relay that this one knows but does not follow: flag and names.
pub(super) const NOT_YET: &[(&str, &[&str])] =
    &[("enable-db-tracing", &[]), ("enable-jaeger-tracing", &[]), ("enable-otel-tracing", &[])];

/// The row of a key.
pub(super) fn setting(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// No name means two things, every default is allowed, every sentence is one.
    #[test]
    fn the_table_is_consistent() {
        let mut seen = BTreeSet::new();
        for row in SETTINGS {
            assert!(seen.insert(format!("key {}", row.key)), "{}", row.key);
            for name in row.env {
                assert!(seen.insert(format!("env {name}")), "{name}");
                assert!(!OBSOLETE.contains(name));
            }
            for flag in row.flags {
                assert!(seen.insert(format!("flag {flag}")), "{flag}");
            }
            assert!(!row.env.is_empty() && !row.flags.is_empty(), "{}", row.key);
            assert!(row.doc.ends_with('.') && !row.doc.contains("  "), "{}", row.doc);
            let default = [row.default.to_owned()];
            assert!(row.key == CONFIG_FILE || row.kind.parse(&default).is_some(), "{}", row.key);
        }
        for (flag, names) in NOT_YET {
            assert!(seen.insert(format!("flag {flag}")), "{flag}");
            for name in *names {
                assert!(seen.insert(format!("env {name}")), "{name}");
            }
        }
    }
}
