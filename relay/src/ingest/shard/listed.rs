//! What a host's list of accounts says, once its claims were checked (ACC-10).

use relay_protocol::Did;

use super::Shard;
use crate::{
    domain::LocalStatus,
    ingest::commands::{Listed, Reconciled},
};

impl Shard {
    /// Takes a status, and with a document an account that is new here or has moved. Nothing else is
    /// taken: the rev of a list is not signed.
    ///
    /// * `unseen` – what was decided about a DID that the store, which was asked, has no row of
    pub(super) fn listed(
        &mut self,
        did: &Did,
        listed: Listed,
        unseen: Option<LocalStatus>,
    ) -> Reconciled {
        let Listed { host, status, document } = listed;
        if self.table.peek(did).is_none() {
            let (Some(local), Some(document)) = (unseen, document) else {
                // An event is introducing it just now.
                return Reconciled::Unsure;
            };
            let Some(home) = self.room.hosts.get(host) else { return Reconciled::Unsure };
            let Some(local) = self.local_of_new(did, &home, local) else {
                return Reconciled::Unsure;
            };
            self.create(did, &document, host, local);
            let set = self.table.change(did, |entry| entry.account.upstream = status);
            if let Some(((), moved)) = set {
                self.counted(did, moved);
            }
            return Reconciled::Added;
        }
        if let Some(document) = &document {
            self.apply(did, document);
        }
        let set = self.table.change(did, |entry| {
            let differs = entry.account.host == host && entry.account.upstream != status;
            if differs {
                entry.account.upstream = status;
            }
            differs
        });
        match set {
            Some((true, moved)) => {
                self.counted(did, moved);
                self.announce(did);
                Reconciled::Changed
            }
            _ if document.is_some() => Reconciled::Changed,
            _ => Reconciled::Same,
        }
    }
}
