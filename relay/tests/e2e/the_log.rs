//! What shards hold of accounts is what the log says of them, and nothing else.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use relay::{
    domain::{Account, AccountNo, Seq},
    ingest::replay,
};
use relay_simnet::{Fault, Load, LoadOptions, Net};

use crate::support::Relay;

/// Rows by account, without what the log does not decide: local decisions lie in the store, a
/// background look at an identity that changed nothing is not logged, and the last seq is only known
/// to the log.
type Rows = BTreeMap<AccountNo, Account>;

fn comparable(mut account: Account) -> (AccountNo, Account) {
    account.identity_checked_ms = 0;
    account.last_seq = Seq(0);
    (account.number, account)
}

async fn held(relay: &Relay) -> Rows {
    let rows = relay.running.ingest.dirty_after(AccountNo(0), usize::MAX).await;
    rows.into_iter().map(comparable).collect()
}

async fn logged(relay: &Relay) -> Result<Rows> {
    let mut rows: BTreeMap<AccountNo, Option<Account>> = BTreeMap::new();
    let mut log = relay.running.log.after(Seq(0));
    loop {
        let events = log.read(1 << 20).await?;
        if events.is_empty() {
            return Ok(rows.into_values().flatten().map(comparable).collect());
        }
        for event in events {
            let row = rows.entry(event.account).or_default();
            *row = replay(row.take(), &event);
        }
    }
}

/// I3, ROLE-8: whatever happened to accounts, the log alone gives the rows that the shards hold.
#[tokio::test]
async fn the_log_alone_gives_the_rows_that_the_shards_hold() -> Result<()> {
    let net = Net::seeded(31).await?;
    let options = LoadOptions {
        hosts: 3,
        accounts: 30,
        announcements_per_mille: 100,
        faults_per_mille: 50,
        faults: &[Fault::WrongKey, Fault::WrongPrevData, Fault::StaleRev, Fault::MissingNode],
        impostors_per_mille: 30,
        ..LoadOptions::default()
    };
    let mut load = Load::prepare(&net, options).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let rotated = alpha.account("rotated").await?;
    let moved = alpha.account("moved").await?;
    let away = alpha.account("away").await?;
    let gone = beta.account("gone").await?;
    let relay = Relay::join(&net).await?;

    load.send(600).await?;
    rotated.rotate_key(true).await?;
    rotated.post("with the new key").await?;
    moved.migrate_to(&beta).await?;
    moved.post("from beta").await?;
    away.deactivate().await?;
    gone.delete_account().await?;
    load.send(200).await?;
    relay.settled(&net).await?;

    let (held, logged) = (held(&relay).await, logged(&relay).await?);
    ensure!(held.len() == 34, "{} accounts", held.len());
    for (number, row) in &held {
        assert_eq!(logged.get(number), Some(row), "the row of {}", row.did);
    }
    assert_eq!(held.len(), logged.len());
    assert!(relay.running.log.window().head > Seq(600), "control: most events passed");
    Ok(())
}
