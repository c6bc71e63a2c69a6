//! What the public sees: the firehose, and nothing that is not theirs.

use tokio::time::timeout;

use super::{Line, Patient, STEP_MAX};
use crate::feed::{Arrival, Feed};

const WEBSOCKET: &str = "websocket";
const ADMIN: &str = "admin";
/// Paths that only operators may have.
const CLOSED: [&str; 4] = ["/admin/v1/status", "/admin/pds/list", "/metrics", "/dash"];

/// Opens the firehose by the public name, and looks whether the relay knows what it came through.
pub(super) async fn websocket(patient: &Patient) -> Vec<Line> {
    let name = patient.address.name();
    let mut feed = Feed::new(patient.address.clone(), None);
    let opened = timeout(STEP_MAX * 2, feed.next()).await;
    let why = match opened {
        Ok(Ok(Arrival::Connected { server })) => {
            feed.close().await;
            let server = if server.is_empty() { "a server without a name" } else { &server };
            let server = crate::told::harmless(server, 80);
            let mut lines = vec![Line::ok(WEBSOCKET, format!("{name} opens a stream ({server})"))];
            lines.extend(unnamed_proxy(patient));
            return lines;
        }
        Ok(Ok(_)) => "it ended as it began".to_owned(),
        Ok(Err(error)) => format!("{error:#}"),
        Err(_late) => "no answer within 20 s".to_owned(),
    };
    vec![Line::fail(
        WEBSOCKET,
        format!("{name} opens no stream"),
        crate::told::harmless(&why, 400),
        "does the relay run (`relay health`), and does the proxy pass WebSockets on? Compare with the \
         Caddyfile",
    )]
}

/// The relay speaks no TLS, so a stream that came through TLS came through a proxy. Nothing is known
/// of that where the relay's settings are not.
fn unnamed_proxy(patient: &Patient) -> Option<Line> {
    let is_secure = patient.address.http("/").starts_with("https");
    let is_here = patient.files.iter().any(|path| path.is_file());
    if !is_secure || !is_here || !patient.config().ok()?.trusted_proxies.is_empty() {
        return None;
    }
    Some(Line::warn(
        WEBSOCKET,
        "a proxy stands before the relay, and RELAY_TRUSTED_PROXIES names none",
        "the relay takes all clients for one: its limits per client hold for none of them or for all \
         together, and its list of consumers shows the proxy",
        "set RELAY_TRUSTED_PROXIES to the address from which the proxy connects, such as 127.0.0.1,::1",
    ))
}

/// Asks for what must be closed.
pub(super) async fn admin(patient: &Patient) -> Vec<Line> {
    let client = match crate::feed::client() {
        Ok(client) => client,
        Err(error) => {
            let why = format!("{error:#}");
            return vec![Line::fail(ADMIN, "nothing can be asked", why, "install ca-certificates")];
        }
    };
    let mut lines = Vec::new();
    for path in CLOSED {
        let url = patient.address.http(path);
        let status = match client.get(&url).timeout(STEP_MAX).send().await {
            Ok(answer) => answer.status(),
            Err(error) => {
                let why = format!("{:#}", anyhow::Error::from(error));
                let fix = "look at the checks `ports` and `tls` first";
                return vec![Line::fail(ADMIN, format!("{url} cannot be asked"), why, fix)];
            }
        };
        // A demand for a password is an answer of the admin API.
        if status.is_success() || status.as_u16() == 401 {
            lines.push(Line::fail(
                ADMIN,
                format!("{url} answers {status}"),
                "anybody may try passwords there, or read it",
                "route only the public paths, as the Caddyfile does; RELAY_ADMIN_ALLOW lists addresses \
                 of operators, of which this may be one",
            ));
        }
    }
    if lines.is_empty() {
        lines.push(Line::ok(ADMIN, "admin API, metrics and dashboard are closed to this address"));
    }
    lines
}
