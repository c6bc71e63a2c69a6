//! Identifier syntax (SYN-1…10): DIDs, handles, NSIDs, record keys, paths, datetimes, host names.

use std::fmt;

use crate::Invalid;

/// Methods that the network supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DidMethod {
    /// `did:plc`
    Plc,
    /// `did:web`
    Web,
}

/// A DID with valid syntax (SYN-2), case kept; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Did(std::sync::Arc<str>);

impl Did {
    /// Checks the general syntax of SYN-2 only; see [`Self::method`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        todo!()
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The method when it is supported and its own rules hold (SYN-3, SYN-4; `dev` permits
    /// `did:web:localhost%3A<port>`).
    pub fn method(&self, dev: bool) -> Result<DidMethod, Invalid> {
        todo!()
    }
    /// The host of a did:web, percent-decoded (`example.com`, `localhost:2583`); `None` for others.
    pub fn web_host(&self) -> Option<String> {
        todo!()
    }
}

impl fmt::Display for Did {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A handle, lower-cased (SYN-5).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Handle(Box<str>);
impl Handle {
    /// Checks the syntax and lower-cases. Reserved TLDs are refused, `.test` too unless `dev`;
    /// `handle.invalid` is accepted.
    pub fn parse(text: &str, dev: bool) -> Result<Self, Invalid> {
        todo!()
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An NSID (SYN-6).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Nsid(Box<str>);
impl Nsid {
    /// Checks the syntax.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        todo!()
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

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
        todo!()
    }
    /// `host` or `host:port`, lower case.
    pub fn as_str(&self) -> &str {
        &self.name
    }
    /// Whether TLS is used.
    pub fn is_secure(&self) -> bool {
        self.secure
    }
}
impl fmt::Display for Hostname {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Splits and checks a repo path `<nsid>/<rkey>` (SYN-8).
pub fn repo_path(path: &str) -> Result<(&str, &str), Invalid> {
    todo!()
}
/// SYN-7.
pub fn is_record_key(text: &str) -> bool {
    todo!()
}
/// SYN-9.
pub fn is_datetime(text: &str) -> bool {
    todo!()
}
