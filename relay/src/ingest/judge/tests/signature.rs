//! Signatures, and keys that may still be used (VAL-10, KEY-1, KEY-2, KEY-4, RES-2, RES-3, DOC-6).

use anyhow::{Context as _, Result};
use relay_protocol::{DidDocument, VerifyingKey};
use relay_simnet::{AccountOptions, Fault, KeyForm, keys::Curve};

use super::scene::{
    NOTHING_NEW, Scene,
    Told::{Asks, Drops, Passes},
    signing_key,
};
use crate::{
    accounts::limits::Doubt,
    domain::{DropReason, EventKind},
    ingest::{judge::Fresh, verdict::Ask},
};

fn options(curve: Curve) -> AccountOptions {
    AccountOptions { curve, ..AccountOptions::default() }
}

/// KEY-1, KEY-2, VAL-10, T11: high S, DER, another key and a flipped bit are asked about once and then
/// dropped, on both curves, for commits and syncs; the account's own signature passes.
#[tokio::test]
async fn signatures_that_are_not_the_accounts_are_dropped_after_one_question() -> Result<()> {
    for curve in [Curve::K256, Curve::P256] {
        let mut scene = Scene::with(options(curve)).await?;
        for fault in [
            Fault::HighS,
            Fault::DerSignature,
            Fault::WrongKey,
            Fault::RetiredKey,
            Fault::FlippedSignature,
        ] {
            for kind in [EventKind::Commit, EventKind::Sync] {
                match kind {
                    EventKind::Sync => scene.alice.with(fault).sync().await?,
                    _ => scene.alice.with(fault).post("forged").await?,
                };
                let case = format!("{curve:?} {fault:?} {}", kind.name());
                let forged = scene.next_of(kind).await?;
                assert_eq!(scene.take(&forged), Asks(Ask::Key), "{case}");
                assert_eq!(scene.told_at_last(&forged), Drops(DropReason::BadSignature), "{case}");
                let genuine = scene.post("genuine").await?;
                assert_eq!(scene.take(&genuine), Passes, "control after {case}");
            }
        }
        assert_eq!(scene.net.unfired_faults(), [""; 0]);
    }
    Ok(())
}

/// KEY-3, KEY-4, DOC-2, T11: the forms in which documents write a key of either curve.
#[tokio::test]
async fn keys_of_every_form_verify() -> Result<()> {
    for curve in [Curve::K256, Curve::P256] {
        let mut scene = Scene::with(options(curve)).await?;
        for form in [KeyForm::Multikey, KeyForm::LegacyCompressed, KeyForm::LegacyUncompressed] {
            let (kind, text) = signing_key(options(curve), 0).document_form(form);
            let did = scene.did.as_str();
            let document = format!(
                r##"{{"id":"{did}","verificationMethod":[{{"id":"#atproto","type":"{kind}",
                "controller":"{did}","publicKeyMultibase":"{text}"}}]}}"##
            );
            let document = DidDocument::parse(document.as_bytes(), &scene.did, true)?;
            scene.key = Some(document.key.context("the document has a key")?);

            let genuine = scene.post("genuine").await?;
            assert_eq!(scene.take(&genuine), Passes, "{curve:?} {form:?}");
            scene.alice.with(Fault::WrongKey).post("forged").await?;
            let forged = scene.next_of(EventKind::Commit).await?;
            assert_eq!(scene.take(&forged), Asks(Ask::Key), "control: {curve:?} {form:?}");
        }
    }
    Ok(())
}

/// RES-3, VAL-10: after a rotation the new key is asked for once; with it the commit passes.
#[tokio::test]
async fn a_commit_with_a_new_key_passes_once_the_key_is_known() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.alice.rotate_key(false).await?;
    let event = scene.post("signed with the new key").await?;
    assert_eq!(scene.told(&event), Asks(Ask::Key));

    let old = scene.key.take();
    scene.key =
        Some(VerifyingKey::from_multikey(&signing_key(AccountOptions::default(), 1).multikey())?);
    scene.asked.identity = Some(Fresh::Document { changed: true, handle: None });
    assert_eq!(scene.told(&event), Passes);
    scene.key = old;
    assert_eq!(scene.told(&event), Drops(DropReason::BadSignature), "control: with the old key");
    Ok(())
}

/// RES-3: one question a minute; in between the known key is the last word, and the detail says so.
#[tokio::test]
async fn bad_signatures_do_not_cause_lookups_without_end() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.alice.with(Fault::WrongKey).post("forged").await?;
    let forged = scene.next_of(EventKind::Commit).await?;
    scene.recent.refreshed(Doubt::Key, scene.now_us / 1000);

    assert_eq!(scene.told(&forged), Drops(DropReason::BadSignature));
    let detail = scene.detail(&forged);
    let key = signing_key(AccountOptions::default(), 0).multikey();
    assert!(detail.contains(&key) && detail.contains("too recently"), "{detail}");
    scene.now_us += 60_000_000;
    assert_eq!(scene.told(&forged), Asks(Ask::Key), "control: a minute later");
    Ok(())
}

/// RES-2, DESIGN 10.8: a key counts for seven days after it was last confirmed, and not longer.
#[tokio::test]
async fn a_key_is_used_for_seven_days_without_confirmation() -> Result<()> {
    let mut scene = Scene::new().await?;
    let event = scene.post("hello").await?;
    let week_ms = 7 * 24 * 3_600_000;
    let now_ms = scene.now_us / 1000;

    scene.row().identity_checked_ms = now_ms - week_ms;
    assert_eq!(scene.told(&event), Passes, "exactly seven days old");
    scene.row().identity_checked_ms = now_ms - week_ms - 1;
    assert_eq!(scene.told(&event), Asks(Ask::Expired), "one millisecond older");
    scene.asked.identity = Some(Fresh::Nothing("the DID is not registered"));
    assert_eq!(scene.told(&event), Drops(DropReason::IdentityInvalid));
    assert!(scene.detail(&event).contains("the DID is not registered"));
    Ok(())
}

/// DOC-6: without a signing key in the document no commit and no sync passes.
#[tokio::test]
async fn an_account_without_a_key_is_asked_about_and_then_dropped() -> Result<()> {
    let mut scene = Scene::new().await?;
    let commit = scene.post("hello").await?;
    scene.alice.sync().await?;
    let sync = scene.next_of(EventKind::Sync).await?;
    let key = scene.key.take();
    for event in [&commit, &sync] {
        scene.asked.identity = None;
        assert_eq!(scene.told(event), Asks(Ask::Key));
        scene.asked.identity = Some(NOTHING_NEW);
        assert_eq!(scene.told(event), Drops(DropReason::IdentityInvalid));
    }
    scene.asked.identity = None;
    scene.recent.refreshed(Doubt::Key, scene.now_us / 1000);
    assert_eq!(scene.told(&commit), Drops(DropReason::IdentityInvalid), "asked a moment ago");

    scene.key = key;
    assert_eq!(scene.told(&commit), Passes, "control");
    Ok(())
}
