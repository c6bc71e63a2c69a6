//! Host names (SYN-10, HOST-2).

use std::fmt;

use super::{check_name, check_tld};
use crate::Invalid;

/// Characters of an address before anything is stripped. Chosen because browsers and proxies stop
/// at about as many.
const ADDRESS_BYTES_MAX: usize = 2_048;

/// A host we may subscribe to, normalised `host` or `host:port` (SYN-10, HOST-2), and its scheme.
/// Authority comparison (VAL-4) is equality of [`Self::as_str`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hostname {
    name: Box<str>,
    secure: bool,
}

impl Hostname {
    /// Parses `host`, `https://host/…`, `wss://host`, and with `dev` also `http`, `ws` and
    /// `localhost:<port>` (plain unless https/wss is given; a bare `localhost:PORT` is plain).
    /// The error says which rule was broken and, where `--dev` would lift it, names `--dev`.
    pub fn parse(text: &str, dev: bool) -> Result<Self, Invalid> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(Invalid::new("a host address is longer than 2,048 characters"));
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(is_secure(scheme, dev)?), rest),
            None => (None, text),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest).to_ascii_lowercase();
        let (host, port) = split_authority(&authority)?;
        if host == "localhost" {
            check_localhost(port, dev)?;
            return Ok(Self { name: authority.into(), secure: scheme.unwrap_or(false) });
        }
        if port.is_some() {
            return Err(Invalid::new("a host has a port; only localhost may have one"));
        }
        if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(Invalid::new("a host is an IP address, not a name"));
        }
        check_name(host)?;
        check_tld(host, dev)?;
        Ok(Self { name: host.into(), secure: scheme.unwrap_or(true) })
    }

    /// `host` or `host:port`, lower case.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Whether TLS is used.
    pub const fn is_secure(&self) -> bool {
        self.secure
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Whether text is a port number from 1 to 65535 without needless zeros.
pub(super) fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.starts_with('0')
        && text.parse::<u16>().is_ok()
}

fn is_secure(scheme: &str, dev: bool) -> Result<bool, Invalid> {
    match scheme.to_ascii_lowercase().as_str() {
        "https" | "wss" => Ok(true),
        "http" | "ws" if dev => Ok(false),
        "http" | "ws" => Err(Invalid::new("a host is without TLS, which only --dev permits")),
        _ => Err(Invalid::new("the scheme of a host is not https or wss")),
    }
}

/// Splits `host[:port]`.
fn split_authority(authority: &str) -> Result<(&str, Option<&str>), Invalid> {
    if authority.is_empty() {
        return Err(Invalid::new("a host address has no host"));
    }
    if authority.contains('@') {
        return Err(Invalid::new("a host address has a user or password"));
    }
    if authority.starts_with('[') || authority.bytes().filter(|byte| *byte == b':').count() > 1 {
        return Err(Invalid::new("a host is an IP address, not a name"));
    }
    Ok(match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    })
}

fn check_localhost(port: Option<&str>, dev: bool) -> Result<(), Invalid> {
    if !dev {
        return Err(Invalid::new("a host is localhost, which only --dev permits"));
    }
    if port.is_some_and(is_port) {
        Ok(())
    } else {
        Err(Invalid::new("localhost needs a port, such as localhost:2583"))
    }
}
