//! The answers of a person, checked, and the asking.

use std::io::{self, BufRead, Write};

use relay::{config::SETTINGS, units};
use relay_protocol::Hostname;

/// Where machines are had; `existing` is any machine that is there already.
pub const PROVIDERS: [&str; 4] = ["existing", "hetzner-cloud", "hetzner-robot", "ovh"];

/// Where hosts and accounts are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// A file beside the event log.
    Sqlite,
    /// Postgres on this machine by its socket, where it knows users by their accounts: no password.
    Socket {
        /// Directory of the socket.
        dir: String,
    },
    /// Postgres by network.
    Postgres {
        /// `HOST:PORT`.
        address: String,
        /// Whether that is this machine.
        local: bool,
    },
}

impl Store {
    /// As `--database` and as `tune` know it.
    pub fn names(&self) -> (&'static str, bool) {
        match self {
            Self::Sqlite => ("sqlite", true),
            Self::Socket { .. } | Self::Postgres { local: true, .. } => ("postgres", true),
            Self::Postgres { local: false, .. } => ("elsewhere", false),
        }
    }

    /// Reads `sqlite`, or `postgres` with an address.
    ///
    /// # Errors
    /// What is allowed.
    pub fn parse(name: &str, address: &str) -> Result<Self, String> {
        match name {
            "sqlite" => Ok(Self::Sqlite),
            "postgres" if address.starts_with('/') => {
                let dir = address.trim_end_matches('/');
                let good = dir.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._".contains(&b));
                if dir.is_empty() || !good {
                    return Err(format!(
                        "{address:?} is no directory of a socket: allowed is a path such as \
                         `/run/postgresql`"
                    ));
                }
                Ok(Self::Socket { dir: dir.to_owned() })
            }
            "postgres" => {
                let (host, port) = address.rsplit_once(':').unwrap_or((address, "5432"));
                let good = !host.is_empty()
                    && port.parse::<u16>().is_ok_and(|port| port > 0)
                    && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b));
                if !good {
                    return Err(format!(
                        "{address:?} is no address of a database: allowed is HOST:PORT such as \
                         `127.0.0.1:5432`, or a socket's directory such as `/run/postgresql`"
                    ));
                }
                let local = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
                Ok(Self::Postgres { address: format!("{host}:{port}"), local })
            }
            _ => Err(format!("{name:?} is no database: allowed are `sqlite` and `postgres`")),
        }
    }
}

/// All answers, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// Public name of the relay.
    pub host: String,
    /// Where hosts reach its people: a URL or `mailto:`.
    pub contact: String,
    /// One of [`PROVIDERS`].
    pub provider: String,
    /// Where hosts and accounts are kept.
    pub store: Store,
    /// Replay window as the settings write it; `None` leaves it to `tune`.
    pub window: Option<String>,
    /// Directory of all that the relay keeps.
    pub data_dir: String,
}

/// A public name.
///
/// # Errors
/// What is wrong with it.
pub fn host(text: &str) -> Result<String, String> {
    let bare = text.trim();
    if bare.contains("://") || bare.contains('/') {
        return Err(format!("{bare:?} is no host name: give it without https:// and path"));
    }
    let name = Hostname::parse(bare, false).map_err(|error| {
        format!("{bare:?} is no name for a relay: {error}; such as `relay.example.com`")
    })?;
    Ok(name.as_str().to_owned())
}

/// A contact.
///
/// # Errors
/// What is allowed.
pub fn contact(text: &str) -> Result<String, String> {
    let text = text.trim();
    let reachable = ["mailto:", "https://", "http://"]
        .iter()
        .any(|prefix| text.strip_prefix(prefix).is_some_and(|rest| rest.len() > 3));
    let fits = text.len() <= 200 && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
    if !reachable || !fits {
        return Err(format!(
            "{text:?} is no contact: allowed is `mailto:you@example.com` or a URL, ASCII without \
             spaces, at most 200 characters"
        ));
    }
    Ok(text.to_owned())
}

/// A provider.
///
/// # Errors
/// Which there are.
pub fn provider(text: &str) -> Result<String, String> {
    let text = text.trim();
    if PROVIDERS.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no provider: allowed are {}", PROVIDERS.join(", ")))
}

/// A replay window; empty or `auto` leaves it to `tune`.
///
/// # Errors
/// What is allowed.
pub fn window(text: &str) -> Result<Option<String>, String> {
    let text = text.trim();
    if matches!(text, "" | "auto") {
        return Ok(None);
    }
    let row = SETTINGS.iter().find(|setting| setting.key == "replay_window");
    let within = |length: std::time::Duration| {
        row.is_some_and(|row| match row.kind {
            relay::config::Kind::Duration(least, most) => {
                (least..=most).contains(&length.as_secs())
            }
            _ => false,
        })
    };
    match units::parse_duration(text).filter(|length| within(*length)) {
        Some(length) => Ok(Some(units::duration(length))),
        None => Err(format!(
            "{text:?} is no window: allowed is `auto` or {}",
            row.map(|row| row.kind.allowed()).unwrap_or_default()
        )),
    }
}

/// A directory for the data.
///
/// # Errors
/// What is allowed.
pub fn data_dir(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.starts_with('/') && !text.contains(|c: char| c.is_control() || "\"'\\$`".contains(c)) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no place for the data: allowed is a path from /, without quotes"))
}

/// Asks until the answer is allowed; an empty one is the default.
///
/// # Errors
/// When there is nobody to answer, or the terminal is gone.
pub fn ask<T>(
    terminal: &mut (impl BufRead, impl Write),
    question: &str,
    default: &str,
    check: impl Fn(&str) -> Result<T, String>,
) -> io::Result<T> {
    let (input, output) = terminal;
    loop {
        match default {
            "" => write!(output, "{question}: ")?,
            _ => write!(output, "{question} [{default}]: ")?,
        }
        output.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no answer was given"));
        }
        let answer = if line.trim().is_empty() { default } else { line.trim() };
        match check(answer) {
            Ok(value) => return Ok(value),
            Err(wrong) => writeln!(output, "  {wrong}")?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What people type first, and what they are told.
    #[test]
    fn answers_are_taken_or_refused_with_what_is_allowed() {
        assert_eq!(host(" Relay.Example.com "), Ok("relay.example.com".to_owned()));
        for wrong in ["", "https://relay.example.com", "relay", "127.0.0.1", "localhost", "a b.com"]
        {
            assert!(host(wrong).unwrap_err().contains("name"), "{wrong}");
        }
        assert!(contact("mailto:a@b.example").is_ok() && contact("https://example.com/x").is_ok());
        for wrong in ["", "a@b.example", "mailto:", "https://exa mple.com", "mailto:\u{e9}@b.c"] {
            assert!(contact(wrong).unwrap_err().contains("mailto:you@"), "{wrong}");
        }
        assert_eq!(window("90m"), Ok(Some("90m".to_owned())));
        assert_eq!((window(""), window("auto")), (Ok(None), Ok(None)));
        assert!(window("1s").unwrap_err().contains("1m") && window("3").is_err());
        assert!(provider("aws").unwrap_err().contains("hetzner-cloud"));
        assert!(data_dir("/data/relay").is_ok());
        assert!(data_dir("data").is_err() && data_dir("/a\nb").is_err());
    }

    #[test]
    fn a_database_is_near_or_far() {
        let store = |address| Store::parse("postgres", address).map(|store| store.names().0);
        assert_eq!(store("127.0.0.1:5432"), Ok("postgres"));
        assert_eq!(store("localhost"), Ok("postgres"));
        assert_eq!(store("db.internal:6432"), Ok("elsewhere"));
        assert!(store("db:0").is_err() && store(":5432").is_err() && store("a/b@c:1").is_err());
        let socket = Store::Socket { dir: "/run/postgresql".to_owned() };
        assert_eq!(Store::parse("postgres", "/run/postgresql/"), Ok(socket));
        assert!(store("/").is_err() && store("/run/post gres").is_err());
        assert_eq!(Store::parse("sqlite", "").map(|store| store.names().0), Ok("sqlite"));
        assert!(Store::parse("mysql", "x").unwrap_err().contains("postgres"));
    }

    /// A slip is told and asked again; nothing but an end of the input ends the asking.
    #[test]
    fn a_question_is_repeated_until_its_answer_is_allowed() {
        let mut terminal = (&b"me\nmailto:me@example.com\n\n"[..], Vec::new());
        let answer = ask(&mut terminal, "Contact", "", contact).unwrap();
        assert_eq!(answer, "mailto:me@example.com");
        assert_eq!(ask(&mut terminal, "Provider", "existing", provider).unwrap(), "existing");
        let said = String::from_utf8(terminal.1.clone()).unwrap();
        assert!(said.contains("Contact:   \"me\" is no contact"), "{said}");
        assert!(said.contains("Provider [existing]: "), "{said}");
        assert!(ask(&mut terminal, "Provider", "existing", provider).is_err());
    }
}
