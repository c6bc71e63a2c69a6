//! Ports: before, the public ones must be free or Caddy's; after, they must answer, and the private ones
//! must not.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{Line, Patient, STEP_MAX, Stage};

const CHECK: &str = "ports";

pub(super) async fn check(patient: &Patient) -> Vec<Line> {
    match patient.stage {
        Stage::Before => before(patient).await,
        Stage::After => after(patient).await,
    }
}

async fn connects(address: SocketAddr) -> Result<(), String> {
    match timeout(STEP_MAX, TcpStream::connect(address)).await {
        Ok(Ok(_open)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_late) => Err("no answer within 10 s".to_owned()),
    }
}

async fn before(patient: &Patient) -> Vec<Line> {
    let (_, https) = patient.public();
    let mut lines = Vec::new();
    for port in [patient.http_port, https] {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let line = match connects(here).await {
            Err(_free) => Line::ok(CHECK, format!("port {port} is free")),
            Ok(()) => match server(here).await {
                Some(name) if name.starts_with("Caddy") => {
                    Line::ok(CHECK, format!("port {port} is Caddy's"))
                }
                name => Line::fail(
                    CHECK,
                    format!("port {port} is taken"),
                    match name {
                        Some(name) => format!("{name} answers there"),
                        None => "something answers there that is no web server".to_owned(),
                    },
                    format!("see `ss -ltnp 'sport = :{port}'`, and stop what is there"),
                ),
            },
        };
        lines.push(line);
    }
    lines.extend(relay_ports(patient).await);
    lines
}

/// Who answers plain HTTP, as it calls itself.
async fn server(address: SocketAddr) -> Option<String> {
    let client = reqwest::Client::builder().timeout(STEP_MAX).redirect(no_redirect()).build();
    let answer = client.ok()?.get(format!("http://{address}/")).send().await.ok()?;
    let name = answer.headers().get("server").and_then(|name| name.to_str().ok());
    Some(crate::told::harmless(name.unwrap_or("a server without a name"), 80))
}

fn no_redirect() -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::none()
}

async fn relay_ports(patient: &Patient) -> Vec<Line> {
    let Ok(config) = patient.config() else { return Vec::new() };
    let mut lines = Vec::new();
    for bind in [config.api_bind, config.metrics_bind, config.admin_bind] {
        let here = near(bind);
        if connects(here).await.is_err() {
            continue;
        }
        let name = server(here).await.unwrap_or_default();
        if name.starts_with("relay") {
            continue;
        }
        lines.push(Line::fail(
            CHECK,
            format!("{bind}, where the relay wants to listen, is taken"),
            if name.is_empty() { "it is no web server".to_owned() } else { name },
            format!("see `ss -ltnp 'sport = :{}'`, or give the relay another port", bind.port()),
        ));
    }
    lines
}

/// Where something that listens on all interfaces is reached from this machine.
pub(crate) fn near(bind: SocketAddr) -> SocketAddr {
    let ip = if bind.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { bind.ip() };
    SocketAddr::new(ip, bind.port())
}

async fn after(patient: &Patient) -> Vec<Line> {
    let (host, https) = patient.public();
    let known = patient.addresses.clone();
    let addresses: Vec<IpAddr> = if known.is_empty() {
        let looked = timeout(STEP_MAX, lookup_host((host.as_str(), https))).await;
        looked.into_iter().flatten().flatten().map(|address| address.ip()).collect()
    } else {
        known
    };
    let mut lines = Vec::new();
    for address in &addresses {
        for (port, why) in [
            (https, "consumers and hosts come in there"),
            (patient.http_port, "the authority proves the name there, for each new certificate"),
        ] {
            let at = SocketAddr::new(*address, port);
            lines.push(match connects(at).await {
                Ok(()) => Line::ok(CHECK, format!("{at} is open")),
                Err(error) => Line::fail(
                    CHECK,
                    format!("{at} is closed: {error}"),
                    why,
                    "is Caddy running (`systemctl status caddy`), and does the firewall let it in?",
                ),
            });
        }
        lines.extend(private(patient, *address).await);
    }
    if addresses.is_empty() {
        let fix = "look at the check `dns`";
        lines.push(Line::fail(CHECK, format!("{host} leads nowhere"), "it has no address", fix));
    }
    lines
}

/// What must not be reached by an address that others use.
async fn private(patient: &Patient, address: IpAddr) -> Vec<Line> {
    let Ok(config) = patient.config() else { return Vec::new() };
    // From this machine its own loopback is always open.
    if address.is_loopback() && patient.addresses.is_empty() {
        return Vec::new();
    }
    let postgres = config.database_url.expose().starts_with("postgres").then_some(5432);
    let mut ports = vec![
        (config.metrics_bind.port(), "metrics", "RELAY_METRICS_LISTEN=127.0.0.1:2471"),
        (config.admin_bind.port(), "the admin API", "RELAY_ADMIN_BIND=127.0.0.1:2472"),
    ];
    ports.extend(postgres.map(|port| (port, "Postgres", "listen_addresses = 'localhost'")));
    let mut lines = Vec::new();
    for (port, whose, fix) in ports {
        let at = SocketAddr::new(address, port);
        if connects(at).await.is_ok() {
            lines.push(Line::fail(
                CHECK,
                format!("{at} is open: {whose}"),
                "it listens on every interface; a firewall may hide that today",
                format!("set {fix}; ports that Docker publishes pass by ufw"),
            ));
        }
    }
    if lines.is_empty() {
        lines.push(Line::ok(
            CHECK,
            format!("metrics, admin API and database are closed on {address}"),
        ));
    }
    lines
}
