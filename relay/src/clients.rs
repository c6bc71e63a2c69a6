//! Who asks: the address of a client, also when proxies stand before the relay (SEC-7). Pure.
//!
//! Limits, logs and the list of consumers speak of clients. Behind a proxy the socket has the proxy's
//! address; who is behind it stands in a header, which anybody may write. So it counts only when the
//! socket belongs to a proxy that the operator named, and only as far back as such proxies reach.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use http::{Extensions, HeaderMap, HeaderName};
use ipnet::{IpNet, Ipv4Net};

/// Where a proxy says for whom it asks; each one adds the address that it saw at the right.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Entries that are looked at, from the right: no more proxies than that stand in a row. What is left
/// of the first address that is no proxy is never read.
const HOPS_MAX: usize = 16;
/// Longest entry: an IPv6 address with brackets and port.
const ENTRY_BYTES_MAX: usize = 64;
/// Bits of an IPv6 address before the IPv4 address in it.
const MAPPED_BITS: u8 = 96;

/// Who asks, as found when the request was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its address; an IPv4 one never in the disguise of IPv6.
    pub address: IpAddr,
    /// Whether a trusted proxy named it. Otherwise it holds the other end of the socket, and may
    /// itself be a proxy that stands for many.
    pub named: bool,
}

impl Client {
    /// The client of a request that the relay's own listener accepted. A request from elsewhere has an
    /// address that nobody has, and shares its limits with all such requests.
    pub fn of(extensions: &Extensions) -> Self {
        let nobody = Self { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), named: false };
        extensions.get().copied().unwrap_or(nobody)
    }

    /// Whether this is a program of this machine, which may be a proxy for everybody.
    pub fn is_of_this_machine(&self) -> bool {
        !self.named && self.address.is_loopback()
    }
}

/// Proxies whose word about their clients is taken; cheap to clone. None by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// These networks, as [`network`] reads them.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks.into())
    }

    /// Whether there are none, so that the header is ignored.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is the address of one.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client of a request: from the right the first address of the header that is no trusted
    /// proxy. It is the peer itself when that is not trusted, when an entry on the way cannot be read,
    /// and when nobody else is named.
    ///
    /// * `peer` – the other end of the socket
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let by_socket = Client { address: peer.to_canonical(), named: false };
        if !self.contains(peer) {
            return by_socket;
        }
        // The last line, and in it the last entry, is of the proxy that is next to us.
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for entry in entries.take(HOPS_MAX) {
            match address(entry) {
                Some(address) if self.contains(address) => {}
                Some(address) => return Client { address, named: true },
                None => return by_socket,
            }
        }
        by_socket
    }
}

/// An entry of the header: an address, also in brackets, also with a port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = entry.trim_ascii();
    if entry.len() > ENTRY_BYTES_MAX {
        return None;
    }
    let text = std::str::from_utf8(entry).ok()?;
    let bare = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']')?;
            let has_port = after.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
            (after.is_empty() || has_port).then_some(inside)?
        }
        None => match text.split_once(':') {
            // More than one colon is an IPv6 address without brackets.
            Some((v4, port)) if !port.contains(':') => port.parse::<u16>().is_ok().then_some(v4)?,
            _ => text,
        },
    };
    Some(bare.parse::<IpAddr>().ok()?.to_canonical())
}

/// A network of the setting: an address, or a network that begins with its first address. `None` when
/// it is neither, and for a network of all addresses, which would leave no client.
pub fn network(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse().ok()?,
    };
    let network = match network {
        // Clients are compared without the disguise.
        IpNet::V6(v6) => {
            match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(MAPPED_BITS)) {
                (Some(v4), Some(bits)) => IpNet::V4(Ipv4Net::new(v4, bits).ok()?),
                _ => network,
            }
        }
        IpNet::V4(_) => network,
    };
    (network.prefix_len() > 0 && network.trunc() == network).then_some(network)
}

/// A network as people write it: a single address without its length.
pub fn network_text(network: &IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn proxies(texts: &[&str]) -> TrustedProxies {
        TrustedProxies::new(texts.iter().map(|text| network(text).unwrap()).collect())
    }

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    /// SEC-7: whoever is not a named proxy cannot choose the address under which it is counted.
    #[test]
    fn the_word_of_a_stranger_about_its_address_counts_for_nothing() {
        let none = TrustedProxies::default();
        let some = proxies(&["10.0.0.0/8", "2001:db8::1"]);
        for peer in ["192.0.2.1", "11.0.0.1", "2001:db8::2", "127.0.0.1"] {
            for proxies in [&none, &some] {
                let found = proxies.client(ip(peer), &headers(&["203.0.113.9"]));
                assert_eq!(found, Client { address: ip(peer), named: false });
            }
        }
        let named = some.client(ip("10.1.2.3"), &headers(&["203.0.113.9"]));
        assert_eq!(named, Client { address: ip("203.0.113.9"), named: true }, "control");
    }

    /// SEC-7: which entry is the client, in the order in which a header is read: lines, the address
    /// that is named, or none when the peer itself counts.
    #[test]
    fn the_first_address_from_the_right_that_is_no_proxy_is_the_client() {
        let long = format!("{}203.0.113.9", " ".repeat(500));
        let endless = format!("203.0.113.9{}", ",10.0.0.1".repeat(HOPS_MAX));
        let far = format!("203.0.113.9{}", ",10.0.0.1".repeat(HOPS_MAX - 1));
        let huge = format!("{},203.0.113.9", "x".repeat(15_000));
        let rows: &[(&[&str], Option<&str>)] = &[
            (&["203.0.113.9"], Some("203.0.113.9")),
            // What the client itself sent stands left of what the proxy saw.
            (&["198.51.100.1, 203.0.113.9"], Some("203.0.113.9")),
            (&["198.51.100.1,not an address,203.0.113.9"], Some("203.0.113.9")),
            (&[&huge], Some("203.0.113.9")),
            (&["203.0.113.9, 10.0.0.2 ,\t10.0.0.3"], Some("203.0.113.9")),
            // Several lines are one list.
            (&["198.51.100.1", "203.0.113.9"], Some("203.0.113.9")),
            (&["203.0.113.9", "10.0.0.2", "10.0.0.3"], Some("203.0.113.9")),
            (&["198.51.100.1, 203.0.113.9", "10.0.0.2"], Some("203.0.113.9")),
            // Ports, brackets, IPv6, IPv4 in disguise.
            (&["203.0.113.9:51234"], Some("203.0.113.9")),
            (&["2001:db8::9"], Some("2001:db8::9")),
            (&["[2001:db8::9]"], Some("2001:db8::9")),
            (&["[2001:db8::9]:443, 10.0.0.2:80"], Some("2001:db8::9")),
            (&["::ffff:203.0.113.9"], Some("203.0.113.9")),
            (&["203.0.113.9, ::ffff:10.0.0.2"], Some("203.0.113.9")),
            (&["203.0.113.9, [fd00::1]:1"], Some("203.0.113.9")),
            (&["127.0.0.1"], Some("127.0.0.1")),
            (&[&long], Some("203.0.113.9")),
            (&[&far], Some("203.0.113.9")),
            // Nobody is named, or not in a way that can be read.
            (&[], None),
            (&[""], None),
            (&[" , "], None),
            (&["10.0.0.2, 10.0.0.3"], None),
            (&[&endless], None),
            (&["unknown"], None),
            (&["203.0.113.9, unknown, 10.0.0.2"], None),
            (&["203.0.113.9,"], None),
            (&["203.0.113.9", ""], None),
            (&["203.0.113.9:"], None),
            (&["203.0.113.9:65536"], None),
            (&["203.0.113.256"], None),
            (&["203.0.113"], None),
            (&["[2001:db8::9"], None),
            (&["[2001:db8::9]x"], None),
            (&["[2001:db8::9]:"], None),
            (&["fe80::1%eth0"], None),
            (&["relay.example.com"], None),
            (&["\u{e9}\u{e9}"], None),
        ];
        let proxies = proxies(&["10.0.0.0/8", "fd00::/8"]);
        for peer in [ip("10.9.9.9"), ip("::ffff:10.9.9.9"), ip("fd00::5")] {
            for (lines, named) in rows {
                let found = proxies.client(peer, &headers(lines));
                let expected = match named {
                    Some(address) => Client { address: ip(address), named: true },
                    None => Client { address: peer.to_canonical(), named: false },
                };
                assert_eq!(found, expected, "{lines:?}");
            }
        }
    }

    /// SEC-7: a header of bytes that are no text is as good as none.
    #[test]
    fn a_header_that_is_no_text_names_nobody() {
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED_FOR, HeaderValue::from_bytes(b"\xff\xfe, \x80").unwrap());
        let found = proxies(&["10.0.0.1"]).client(ip("10.0.0.1"), &headers);
        assert_eq!(found, Client { address: ip("10.0.0.1"), named: false });
    }

    /// A client behind a proxy on its own machine is counted like any other.
    #[test]
    fn only_an_unnamed_loopback_address_may_stand_for_many() {
        for (address, named, many) in [
            ("127.0.0.1", false, true),
            ("::1", false, true),
            ("127.0.0.1", true, false),
            ("192.0.2.1", false, false),
        ] {
            assert_eq!(
                Client { address: ip(address), named }.is_of_this_machine(),
                many,
                "{address}"
            );
        }
    }

    /// A slip of the keyboard would trust half of the world.
    #[test]
    fn networks_are_read_as_people_write_them_and_slips_are_refused() {
        for (text, shown) in [
            ("127.0.0.1", Some("127.0.0.1")),
            ("::1", Some("::1")),
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("192.0.2.7/32", Some("192.0.2.7")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("::ffff:10.0.0.0/104", Some("10.0.0.0/8")),
            ("::ffff:192.0.2.7", Some("192.0.2.7")),
            ("10.0.0.1/8", None),
            ("0.0.0.0/0", None),
            ("::/0", None),
            ("::ffff:0.0.0.0/96", None),
            ("10.0.0.0/33", None),
            ("10.0.0/8", None),
            ("[::1]", None),
            ("127.0.0.1:80", None),
            ("localhost", None),
            ("", None),
        ] {
            assert_eq!(network(text).as_ref().map(network_text).as_deref(), shown, "{text}");
        }
    }
}
