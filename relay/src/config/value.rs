//! Kinds of values: what is allowed, how a text is read, how a value is shown. Pure.

mod addresses;

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;

pub use self::addresses::sibling;
use self::addresses::{
    base_url, endpoint, holds_placeholder, is_database, listen_address, name_server,
};
use super::secret::{REDACTED, Secret, redacted_address};
use crate::{
    clients,
    units::{self, Day},
};

/// Longest text that goes into headers, logs and metrics.
const TEXT_CHARS_MAX: usize = 200;
/// Longest secret word.
const TOKEN_CHARS_MAX: usize = 2_000;

/// What a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A path.
    Path,
    /// Visible ASCII, so that it fits into a header.
    Text,
    /// A whole number between two, both included.
    Number(u64, u64),
    /// The same, or `auto`.
    AutoNumber(u64, u64),
    /// A size in bytes, at least, at most.
    Size(u64, u64),
    /// The same, or `auto`.
    AutoSize(u64, u64),
    /// A duration in seconds, at least, at most.
    Duration(u64, u64),
    /// Yes or no.
    Switch,
    /// An address to listen on.
    Address,
    /// Addresses of name servers.
    NameServers,
    /// Addresses and networks.
    Networks,
    /// Where the database is.
    Database,
    /// An http or https URL without path.
    Url,
    /// An http or https URL, also with a path; or nothing.
    Endpoint,
    /// The same, with a path that must not be shown.
    HiddenEndpoint,
    /// One secret word for a header; or nothing.
    Token,
    /// A number from 0 to 1.
    Share,
    /// Host names.
    Hosts,
    /// Host names, each with a day.
    DatedHosts,
    /// A day, or `never`.
    Day,
    /// Passwords.
    Passwords,
    /// A path, or nothing.
    OptionalPath,
    /// Relays of the same operators.
    Siblings,
    /// One of these; the second is what the first means.
    Choice(&'static [(&'static str, &'static str)]),
}

/// A value of one of the kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parsed {
    Text(String),
    Number(Option<u64>),
    Size(Option<u64>),
    Duration(Duration),
    Switch(bool),
    Address(SocketAddr),
    Addresses(Vec<SocketAddr>),
    Networks(Vec<IpNet>),
    List(Vec<String>),
    Secret(Secret),
    Secrets(Vec<Secret>),
    Day(Option<Day>),
    Dated(Vec<(String, Day)>),
}

impl Kind {
    /// Whether several values may be given, separated by commas.
    pub fn is_list(self) -> bool {
        matches!(
            self,
            Self::NameServers
                | Self::Networks
                | Self::Hosts
                | Self::DatedHosts
                | Self::Passwords
                | Self::Siblings
        )
    }

    /// Whether the value must not be shown.
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Passwords | Self::Database | Self::HiddenEndpoint | Self::Token)
    }

    /// What is allowed, in words.
    pub fn allowed(self) -> String {
        match self {
            Self::Path => "a path".to_owned(),
            Self::OptionalPath => "a path, or nothing".to_owned(),
            Self::Siblings => {
                "names of relays such as `relay2.example.com`, or addresses of their \
                               admin APIs such as `http://10.0.0.2:2472` (plain http only to \
                               private addresses), separated by commas"
                    .to_owned()
            }
            Self::Text => format!("visible ASCII, at most {TEXT_CHARS_MAX} characters"),
            Self::Number(least, most) => format!("a whole number from {least} to {most}"),
            Self::AutoNumber(least, most) => {
                format!("`auto` or a whole number from {least} to {most}")
            }
            Self::Size(least, most) => size(least, most),
            Self::AutoSize(least, most) => format!("`auto` or {}", size(least, most)),
            Self::Duration(least, most) => format!(
                "a duration from {} to {}, such as `72h` or `90m`",
                units::duration(Duration::from_secs(least)),
                units::duration(Duration::from_secs(most))
            ),
            Self::Switch => "`true` or `false`".to_owned(),
            Self::Address => {
                "ADDRESS:PORT such as `127.0.0.1:2470`, or `:2470` for all interfaces".to_owned()
            }
            Self::NameServers => "addresses such as `8.8.8.8:53`, separated by commas".to_owned(),
            Self::Networks => {
                "addresses and networks such as `127.0.0.1` or `10.0.0.0/8`, separated by commas"
                    .to_owned()
            }
            Self::Database => "`sqlite://PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`, with \
                               a password other than CHANGEME"
                .to_owned(),
            Self::Url => "an https URL without path (http only with --dev)".to_owned(),
            Self::Endpoint | Self::HiddenEndpoint => "an http or https URL".to_owned(),
            Self::Token => {
                format!("visible ASCII without spaces, at most {TOKEN_CHARS_MAX} characters")
            }
            Self::Share => "a number from 0 to 1, such as `0.8`".to_owned(),
            Self::Hosts => "host names such as `pds.example.com`, separated by commas".to_owned(),
            Self::DatedHosts => {
                "hosts and days such as `pds.example.com=2027-01-31`, separated by commas"
                    .to_owned()
            }
            Self::Day => "`never` or a day such as `2027-01-31`".to_owned(),
            Self::Passwords => {
                "passwords other than CHANGEME, separated by commas, without control characters"
                    .to_owned()
            }
            Self::Choice(choices) => {
                let names: Vec<String> = choices
                    .iter()
                    .filter(|(name, meaning)| name == meaning)
                    .map(|(name, _)| format!("`{name}`"))
                    .collect();
                names.join(", ")
            }
        }
    }

    /// Reads the texts of a value; one text unless the kind is a list. `None`: not allowed.
    pub(super) fn parse(self, texts: &[String]) -> Option<Parsed> {
        if self.is_list() {
            return self.parse_list(texts);
        }
        let [text] = texts else { return None };
        let text = text.trim();
        match self {
            Self::Path => {
                (!text.is_empty() && !text.contains('\0')).then(|| Parsed::Text(text.to_owned()))
            }
            Self::OptionalPath => (!text.contains('\0')).then(|| Parsed::Text(text.to_owned())),
            Self::Text => (text.len() <= TEXT_CHARS_MAX
                && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()))
            .then(|| Parsed::Text(text.to_owned())),
            Self::AutoNumber(..) if text == "auto" => Some(Parsed::Number(None)),
            Self::Number(least, most) | Self::AutoNumber(least, most) => {
                let number = text.parse().ok().filter(|n| (least..=most).contains(n))?;
                Some(Parsed::Number(Some(number)))
            }
            Self::AutoSize(..) if text == "auto" => Some(Parsed::Size(None)),
            Self::Size(least, most) | Self::AutoSize(least, most) => {
                let size = units::parse_bytes(text).filter(|n| (least..=most).contains(n))?;
                Some(Parsed::Size(Some(size)))
            }
            Self::Duration(least, most) => units::parse_duration(text)
                .filter(|duration| {
                    (Duration::from_secs(least)..=Duration::from_secs(most)).contains(duration)
                })
                .map(Parsed::Duration),
            Self::Switch => switch(text).map(Parsed::Switch),
            Self::Address => listen_address(text).map(Parsed::Address),
            Self::Database => (is_database(text) && !holds_placeholder(text))
                .then(|| Parsed::Secret(Secret::new(text))),
            Self::Url => base_url(text).map(Parsed::Text),
            Self::Endpoint => endpoint(text).map(Parsed::Text),
            Self::HiddenEndpoint => endpoint(text).map(hidden),
            Self::Token => (text.len() <= TOKEN_CHARS_MAX
                && text.bytes().all(|byte| byte.is_ascii_graphic()))
            .then(|| hidden(text.to_owned())),
            Self::Share => text
                .parse::<f64>()
                .is_ok_and(|share| (0.0..=1.0).contains(&share))
                .then(|| Parsed::Text(text.to_owned())),
            Self::Choice(choices) => choices
                .iter()
                .find(|(name, _)| text.eq_ignore_ascii_case(name))
                .map(|(_, meaning)| Parsed::Text((*meaning).to_owned())),
            Self::Day if text == "never" => Some(Parsed::Day(None)),
            Self::Day => Day::parse(text).map(|day| Parsed::Day(Some(day))),
            Self::NameServers
            | Self::Networks
            | Self::Hosts
            | Self::DatedHosts
            | Self::Siblings
            | Self::Passwords => None,
        }
    }

    fn parse_list(self, texts: &[String]) -> Option<Parsed> {
        let items = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        match self {
            Self::NameServers => {
                items.map(name_server).collect::<Option<_>>().map(Parsed::Addresses)
            }
            Self::Networks => {
                items.map(clients::network).collect::<Option<_>>().map(Parsed::Networks)
            }
            Self::DatedHosts => items
                .map(|text| {
                    let (host, day) = text.rsplit_once('=')?;
                    Some((host.trim().to_owned(), Day::parse(day.trim())?))
                })
                .collect::<Option<_>>()
                .map(Parsed::Dated),
            Self::Siblings => {
                // Whether plain http is permitted is decided when all settings are known.
                items.map(|text| sibling(text, true)).collect::<Option<_>>().map(Parsed::List)
            }
            Self::Passwords => items
                .map(|text| {
                    let refused =
                        text.eq_ignore_ascii_case("changeme") || text.contains(char::is_control);
                    (!refused).then(|| Secret::new(text))
                })
                .collect::<Option<_>>()
                .map(Parsed::Secrets),
            _ => Some(Parsed::List(items.map(ToOwned::to_owned).collect())),
        }
    }

    /// A text that could not be read, as far as it may be shown.
    pub(super) fn shown_text(self, texts: &[String]) -> String {
        if self.is_secret() { REDACTED.to_owned() } else { format!("{:?}", texts.join(",")) }
    }
}

impl Parsed {
    /// The value for people, secrets redacted; empty when there is none.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.map_or("auto".to_owned(), |number| number.to_string()),
            Self::Size(size) => size.map_or("auto".to_owned(), units::exact_bytes),
            Self::Duration(duration) => units::duration(*duration),
            Self::Switch(on) => on.to_string(),
            Self::Address(address) => address.to_string(),
            Self::Addresses(addresses) => {
                addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
            }
            Self::Networks(networks) => {
                networks.iter().map(clients::network_text).collect::<Vec<_>>().join(",")
            }
            Self::List(items) => items.join(","),
            Self::Day(day) => day.map_or("never".to_owned(), |day| day.to_string()),
            Self::Dated(hosts) => {
                let hosts = hosts.iter().map(|(host, day)| format!("{host}={day}"));
                hosts.collect::<Vec<_>>().join(",")
            }
            Self::Secret(secret) => redacted_address(secret.expose()),
            Self::Secrets(secrets) if secrets.is_empty() => String::new(),
            Self::Secrets(_) => REDACTED.to_owned(),
        }
    }
}

fn size(least: u64, most: u64) -> String {
    format!(
        "a size from {} to {}, such as `500GiB`",
        units::exact_bytes(least),
        units::exact_bytes(most)
    )
}

fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "on" => Some(true),
        "false" | "f" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A secret, or none.
fn hidden(text: String) -> Parsed {
    Parsed::Secrets(if text.is_empty() { Vec::new() } else { vec![Secret::new(text)] })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: Kind = Kind::Choice(&[("info", "info"), ("warning", "warn"), ("warn", "warn")]);

    fn parse(kind: Kind, text: &str) -> Option<String> {
        kind.parse(&[text.to_owned()]).map(|value| value.shown())
    }

    /// A kind, what it takes and how that is shown, what it refuses.
    type Row = (Kind, &'static [(&'static str, &'static str)], &'static [&'static str]);

    const TABLE: &[Row] = &[
        (Kind::Path, &[("data/relay", "data/relay")], &["", "  ", "a\0b"]),
        (Kind::Text, &[("", ""), ("mailto:a@b", "mailto:a@b")], &["a\nb", "caf\u{e9}"]),
        (Kind::Number(1, 9), &[("1", "1"), (" 9 ", "9")], &["0", "10", "-1", "1.5", "x", ""]),
        (Kind::AutoNumber(1, 9), &[("auto", "auto"), ("3", "3")], &["0", "10", "Auto!"]),
        (Kind::Size(1024, 4096), &[("2KiB", "2KiB"), ("2000", "2000B")], &["1", "5K", "auto"]),
        (Kind::AutoSize(1024, 4096), &[("auto", "auto"), ("4K", "4KiB")], &["5K", "much"]),
        (Kind::Duration(60, 3600), &[("60s", "1m"), ("1h", "1h")], &["59s", "61m", "60", "x"]),
        (
            Kind::Switch,
            &[("TRUE", "true"), ("0", "false"), ("off", "false"), ("t", "true"), ("F", "false")],
            &["2", "maybe", "tr", ""],
        ),
        (Kind::Hosts, &[("", ""), (" a.example.com ", "a.example.com")], &[]),
        (
            Kind::Address,
            &[
                (":2470", "[::]:2470"),
                ("localhost:0", "127.0.0.1:0"),
                ("[::1]:5", "[::1]:5"),
                ("0.0.0.0:2470", "0.0.0.0:2470"),
            ],
            &["2470", "127.0.0.1", ":66000", "relay.example:2470", ""],
        ),
        (
            Kind::NameServers,
            &[("8.8.8.8:53", "8.8.8.8:53"), ("1.1.1.1", "1.1.1.1:53"), ("", "")],
            &["dns.google:53", "8.8.8.8:x"],
        ),
        (
            Kind::Networks,
            &[("", ""), ("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("10.0.0.0/8", "10.0.0.0/8")],
            &["localhost", "10.0.0.1/8", "0.0.0.0/0", "127.0.0.1:80"],
        ),
        (
            Kind::Database,
            &[("sqlite=x", "sqlite=x"), ("postgres://a:b@c/d", "postgres://a:redacted@c/d")],
            &["mysql://x", "sqlite://", "postgres://a:ChangeMe@c/d", "postgres=password=CHANGEME"],
        ),
        (
            Kind::Url,
            &[
                ("https://plc.directory/", "https://plc.directory"),
                ("http://[::1]:5", "http://[::1]:5"),
            ],
            &["plc.directory", "ftp://x", "https://x/path", "https://u:p@x", "https://x?q", ""],
        ),
        (
            Kind::Endpoint,
            &[
                ("", ""),
                ("http://[::1]:4318/", "http://[::1]:4318"),
                ("https://a.b/c", "https://a.b/c"),
            ],
            &["a.b:4318", "ftp://a.b", "https://"],
        ),
        (Kind::HiddenEndpoint, &[("", ""), ("https://a.b/hook/x", "(redacted)")], &["a.b"]),
        (Kind::Token, &[("", ""), ("xoxb-1", "(redacted)")], &["a b", "a\u{7}"]),
        (Kind::Share, &[("0.8", "0.8"), ("0", "0"), ("1", "1")], &["1.1", "-1", "80%", "nan", ""]),
        (
            Kind::Passwords,
            &[("", ""), ("secret", "(redacted)")],
            &["CHANGEME", "changeMe", "a\u{7}"],
        ),
        (
            Kind::Day,
            &[("never", "never"), ("2027-01-31", "2027-01-31")],
            &["", "2027-02-30", "2027-1-31", "31.1.2027", "2027-01-31T00:00:00Z", "1969-12-31"],
        ),
        (
            Kind::DatedHosts,
            &[
                ("", ""),
                (" pds.example.com = 2027-01-31 ", "pds.example.com=2027-01-31"),
                ("localhost:2583=2026-12-31", "localhost:2583=2026-12-31"),
            ],
            &["pds.example.com", "pds.example.com=", "pds.example.com=soon"],
        ),
        (Kind::OptionalPath, &[("", ""), ("a/b.toml", "a/b.toml")], &["a\0b"]),
        (
            Kind::Siblings,
            &[
                ("", ""),
                ("Relay2.example.com", "https://relay2.example.com"),
                ("https://relay2.example.com/", "https://relay2.example.com"),
                ("http://10.0.0.2:2472", "http://10.0.0.2:2472"),
                ("localhost:2472", "http://localhost:2472"),
            ],
            &[
                "ftp://relay2.example.com",
                "https://u:p@relay2.example.com",
                "https://a/path",
                "a b",
            ],
        ),
        (LEVELS, &[("WARNING", "warn"), ("info", "info")], &["loud", ""]),
    ];

    /// Issue 3, section 5: every kind takes what it should, and nothing beside it.
    #[test]
    fn every_kind_takes_what_is_allowed_and_nothing_else() {
        for (kind, good, bad) in TABLE {
            for (text, shown) in *good {
                assert_eq!(parse(*kind, text).as_deref(), Some(*shown), "{kind:?} {text}");
            }
            for text in *bad {
                assert_eq!(parse(*kind, text), None, "{kind:?} takes {text:?}");
            }
        }
        assert_eq!(LEVELS.allowed(), "`info`, `warn`");
        assert_eq!(parse(Kind::Text, &"x".repeat(201)), None);
    }
}
