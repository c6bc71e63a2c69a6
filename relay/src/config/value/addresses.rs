//! Addresses in settings: of listeners, servers, databases, other relays. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use relay_protocol::Hostname;

/// Address of a sibling relay without slash at the end; a name alone is reached by https.
///
/// * `dev` – plain http to anywhere; else only to private addresses, because a password goes with it
pub fn sibling(text: &str, dev: bool) -> Option<String> {
    if !text.contains("://") {
        let hostname = Hostname::parse(text, true).ok()?;
        let scheme = if hostname.is_secure() { "https" } else { "http" };
        return sibling(&format!("{scheme}://{hostname}"), dev);
    }
    let url = base_url(text)?;
    (dev || !url.starts_with("http://") || is_private(&url)).then_some(url)
}

fn is_private(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    match url.host() {
        Some(url::Host::Ipv4(v4)) => v4.is_private() || v4.is_loopback(),
        Some(url::Host::Ipv6(v6)) => v6.is_unique_local() || v6.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// `:2470` is every interface; `[::]` takes IPv4 too.
pub(super) fn listen_address(text: &str) -> Option<SocketAddr> {
    if let Some(port) = text.strip_prefix(':') {
        return Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port.parse().ok()?)));
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?)));
    }
    text.parse().ok()
}

pub(super) fn name_server(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| Some(SocketAddr::from((text.parse::<IpAddr>().ok()?, 53))))
}

/// The spellings that the store takes; what follows is its matter.
pub(super) fn is_database(text: &str) -> bool {
    ["sqlite://", "sqlite=", "sqlite:", "postgres://", "postgresql://", "postgres="]
        .iter()
        // The first that fits: `sqlite://` begins with `sqlite:`.
        .find_map(|prefix| text.strip_prefix(prefix))
        .is_some_and(|rest| !rest.is_empty())
}

/// Whether the password of a database address is the placeholder of a runbook.
pub(super) fn holds_placeholder(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    [":changeme@", "password=changeme", "password='changeme'"]
        .iter()
        .any(|placeholder| lower.contains(placeholder))
}

pub(super) fn base_url(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    plain.then(|| url.as_str().trim_end_matches('/').to_owned())
}

/// Without the slash at the end; empty when there is none.
pub(super) fn endpoint(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some(String::new());
    }
    let url = url::Url::parse(text).ok()?;
    let fits = matches!(url.scheme(), "http" | "https") && url.has_host();
    fits.then(|| text.trim_end_matches('/').to_owned())
}
