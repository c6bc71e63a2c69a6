//! The CAR, the commit object, and its agreement with the message (VAL-9, COM-1…5, ENC-14…16, LEG-3).

use anyhow::Result;
use relay_simnet::{
    AccountOptions, Fault, Ipld,
    block::{Cid36, cid_of, cid_of_nothing, encode, link},
};

use super::{
    forge::{Parts, to},
    scene::{
        Event, Scene,
        Told::{Drops, Passes},
        signing_key,
    },
};
use crate::domain::{DropReason, EventKind};

/// COM-1, COM-4, ENC-14, ENC-15: each of these is dropped for its reason and changes nothing. The
/// same host's next commit passes.
#[tokio::test]
async fn commits_that_are_wrong_in_their_object_are_dropped() -> Result<()> {
    let mut scene = Scene::new().await?;
    for (fault, reason) in [
        (Fault::WrongVersion, DropReason::BadCommit),
        (Fault::NoPrevKey, DropReason::BadCommit),
        (Fault::MissingCommitBlock, DropReason::BadCommit),
        (Fault::TruncatedCar, DropReason::BadCommit),
        (Fault::DidMismatch, DropReason::CommitMismatch),
        (Fault::RevMismatch, DropReason::CommitMismatch),
        (Fault::CommitCidMismatch, DropReason::CommitMismatch),
    ] {
        let before = scene.repo();
        scene.alice.with(fault).post("wrong").await?;
        let wrong = scene.next_of(EventKind::Commit).await?;
        assert_eq!(scene.take(&wrong), Drops(reason), "{fault:?}");
        assert_eq!(scene.repo(), before, "{fault:?}");
        let right = scene.post("right").await?;
        assert_eq!(scene.take(&right), Passes, "control after {fault:?}");
    }
    assert_eq!(scene.net.unfired_faults(), [""; 0]);
    Ok(())
}

/// COM-2, ENC-15, ENC-16, A5, A20: unusual, but right.
#[tokio::test]
async fn commits_that_are_only_unusual_pass() -> Result<()> {
    let mut scene = Scene::new().await?;
    for fault in [
        Fault::UnknownCommitField,
        Fault::ExtraRoot,
        Fault::DuplicateBlocks,
        Fault::UnrelatedBlock,
        Fault::TooBig,
        Fault::OldBlobs,
    ] {
        scene.alice.with(fault).post("unusual").await?;
        let event = scene.next_of(EventKind::Commit).await?;
        assert_eq!(scene.take(&event), Passes, "{fault:?}");
    }
    assert_eq!(scene.net.unfired_faults(), [""; 0]);
    Ok(())
}

/// COM-4: the details of a contradiction name both sides (I7).
#[tokio::test]
async fn a_contradiction_is_told_with_both_sides() -> Result<()> {
    let mut scene = Scene::new().await?;
    let event = scene.post("hello").await?;
    assert_eq!(scene.told(&event), Passes, "control");
    let other = cid_of_nothing(1);

    let claimed = event.set("commit", link(&other));
    assert_eq!(scene.told(&claimed), Drops(DropReason::CommitMismatch));
    let detail = scene.detail(&claimed);
    assert!(detail.contains(&link(&other).to_string()), "{detail}");

    let rev = event.rev().to_string();
    let mut parts = Parts::of(&event)?;
    parts.object_set("rev", "3mbd3542k2222");
    let contradicts = parts.seal(&signing_key(AccountOptions::default(), 0));
    let detail = scene.detail(&contradicts);
    assert!(detail.contains(&rev) && detail.contains("3mbd3542k2222"), "{detail}");
    Ok(())
}

/// COM-1, COM-3: what the commit object must hold, field by field. Each is signed as it is, so that
/// the signature is never the reason.
#[tokio::test]
async fn the_commit_object_has_its_fields_with_their_types() -> Result<()> {
    let mut scene = Scene::new().await?;
    let event = scene.post("hello").await?;
    let key = signing_key(AccountOptions::default(), 0);
    let sealed = |change: &dyn Fn(&mut Parts)| -> Result<Event> {
        let mut parts = Parts::of(&event)?;
        change(&mut parts);
        Ok(parts.seal(&key))
    };
    assert_eq!(scene.told(&sealed(&|_| {})?), Passes, "control: taken apart and sealed again");

    for field in ["did", "rev", "data", "prev", "version"] {
        let absent = sealed(&|parts| drop(parts.object.remove(field)))?;
        assert_eq!(scene.told(&absent), Drops(DropReason::BadCommit), "without {field}");
        let wrong = sealed(&|parts| parts.object_set(field, true))?;
        assert_eq!(scene.told(&wrong), Drops(DropReason::BadCommit), "{field} is a boolean");
    }
    let unsigned = Parts::of(&event).map(|mut parts| {
        parts.object.remove("sig");
        parts.wrap()
    })?;
    assert_eq!(scene.told(&unsigned), Drops(DropReason::BadCommit), "without sig");
    for version in [1, 2, 4] {
        let other = sealed(&|parts| parts.object_set("version", version))?;
        assert_eq!(scene.told(&other), Drops(DropReason::BadCommit), "version {version}");
    }
    Ok(())
}

/// COM-5: `prev` says nothing, whatever link it holds.
#[tokio::test]
async fn prev_of_the_commit_object_is_ignored() -> Result<()> {
    let mut scene = Scene::new().await?;
    let event = scene.post("hello").await?;
    let mut parts = Parts::of(&event)?;
    assert_eq!(parts.object["prev"], Ipld::Null);
    parts.object_set("prev", to(&cid_of_nothing(7)));
    let linked = parts.seal(&signing_key(AccountOptions::default(), 0));
    assert_eq!(scene.take(&linked), Passes);
    assert_eq!(scene.take(&linked), Drops(DropReason::Stale), "it was taken");
    Ok(())
}

/// A CAR with this header, the commit block, and these bytes behind it.
fn with_car(event: &Event, header: &Ipld, rest: &[u8]) -> Result<Event> {
    let mut parts = Parts::of(event)?;
    let commit = encode(&parts.object);
    let root = cid_of(&commit);
    let section = |bytes: &[u8]| {
        let length = bytes.len();
        let low = u8::try_from(length & 0x7f).unwrap() | 0x80;
        [&[low, u8::try_from(length >> 7).unwrap()], bytes].concat()
    };
    let header = encode(header);
    assert!(header.len() < 128, "one byte of length");
    let header = [&[u8::try_from(header.len())?], header.as_slice()].concat();
    let mut file = [header, section(&[&root[..], &commit].concat())].concat();
    for (cid, block) in &parts.blocks {
        let body = [&cid[..], block].concat();
        file.extend(if body.len() < 128 {
            [&[u8::try_from(body.len())?], body.as_slice()].concat()
        } else {
            section(&body)
        });
    }
    file.extend_from_slice(rest);
    Ok(parts.wrap_car(file, &root))
}

/// ENC-14, ENC-15: the CAR around the commit.
#[tokio::test]
async fn a_car_that_breaks_its_format_is_dropped() -> Result<()> {
    let mut scene = Scene::new().await?;
    let event = scene.post("hello").await?;
    let root = cid_of(&encode(&Parts::of(&event)?.object));
    let header = |roots: Vec<Ipld>, version: i64| {
        relay_simnet::block::map([
            ("roots", Ipld::List(roots)),
            ("version", Ipld::Integer(version.into())),
        ])
    };
    let good = header(vec![to(&root)], 1);
    let longest = [0xff; 10];
    for (what, header, rest, is_good) in [
        ("control", &good, &b""[..], true),
        ("version 2", &header(vec![to(&root)], 2), b"", false),
        ("no roots", &header(vec![], 1), b"", false),
        ("another first root", &header(vec![to(&cid_of_nothing(3)), to(&root)], 1), b"", false),
        ("half a section", &good, b"\x30abc", false),
        ("a section shorter than a CID", &good, b"\x03abc", false),
        ("a length that is not minimal", &good, b"\x80\x00", false),
        ("a length of ten bytes", &good, &longest, false),
    ] {
        let told = scene.told(&with_car(&event, header, rest)?);
        if is_good {
            assert_eq!(told, Passes, "{what}");
            continue;
        }
        let fits = matches!(told, Drops(DropReason::BadCommit | DropReason::CommitMismatch));
        assert!(fits, "{what}: {told:?}");
    }
    Ok(())
}

/// ENC-13: a commit block whose bytes do not have its CID.
#[tokio::test]
async fn a_commit_block_under_another_cid_is_dropped() -> Result<()> {
    let mut scene = Scene::new().await?;
    let event = scene.post("hello").await?;
    let mut parts = Parts::of(&event)?;
    let commit = encode(&parts.object);
    let other = cid_of_nothing(5);
    let blocks: Vec<_> = parts.blocks.clone();
    let file = |root: &Cid36| {
        let rest = blocks.iter().map(|(cid, block)| (cid, block.as_slice()));
        let first = std::iter::once((root, commit.as_slice()));
        relay_simnet::block::car(&[*root], first.chain(rest))
    };

    let right = cid_of(&commit);
    let told = scene.told(&parts.clone().wrap_car(file(&right), &right));
    assert_eq!(told, Passes, "control");
    let swapped = parts.wrap_car(file(&other), &other);
    assert_eq!(scene.told(&swapped), Drops(DropReason::BadCommit));
    Ok(())
}

/// ENC-16: ten thousand blocks are permitted, one more is not.
#[tokio::test]
async fn a_car_may_have_ten_thousand_blocks() -> Result<()> {
    let mut scene = Scene::new().await?;
    let event = scene.post("hello").await?;
    for (count, expected) in [(10_000, Passes), (10_001, Drops(DropReason::BadCommit))] {
        let mut parts = Parts::of(&event)?;
        let missing = count - 1 - parts.blocks.len();
        let extra = (0..i128::try_from(missing)?).map(|number| {
            let block = encode(&Ipld::Integer(number));
            (cid_of(&block), block)
        });
        parts.blocks.extend(extra);
        assert_eq!(scene.told(&parts.wrap()), expected, "{count} blocks");
    }
    Ok(())
}

/// LEG-3: `tooBig` without blocks has nothing to prove; with its blocks it is a commit like others.
#[tokio::test]
async fn too_big_commits_count_by_their_blocks_alone() -> Result<()> {
    let mut scene = Scene::new().await?;
    let event = scene.post("hello").await?.set("tooBig", true);
    assert_eq!(scene.told(&event), Passes, "control");
    let empty = event.set("blocks", Vec::<u8>::new()).set("ops", Vec::<Ipld>::new());
    assert_eq!(scene.told(&empty), Drops(DropReason::BadCommit));
    Ok(())
}
