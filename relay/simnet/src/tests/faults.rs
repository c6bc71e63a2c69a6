//! Every fault strikes, is noticed by the oracle, and does to the frame what its name says.

use crate::{
    block::{Blocks, Cid36, cid_from_text, cid_of, map, read_car},
    clock::{tid_from_text, wall_micros},
    mst::undo::undo,
    wire::Fields,
    *,
};
use anyhow::{Context, Result};
use ipld_core::ipld::Ipld;

/// A network with one account that has enough records for a tree of several layers.
async fn furnished(seed: u64) -> Result<(Net, Pds, Account)> {
    let net = Net::seeded(seed).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let writes = (0..60).map(|number| Write::create(path(number), note(number)));
    alice.apply(writes.collect()).await?;
    Ok((net, alpha, alice))
}

fn path(number: i128) -> String {
    format!("com.example.note/{number:03}")
}

fn note(number: i128) -> Ipld {
    map([("$type", Ipld::String("com.example.note".into())), ("number", Ipld::Integer(number))])
}

/// One commit with an operation of every kind.
async fn write_all_kinds(alice: &Account, number: i128) -> Result<Sent> {
    let writes = vec![
        Write::create(format!("com.example.note/new{number:03}"), note(1000 + number)),
        Write::update(path(number), note(2000 + number)),
        Write::delete(path(number + 20)),
    ];
    alice.apply(writes).await
}

/// What a passed-on frame counts as: everything is handed on unchanged, as a careless relay would.
async fn careless_relay(net: &Net, alpha: &Pds) -> Result<Report> {
    let mut stream = Consumer::connect_as_relay(&alpha.stream_url(), Start::After(0)).await?;
    let mut checker = net.oracle().checker();
    while stream.last_seq() < i64::try_from(alpha.head())? {
        checker.observe(&stream.next().await?);
    }
    Ok(checker.report())
}

/// A configured fault that did not fire is reported; one that fired is not.
#[tokio::test]
async fn a_fault_that_cannot_strike_stays_unfired() -> Result<()> {
    let (net, _, alice) = furnished(1).await?;

    drop(alice.with(Fault::Fork));
    alice.post("forks are for sync events").await?;
    assert_eq!(net.unfired_faults(), ["alice: Fork"]);

    alice.sync().await?;
    assert_eq!(net.unfired_faults(), [""; 0]);
    Ok(())
}

/// Sends one event of a kind.
async fn send(alice: &Account, kind: Kind) -> Result<Sent> {
    match kind {
        Kind::Commit => write_all_kinds(alice, 3).await,
        Kind::Sync => alice.sync().await,
        Kind::Identity => alice.identity(Some("alice.test")).await,
        Kind::Account => alice.set_status(false, Some("suspended")).await,
    }
}

/// Each fault strikes every kind of event that it can strike; the oracle wants the event dropped,
/// or passed where the fault is harmless.
#[tokio::test]
async fn every_fault_strikes_and_is_judged() -> Result<()> {
    let kinds = [Kind::Commit, Kind::Sync, Kind::Identity, Kind::Account];
    let pairs = Fault::ALL.iter().flat_map(|fault| kinds.map(|kind| (*fault, kind)));
    for (fault, kind) in pairs.filter(|(fault, kind)| fault.strikes(*kind)) {
        let (net, alpha, alice) = furnished(2).await?;
        drop(alice.with(fault));
        send(&alice, kind).await?;
        assert_eq!(net.unfired_faults(), [""; 0], "{fault:?} {kind:?}");

        let seq_fault = matches!(fault, Fault::SeqRepeated | Fault::SeqBackwards);
        let report = match careless_relay(&net, &alpha).await {
            Err(error) if seq_fault => {
                assert!(error.to_string().contains("came after seq"), "{fault:?}: {error:#}");
                continue;
            }
            report => report?,
        };
        // A relay that fills in nothing fails where something has to be filled in.
        let harmless = fault.reasons().is_empty() && fault != Fault::MissingDefaults;
        assert_eq!(report.is_clean(), harmless, "{fault:?} {kind:?}: {report}");
        let drops = net.oracle().expected_drops();
        for reason in fault.reasons() {
            assert!(drops.contains_key(reason), "{fault:?} {kind:?}: {drops:?}");
        }
    }
    Ok(())
}

/// What a test reads from a commit frame without the relay.
struct Opened {
    fields: Fields,
    roots: Vec<Cid36>,
    blocks: Blocks,
    object: Option<Fields>,
}

fn open(event: &Received) -> Result<Opened> {
    let fields = event.payload()?;
    let Some(Ipld::Bytes(bytes)) = fields.get("blocks") else {
        anyhow::bail!("no blocks");
    };
    let car = read_car(bytes)?;
    let blocks: Blocks = car.blocks.into_iter().collect();
    let object = car.roots.first().and_then(|root| blocks.get(root));
    let object = match object.map(|block| serde_ipld_dagcbor::from_slice(block)).transpose()? {
        Some(Ipld::Map(object)) => Some(object),
        _ => None,
    };
    Ok(Opened { fields, roots: car.roots, blocks, object })
}

impl Opened {
    fn signature_verifies(&self, key: &keys::SigningKey) -> bool {
        let Some(mut object) = self.object.clone() else { return false };
        let Some(Ipld::Bytes(signature)) = object.remove("sig") else { return false };
        key.verifies(&block::encode(&object), &signature)
    }

    /// The result of undoing the operations, compared with `prevData`.
    fn inverts(&self, event: &Received) -> Result<bool> {
        let object = self.object.as_ref().context("a commit object")?;
        let Some(Ipld::Link(data)) = object.get("data") else { return Ok(false) };
        let data = block::from_link(data).context("a CID")?;
        let prev_data = match self.fields.get("prevData") {
            Some(Ipld::Link(prev_data)) => block::from_link(prev_data),
            _ => None,
        };
        let cid = |text: &Option<String>| {
            text.as_ref().map(|text| cid_from_text(text)).transpose().ok().flatten()
        };
        let ops = event.ops()?;
        let changes: Vec<_> =
            ops.iter().map(|op| (op.path.as_str(), cid(&op.cid), cid(&op.prev))).collect();
        Ok(undo(&data, &self.blocks, &changes).ok() == prev_data)
    }
}

/// MST-7, COM-1 to COM-4: what an honest host sends is right in every respect, for both curves.
#[tokio::test]
async fn honest_commits_verify_and_invert() -> Result<()> {
    for curve in [Curve::K256, Curve::P256] {
        let net = Net::seeded(3).await?;
        let alpha = net.pds("alpha").await?;
        let options = AccountOptions { curve, ..AccountOptions::default() };
        let alice = alpha.account_with("alice", options).await?;
        let key = keys::SigningKey::derive(curve, 3, "alice/key/0");
        let writes = (0..60).map(|number| Write::create(path(number), note(number)));
        alice.apply(writes.collect()).await?;
        for number in 0..20 {
            write_all_kinds(&alice, number).await?;
        }
        alice.empty_commit().await?;

        let mut stream = Consumer::connect(&alpha.stream_url(), Start::After(4)).await?;
        let mut before: Option<(Ipld, Ipld)> = None;
        for event in stream.take(22).await? {
            let opened = open(&event)?;
            let object = opened.object.clone().context("a commit object")?;
            assert!(opened.signature_verifies(&key));
            let names: Vec<&str> = object.keys().map(String::as_str).collect();
            assert_eq!(names, ["data", "did", "prev", "rev", "sig", "version"]);
            let root = opened.roots.first().context("a root")?;
            assert_eq!(opened.fields["commit"], Ipld::Link(block::link(root)));
            assert!(opened.blocks.iter().all(|(cid, block)| cid_of(block) == *cid));
            if event.ops()?.is_empty() {
                assert_eq!(opened.blocks.len(), 1);
                assert_eq!(opened.fields["prevData"], object["data"]);
            } else {
                assert!(opened.inverts(&event)?, "{event:?}");
            }
            if let Some((data, rev)) = before {
                assert_eq!(opened.fields["prevData"], data);
                assert_eq!(opened.fields["since"], rev);
            }
            before = Some((object["data"].clone(), object["rev"].clone()));
        }
    }
    Ok(())
}

/// The frames are spoilt as the names say, seen by code that knows nothing of the faults.
#[tokio::test]
async fn faults_do_what_their_names_say() -> Result<()> {
    let key = keys::SigningKey::derive(Curve::K256, 4, "alice/key/0");
    for fault in Fault::ALL.iter().filter(|fault| fault.strikes(Kind::Commit)) {
        let (_net, alpha, alice) = furnished(4).await?;
        drop(alice.with(*fault));
        write_all_kinds(&alice, 7).await?;
        let mut stream = Consumer::connect(&alpha.stream_url(), Start::After(5)).await?;
        if matches!(fault, Fault::SeqRepeated | Fault::SeqBackwards) {
            continue; // seen by `every_fault_strikes_and_is_judged`
        }
        let event = stream.next().await?;
        let opened = open(&event);
        match fault {
            Fault::TruncatedCar | Fault::MissingField => {
                assert!(opened.is_err(), "{fault:?}");
                continue;
            }
            Fault::OversizedBlocks => assert!(event.frame.len() > 2_000_000),
            Fault::TooManyOps => assert_eq!(event.ops()?.len(), 201),
            _ => {}
        }
        let opened = opened?;
        let object = opened.object.clone().unwrap_or_default();
        let verifies = opened.signature_verifies(&key);
        let bad_signature = fault.reasons().first() == Some(&"bad_signature");
        assert_eq!(!verifies, bad_signature || *fault == Fault::MissingCommitBlock, "{fault:?}");
        let inverts = || opened.inverts(&event);
        let whole = opened.blocks.iter().all(|(cid, block)| cid_of(block) == *cid);
        match fault {
            Fault::WrongPrevData
            | Fault::NoPrevData
            | Fault::Legacy
            | Fault::MissingNode
            | Fault::OmittedOp
            | Fault::ExtraCreate
            | Fault::WrongOpPrev
            | Fault::OpCidMismatch
            | Fault::DuplicatePath => assert!(!inverts()?, "{fault:?}"),
            Fault::CorruptNode => assert!(!whole && !inverts()?),
            Fault::CorruptRecord => assert!(!whole && inverts()?),
            Fault::MissingRecord => {
                let path = &event.ops()?[0].path;
                assert!(event.record(path).is_err() && inverts()?);
            }
            Fault::DidMismatch => assert_ne!(object["did"], opened.fields["repo"]),
            Fault::RevMismatch => assert_ne!(object["rev"], opened.fields["rev"]),
            Fault::CommitCidMismatch => {
                assert_ne!(opened.fields["commit"], Ipld::Link(block::link(&opened.roots[0])));
            }
            Fault::EqualRev => assert_eq!(opened.fields["rev"], opened.fields["since"]),
            Fault::FutureRev => {
                let rev = tid_from_text(event.rev.as_deref().unwrap_or_default())?;
                assert!((rev >> 10) > wall_micros() + 5 * 60 * 1_000_000);
            }
            Fault::WrongVersion => assert_eq!(object["version"], Ipld::Integer(2)),
            Fault::NoPrevKey => assert!(!object.contains_key("prev")),
            Fault::UnknownCommitField => assert!(verifies && inverts()?),
            Fault::MissingCommitBlock => assert!(opened.object.is_none()),
            Fault::ExtraRoot => assert_eq!(opened.roots.len(), 2),
            Fault::UnknownFields => assert!(opened.fields.contains_key("someFutureField")),
            Fault::MissingDefaults => assert!(!opened.fields.contains_key("tooBig")),
            _ => {}
        }
    }
    Ok(())
}

/// UP-3: raw frames that break the connection break our own reader too; the others do not.
#[tokio::test]
async fn raw_frames_break_what_they_have_to_break() -> Result<()> {
    for raw in RawFrame::ALL {
        let net = Net::seeded(5).await?;
        let alpha = net.pds("alpha").await?;
        let alice = alpha.account("alice").await?;
        let mut stream = Consumer::connect(&alpha.stream_url(), Start::After(4)).await?;

        alpha.send_raw(*raw);
        alice.post("after").await?;

        let first = stream.next_item().await;
        // Our reader checks lengths but not the canonical form nor the size.
        let lenient = matches!(
            raw,
            RawFrame::UnsortedKeys
                | RawFrame::DuplicateKey
                | RawFrame::LongInteger
                | RawFrame::Oversized
        );
        assert_eq!(first.is_err(), raw.breaks_connection() && !lenient, "{raw:?}: {first:?}");
        assert_eq!(stream.next().await?.text(), "after", "{raw:?}");
        assert_eq!(
            Consumer::connect(&alpha.stream_url(), Start::After(4)).await?.next().await?.text(),
            "after"
        );
    }
    Ok(())
}
