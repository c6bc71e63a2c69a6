//! Every lawful commit passes, every wrong one is dropped, and a gap is no reason to drop (spec 8.1).

use anyhow::{Context, Result};
use relay::domain::DropReason;
use relay_simnet::{Account, Answer, Fault, Kind, Net, Sent, Write, records::post_record};

use crate::{
    support::Relay,
    watch::{Watch, held_clock},
};

/// The root of a tree without records (INV-8).
const EMPTY_TREE: &str = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm";

fn path(number: usize) -> String {
    format!("com.example.record/{number:04}")
}

/// Writes the record of this number to a path; equal numbers are equal records.
fn create(at: usize, number: usize) -> Write {
    Write::create(path(at), post_record(&format!("record {number}"), 0))
}

fn update(at: usize, number: usize) -> Write {
    Write::update(path(at), post_record(&format!("record {number}"), 0))
}

/// T12, T15, VAL-9…13, VAL-16, VAL-17: whatever is wrong with a commit, it alone is dropped, under a
/// reason that fits, and the next valid commit of the account passes although it does not follow.
#[tokio::test]
async fn a_wrong_commit_is_dropped_and_the_next_valid_one_passes() -> Result<()> {
    let net = Net::seeded(20).await?;
    let alpha = net.pds("alpha").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    let faults = Fault::ALL.iter().filter(|fault| fault.strikes(Kind::Commit));

    let mut victims = Vec::new();
    for (number, fault) in faults.enumerate() {
        let account = alpha.account(&format!("user-{number}")).await?;
        let fill = (0..40).map(|number| create(number, number));
        account.apply(fill.collect()).await?;
        let writes = vec![update(1, 101), Write::delete(path(2)), create(50, 50)];
        account.with(*fault).apply(writes).await?;
        let good = account.post("good").await?;
        victims.push((account, *fault, good));
    }
    relay.proved(&net, &mut watch).await?;

    for (account, fault, good) in victims {
        let drops: Vec<_> = relay.drops(&account).into_iter().map(DropReason::label).collect();
        let is_right = match drops.as_slice() {
            [] => fault.reasons().is_empty(),
            [reason] => fault.reasons().contains(reason),
            _ => false,
        };
        assert!(is_right, "{fault:?}: {drops:?}, expected one of {:?}", fault.reasons());
        assert!(has_rev(&watch, &good), "the commit after {fault:?} passed");
    }
    Ok(())
}

fn has_rev(watch: &Watch, sent: &Sent) -> bool {
    watch.seen.iter().any(|event| event.rev.as_deref() == Some(sent.rev.as_str()))
}

/// A network of one host with one account, and a relay that tells its verdicts.
async fn one_account(seed: u64) -> Result<(Net, Account, Relay, Watch)> {
    let net = Net::seeded(seed).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let mut relay = Relay::join_telling(&net).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    relay.verdicts(&alice);
    Ok((net, alice, relay, watch))
}

/// T13, MST-8, INV-5, INV-6, INV-8: commits of every lawful shape pass, each as a continuation of the
/// one before.
#[tokio::test]
async fn commits_of_every_lawful_shape_pass() -> Result<()> {
    let (net, alice, mut relay, mut watch) = one_account(21).await?;
    assert_eq!(
        watch.of(&alice)[2],
        "commit",
        "the first commit, with since null and no operations"
    );

    alice.empty_commit().await?;
    alice.apply(vec![create(1, 1)]).await?;
    alice.apply(vec![update(1, 1)]).await?;
    alice.apply(vec![update(1, 2)]).await?;
    alice.apply(vec![Write::delete(path(1)), create(9, 2)]).await?;
    let two_hundred = |write: fn(usize) -> Write| (100..300).map(write).collect::<Vec<_>>();
    alice.apply(two_hundred(|n| create(n, n))).await?;
    alice.apply(two_hundred(|n| update(n, 7))).await?;
    alice.apply(two_hundred(|n| Write::delete(path(n)))).await?;
    alice.delete(&path(9)).await?;
    alice.empty_commit().await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"; 10]);

    let (_, told) = relay.why(&format!("did={}", alice.did())).await?;
    assert_eq!(told["account"]["data"], EMPTY_TREE, "{told}");
    alice.post("a new beginning").await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"]);
    for line in relay.verdicts(&alice) {
        assert!(line.dropped.is_none(), "{line:?}");
        let is_continuous = line.detail.contains("; follows rev ");
        assert!(is_continuous, "{line:?}");
    }
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T13, MSG-1, INV-7: one operation too many, or two for one path, cost that commit.
#[tokio::test]
async fn commits_with_too_many_or_repeated_operations_are_dropped() -> Result<()> {
    let (net, alice, relay, mut watch) = one_account(22).await?;

    alice.with(Fault::TooManyOps).post("201 operations").await?;
    alice.with(Fault::DuplicatePath).post("one path twice").await?;
    assert_eq!(relay.news(&net, &mut watch).await?, [""; 0]);
    alice.post("good").await?;

    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"]);
    assert_eq!(relay.drops(&alice), [DropReason::Oversized, DropReason::BadOps]);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T14, VAL-16, ROLE-3: after a gap the next commit passes and becomes the state, and the relay asks
/// nobody for the missing one.
#[tokio::test]
async fn a_commit_after_a_gap_passes_and_nothing_is_fetched() -> Result<()> {
    let (net, alice, mut relay, mut watch) = one_account(23).await?;
    let alpha = alice.pds().await?;

    alice.post_in_silence("nobody is told").await?;
    let after = alice.post("after the gap").await?;
    alice.post("and on").await?;

    assert_eq!(relay.news(&net, &mut watch).await?, ["commit", "commit"]);
    let verdicts = relay.verdicts(&alice);
    let [first, second] = verdicts.as_slice() else { panic!("two verdicts: {verdicts:?}") };
    assert!(first.detail.contains("does not follow"), "{first:?}");
    assert!(second.detail.contains("; follows rev "), "{second:?}");
    assert!(has_rev(&watch, &after));
    for method in ["getRepo", "getCheckout", "getBlocks", "getLatestCommit", "getRecord"] {
        assert_eq!(alpha.requests(method), 0, "{method}");
    }
    let (cid, rev) = (alice.latest_commit().await?.1, alice.latest_commit().await?.0);
    let (_, told) =
        relay.get(&format!("com.atproto.sync.getLatestCommit?did={}", alice.did())).await?;
    assert_eq!((told["cid"].as_str(), told["rev"].as_str()), (Some(&*cid), Some(&*rev)));
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T15, VAL-16, VAL-17: a wrong commit does not advance the state: the next one is judged against
/// what was accepted last.
#[tokio::test]
async fn a_commit_after_a_wrong_one_counts_as_discontinuous() -> Result<()> {
    let (net, alice, mut relay, mut watch) = one_account(24).await?;

    alice.with(Fault::WrongPrevData).post("wrong").await?;
    alice.post("right").await?;

    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"]);
    let verdicts = relay.verdicts(&alice);
    let [wrong, right] = verdicts.as_slice() else { panic!("two verdicts: {verdicts:?}") };
    assert_eq!(wrong.dropped, Some(DropReason::ProofMismatch));
    assert!(wrong.detail.contains("bafyrei"), "the CIDs that differ are named: {wrong:?}");
    assert!(right.dropped.is_none() && right.detail.contains("does not follow"), "{right:?}");
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T17, VAL-7, VAL-8, SEC-8: a rev that is equal, lower or far ahead.
#[tokio::test]
async fn a_rev_that_does_not_grow_or_lies_in_the_future_is_dropped() -> Result<()> {
    let (net, alice, relay, mut watch) = one_account(25).await?;

    for (fault, reason) in [
        (Fault::EqualRev, DropReason::Stale),
        (Fault::StaleRev, DropReason::Stale),
        (Fault::FutureRev, DropReason::FutureRev),
    ] {
        alice.post("before").await?;
        alice.with(fault).post("bad rev").await?;
        alice.post("after").await?;
        assert_eq!(relay.news(&net, &mut watch).await?, ["commit", "commit"], "{fault:?}");
        assert_eq!(relay.drops(&alice).last(), Some(&reason));
    }
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T17, DESIGN 10.3: events that a host sends again after it was asked anew are dropped as stale,
/// whatever their kind.
#[tokio::test]
async fn what_a_host_sends_again_after_a_restart_is_counted_as_stale() -> Result<()> {
    let (net, clock) = (Net::seeded(26).await?, held_clock());
    let alpha = net.pds("alpha").await?;
    let (alice, bob) = (alpha.account("alice").await?, alpha.account("bob").await?);
    let relay = Relay::join_by(&net, &clock).await?;
    relay.settled(&net).await?;

    // Bob's identity cannot be found for a moment, which holds the mark back.
    net.plc().answer_all(Some(Answer::Status(503)));
    let lookups = net.plc().lookups(&bob);
    bob.rotate_key(false).await?;
    let held = bob.post("with the new key").await?;
    relay.until("bob is asked about", || net.plc().lookups(&bob) > lookups).await?;
    alice.post("passes").await?;
    alice.change_handle("alicia.test").await?;
    alice.deactivate().await?;
    alice.set_status(true, None).await?;
    let last = alice.sync().await?;
    let mut watch = relay.watch().await?;
    watch.until(&last).await?;
    net.plc().answer_all(None);
    let relay = relay.restart().await?;

    let mut watch = relay.watch().await?;
    relay.proved(&net, &mut watch).await?;
    let asked: u64 = alpha.cursors().last().context("the host was asked again")?.parse()?;
    assert_eq!(asked, held.seq - 1);
    assert_eq!(relay.drops(&alice), [DropReason::Stale; 4], "the examples are limited to four");
    assert_eq!(relay.dropped_total(DropReason::Stale), 5);
    assert!(has_rev(&watch, &held));
    Ok(())
}
