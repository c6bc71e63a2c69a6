//! Lists of others: hosts of other relays, accounts of hosts.

use relay_protocol::Hostname;
use serde_json::json;

use super::{Actions, Done, Refused};
use crate::{store::ScanWish, telemetry::escape};

/// Relays in one request.
const SOURCES_MAX: usize = 20;

/// Pages of the directory's export a second, which has a budget for everyone.
const RATE_MAX: u32 = 10;

/// Hosts in one request.
const HOSTS_MAX: usize = 1_000;

pub(super) fn pull(actions: &Actions, from: &[String]) -> Result<Done, Refused> {
    let parts = actions.parts();
    if from.is_empty() || from.len() > SOURCES_MAX {
        let count = from.len();
        return Err(Refused::Invalid(format!(
            "from must name 1 to {SOURCES_MAX} relays, not {count}"
        )));
    }
    let parsed: Result<Vec<_>, _> = from
        .iter()
        .map(|text| {
            Hostname::parse(text.trim(), parts.dev).map_err(|why| {
                Refused::Invalid(format!("{} is no relay: {why}", escape(text, 100)))
            })
        })
        .collect();
    let sources = parsed?;
    for source in &sources {
        parts.discovery.pull(source);
    }
    let names: Vec<&str> = sources.iter().map(Hostname::as_str).collect();
    Ok(Done { after: json!({ "from": names }), ..Done::default() })
}

pub(super) async fn scan(actions: &Actions, rate: u32, add: bool) -> Result<Done, Refused> {
    if !(1..=RATE_MAX).contains(&rate) {
        return Err(Refused::Invalid(format!("rate must be from 1 to {RATE_MAX}, not {rate}")));
    }
    let started = actions.parts().discovery.scan_directory(ScanWish { rate, add }).await?;
    Ok(Done { after: json!({ "rate": rate, "add": add, "started": started }), ..Done::default() })
}

pub(super) async fn resync(actions: &Actions, names: &[String]) -> Result<Done, Refused> {
    let parts = actions.parts();
    if names.is_empty() || names.len() > HOSTS_MAX {
        let count = names.len();
        return Err(Refused::Invalid(format!(
            "hostnames must name 1 to {HOSTS_MAX} hosts, not {count}"
        )));
    }
    let mut hosts = Vec::with_capacity(names.len());
    for name in names {
        let known = parts.hosts.by_name(&name.trim().to_ascii_lowercase());
        hosts.push(known.ok_or_else(|| Refused::Unknown {
            name: "HostNotFound",
            what: format!("this relay does not know the host {}", escape(name, 100)),
        })?);
    }
    for host in &hosts {
        parts.discovery.resync(host.id()).await?;
    }
    Ok(Done { after: json!({ "hosts": hosts.len() }), ..Done::default() })
}
