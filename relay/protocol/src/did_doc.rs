//! What the relay reads from a DID document (DOC-1…7).
use crate::{Did, Handle, Hostname, Invalid, VerifyingKey};

/// Where an account's PDS answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Normalised host, for the authority comparison.
    pub host: Hostname,
    /// Base URL with scheme, host and port, without a slash at the end: target of getRepo redirects.
    pub url: String,
}
/// The parts of a DID document that a relay needs.
#[derive(Debug, Clone)]
pub struct DidDocument {
    /// First usable `#atproto` key (DOC-2).
    pub key: Option<VerifyingKey>,
    /// First `#atproto_pds` service (DOC-3).
    pub pds: Option<Endpoint>,
    /// First valid `at://` name (DOC-5).
    pub handle: Option<Handle>,
}
impl DidDocument {
    /// Parses JSON of at most 64 KiB; `id` must be `did` (DOC-1). Unusable entries are skipped, they
    /// do not fail the parse. `dev` permits http, localhost with port and `.test`.
    pub fn parse(json: &[u8], did: &Did, dev: bool) -> Result<Self, Invalid> {
        todo!()
    }
}
