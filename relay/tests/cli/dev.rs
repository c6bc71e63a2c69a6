//! `relay dev`, read as an author of PDS software reads it.

use std::collections::BTreeSet;

use relay_simnet::{Account, Fault, Net, Pds, RawFrame};

use crate::program::{Place, Program};

/// A relay for one host, with its output.
async fn watch(net: &Net, host: &Pds) -> (Place, Program) {
    let place = Place::new();
    let plc = net.plc().url();
    let relay = place.start(&["dev", "--pds", &host.hostname(), "--plc", &plc], &[]);
    host.connected().await.unwrap();
    (place, relay)
}

/// Whether a line is about an event of this kind that ended so.
fn verdict<'a>(outcome: &'a str, kind: &'a str) -> impl Fn(&str) -> bool + 'a {
    move |line| line.starts_with(outcome) && line.contains(kind)
}

/// Different CIDs that a line names.
fn cids(line: &str) -> usize {
    let words = line.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| word.starts_with("bafyrei")).collect::<BTreeSet<_>>().len()
}

async fn dropped(relay: &mut Program, account: &Account, fault: Fault) -> String {
    let before = relay.lines(0, |line| line.starts_with("DROP")).await.len();
    account.with(fault).post("wrong").await.unwrap();
    let lines = relay.lines(before + 1, |line| line.starts_with("DROP")).await;
    assert_eq!(lines.len(), before + 1, "one line per event: {lines:?}");
    lines.last().unwrap().clone()
}

/// Issue 3, section 5: one readable line per event: what came, what was checked.
#[tokio::test]
async fn an_event_that_passes_is_a_line_that_says_what_came_and_what_was_checked() {
    let net = Net::seeded(4).await.unwrap();
    let host = net.pds("alpha").await.unwrap();
    let (_place, mut relay) = watch(&net, &host).await;
    let alice = host.account("alice").await.unwrap();
    let first = alice.post("one").await.unwrap();
    let second = alice.delete(&first.paths[0]).await.unwrap();
    let lines = relay.lines(3, verdict("ok   ", " #commit ")).await;

    let name = host.hostname();
    assert_eq!(
        lines[1],
        format!(
            "ok   {name} {} #commit {} rev {} (create {}): checked host, status, rev, commit object, signature, records, operations; follows rev {}",
            first.seq,
            alice.did(),
            first.rev,
            first.paths[0],
            lines[0].split(" rev ").nth(1).unwrap().split(' ').next().unwrap()
        )
    );
    assert!(lines[0].contains(" (no operations): "), "{}", lines[0]);
    assert!(lines[0].ends_with("the first commit that this relay sees of the account"));
    assert!(lines[2].contains(&format!(" (delete {}): ", first.paths[0])), "{}", lines[2]);
    assert!(lines[2].ends_with(&format!("follows rev {}", first.rev)), "{}", lines[2]);
    assert!(lines[2].contains(&second.rev));
    let identity = relay.lines(1, verdict("ok   ", " #identity ")).await;
    assert!(identity[0].ends_with("(handle alice.test): agrees with the DID document"));
    let account = relay.lines(1, verdict("ok   ", " #account ")).await;
    assert!(account[0].ends_with("(active): sent by the account's host"), "{}", account[0]);
    // The #sync after the creation repeats the first commit (SYNC-4).
    let skipped = relay.lines(1, verdict("skip ", " #sync ")).await;
    assert!(skipped[0].contains(": sync_unchanged. The sync repeats the known state. "));
    relay.lines(1, |line| line == format!("{name} is connected")).await;
    let ended = relay.stop().await;
    assert!(ended.out.contains(&format!("Identities come from {}", net.plc().url())));
    assert!(ended.out.contains("/xrpc/com.atproto.sync.subscribeRepos?cursor=0"));
}

/// Issue 3, section 5: why an event was dropped, with the CIDs that differ.
#[tokio::test]
async fn a_dropped_commit_is_a_line_that_names_both_sides_of_what_differs() {
    let net = Net::seeded(5).await.unwrap();
    let host = net.pds("alpha").await.unwrap();
    let alice = host.account("alice").await.unwrap();
    alice.post("the first").await.unwrap();
    let (_place, mut relay) = watch(&net, &host).await;
    relay.lines(2, verdict("ok   ", " #commit ")).await;

    let rows: [(Fault, &str, usize); 8] = [
        (
            Fault::WrongPrevData,
            ": proof_mismatch. Undoing the operations does not lead to prevData. prevData is bafyrei",
            2,
        ),
        (Fault::CommitCidMismatch, ": commit_mismatch. ", 2),
        (Fault::HighS, ": bad_signature. ", 0),
        (Fault::NoPrevData, ": legacy. ", 0),
        (Fault::RevMismatch, ": commit_mismatch. ", 0),
        (Fault::DidMismatch, ": commit_mismatch. ", 0),
        (Fault::StaleRev, ": stale. ", 0),
        (Fault::MissingCommitBlock, ": bad_commit. ", 0),
    ];
    for (fault, words, named) in rows {
        let line = match fault {
            Fault::StaleRev => {
                alice.with(fault).post("old").await.unwrap();
                relay.lines(1, verdict("skip ", ": stale. ")).await.remove(0)
            }
            _ => dropped(&mut relay, &alice, fault).await,
        };
        assert!(line.contains(words), "{fault:?}: {line}");
        assert!(line.contains(&format!(" #commit {} rev ", alice.did())), "{fault:?}: {line}");
        assert!(line.contains(" (create app.bsky.feed.post/"), "{fault:?}: {line}");
        assert_eq!(cids(&line), named, "{fault:?}: {line}");
        if fault == Fault::RevMismatch {
            assert!(
                line.contains("the message has the rev ") && line.contains(", the signed commit ")
            );
        }
        alice.post("right again").await.unwrap();
    }
    relay.stop().await;
}

/// VAL-16, SYNC-5: a commit that does not follow passes, and the line names both data CIDs; a fork
/// names both commits.
#[tokio::test]
async fn what_does_not_follow_is_named_with_both_cids() {
    let net = Net::seeded(6).await.unwrap();
    let host = net.pds("alpha").await.unwrap();
    let alice = host.account("alice").await.unwrap();
    alice.post("the first").await.unwrap();
    let (_place, mut relay) = watch(&net, &host).await;
    relay.lines(2, verdict("ok   ", " #commit ")).await;

    alice.post_in_silence("nobody hears of it").await.unwrap();
    alice.post("after the gap").await.unwrap();
    let lines = relay.lines(1, |line| line.contains("does not follow: prevData is ")).await;
    assert!(lines[0].starts_with("ok   "), "{}", lines[0]);
    assert_eq!(cids(&lines[0]), 2, "{}", lines[0]);

    alice.with(Fault::Fork).sync().await.unwrap();
    let lines = relay.lines(1, verdict("DROP ", " #sync ")).await;
    assert!(lines[0].contains(": fork. "), "{}", lines[0]);
    assert_eq!(cids(&lines[0]), 2, "{}", lines[0]);
    relay.stop().await;
}

/// UP-3, UP-7: what is dropped before any account is known has a line too, and so has the connection
/// that ends because of it.
#[tokio::test]
async fn what_never_reaches_a_shard_has_a_line_too() {
    let net = Net::seeded(7).await.unwrap();
    let host = net.pds("alpha").await.unwrap();
    let alice = host.account("alice").await.unwrap();
    let (_place, mut relay) = watch(&net, &host).await;
    relay.lines(1, verdict("ok   ", " #commit ")).await;

    let line = dropped(&mut relay, &alice, Fault::SeqRepeated).await;
    assert!(line.contains(": host_seq_not_increasing. "), "{line}");
    assert!(line.contains(alice.did()), "{line}");

    host.send_raw(RawFrame::Garbage);
    let lines = relay.lines(2, |line| line.starts_with("DROP ")).await;
    let name = host.hostname();
    assert!(lines[1].starts_with(&format!("DROP {name} frame: malformed. ")), "{}", lines[1]);
    relay
        .lines(1, |line| {
            line.starts_with(&format!("{name} is not connected: the frame is not valid"))
        })
        .await;
    relay.lines(1, |line| line == format!("{name} is connected again")).await;
    relay.stop().await;
}

/// An author starts the PDS after the relay, and stops it again: it is said, and tried until it is
/// there.
#[tokio::test]
async fn a_host_that_is_not_there_yet_is_named_and_tried_again() {
    let net = Net::seeded(8).await.unwrap();
    let host = net.pds("alpha").await.unwrap();
    let alice = host.account("alice").await.unwrap();
    host.down();
    let place = Place::new();
    let (name, plc) = (host.hostname(), net.plc().url());
    let mut relay = place.start(&["dev", "--pds", &name, "--plc", &plc], &[]);
    relay.lines(1, |line| line.starts_with(&format!("{name} is not connected: "))).await;

    host.up().await.unwrap();
    alice.post("at last").await.unwrap();

    relay.lines(2, verdict("ok   ", " #commit ")).await;
    relay.lines(1, |line| line.contains(&format!("{name} is connected"))).await;
    let ended = relay.stop().await;
    assert_eq!(ended.err.lines().filter(|line| line.contains("ERROR")).count(), 0, "{}", ended.err);
    // Nothing of it is left where it was started.
    assert!(!place.data().exists());
}

/// A host that cannot be one ends it with one sentence.
#[tokio::test]
async fn a_host_that_cannot_be_one_ends_it_with_one_sentence() {
    let ended = Place::new().run(&["dev", "--pds", "not a host"], &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let sentence = ended.err.lines().last().unwrap();
    assert!(sentence.starts_with("relay: --pds \"not a host\" cannot be subscribed to: "));
}
