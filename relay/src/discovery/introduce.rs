//! Accounts and calls of others who learn of accounts from lists: the same checks, the same budgets.

use relay_protocol::Did;

use super::{Discovery, groups::Turn};
use crate::{
    domain::UpstreamStatus,
    hosts::Host,
    identity::IdentityError,
    ingest::{Listed, Reconciled},
};

/// What became of an account that somebody named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Introduced {
    /// It is known now.
    Known,
    /// Its DID document names a host that this relay does not know.
    ElsewhereOnly,
    /// It has no document that says where it is.
    Nowhere,
}

impl Discovery {
    /// Whose budget calls to this host are of; a name for [`Self::turn`].
    pub async fn group_of(&self, host: &Host) -> String {
        self.inner.walks.walker().group(host).await
    }

    /// Waits for the turn of a group, and for the end of its pause; others of it wait until the turn is
    /// dropped. Lists of accounts are read within the same turns (ACC-10).
    ///
    /// Cancel safety: the turn goes to the next.
    pub async fn turn(&self, group: &str) -> Turn {
        self.inner.walks.walker().groups.turn(group).await
    }

    /// Makes an account known that another relay or a file names, if its DID document confirms it, within
    /// the rate of lookups of all lists. Its status is taken for active until its host says otherwise.
    ///
    /// # Errors
    /// What was in the way; it may succeed later.
    pub async fn introduce(&self, did: &Did) -> Result<Introduced, String> {
        let walker = self.inner.walks.walker();
        walker.lookup_turn().await;
        let document = match walker.identities.fetch(did, false).await {
            Ok(document) => document,
            Err(IdentityError::Unavailable(why)) => return Err(why),
            Err(_) => return Ok(Introduced::Nowhere),
        };
        let Some(pds) = &document.pds else { return Ok(Introduced::Nowhere) };
        let Some(host) = walker.hosts.by_name(pds.host.as_str()) else {
            return Ok(Introduced::ElsewhereOnly);
        };
        let status = UpstreamStatus::Active;
        let listed = Listed { host: host.id(), status, document: Some(document) };
        match walker.ingest.listed(did, listed).await {
            Ok(Reconciled::Unsure) => Err("an event is introducing it just now".to_owned()),
            Ok(_) => Ok(Introduced::Known),
            Err(_stopped) => Err("the relay is stopping".to_owned()),
        }
    }
}
