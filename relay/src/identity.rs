//! DID documents: PLC and did:web, coalesced, budgeted, guarded (RES-1…6, DOC-*, PLC-*).
//!
//! The positive cache is the account row; this room keeps only failures and lookups under way.

use relay_protocol::{Did, DidDocument};

use crate::{clock::Clock, net::Net, tasks::Tasks};

/// How identities are fetched.
#[derive(Debug, Clone)]
pub struct IdentityOptions {
    /// Base URL of the PLC directory, without slash at the end (`RELAY_PLC_HOST`).
    pub plc_url: String,
    /// Requests per second to it (`RELAY_PLC_RATE`).
    pub plc_rate: u32,
    /// `--dev`.
    pub allow_insecure: bool,
}

/// Why there is no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The source says that there is none. Conclusive for 5–15 minutes (RES-2).
    #[error("the DID is not registered: {0}")]
    NotFound(String),
    /// Confirmed by the operation log (ACC-13).
    #[error("the DID is tombstoned")]
    Tombstoned,
    /// The document is not usable as JSON or names another DID.
    #[error("the DID document is not valid: {0}")]
    Invalid(String),
    /// Try again: timeout, 429, 5xx, no connection, no budget.
    #[error("the identity could not be fetched: {0}")]
    Unavailable(String),
}

/// Fetches DID documents; cheap to clone.
#[derive(Debug, Clone)]
pub struct Identities {}

impl Identities {
    /// Starts with empty caches.
    pub fn new(_options: IdentityOptions, _net: Net, _clock: Clock, _tasks: &Tasks) -> Self {
        todo!()
    }
    /// Fetches now, joining a lookup of the same DID that is under way. `fresh` also ignores a kept
    /// failure. Waits for budget; gives [`IdentityError::Unavailable`] after about 30 s at most.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub async fn fetch(
        &self,
        _did: &Did,
        _fresh: bool,
    ) -> Result<std::sync::Arc<DidDocument>, IdentityError> {
        todo!()
    }
}
