//! State is the log replayed: after a crash the same rows, and nothing twice (I2, I3, DESIGN 10.3).

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use relay_protocol::Did;
use relay_simnet::{Account as Simulated, Pds};

use super::bench::{Bench, did_of};
use crate::{
    domain::{Account, DropReason, LocalStatus, Seq},
    ingest::replay,
};

/// Everything that can happen to accounts, each followed by an event that says so.
async fn busy(bench: &mut Bench, alpha: &Pds, beta: &Pds) -> Result<Vec<Simulated>> {
    let mut accounts = Vec::new();
    for name in ["writer", "rotated", "moved", "gone", "away", "healed", "held", "buried"] {
        accounts.push(alpha.account(name).await?);
    }
    let [writer, rotated, moved, gone, away, healed, held, buried] = accounts.as_slice() else {
        anyhow::bail!("eight accounts");
    };
    for account in &accounts {
        account.post("first").await?;
    }
    bench.settle(alpha).await?;

    for number in 0..5 {
        writer.post(&format!("post {number}")).await?;
    }
    writer.post_in_silence("a gap").await?;
    writer.sync().await?;
    rotated.rotate_key(true).await?;
    rotated.post("with the new key").await?;
    gone.delete_account().await?;
    away.deactivate().await?;
    healed.takedown().await?;
    bench.settle(alpha).await?;

    moved.migrate_to(beta).await?;
    moved.post("from the new host").await?;
    bench.settle(beta).await?;
    healed.set_status_in_silence(true, None).await?;
    healed.post("active after all").await?;
    let did = Did::parse(held.did())?;
    bench.ingest().set_local_status(&did, LocalStatus::Suspended).await?;
    held.set_status(false, Some("deactivated")).await?;
    bench.net.plc().tombstone(buried);
    buried.identity(None).await?;
    bench.settle(alpha).await?;
    Ok(accounts)
}

/// The rows that the log alone gives.
async fn from_the_log(bench: &Bench) -> Result<BTreeMap<Did, Account>> {
    let mut rows = BTreeMap::new();
    for event in bench.log().await? {
        let did = did_of(&event)?;
        let row = replay(rows.remove(&did), &event).context("every record can be replayed")?;
        assert_eq!(row.last_seq, event.seq);
        rows.insert(did, row);
    }
    Ok(rows)
}

/// I3: whatever happened, the rows in memory are those that the log gives, but for our seq, which only
/// the log knows, and for decisions, which the store keeps.
#[tokio::test]
async fn rows_equal_the_replay_of_what_was_appended() -> Result<()> {
    let mut bench = Bench::new().await?;
    let (alpha, beta) = (bench.host("alpha").await?, bench.host("beta").await?);
    let accounts = busy(&mut bench, &alpha, &beta).await?;
    let replayed = from_the_log(&bench).await?;

    for account in &accounts {
        let did = Did::parse(account.did())?;
        let row = bench.row(account).await?.context("a row")?;
        let from_log = replayed.get(&did).context("the log names it")?.clone();
        let expected = Account { last_seq: row.last_seq, local: row.local, ..from_log };
        assert_eq!(row, expected, "{}", account.name());
    }
    let upstream: Vec<_> = accounts
        .iter()
        .map(|account| Ok(replayed[&Did::parse(account.did())?].upstream.as_text().to_owned()))
        .collect::<Result<_>>()?;
    let expected = [
        "active",
        "active",
        "active",
        "deleted",
        "deactivated",
        "active",
        "deactivated",
        "deleted",
    ];
    assert_eq!(upstream, expected);
    Ok(())
}

/// I3, DESIGN 10.5: rows of a checkpoint that already hold some of the events behind it end in the same
/// state when these are applied again.
#[tokio::test]
async fn replay_over_a_later_row_ends_in_the_same_row() -> Result<()> {
    let mut bench = Bench::new().await?;
    let (alpha, beta) = (bench.host("alpha").await?, bench.host("beta").await?);
    let accounts = busy(&mut bench, &alpha, &beta).await?;
    let log = bench.log().await?;
    for account in &accounts {
        let mut row = bench.row(account).await?.context("a row")?;
        let before = row.clone();
        let did = Did::parse(account.did())?;
        for event in &log {
            if did_of(event)? == did {
                row = replay(Some(row), event).context("it can be replayed")?;
            }
        }
        assert!(row.last_seq > Seq(0));
        assert_eq!(row, Account { last_seq: row.last_seq, ..before }, "{}", account.name());
    }
    Ok(())
}

/// DESIGN 10.3, I2: after a crash without a checkpoint every host sends everything again. Nothing of any
/// kind comes out twice, no identity is asked for again, and the chain goes on.
#[tokio::test]
async fn a_crash_gives_every_event_once() -> Result<()> {
    let mut bench = Bench::new().await?;
    let (alpha, beta) = (bench.host("alpha").await?, bench.host("beta").await?);
    let accounts = busy(&mut bench, &alpha, &beta).await?;
    // The last event of one account is an #identity, which no rev would show to be old.
    accounts[0].identity(None).await?;
    bench.settle(&alpha).await?;
    let before: Vec<_> = bench.log().await?.iter().map(|event| event.frame.clone()).collect();
    let lookups: Vec<u64> =
        accounts.iter().take(2).map(|account| bench.net.plc().lookups(account)).collect();

    bench.crash().await?;
    assert_eq!(bench.mark(&alpha), 0, "all comes again");
    bench.settle(&alpha).await?;
    bench.settle(&beta).await?;

    let after: Vec<_> = bench.log().await?.iter().map(|event| event.frame.clone()).collect();
    assert_eq!(after, before);
    assert!(bench.dropped(DropReason::Stale) > 20);
    for (account, before) in accounts.iter().zip(lookups) {
        assert_eq!(bench.net.plc().lookups(account), before, "{}", account.name());
    }
    assert_eq!((bench.mark(&alpha), bench.mark(&beta)), (alpha.head(), beta.head()));
    accounts[0].post("after the crash").await?;
    bench.settle(&alpha).await?;
    assert_eq!(bench.log().await?.len(), before.len() + 1, "control");
    Ok(())
}

/// I2, I3: a crash while events wait for an identity loses none of them: they were not settled, so their
/// host sends them again.
#[tokio::test]
async fn events_that_waited_at_a_crash_come_again() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;
    let bob = bench.account(&alpha, "bob").await?;
    bench.net.plc().answer(&bob, relay_simnet::Answer::Status(503));
    let waits = bob.post("waits").await?;
    let passes = alice.post("passes").await?;
    bench.pass_on(&alpha).await?;
    bench.until("alice's post is durable", |bench| bench.head() == 2).await?;
    bench.checkpoint().await?;
    assert_eq!(bench.mark(&alpha), waits.seq - 1);

    bench.crash().await?;
    assert_eq!(bench.mark(&alpha), waits.seq - 1, "the stored cursor is before what waits");
    bench.net.plc().answer(&bob, relay_simnet::Answer::Document);
    bench.settle(&alpha).await?;
    assert_eq!(bench.told(&bob).await?, [format!("commit {}", waits.rev)]);
    assert_eq!(bench.told(&alice).await?.last(), Some(&format!("commit {}", passes.rev)));
    assert_eq!(bench.told(&alice).await?.len(), 2, "not twice");
    Ok(())
}
