//! DIDs (SYN-2…4).

use std::{fmt, sync::Arc};

use super::{check_name, check_tld, hostname::is_port};
use crate::Invalid;

/// Characters of a DID (SYN-2).
const DID_BYTES_MAX: usize = 2_048;
/// Characters after `did:plc:` (SYN-3).
const PLC_BYTES: usize = 24;

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
pub struct Did(Arc<str>);

impl Did {
    /// Checks the general syntax of SYN-2 only; see [`Self::method`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > DID_BYTES_MAX {
            return Err(Invalid::new("a DID is longer than 2,048 characters"));
        }
        let (method, id) = text
            .strip_prefix("did:")
            .and_then(|rest| rest.split_once(':'))
            .ok_or(Invalid::new("a DID does not start with did:, a method and a colon"))?;
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return Err(Invalid::new("the method of a DID is not lower-case letters"));
        }
        let permitted = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'%' | b'-')
        };
        if id.is_empty() || !id.bytes().all(permitted) || id.ends_with([':', '%']) {
            return Err(Invalid::new("the identifier of a DID has a character it may not have"));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The method when it is supported and its own rules hold (SYN-3, SYN-4; `dev` permits
    /// `did:web:localhost%3A<port>`).
    pub fn method(&self, dev: bool) -> Result<DidMethod, Invalid> {
        if let Some(id) = self.0.strip_prefix("did:plc:") {
            let permitted = |byte: u8| matches!(byte, b'a'..=b'z' | b'2'..=b'7');
            return if id.len() == PLC_BYTES && id.bytes().all(permitted) {
                Ok(DidMethod::Plc)
            } else {
                Err(Invalid::new("a did:plc is not 24 characters of base32"))
            };
        }
        let host = self
            .0
            .strip_prefix("did:web:")
            .ok_or(Invalid::new("the method of a DID is not plc or web"))?;
        if let Some(port) = host.strip_prefix("localhost%3A")
            && is_port(port)
        {
            return if dev {
                Ok(DidMethod::Web)
            } else {
                Err(Invalid::new("a did:web names localhost, which only --dev permits"))
            };
        }
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(Invalid::new("the host of a did:web is not lower case"));
        }
        if host.contains([':', '%']) {
            return Err(Invalid::new("a did:web has a path or a port"));
        }
        check_name(host)?;
        check_tld(host, dev)?;
        Ok(DidMethod::Web)
    }

    /// The host of a did:web, percent-decoded (`example.com`, `localhost:2583`); `None` for others,
    /// also for a did:web that breaks SYN-4.
    pub fn web_host(&self) -> Option<String> {
        let host = self.0.strip_prefix("did:web:")?;
        (self.method(true) == Ok(DidMethod::Web)).then(|| host.replacen("%3A", ":", 1))
    }
}

impl fmt::Display for Did {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
