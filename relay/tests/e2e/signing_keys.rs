//! Signatures are checked with the key of the DID document, and a new key is found when it is needed.

use anyhow::Result;
use relay::domain::DropReason;
use relay_simnet::{Account, AccountOptions, Answer, Curve, Fault, KeyForm, Net};

use crate::{
    support::Relay,
    watch::{advance, held_clock},
};

/// RES-3, VAL-10: a failed signature buys exactly one refresh of the identity.
#[tokio::test]
async fn a_commit_signed_with_a_retired_key_is_dropped_after_one_refresh() -> Result<()> {
    let net = Net::seeded(7).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    let first = alice.post("first").await?;
    watch.until(&first).await?;
    let lookups = net.plc().lookups(alice.did());

    alice.sign_with_retired_key().post("hello").await?;
    let still = alice.post("still here").await?;

    let seen = watch.until(&still).await?;
    assert_eq!(seen.len(), 1, "only the second post comes out: {seen:?}");
    assert_eq!(relay.drops(&alice), [DropReason::BadSignature]);
    assert_eq!(net.plc().lookups(alice.did()), lookups + 1);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// RES-3, SEC-3: many bad signatures within a minute buy one refresh, not one each.
#[tokio::test]
async fn many_bad_signatures_cause_one_refresh_a_minute() -> Result<()> {
    let (net, clock) = (Net::seeded(8).await?, held_clock());
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    relay.settled(&net).await?;
    let lookups = net.plc().lookups(alice.did());

    for minute in 1..=3 {
        for number in 0..5 {
            alice.with(Fault::WrongKey).post(&format!("bad {number}")).await?;
        }
        relay.settled(&net).await?;
        assert_eq!(net.plc().lookups(alice.did()), lookups + minute, "after minute {minute}");
        advance(&clock, 61);
    }
    alice.post("good").await?;

    assert_eq!(relay.dropped_total(DropReason::BadSignature), 15);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T11, KEY-1, KEY-2: a signature that is right in substance and wrong in form is dropped, with
/// either curve and either form of the document.
#[tokio::test]
async fn signatures_of_a_wrong_form_are_dropped_with_either_curve() -> Result<()> {
    let net = Net::seeded(9).await?;
    let alpha = net.pds("alpha").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    let faults = [Fault::HighS, Fault::DerSignature, Fault::FlippedSignature, Fault::WrongKey];

    for curve in [Curve::K256, Curve::P256] {
        for (key_form, web) in [
            (KeyForm::Multikey, false),
            (KeyForm::LegacyCompressed, false),
            (KeyForm::LegacyUncompressed, true),
        ] {
            let name = format!("{curve:?}-{key_form:?}").to_ascii_lowercase();
            let options = AccountOptions { curve, key_form, web, announced: true };
            let account = alpha.account_with(&name, options).await?;
            for fault in faults {
                account.with(fault).post("bad").await?;
                account.post("good").await?;
            }
            relay.settled(&net).await?;
            assert_eq!(relay.drops(&account).len(), faults.len(), "{name}");
            assert!(
                relay.drops(&account).iter().all(|reason| matches!(
                    reason,
                    DropReason::BadSignature | DropReason::BadCommit
                )),
                "{name}"
            );
        }
    }

    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T10, VAL-10: a rotation that nobody announced is found by the first signature that does not fit.
#[tokio::test]
async fn a_key_rotated_in_silence_is_found_by_one_refresh() -> Result<()> {
    let net = Net::seeded(10).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    let lookups = net.plc().lookups(alice.did());

    alice.rotate_key(false).await?;
    alice.post("with the new key").await?;
    alice.post("and again").await?;

    assert_eq!(relay.news(&net, &mut watch).await?, ["commit", "commit"]);
    assert_eq!(net.plc().lookups(alice.did()), lookups + 1);
    assert_eq!(relay.drops(&alice), []);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T10: someone else changed the document; the host's signatures fail until it is repaired.
#[tokio::test]
async fn with_a_wrong_key_in_the_document_nothing_passes_until_it_is_repaired() -> Result<()> {
    let (net, clock) = (Net::seeded(11).await?, held_clock());
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    alice.rotate_key_without_document().await?;
    alice.post("not yet").await?;
    assert_eq!(relay.news(&net, &mut watch).await?, [""; 0]);
    assert_eq!(relay.drops(&alice), [DropReason::BadSignature]);

    alice.publish_key().await?;
    advance(&clock, 61);
    alice.post("repaired").await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"]);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T10, RES-5: the directory is down when a key is rotated: the commit is neither passed unverified
/// nor dropped; it comes out when the directory answers again.
#[tokio::test]
async fn a_commit_with_a_new_key_waits_for_the_directory() -> Result<()> {
    let (net, clock) = (Net::seeded(12).await?, held_clock());
    let alpha = net.pds("alpha").await?;
    let (alice, bob) = (alpha.account("alice").await?, alpha.account("bob").await?);
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    net.plc().answer_all(Some(Answer::Status(503)));
    alice.rotate_key(false).await?;
    let waiting = alice.post("with the new key").await?;
    alice.post("and one more").await?;
    let by_bob = bob.post("I do not wait").await?;
    let seen = watch.until(&by_bob).await?;
    assert_eq!(seen.len(), 1, "the stale key of bob is used, alice's commit waits: {seen:?}");
    assert!(relay.view(&alpha).seq.is_some_and(|mark| mark.0 < waiting.seq), "I2");

    net.plc().answer_all(None);
    relay.settled_in_time(&net, &clock).await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["commit", "commit"]);
    assert_eq!(relay.drops(&alice), []);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// RES-5, DESIGN 10.7: after ten minutes an event that waits for an identity is dropped for that
/// reason, so that it does not hold its host's mark for ever.
#[tokio::test]
async fn an_event_waits_ten_minutes_for_its_identity_and_no_longer() -> Result<()> {
    let (net, clock) = (Net::seeded(13).await?, held_clock());
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    net.plc().answer_all(Some(Answer::Status(503)));
    alice.rotate_key(false).await?;
    alice.post("never to be seen").await?;
    relay.until("the commit waits", || relay.running.ingest.depth() == 1).await?;
    advance(&clock, 601);
    relay.settled(&net).await?;

    assert_eq!(relay.drops(&alice), [DropReason::IdentityUnavailable]);
    net.plc().answer_all(None);
    advance(&clock, 121);
    alice.post("seen").await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"]);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T10, RES-4: after an announced rotation a replica of the directory still tells the old key. It is
/// asked again after ten seconds, without a further event.
#[tokio::test]
async fn a_stale_directory_is_asked_again_after_an_announcement() -> Result<()> {
    let (net, clock) = (Net::seeded(14).await?, held_clock());
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    net.plc().answer(&alice, Answer::Stale);
    alice.rotate_key(true).await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["identity"]);
    assert_eq!(relay.drops(&alice), [DropReason::BadSignature], "the sync with the new key");

    net.plc().answer(&alice, Answer::Document);
    let lookups = net.plc().lookups(&alice);
    advance(&clock, 11);
    relay.until("the directory is asked again", || net.plc().lookups(&alice) > lookups).await?;
    let lookups = net.plc().lookups(&alice);
    alice.post("with the new key").await?;

    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"]);
    assert_eq!(net.plc().lookups(&alice), lookups, "the key was known before the commit came");
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// RES-2, DESIGN 10.8: after a day a key is confirmed in the background, and nothing waits for it;
/// after a week without a word from the directory it is not used any more.
#[tokio::test]
async fn keys_are_confirmed_daily_and_expire_after_a_week() -> Result<()> {
    let (net, clock) = (Net::seeded(15).await?, held_clock());
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    let lookups = net.plc().lookups(&alice);
    let day = 24 * 3_600;

    alice.post("the same day").await?;
    relay.news(&net, &mut watch).await?;
    assert_eq!(net.plc().lookups(&alice), lookups);
    advance(&clock, day + 1);
    alice.post("the day after").await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"]);
    relay.until("the key is confirmed", || net.plc().lookups(&alice) == lookups + 1).await?;

    net.plc().answer_all(Some(Answer::Status(503)));
    advance(&clock, 6 * day);
    alice.post("six days without the directory").await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"]);
    advance(&clock, 2 * day);
    alice.post("eight days").await?;
    relay.until("the commit waits", || relay.running.ingest.depth() == 1).await?;
    net.plc().answer_all(None);
    relay.settled_in_time(&net, &clock).await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"]);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// RES-2, DESIGN 10.8: after a restart with the directory down, known accounts go on with the keys that
/// were confirmed before; nothing is asked for them.
#[tokio::test]
async fn known_accounts_go_on_after_a_restart_without_the_directory() -> Result<()> {
    let net = Net::seeded(16).await?;
    let alpha = net.pds("alpha").await?;
    let accounts = [
        alpha.account("alice").await?,
        alpha
            .account_with("bob", AccountOptions { curve: Curve::P256, ..Default::default() })
            .await?,
        alpha.account_with("carol", AccountOptions { web: true, ..Default::default() }).await?,
    ];
    let relay = Relay::join(&net).await?;
    relay.settled(&net).await?;
    let asked = |account: &Account| match account.web() {
        Some(web) => web.lookups(),
        None => net.plc().lookups(account),
    };
    let before = accounts.each_ref().map(asked);
    net.plc().down();
    for web in accounts.iter().filter_map(Account::web) {
        web.down();
    }

    let relay = relay.restart().await?;
    let mut watch = relay.watch().await?;
    for account in &accounts {
        account.post("still here").await?;
    }

    relay.proved(&net, &mut watch).await?;
    for account in &accounts {
        assert_eq!(watch.of(account).last().map(String::as_str), Some("commit"));
    }
    assert_eq!(accounts.each_ref().map(asked), before);
    Ok(())
}
