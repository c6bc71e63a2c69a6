//! Identities: asked for once, never skipped, used for a while without (RES-2…5, VAL-2…4, IDE-1, IDE-7).

use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use relay_protocol::Did;
use relay_simnet::{AccountOptions, Answer, Curve, Fault, Ipld, KeyForm, block::map, wire};

use super::bench::Bench;
use crate::{
    domain::{DropReason, EventKind, HostSeq},
    ingest::Arrival,
};

const DAY_US: u64 = 24 * 3_600_000_000;

/// RES-3, VAL-10, T10: failed signatures buy one refresh a minute; the account's own go on.
#[tokio::test]
async fn failed_signatures_buy_one_refresh() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;
    assert_eq!(bench.net.plc().lookups(&alice), 1);

    for _ in 0..3 {
        alice.sign_with_retired_key().post("forged").await?;
    }
    let own = alice.post("still here").await?;
    bench.settle(&alpha).await?;
    assert_eq!(bench.drops(&alice), [DropReason::BadSignature; 3]);
    assert_eq!(bench.net.plc().lookups(&alice), 2);
    assert_eq!(bench.told(&alice).await?.last(), Some(&format!("commit {}", own.rev)));

    bench.clock.advance_us(60_000_000);
    alice.sign_with_retired_key().post("forged again").await?;
    bench.settle(&alpha).await?;
    assert_eq!(bench.net.plc().lookups(&alice), 3, "control: a minute later");
    Ok(())
}

/// RES-3, T10: a key that was changed without a word is found by the signature it makes.
#[tokio::test]
async fn an_unannounced_rotation_passes_after_one_refresh() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;
    alice.rotate_key(false).await?;
    alice.post("with the new key").await?;
    alice.post("and another").await?;
    bench.settle(&alpha).await?;
    assert_eq!((bench.head(), bench.net.plc().lookups(&alice)), (3, 2));
    assert_eq!(bench.drops(&alice), []);
    Ok(())
}

/// RES-5, DESIGN 10.7, T10: while the directory is down nothing passes that the known key does not
/// prove; it waits, and is judged by what the directory says then.
#[tokio::test]
async fn nothing_passes_unverified_while_the_directory_is_down() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;
    let stranger = bench.account(&alpha, "stranger").await?;
    alice.rotate_key(false).await?;
    bench.net.plc().answer(&alice, Answer::Status(503));
    bench.net.plc().answer(&stranger, Answer::Status(503));

    let first = alice.post("with the new key").await?;
    alice.with(Fault::WrongKey).post("with no key of hers").await?;
    alice.sign_with_retired_key().post("with the old key").await?;
    let last = alice.post("with the new key again").await?;
    let unknown = stranger.post("of an account never seen").await?;
    bench.pass_on(&alpha).await?;
    let asked = |bench: &Bench| bench.net.plc().lookups(&alice) == 2;
    bench.until("the key was asked for", asked).await?;
    let asked = |bench: &Bench| bench.net.plc().lookups(&stranger) == 1;
    bench.until("the stranger was asked for", asked).await?;
    assert_eq!((bench.inside(), bench.head()), (5, 1), "all wait");

    for account in [&alice, &stranger] {
        bench.net.plc().answer(account, Answer::Document);
        bench.forget_failure(account).await?;
    }
    bench.settle_in_time().await?;
    let passed = [first, last].map(|sent| format!("commit {}", sent.rev));
    assert_eq!(bench.told(&alice).await?[1..], passed);
    assert_eq!(bench.drops(&alice), [DropReason::BadSignature; 2]);
    assert_eq!(bench.told(&stranger).await?, [format!("commit {}", unknown.rev)]);
    Ok(())
}

/// RES-2, DESIGN 10.8: a key is used for seven days without the directory, and not on the eighth.
#[tokio::test]
async fn a_known_key_is_used_for_seven_days_without_the_directory() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;
    bench.net.plc().answer(&alice, Answer::Status(503));

    bench.clock.advance_us(6 * DAY_US);
    alice.post("on the sixth day").await?;
    alice.with(Fault::WrongKey).post("forged on the sixth day").await?;
    bench.pass_on(&alpha).await?;
    bench.until("the post is durable", |bench| bench.head() == 2).await?;
    assert_eq!(bench.inside(), 1, "what the key does not prove waits");

    bench.net.plc().answer(&alice, Answer::Document);
    bench.forget_failure(&alice).await?;
    bench.settle_in_time().await?;
    assert_eq!(bench.drops(&alice), [DropReason::BadSignature]);

    bench.net.plc().answer(&alice, Answer::Status(503));
    let lookups = bench.net.plc().lookups(&alice);
    bench.clock.advance_us(8 * DAY_US);
    let late = alice.post("on the eighth day").await?;
    bench.pass_on(&alpha).await?;
    bench.until("it was asked for", |bench| bench.net.plc().lookups(&alice) > lookups).await?;
    assert_eq!((bench.inside(), bench.head()), (1, 2), "the key has expired");
    bench.net.plc().answer(&alice, Answer::Document);
    bench.forget_failure(&alice).await?;
    bench.settle_in_time().await?;
    assert_eq!(bench.told(&alice).await?.last(), Some(&format!("commit {}", late.rev)));
    Ok(())
}

/// RES-2, DESIGN 10.8: a key of more than a day is confirmed in the background, once; no event waits
/// for it.
#[tokio::test]
async fn an_old_key_is_confirmed_in_the_background() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;
    bench.clock.advance_us(DAY_US + 1_000_000);
    let now_ms = bench.clock.now_ms();
    alice.post("a day later").await?;
    bench.settle(&alpha).await?;
    bench.until_row(&alice, |row| row.identity_checked_ms == now_ms).await?;
    assert_eq!(bench.net.plc().lookups(&alice), 2);

    alice.post("and another").await?;
    bench.settle(&alpha).await?;
    assert_eq!((bench.head(), bench.net.plc().lookups(&alice)), (3, 2));
    Ok(())
}

/// IDE-1, RES-4, T10: an announced rotation behind a directory that still tells the old key: the
/// announcement passes, and the new key is looked for again by itself.
#[tokio::test]
async fn a_stale_directory_is_asked_again_after_an_announcement() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;
    let old = bench.row(&alice).await?.and_then(|row| row.key);
    bench.net.plc().answer(&alice, Answer::Stale);
    alice.rotate_key(true).await?;
    bench.settle(&alpha).await?;
    assert_eq!(bench.told(&alice).await?[1..], ["identity -"]);
    assert_eq!(bench.drops(&alice), [DropReason::BadSignature], "the sync with the new key");

    bench.net.plc().answer(&alice, Answer::Document);
    bench.clock.advance_us(10_000_000);
    bench.until_row(&alice, |row| row.key != old).await?;
    let next = alice.post("with the new key").await?;
    bench.settle(&alpha).await?;
    assert_eq!(bench.told(&alice).await?.last(), Some(&format!("commit {}", next.rev)));
    assert_eq!(bench.drops(&alice).len(), 1);
    Ok(())
}

/// IDE-1: an operator may have an identity looked at anew; no event is made of it, and of an account that
/// was never seen there is nothing to look at.
#[tokio::test]
async fn an_operator_can_have_an_identity_looked_at_anew() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;
    let stranger = bench.account(&alpha, "stranger").await?;
    let old = bench.row(&alice).await?.and_then(|row| row.key);
    alice.rotate_key(false).await?;
    let refresh = async |account: &relay_simnet::Account| -> Result<bool> {
        let known = bench.ingest().refresh_identity(&Did::parse(account.did())?).await;
        known.ok().context("the shard has stopped")
    };
    assert!(refresh(&alice).await?);
    assert!(!refresh(&stranger).await?);
    bench.until_row(&alice, |row| row.key != old).await?;

    alice.post("with the new key").await?;
    bench.settle(&alpha).await?;
    assert_eq!((bench.head(), bench.net.plc().lookups(&alice)), (2, 2), "no refresh was needed");
    assert_eq!(bench.net.plc().lookups(&stranger), 0);
    Ok(())
}

/// SEC-3, T18: a host that sends events of many accounts that are not its own causes a bounded number
/// of lookups, and each of its events has a reason; their own host is believed at once.
#[tokio::test]
async fn events_of_foreign_accounts_cause_bounded_lookups() -> Result<()> {
    let mut bench = Bench::new().await?;
    let (alpha, beta) = (bench.host("alpha").await?, bench.host("beta").await?);
    let known = bench.known_account(&alpha, "known").await?;
    let before = bench.net.plc().total_lookups();
    let mut victims = Vec::new();
    for number in 0..300 {
        let victim = bench.account(&alpha, &format!("victim{number}")).await?;
        victim.through(&beta).post("not from here").await?;
        victims.push(victim);
    }
    for _ in 0..20 {
        known.through(&beta).post("not from here").await?;
    }

    bench.settle(&beta).await?;
    // The budget of the host, and what was under way before it was known to be used up.
    let lookups = bench.net.plc().total_lookups() - before;
    assert!(lookups <= 60 + 64 + 1, "{lookups}");
    let refused = bench.dropped(DropReason::IdentityUnavailable);
    assert_eq!(refused + bench.dropped(DropReason::WrongHost), 320);
    assert!(refused > 0 && bench.net.plc().lookups(&known) <= 2, "{refused}");
    assert_eq!((bench.head(), bench.mark(&beta)), (1, beta.head()));

    for victim in [&victims[0], &victims[299]] {
        victim.post("from home").await?;
        bench.settle(&alpha).await?;
        assert_eq!(bench.told(victim).await?.len(), 1, "control");
    }
    Ok(())
}

/// VAL-2, SYN-2: a DID of a method that we do not support is dropped without a question.
#[tokio::test]
async fn unsupported_did_methods_are_dropped() -> Result<()> {
    let bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let host = bench.known_host(&alpha);
    for (number, did) in ["did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme", "did:plc:a"]
        .into_iter()
        .enumerate()
    {
        let host_seq = HostSeq(u64::try_from(number)? + 1);
        let payload = map([
            ("did", Ipld::String(did.to_owned())),
            ("seq", Ipld::Integer(host_seq.0.into())),
            ("time", Ipld::String("2026-01-01T00:00:00Z".to_owned())),
        ]);
        let frame = Bytes::from(wire::frame("#identity", &payload));
        host.receive(host_seq, frame.len()).await;
        let (epoch, kind, did) = (host.epoch(), EventKind::Identity, Did::parse(did)?);
        let host = Arc::clone(&host);
        bench.offer(Arrival { host, epoch, host_seq, kind, did, frame }).await?;
    }
    bench.settled().await?;
    assert_eq!(bench.dropped(DropReason::BadDid), 2);
    assert_eq!((bench.mark(&alpha), bench.net.plc().total_lookups()), (2, 0));
    Ok(())
}

/// VAL-3, DOC-6, IDE-7: what the directory says of an account that was never seen decides about it.
#[tokio::test]
async fn the_first_document_decides_about_a_new_account() -> Result<()> {
    let mut bench = Bench::new().await?;
    let (alpha, beta) = (bench.host("alpha").await?, bench.host("beta").await?);
    for (name, answer, reason) in [
        ("unregistered", Answer::NotFound, DropReason::IdentityInvalid),
        ("homeless", Answer::NoHost, DropReason::IdentityInvalid),
        ("someone_else", Answer::WrongId, DropReason::IdentityInvalid),
        ("keyless", Answer::NoKey, DropReason::IdentityInvalid),
        ("other_key", Answer::WrongKey, DropReason::BadSignature),
    ] {
        let account = bench.account(&alpha, name).await?;
        bench.net.plc().answer(&account, answer);
        account.post("hello").await?;
        bench.settle(&alpha).await?;
        assert_eq!(bench.drops(&account), [reason], "{name}");
    }
    let impostor = bench.account(&alpha, "victim").await?;
    impostor.through(&beta).post("hello").await?;
    bench.settle(&beta).await?;
    assert_eq!(bench.drops(&impostor), [DropReason::WrongHost]);

    let alice = alpha.account("alice").await?;
    bench.settle(&alpha).await?;
    let told = bench.told(&alice).await?;
    assert_eq!(told[..2], ["identity alice.test", "account active"]);
    assert!(told[2].starts_with("commit "), "{told:?}");
    assert_eq!(bench.drops(&alice), [DropReason::SyncUnchanged], "9.3: it repeats the commit");
    Ok(())
}

/// T11, KEY-1, KEY-4, SYN-4: both curves, all forms of keys, and did:web, through real documents.
#[tokio::test]
async fn accounts_of_every_kind_of_document_pass() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    for curve in [Curve::K256, Curve::P256] {
        for key_form in [KeyForm::Multikey, KeyForm::LegacyCompressed, KeyForm::LegacyUncompressed]
        {
            for web in [false, true] {
                let options = AccountOptions { curve, key_form, web, announced: false };
                let name = format!("{curve:?}{key_form:?}{web}").to_lowercase();
                let account = alpha.account_with(&name, options).await?;
                let genuine = account.post("genuine").await?;
                account.with(Fault::HighS).post("high S").await?;
                bench.settle(&alpha).await?;
                let told = bench.told(&account).await?;
                assert_eq!(told, [format!("commit {}", genuine.rev)], "{name}");
                assert_eq!(bench.drops(&account), [DropReason::BadSignature], "{name}");
            }
        }
    }
    Ok(())
}
