//! Accounts over a limit: of their host, held when they come and released in order when there is room
//! (ACC-8, ACC-9); of their own, held for a while (HOST-12, VAL-20).
//!
//! A shard sees at once that an account is over a limit and drops its events from then on. This task
//! makes the decision durable, has it announced, and looks every few seconds which hosts have room
//! again and whose time has come. What an operator decides about an account is stronger and is never
//! undone here.

use std::{collections::HashMap, sync::Arc, time::Duration};

use relay_protocol::Did;
use tokio::sync::mpsc;

use super::{Ingest, commands::Decision};
use crate::{
    domain::{HeldFor, Hold, HostId, LocalStatus},
    hosts::Host,
    store::StoreError,
};

/// Accounts that may wait to be held; while there are so many, no further one is taken over a limit.
pub(super) const WAITING_MAX: usize = 1_024;

/// Accounts that are held in one transaction.
const BATCH: usize = 256;

/// Pause between two looks at hosts that may have room.
const REVIEW: Duration = Duration::from_secs(5);

/// Accounts of one host that are released at one look.
const RELEASED_MAX: u64 = 200;

/// A row is written by the checkpoint after it was made; until then it cannot be found.
const UNWRITTEN_MS: u64 = 120_000;

/// Pause after an error of the database.
const AGAIN: Duration = Duration::from_secs(1);

/// Works until the daemon stops.
pub(super) async fn keep(ingest: Ingest, mut asked: mpsc::Receiver<Hold>) {
    let stopping = ingest.inner.room.tasks.stopping().clone();
    let mut batch = Vec::with_capacity(BATCH);
    // Holds of the process before may be over already.
    let mut due_ms = 0;
    loop {
        let clock = &ingest.inner.room.clock;
        tokio::select! {
            () = stopping.cancelled() => return,
            taken = asked.recv_many(&mut batch, BATCH) => if taken == 0 { return },
            () = clock.sleep(REVIEW) => {}
        }
        let work = async {
            if !batch.is_empty() {
                for hold in batch.iter().filter(|hold| hold.until_ms > 0) {
                    due_ms = due_ms.min(hold.until_ms);
                }
                return hold(&ingest, &mut batch).await;
            }
            review(&ingest).await?;
            if clock.now_ms() >= due_ms {
                due_ms = release_due(&ingest).await?;
            }
            Ok(())
        };
        let done = tokio::select! {
            () = stopping.cancelled() => return,
            done = work => done,
        };
        if let Err(error) = done {
            tracing::warn!(%error, "accounts over the limit of their host are looked at again");
            if stopping.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_none() {
                return;
            }
        }
    }
}

/// Those that were not held stay in `batch`.
async fn hold(ingest: &Ingest, batch: &mut Vec<Hold>) -> Result<(), StoreError> {
    let store = &ingest.inner.room.store;
    let (of_hosts, of_their_own): (Vec<Hold>, Vec<Hold>) =
        batch.iter().cloned().partition(|hold| hold.why == HeldFor::HostFull);
    if !of_hosts.is_empty() {
        let dids: Vec<Did> = of_hosts.into_iter().map(|hold| hold.did).collect();
        store.hold_accounts(&dids).await?;
    }
    if !of_their_own.is_empty() {
        store.hold_until(&of_their_own).await?;
    }
    let held = std::mem::take(batch);
    for Hold { did, .. } in held {
        let decision = Decision {
            local: LocalStatus::Throttled,
            is_news: true,
            instead_of: Some(LocalStatus::None),
        };
        ingest.announce(&did, decision).await?;
    }
    Ok(())
}

/// Releases the accounts whose time has come; gives when the next one's does, ms since 1970.
async fn release_due(ingest: &Ingest) -> Result<u64, StoreError> {
    let room = &ingest.inner.room;
    for did in room.store.due_holds(room.clock.now_ms(), RELEASED_MAX).await? {
        release_one(ingest, &did).await?;
    }
    Ok(room.store.next_due_hold().await?.unwrap_or(u64::MAX))
}

/// Gives whether it was held until now.
async fn release_one(ingest: &Ingest, did: &Did) -> Result<bool, StoreError> {
    if !ingest.inner.room.store.release_account(did).await? {
        return Ok(false);
    }
    let decision = Decision {
        local: LocalStatus::None,
        is_news: true,
        instead_of: Some(LocalStatus::Throttled),
    };
    ingest.announce(did, decision).await?;
    Ok(true)
}

async fn review(ingest: &Ingest) -> Result<(), StoreError> {
    let room = &ingest.inner.room;
    let hosts: Vec<Arc<Host>> =
        room.hosts.all().into_iter().filter(|host| host.take_review()).collect();
    if hosts.is_empty() {
        return Ok(());
    }
    let reviewed = async {
        let held: HashMap<HostId, u64> = room.store.held_counts().await?.into_iter().collect();
        for host in &hosts {
            let held = held.get(&host.id()).copied().unwrap_or(0);
            host.set_held(held);
            release(ingest, host, held).await?;
        }
        Ok(())
    }
    .await;
    if reviewed.is_err() {
        for host in &hosts {
            host.review_accounts();
        }
    }
    reviewed
}

async fn release(ingest: &Ingest, host: &Host, held: u64) -> Result<(), StoreError> {
    let room = &ingest.inner.room;
    if host.held_lately(UNWRITTEN_MS) {
        host.review_accounts();
    }
    // Held ones count as accounts of the host (HOST-10).
    let passing = host.account_count().saturating_sub(held);
    let free = host.account_limit().saturating_sub(passing).min(held);
    if free == 0 {
        return Ok(());
    }
    if free > RELEASED_MAX {
        host.review_accounts();
    }
    let dids = room.store.held_accounts(host.id(), free.min(RELEASED_MAX)).await?;
    tracing::info!(host = %host.hostname(), accounts = dids.len(), "the host has room: accounts are released");
    for did in dids {
        if release_one(ingest, &did).await? {
            host.released_one();
        }
    }
    Ok(())
}
