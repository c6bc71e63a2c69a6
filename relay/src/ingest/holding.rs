//! Accounts over the limit of their host: held when they come, released in order when there is room
//! (ACC-8, ACC-9).
//!
//! A shard sees at once that an account is one too many and drops its events from then on. This task
//! makes the decision durable, has it announced, and looks every few seconds which hosts have room
//! again. What an operator decides about an account is stronger and is never undone here.

use std::{collections::HashMap, sync::Arc, time::Duration};

use relay_protocol::Did;
use tokio::sync::mpsc;

use super::{Ingest, commands::Decision};
use crate::{
    domain::{HostId, LocalStatus},
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
pub(super) async fn keep(ingest: Ingest, mut asked: mpsc::Receiver<Did>) {
    let stopping = ingest.inner.room.tasks.stopping().clone();
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let clock = &ingest.inner.room.clock;
        tokio::select! {
            () = stopping.cancelled() => return,
            taken = asked.recv_many(&mut batch, BATCH) => if taken == 0 { return },
            () = clock.sleep(REVIEW) => {}
        }
        let work = async {
            if batch.is_empty() { review(&ingest).await } else { hold(&ingest, &mut batch).await }
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
async fn hold(ingest: &Ingest, batch: &mut Vec<Did>) -> Result<(), StoreError> {
    ingest.inner.room.store.hold_accounts(batch).await?;
    let held = std::mem::take(batch);
    for did in held {
        let decision = Decision {
            local: LocalStatus::Throttled,
            is_news: true,
            instead_of: Some(LocalStatus::None),
        };
        ingest.announce(&did, decision).await?;
    }
    Ok(())
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
        if room.store.release_account(&did).await? {
            let decision = Decision {
                local: LocalStatus::None,
                is_news: true,
                instead_of: Some(LocalStatus::Throttled),
            };
            ingest.announce(&did, decision).await?;
            host.released_one();
        }
    }
    Ok(())
}
