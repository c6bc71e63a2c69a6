//! Which addresses may be reached (SEC-1). Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::NetError;

/// IPv4 networks that are never the public address of a host.
const FORBIDDEN_V4: &[(Ipv4Addr, u32, &str)] = &[
    (Ipv4Addr::UNSPECIFIED, 8, "this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared by carriers"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "reserved for protocols"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "for documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relays"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "for benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "for documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "for documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// The one IPv6 network that is public, [`FORBIDDEN_V6`] apart.
const PUBLIC_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Parts of [`PUBLIC_V6`] that lead elsewhere.
const FORBIDDEN_V6: &[(Ipv6Addr, u32, &str)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "Teredo"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "for documentation"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4"),
];

/// Named kinds outside of [`PUBLIC_V6`]; only for the words of the refusal.
const NAMED_V6: &[(Ipv6Addr, u32, &str)] = &[
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, "an IPv4 address in disguise"),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, "translated to IPv4"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "private"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

/// Decides what may be reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard {
    /// Development mode: everything may.
    pub(super) allow_insecure: bool,
}

impl Guard {
    /// Checks an address to which a name was resolved.
    pub(super) fn address(self, address: IpAddr) -> Result<(), NetError> {
        match forbidden(address) {
            Some(kind) if !self.allow_insecure => {
                Err(refused(&format!("the address {address} is not public ({kind})")))
            }
            _ => Ok(()),
        }
    }

    /// Checks a port: only those of http and https are public.
    pub(super) fn port(self, port: u16) -> Result<(), NetError> {
        if self.allow_insecure || matches!(port, 80 | 443) {
            Ok(())
        } else {
            Err(refused(&format!("port {port} is neither 80 nor 443")))
        }
    }

    /// Checks whether a connection may go without TLS.
    pub(super) fn scheme(self, secure: bool) -> Result<(), NetError> {
        if self.allow_insecure || secure {
            Ok(())
        } else {
            Err(refused("the connection would not be encrypted"))
        }
    }

    /// Checks what a URL shows before its name is resolved.
    pub(super) fn url(self, text: &str) -> Result<Url, NetError> {
        let url =
            Url::parse(text).map_err(|error| NetError::Failed(format!("not a URL: {error}")))?;
        match url.scheme() {
            "https" => {}
            "http" => self.scheme(false)?,
            other => {
                return Err(NetError::Refused(format!("the scheme `{other}` is not https")));
            }
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NetError::Refused("the URL holds a user name or password".to_owned()));
        }
        self.port(url.port_or_known_default().unwrap_or_default())?;
        match url.host() {
            Some(Host::Domain(_)) => Ok(url),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) if self.allow_insecure => Ok(url),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => {
                Err(refused("the host is an IP address instead of a name"))
            }
            None => Err(NetError::Refused("the URL names no host".to_owned())),
        }
    }
}

fn refused(why: &str) -> NetError {
    NetError::Refused(format!("{why}; only --dev permits it"))
}

/// Which kind of address it is, if it is not a public one.
fn forbidden(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => FORBIDDEN_V4
            .iter()
            .find(|(base, length, _)| in_v4(address, *base, *length))
            .map(|(_, _, kind)| *kind),
        IpAddr::V6(address) => {
            let (base, length) = PUBLIC_V6;
            let table = if in_v6(address, base, length) { FORBIDDEN_V6 } else { NAMED_V6 };
            let named = table
                .iter()
                .find(|(base, length, _)| in_v6(address, *base, *length))
                .map(|(_, _, kind)| *kind);
            named.or_else(|| (!in_v6(address, base, length)).then_some("outside of 2000::/3"))
        }
    }
}

fn in_v4(address: Ipv4Addr, base: Ipv4Addr, length: u32) -> bool {
    (address.to_bits() ^ base.to_bits()).leading_zeros() >= length
}

fn in_v6(address: Ipv6Addr, base: Ipv6Addr, length: u32) -> bool {
    (address.to_bits() ^ base.to_bits()).leading_zeros() >= length
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Guard = Guard { allow_insecure: false };
    const DEV: Guard = Guard { allow_insecure: true };

    /// SEC-1: first and last address of each forbidden network.
    const FORBIDDEN: &[&str] = &[
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.0",
        "169.254.169.254",
        "169.254.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.0",
        "192.0.0.255",
        "192.0.2.0",
        "192.0.2.255",
        "192.88.99.0",
        "192.88.99.255",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.0",
        "198.51.100.255",
        "203.0.113.0",
        "203.0.113.255",
        "224.0.0.0",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:8.8.8.8",
        "::ffff:127.0.0.1",
        "64:ff9b::808:808",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "1fff:ffff::1",
        "2001::1",
        "2001:0:ffff::1",
        "2001:db8::1",
        "2001:db8:ffff::1",
        "2002::1",
        "2002:ffff::1",
        "2002:7f00:1::",
        "4000::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "::127.0.0.1",
    ];

    /// The addresses right beside those networks.
    const PUBLIC: &[&str] = &[
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.1.255",
        "192.0.3.0",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "8.8.8.8",
        "2000::1",
        "2001:1::1",
        "2001:db7:ffff::1",
        "2001:db9::1",
        "2003::1",
        "2606:4700::1111",
        "2a01:4f8::1",
        "3fff:ffff::1",
    ];

    #[test]
    fn only_public_addresses_may_be_reached() {
        for text in FORBIDDEN {
            let address: IpAddr = text.parse().unwrap();
            let refusal = STRICT.address(address).expect_err(text).to_string();
            assert!(refusal.contains(&address.to_string()) && refusal.contains("--dev"), "{text}");
            assert!(DEV.address(address).is_ok(), "{text} in development mode");
        }
        for text in PUBLIC {
            assert!(STRICT.address(text.parse().unwrap()).is_ok(), "{text}");
        }
    }

    /// SEC-1: ports 80 and 443.
    #[test]
    fn only_the_ports_of_the_web_may_be_reached() {
        for port in [0, 22, 79, 81, 442, 444, 2470, 5432, 65535] {
            assert!(STRICT.port(port).is_err(), "{port}");
            assert!(DEV.port(port).is_ok(), "{port}");
        }
        assert!(STRICT.port(80).is_ok() && STRICT.port(443).is_ok());
    }

    /// SEC-1, SEC-2: what a URL gives away before it is resolved.
    #[test]
    fn urls_to_odd_places_are_refused() {
        let refused = [
            "http://example.com/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://8.8.8.8/",
            "https://example.com:8443/",
            "https://user@example.com/",
            "https://user:word@example.com/",
        ];
        for url in refused {
            assert!(matches!(STRICT.url(url), Err(NetError::Refused(_))), "{url}");
        }
        for url in ["ftp://example.com/", "file:///etc/passwd", "data:text/plain,x"] {
            assert!(matches!(DEV.url(url), Err(NetError::Refused(_))), "{url}");
        }
        for url in
            ["https://example.com/a?b", "https://example.com:443/", "https://example.com:80/"]
        {
            assert!(STRICT.url(url).is_ok(), "{url}");
        }
        for url in ["http://localhost:2583/", "http://127.0.0.1:1/", "https://example.com:8443/"] {
            assert!(DEV.url(url).is_ok(), "{url}");
        }
    }
}
