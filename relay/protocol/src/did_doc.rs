//! What the relay reads from a DID document (DOC-1…7).

use serde_json::Value;

use crate::{Curve, Did, Handle, Hostname, Invalid, VerifyingKey};

/// Bytes of a DID document (RES-1).
pub const DOCUMENT_BYTES_MAX: usize = 65_536;

/// Where an account's PDS answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Normalised host, for the authority comparison.
    pub host: Hostname,
    /// Base URL with scheme, host and port, without a slash at the end: target of getRepo redirects.
    pub url: String,
}

impl Endpoint {
    /// Reads a URL with only scheme, host and port (DOC-3); one slash at the end is tolerated.
    fn parse(url: &str, dev: bool) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let is_http = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
        if !is_http || authority.contains(['/', '?', '#']) {
            return None;
        }
        let host = Hostname::parse(url, dev).ok()?;
        let scheme = if host.is_secure() { "https" } else { "http" };
        let url = format!("{scheme}://{host}");
        Some(Self { host, url })
    }
}

/// The parts of a DID document that a relay needs.
#[derive(Debug, Clone)]
pub struct DidDocument {
    /// First usable `#atproto` key (DOC-2).
    pub key: Option<VerifyingKey>,
    /// First `#atproto_pds` service (DOC-3); `None` also when its address is not usable.
    pub pds: Option<Endpoint>,
    /// First valid `at://` name (DOC-5). Only claimed: a relay does not resolve it.
    pub handle: Option<Handle>,
}

impl DidDocument {
    /// Parses JSON of at most 64 KiB; `id` must be `did` (DOC-1). Unusable entries are skipped, they
    /// do not fail the parse. `dev` permits http, localhost with port and `.test`.
    pub fn parse(json: &[u8], did: &Did, dev: bool) -> Result<Self, Invalid> {
        if json.len() > DOCUMENT_BYTES_MAX {
            return Err(Invalid::new("too large: a DID document exceeds 65,536 bytes"));
        }
        let document: Value =
            serde_json::from_slice(json).or(Err(Invalid::new("a DID document is not JSON")))?;
        if text(&document, "id") != Some(did.as_str()) {
            return Err(Invalid::new("a DID document is about another DID"));
        }
        let key =
            entries(&document, "verificationMethod").find_map(|entry| signing_key(entry, did));
        let pds = entries(&document, "service")
            .find(|entry| {
                is_id(entry, did, "#atproto_pds")
                    && text(entry, "type") == Some("AtprotoPersonalDataServer")
            })
            .and_then(|entry| Endpoint::parse(text(entry, "serviceEndpoint")?, dev));
        let handle = entries(&document, "alsoKnownAs")
            .filter_map(|name| name.as_str()?.strip_prefix("at://"))
            .find_map(|name| Handle::parse(name, dev).ok());
        Ok(Self { key, pds, handle })
    }
}

fn signing_key(entry: &Value, did: &Did) -> Option<VerifyingKey> {
    if !is_id(entry, did, "#atproto") || text(entry, "controller") != Some(did.as_str()) {
        return None;
    }
    let key = text(entry, "publicKeyMultibase")?;
    match text(entry, "type")? {
        "Multikey" => VerifyingKey::from_multikey(key),
        "EcdsaSecp256r1VerificationKey2019" => VerifyingKey::from_legacy(key, Curve::P256),
        "EcdsaSecp256k1VerificationKey2019" => VerifyingKey::from_legacy(key, Curve::K256),
        _ => return None,
    }
    .ok()
}

/// Items of an array; none when the field is absent, null or something else (DOC-4).
fn entries<'v>(document: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    document.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn text<'v>(object: &'v Value, field: &str) -> Option<&'v str> {
    object.get(field)?.as_str()
}

/// Whether `id` is the fragment alone or the DID with the fragment (DOC-2).
fn is_id(entry: &Value, did: &Did, fragment: &str) -> bool {
    text(entry, "id").is_some_and(|id| id.strip_prefix(did.as_str()).unwrap_or(id) == fragment)
}
