//! Identifier syntax (SYN-1…10): DIDs, handles, NSIDs, record keys, paths, datetimes, host names.
//!
//! Hand-written instead of regular expressions: each check is one pass over bounded bytes.

mod datetime;
mod did;
mod hostname;

pub use datetime::is_datetime;
pub use did::{Did, DidMethod};
pub use hostname::Hostname;

use crate::Invalid;

/// Characters of a host name or handle (SYN-5).
const NAME_BYTES_MAX: usize = 253;
/// Characters between two dots of a name.
const LABEL_BYTES_MAX: usize = 63;
/// Characters of an NSID (SYN-6): 253, a dot and 63. The authority alone is not held to 253, because
/// the official list names a longer one as valid.
const NSID_BYTES_MAX: usize = 317;
/// Characters of a record key (SYN-7).
const RECORD_KEY_BYTES_MAX: usize = 512;
/// Bytes of a key of the tree (SYN-8).
const PATH_BYTES_MAX: usize = 1_024;
/// Top-level domains that never name a public host (SYN-5).
const RESERVED_TLDS: [&str; 8] =
    ["alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion"];

/// A handle, lower-cased (SYN-5).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Handle(Box<str>);

impl Handle {
    /// Checks the syntax and lower-cases. Reserved TLDs are refused, `.test` too unless `dev`;
    /// `handle.invalid` is accepted.
    pub fn parse(text: &str, dev: bool) -> Result<Self, Invalid> {
        check_name(text)?;
        let name = text.to_ascii_lowercase();
        if name != "handle.invalid" {
            check_tld(&name, dev)?;
        }
        Ok(Self(name.into()))
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
    /// Checks the syntax; the case is kept.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if is_nsid(text) { Ok(Self(text.into())) } else { Err(Invalid::new("not a valid NSID")) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Splits and checks a repo path `<nsid>/<rkey>` (SYN-8).
pub fn repo_path(path: &str) -> Result<(&str, &str), Invalid> {
    if path.len() > PATH_BYTES_MAX {
        return Err(Invalid::new("a repo path is longer than 1,024 bytes"));
    }
    let (collection, record_key) = path
        .split_once('/')
        .ok_or(Invalid::new("a repo path is not a collection, a slash and a record key"))?;
    if !is_nsid(collection) {
        return Err(Invalid::new("the collection of a repo path is not a valid NSID"));
    }
    if !is_record_key(record_key) {
        return Err(Invalid::new("the record key of a repo path is not valid"));
    }
    Ok((collection, record_key))
}

/// Whether this is a record key: 1 to 512 characters of `A-Za-z0-9._:~-`, not `.` or `..` (SYN-7).
pub fn is_record_key(text: &str) -> bool {
    (1..=RECORD_KEY_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'~' | b'-')
        })
        && text != "."
        && text != ".."
}

/// The regular expression of SYN-6 in one pass.
pub(crate) fn is_nsid(text: &str) -> bool {
    let (mut dots, mut length, mut previous) = (0_usize, 0_usize, b'.');
    let (mut starts_with_letter, mut has_hyphen) = (false, false);
    for byte in text.bytes() {
        match byte {
            b'.' => {
                if length == 0 || previous == b'-' || (dots == 0 && !starts_with_letter) {
                    return false;
                }
                dots = dots.wrapping_add(1);
                length = 0;
                has_hyphen = false;
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' if length < LABEL_BYTES_MAX => {
                if length == 0 {
                    starts_with_letter = byte.is_ascii_alphabetic();
                    if byte == b'-' {
                        return false;
                    }
                }
                has_hyphen |= byte == b'-';
                length = length.wrapping_add(1);
            }
            _ => return false,
        }
        previous = byte;
    }
    // What was read last is the name: letters and digits, a letter first.
    dots >= 2 && length > 0 && starts_with_letter && !has_hyphen && text.len() <= NSID_BYTES_MAX
}

/// The regular expression of SYN-5 and its length, without the list of reserved TLDs.
fn check_name(text: &str) -> Result<(), Invalid> {
    if text.len() > NAME_BYTES_MAX {
        return Err(Invalid::new("a name is longer than 253 characters"));
    }
    if text.ends_with('.') {
        return Err(Invalid::new("a name ends with a dot"));
    }
    let (rest, tld) = text.rsplit_once('.').ok_or(Invalid::new("a name needs at least one dot"))?;
    if !is_label(tld) || !rest.split('.').all(is_label) {
        return Err(Invalid::new(
            "a name has a label that is not 1 to 63 letters, digits and inner hyphens",
        ));
    }
    if !starts_with_letter(tld) {
        return Err(Invalid::new("the last label of a name does not start with a letter"));
    }
    Ok(())
}

/// Refuses reserved TLDs of a lower-case name (SYN-5).
fn check_tld(name: &str, dev: bool) -> Result<(), Invalid> {
    let tld = name.rsplit('.').next().unwrap_or(name);
    if RESERVED_TLDS.contains(&tld) {
        return Err(Invalid::new("a name ends in a reserved top-level domain"));
    }
    if tld == "test" && !dev {
        return Err(Invalid::new("a name ends in .test, which only --dev permits"));
    }
    Ok(())
}

fn is_label(label: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn starts_with_letter(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
}
