//! What was decided here about accounts, apart from their rows: a checkpoint, which may carry a row from
//! before a decision, cannot undo it.

use relay_protocol::Did;

use super::{Store, StoreError, accounts};
use crate::domain::{AccountNo, LocalStatus};

impl Store {
    /// Durable at once: an operator's decision about an account, also about one that has no row
    /// yet, and that it is still to be announced (DESIGN 10.13). Gives whether it is news.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was decided then.
    pub async fn set_local_status(
        &self,
        did: &Did,
        status: LocalStatus,
    ) -> Result<bool, StoreError> {
        accounts::decide(self.db(), did, status).await
    }

    /// The announcement of this decision is durable.
    ///
    /// # Errors
    /// [`StoreError`]; the decision will be announced once more then.
    pub async fn announced(&self, did: &Did, status: LocalStatus) -> Result<(), StoreError> {
        accounts::announced(self.db(), did, status).await
    }

    /// Decisions whose announcement may be lost, for the start after a crash.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn unannounced(&self) -> Result<Vec<(Did, LocalStatus)>, StoreError> {
        accounts::unannounced(self.db()).await
    }

    /// DIDs with this decision after `after` in the order of the store, at most `limit`; the second
    /// value of each leads on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn decided(
        &self,
        status: LocalStatus,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(Did, String)>, StoreError> {
        accounts::decided(self.db(), status, after, limit).await
    }

    /// Accounts with a row that were taken down here (ACC-12).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn taken_down(&self) -> Result<Vec<AccountNo>, StoreError> {
        accounts::taken_down(self.db()).await
    }

    /// What was decided about these DIDs, of those about which something was. [`Self::accounts`]
    /// includes it; this is for a DID that has no row, before the first is made.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn local_statuses(
        &self,
        dids: &[Did],
    ) -> Result<Vec<(Did, LocalStatus)>, StoreError> {
        accounts::decisions(self.db(), dids).await
    }
}
