//! The life of an account: creation, status, keys, handles, migration, deletion (spec 9.3).

use super::{Account, Sent, State};
use crate::{Pds, keys::SigningKey, plc::Document};
use anyhow::Result;
use std::sync::Arc;

impl Account {
    /// Registers the document and makes the first commit, as the reference PDS does.
    pub(super) async fn begin(&self, announced: bool) -> Result<()> {
        self.on_state(|state| {
            self.publish(state);
            if announced {
                let handle = state.handle.clone();
                self.identity_now(state, Some(&handle));
                self.account_now(state, true, None);
            }
            self.commit_now(state, Vec::new(), announced)?;
            if announced {
                self.sync_again_now(state, None)?;
            }
            Ok(())
        })
        .await
    }

    /// Writes key, handle and host into the DID document.
    fn publish(&self, state: &State) {
        let document = Document {
            did: self.inner.did.to_string(),
            handle: state.handle.clone(),
            key: state.key.clone(),
            form: state.key_form,
            endpoint: state.home.url(),
            host: state.home.number(),
        };
        match &self.inner.web {
            Some(web) => web.registry().publish(document),
            None => self.world.plc.registry().publish(document),
        }
    }

    /// A `#sync` with a new rev over the same tree (SYNC-3).
    pub async fn sync(&self) -> Result<Sent> {
        self.on_state(|state| Ok(self.sync_now(state))).await
    }

    /// A `#sync` that repeats the last commit (SYNC-4).
    pub async fn sync_again(&self) -> Result<Sent> {
        self.on_state(|state| self.sync_again_now(state, None)).await
    }

    /// An `#identity` with this handle; the document stays as it is.
    pub async fn identity(&self, handle: Option<&str>) -> Result<Sent> {
        self.on_state(|state| Ok(self.identity_now(state, handle))).await
    }

    /// Changes the handle in the document and announces it.
    pub async fn change_handle(&self, handle: &str) -> Result<Sent> {
        self.on_state(|state| {
            handle.clone_into(&mut state.handle);
            self.publish(state);
            Ok(self.identity_now(state, Some(handle)))
        })
        .await
    }

    /// Sets the status at the host and announces it.
    pub async fn set_status(&self, active: bool, status: Option<&str>) -> Result<Sent> {
        self.on_state(|state| {
            self.store_status(state, active, status);
            Ok(self.account_now(state, active, status))
        })
        .await
    }

    /// Announces a status that the host does not really hold.
    pub async fn announce_status(&self, active: bool, status: Option<&str>) -> Result<Sent> {
        self.on_state(|state| Ok(self.account_now(state, active, status))).await
    }

    /// Sets the status at the host and tells no one; `getRepoStatus` says it when asked.
    pub async fn set_status_in_silence(&self, active: bool, status: Option<&str>) -> Result<()> {
        self.on_state(|state| {
            self.store_status(state, active, status);
            Ok(())
        })
        .await
    }

    fn store_status(&self, state: &mut State, active: bool, status: Option<&str>) {
        state.active = active;
        state.status = status.map(str::to_owned);
        self.tell_endpoints(state);
    }

    /// `#account{false, deactivated}`.
    pub async fn deactivate(&self) -> Result<Sent> {
        self.set_status(false, Some("deactivated")).await
    }

    /// `#account{true}`, `#identity` and a `#sync` that repeats the last commit. Returns the
    /// `#account`.
    pub async fn activate(&self) -> Result<Sent> {
        self.on_state(|state| {
            self.store_status(state, true, None);
            let sent = self.account_now(state, true, None);
            let handle = state.handle.clone();
            self.identity_now(state, Some(&handle));
            self.sync_again_now(state, None)?;
            Ok(sent)
        })
        .await
    }

    /// `#account{false, takendown}` by the host's own moderation.
    pub async fn takedown(&self) -> Result<Sent> {
        self.set_status(false, Some("takendown")).await
    }

    /// `#account{true}` and nothing else.
    pub async fn reverse_takedown(&self) -> Result<Sent> {
        self.set_status(true, None).await
    }

    /// `#account{false, deleted}`; the host forgets all earlier events of the account.
    pub async fn delete_account(&self) -> Result<Sent> {
        self.on_state(|state| {
            state.active = false;
            state.status = Some("deleted".to_owned());
            state.home.forget_account(&self.inner.did);
            state.home.set_repo(&self.inner.did, None);
            Ok(self.account_now(state, false, Some("deleted")))
        })
        .await
    }

    /// Takes a new signing key into the document. Announced: `#identity` without a handle and a
    /// `#sync` with a new rev, signed with the new key. Otherwise the next commit shows it.
    pub async fn rotate_key(&self, announced: bool) -> Result<()> {
        self.on_state(|state| {
            self.new_key(state);
            self.publish(state);
            if announced {
                self.identity_now(state, None);
                self.sync_now(state);
            }
            Ok(())
        })
        .await
    }

    /// Takes a new signing key that the document does not say, as when someone else changed the
    /// document. [`Self::publish_key`] repairs it.
    pub async fn rotate_key_without_document(&self) -> Result<()> {
        self.on_state(|state| {
            self.new_key(state);
            Ok(())
        })
        .await
    }

    /// Writes the present key into the document.
    pub async fn publish_key(&self) -> Result<()> {
        self.on_state(|state| {
            self.publish(state);
            Ok(())
        })
        .await
    }

    fn new_key(&self, state: &mut State) {
        let label = format!("{}/key/{}", self.inner.name, state.keys_made);
        let key = SigningKey::derive(state.key.curve(), self.world.seed, &label);
        state.keys_made += 1;
        state.key_number = key.number();
        state.retired_key = Some(std::mem::replace(&mut state.key, key));
    }

    /// Moves to another host with a new key, with the events and the mistake of the reference PDS:
    /// there `#identity`, `#account`, `#identity` and a `#sync` whose rev is not the one of its
    /// commit and which the old key signed (SYNC-8), then `#account{deactivated}` at the old host.
    pub async fn migrate_to(&self, host: &Pds) -> Result<()> {
        self.on_state(|state| {
            let old_home = Arc::clone(&state.home);
            let left = Self { outlet: Some(Arc::clone(&old_home)), ..self.clone() };
            self.new_key(state);
            state.home = Arc::clone(&host.shared);
            self.publish(state);
            self.tell_endpoints(state);
            let handle = state.handle.clone();
            self.identity_now(state, Some(&handle));
            self.account_now(state, true, None);
            self.identity_now(state, Some(&handle));
            let claimed = crate::clock::tid(self.world.clock.tick(), 0);
            self.sync_again_now(state, Some(claimed))?;
            let gone = crate::pds::RepoEntry {
                active: false,
                status: Some("deactivated".to_owned()),
                rev: state.repo.rev,
                commit: state.repo.commit.as_ref().map(|(cid, _)| *cid),
                collections: state.repo.collections(),
                account: Arc::downgrade(&self.inner),
            };
            old_home.set_repo(&self.inner.did, Some(gone));
            left.account_now(state, false, Some("deactivated"));
            Ok(())
        })
        .await
    }
}
