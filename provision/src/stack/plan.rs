//! What a stack consists of: one description for the engine and for Compose. Pure.

use serde::Serialize;

use super::{PDS_NAME, RELAY_NAME, Secrets};
use crate::image::Part;

/// Where a container may write besides its volume; gone with it.
pub(super) const SCRATCH: [&str; 2] = ["/tmp", "/run/postgresql"];

/// The relay's setting that holds the address of Caddy, which is known once there is a network.
pub(super) const TRUSTED_PROXIES: &str = "RELAY_TRUSTED_PROXIES";

/// Which parts are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// The relay on SQLite, with PDS, PLC directory and Caddy.
    Dev,
    /// The same on Postgres, and with Prometheus.
    ProdLike,
}

impl Profile {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::ProdLike => "prod-like",
        }
    }

    /// The profile of a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Dev, Self::ProdLike].into_iter().find(|profile| profile.name() == name)
    }

    /// Images that it needs.
    pub fn parts(self) -> Vec<Part> {
        let mut parts: Vec<_> = blank(self).iter().map(|service| service.part).collect();
        parts.sort_unstable();
        parts.dedup();
        parts
    }
}

/// One container.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name, which other containers find it by.
    pub name: &'static str,
    /// Whose image it runs.
    pub part: Part,
    /// Arguments instead of those of the image.
    pub command: Vec<String>,
    /// Environment.
    pub environment: Vec<(String, String)>,
    /// Where its volume is, if it keeps anything.
    pub volume: Option<&'static str>,
    /// Ports that this machine reaches, on its loopback.
    pub publish: Vec<u16>,
    /// Other names.
    pub aliases: Vec<&'static str>,
    /// Another part whose volume it reads, and where.
    pub reads: Option<(&'static str, &'static str)>,
    /// What must be well before it starts.
    pub after: Vec<&'static str>,
    /// Whether the image can say that it is well.
    pub tells_health: bool,
}

impl Service {
    fn new(name: &'static str, part: Part, environment: &[(&str, String)]) -> Self {
        let owned = |(name, value): &(&str, String)| ((*name).to_owned(), value.clone());
        Self {
            name,
            part,
            command: Vec::new(),
            environment: environment.iter().map(owned).collect(),
            volume: None,
            publish: Vec::new(),
            aliases: Vec::new(),
            reads: None,
            after: Vec::new(),
            tells_health: true,
        }
    }
}

fn blank(profile: Profile) -> Vec<Service> {
    services(profile, &Secrets::blank(), &[])
}

/// The containers of a profile, each after what it needs.
///
/// * `settings` – of the relay, besides those that it gets in any case
pub fn services(
    profile: Profile,
    secrets: &Secrets,
    settings: &[(String, String)],
) -> Vec<Service> {
    let with_postgres = profile == Profile::ProdLike;
    let mut list = Vec::new();
    if with_postgres {
        list.push(postgres(secrets));
    }
    list.push(caddy());
    list.push(plc(secrets, with_postgres));
    list.push(relay(secrets, settings, with_postgres));
    list.push(pds(secrets));
    if with_postgres {
        let mut prometheus = Service::new("prometheus", Part::Prometheus, &[]);
        prometheus.volume = Some("/data");
        prometheus.publish = vec![9090];
        list.push(prometheus);
    }
    list
}

fn postgres(secrets: &Secrets) -> Service {
    let mut postgres = Service::new(
        "postgres",
        Part::Postgres,
        &[
            ("POSTGRES_USER", "relay".to_owned()),
            ("POSTGRES_PASSWORD", secrets.postgres.clone()),
            ("POSTGRES_DATABASES", "relay plc".to_owned()),
        ],
    );
    postgres.volume = Some("/data");
    postgres
}

/// The Caddyfile of the real thing; only names and the authority are those of a stack.
fn caddy() -> Service {
    let mut caddy = Service::new(
        "caddy",
        Part::Caddy,
        &[
            ("RELAY_SITE", format!("localhost, {RELAY_NAME}")),
            ("RELAY_UPSTREAM", "relay:2470".to_owned()),
            ("RELAY_ADMIN_UPSTREAM", "relay:2472".to_owned()),
            ("RELAY_TLS_ISSUER", "internal".to_owned()),
            ("RELAY_CADDY_LOG", "/data/relay.log".to_owned()),
        ],
    );
    caddy.volume = Some("/data");
    caddy.publish = vec![443];
    caddy.aliases = vec![RELAY_NAME];
    caddy.tells_health = false;
    caddy
}

fn plc(secrets: &Secrets, with_postgres: bool) -> Service {
    let mut plc = Service::new("plc", Part::Network, &[]);
    plc.command = vec!["/srv/plc.mjs".to_owned()];
    plc.publish = vec![2582];
    if with_postgres {
        let url = database(secrets, "plc");
        plc.environment.push(("PLC_DATABASE_URL".to_owned(), url));
        plc.after = vec!["postgres"];
    }
    plc
}

fn pds(secrets: &Secrets) -> Service {
    let mut pds = Service::new(
        "pds",
        Part::Network,
        &[
            ("PDS_HOSTNAME", PDS_NAME.to_owned()),
            ("PDS_DID_PLC_URL", "http://plc:2582".to_owned()),
            // As in the real network: a PDS that has started says so, and no relay waits out a pause.
            ("PDS_CRAWLERS", "http://relay:2470".to_owned()),
            ("PDS_ROTATION_KEY", secrets.pds_rotation_key.clone()),
            ("PDS_ADMIN_PASSWORD", secrets.pds_admin.clone()),
            ("PDS_SECRET", secrets.pds_tokens.clone()),
        ],
    );
    pds.command = vec!["/srv/pds.mjs".to_owned()];
    pds.volume = Some("/data");
    pds.publish = vec![80];
    pds.aliases = vec![PDS_NAME];
    pds
}

fn relay(secrets: &Secrets, settings: &[(String, String)], with_postgres: bool) -> Service {
    let mut relay = Service::new(
        "relay",
        Part::Relay,
        &[
            // Private addresses and plain hosts: a stack has no others.
            ("RELAY_ALLOW_INSECURE_HOSTS", "true".to_owned()),
            ("RELAY_PLC_HOST", "http://plc:2582".to_owned()),
            ("RELAY_ADMIN_PASSWORD", secrets.relay_admin.clone()),
        ],
    );
    if with_postgres {
        relay.environment.push(("DATABASE_URL".to_owned(), database(secrets, "relay")));
        relay.after = vec!["postgres"];
    }
    relay.environment.extend(settings.iter().cloned());
    relay.volume = Some("/data");
    // Only the admin API, on loopback: all else goes through Caddy.
    relay.publish = vec![2472];
    relay
}

/// A consumer that is not ours: it verifies everything and says each event as a line of JSON in its log.
/// Starts when Caddy has made the certificate that it trusts.
pub(super) fn consumer() -> Service {
    let mut consumer = Service::new(
        "consumer",
        Part::Network,
        &[
            ("RELAY_URL", format!("wss://{RELAY_NAME}")),
            ("PLC_URL", "http://plc:2582".to_owned()),
            ("NODE_EXTRA_CA_CERTS", "/caddy/caddy/pki/authorities/local/root.crt".to_owned()),
        ],
    );
    consumer.command = vec!["/srv/consumer.mjs".to_owned()];
    consumer.reads = Some(("caddy", "/caddy"));
    consumer.tells_health = false;
    consumer
}

fn database(secrets: &Secrets, name: &str) -> String {
    format!("postgres://relay:{}@postgres/{name}", secrets.postgres)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part that waits for another one finds it started.
    #[test]
    fn every_part_comes_after_what_it_needs() {
        for profile in [Profile::Dev, Profile::ProdLike] {
            let mut seen = Vec::new();
            for service in blank(profile) {
                assert!(service.after.iter().all(|name| seen.contains(name)), "{service:?}");
                seen.push(service.name);
            }
        }
    }

    /// The database is reached by containers only, the relay through Caddy only; its admin API is on
    /// the machine's own loopback.
    #[test]
    fn only_what_people_need_is_published() {
        for service in blank(Profile::ProdLike) {
            let expected: &[u16] = match service.name {
                "caddy" => &[443],
                "relay" => &[2472],
                "pds" => &[80],
                "plc" => &[2582],
                "prometheus" => &[9090],
                _ => &[],
            };
            assert_eq!(service.publish, expected, "{}", service.name);
        }
    }
}
