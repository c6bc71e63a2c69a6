//! What the public name leads to.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use tokio::time::timeout;

use super::{Line, Patient, STEP_MAX};

const CHECK: &str = "dns";

pub(super) async fn check(patient: &Patient) -> Vec<Line> {
    let (host, _) = patient.public();
    let (server, resolver) = match resolver(patient) {
        Ok(found) => found,
        Err(why) => {
            let fix = "say with --name-server whom to ask";
            return vec![Line::fail(CHECK, "no name can be looked up", why, fix)];
        }
    };
    let name = format!("{host}.");
    let mut found: Vec<IpAddr> = Vec::new();
    match timeout(STEP_MAX, resolver.lookup_ip(name)).await {
        Ok(Ok(addresses)) => found.extend(addresses.iter()),
        Ok(Err(error)) if !error.is_no_records_found() => {
            return vec![unanswered(&host, server, &error.to_string())];
        }
        Err(_late) => return vec![unanswered(&host, server, "no answer within 10 s")],
        Ok(Err(_none)) => {}
    }
    found.sort();
    found.dedup();
    let mut lines = forward(patient, &host, &found);
    for address in &found {
        let answer = timeout(STEP_MAX, resolver.reverse_lookup(*address)).await;
        let names: Vec<String> = match answer {
            Ok(Ok(answer)) => {
                let records = answer.answers().iter();
                records.map(|record| record.data.to_string()).collect()
            }
            _ => Vec::new(),
        };
        lines.push(reverse(&host, *address, &names));
    }
    lines
}

fn unanswered(host: &str, server: SocketAddr, why: &str) -> Line {
    Line::fail(
        CHECK,
        format!("{host} cannot be looked up"),
        format!("{server} says: {why}"),
        "look at the zone of the name, or ask another server with --name-server",
    )
}

fn forward(patient: &Patient, host: &str, found: &[IpAddr]) -> Vec<Line> {
    let shown = |addresses: &[IpAddr]| {
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let wanted = match patient.addresses.as_slice() {
        [] => "the address of this machine".to_owned(),
        known => shown(known),
    };
    if found.is_empty() {
        return vec![Line::fail(
            CHECK,
            format!("{host} has no address"),
            "nobody finds the relay, and no certificate can be had",
            format!("add an A record (and AAAA) to the zone: {host} -> {wanted}"),
        )];
    }
    let mut lines = Vec::new();
    let elsewhere: Vec<IpAddr> =
        found.iter().copied().filter(|address| !patient.addresses.contains(address)).collect();
    if !patient.addresses.is_empty() && !elsewhere.is_empty() {
        lines.push(Line::fail(
            CHECK,
            format!("{host} leads to {}", shown(&elsewhere)),
            format!("this machine has {wanted}"),
            "change the record; the old answer lives on for as long as its TTL",
        ));
    }
    if !found.iter().any(IpAddr::is_ipv6) {
        lines.push(Line::warn(
            CHECK,
            format!("{host} has no AAAA record"),
            "hosts and consumers that have IPv6 alone cannot reach it",
            "add one when the machine has an IPv6 address",
        ));
    }
    if lines.is_empty() {
        lines.push(Line::ok(CHECK, format!("{host} leads to {}", shown(found))));
    }
    lines
}

fn reverse(host: &str, address: IpAddr, names: &[String]) -> Line {
    let same = |name: &String| name.trim_end_matches('.').eq_ignore_ascii_case(host);
    if names.iter().any(same) {
        return Line::ok(CHECK, format!("{address} is called {host}"));
    }
    let what = match names {
        [] => format!("{address} has no PTR record"),
        names => format!("{address} is called {}", names.join(", ")),
    };
    Line::warn(
        CHECK,
        what,
        "people of hosts who look up who connects do not find you",
        format!("set the reverse name to {host} in the provider's console"),
    )
}

fn resolver(patient: &Patient) -> Result<(SocketAddr, TokioResolver), String> {
    let server = patient.name_server.map_or_else(|| first(patient), Ok)?;
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = server.port();
    }
    let one = NameServerConfig::new(server.ip(), true, connections);
    let config = ResolverConfig::from_name_servers(vec![one]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().timeout = STEP_MAX / 4;
    builder.options_mut().attempts = 2;
    // What this machine calls itself in /etc/hosts is not what the world sees.
    builder.options_mut().use_hosts_file = hickory_resolver::config::ResolveHosts::Never;
    builder.options_mut().ip_strategy = hickory_resolver::config::LookupIpStrategy::Ipv4AndIpv6;
    Ok((server, builder.build().map_err(|error| error.to_string())?))
}

/// The first name server of the machine.
fn first(patient: &Patient) -> Result<SocketAddr, String> {
    let path = patient.root.join("etc/resolv.conf");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let mut addresses = servers.filter_map(|text| text.trim().parse::<IpAddr>().ok());
    let first = addresses.next();
    first.map(|ip| SocketAddr::new(ip, 53)).ok_or(format!("{} names no server", path.display()))
}
