//! The records that a commit brings (INV-4, MSG-1, ROLE-5, ENC-4).

use anyhow::Result;
use relay_simnet::{
    AccountOptions, Fault, Ipld, Write,
    block::{cid_of, encode, map},
};

use super::{
    forge::Parts,
    scene::{
        Event, Scene,
        Told::{Drops, Passes},
        signing_key,
    },
};
use crate::domain::{DropReason, EventKind};

const PATH: &str = "com.example.thing/one";

async fn created(scene: &mut Scene, record: Ipld) -> Result<Event> {
    scene.alice.apply(vec![Write::create(PATH, record)]).await?;
    let event = scene.next_of(EventKind::Commit).await?;
    scene.alice.delete(PATH).await?;
    scene.next_of(EventKind::Commit).await?;
    Ok(event)
}

/// INV-4, ENC-13, MSG-1: a record that is missing, damaged or too large, in a create and in an
/// update; the next commit passes.
#[tokio::test]
async fn records_must_be_there_and_be_what_their_cid_says() -> Result<()> {
    let mut scene = Scene::new().await?;
    let record = |number: usize| map([("number", Ipld::Integer(i128::try_from(number).unwrap()))]);
    scene.alice.apply(vec![Write::create(PATH, record(0))]).await?;
    let first = scene.next_of(EventKind::Commit).await?;
    assert_eq!(scene.take(&first), Passes);
    let faults = [Fault::MissingRecord, Fault::CorruptRecord, Fault::OversizedRecord];
    for (number, fault) in faults.into_iter().enumerate() {
        scene.alice.with(fault).post("wrong").await?;
        let created = scene.next_of(EventKind::Commit).await?;
        assert_eq!(scene.take(&created), Drops(DropReason::BadRecord), "create, {fault:?}");
        assert!(scene.detail(&created).contains("app.bsky.feed.post/"), "the path is named");

        scene.alice.with(fault).apply(vec![Write::update(PATH, record(number + 1))]).await?;
        let updated = scene.next_of(EventKind::Commit).await?;
        assert_eq!(scene.take(&updated), Drops(DropReason::BadRecord), "update, {fault:?}");

        let right = scene.post("right").await?;
        assert_eq!(scene.take(&right), Passes, "control after {fault:?}");
    }
    assert_eq!(scene.net.unfired_faults(), [""; 0]);
    Ok(())
}

/// MSG-1: the limit of a record is a million bytes, exactly.
#[tokio::test]
async fn a_record_may_have_a_million_bytes() -> Result<()> {
    let mut scene = Scene::new().await?;
    for (size, expected) in [(1_000_000, Passes), (1_000_001, Drops(DropReason::BadRecord))] {
        // The head of the map, the name, and the head of the bytes.
        let filler = size - 1 - 7 - 5;
        let record = map([("filler", Ipld::Bytes(vec![7; filler]))]);
        assert_eq!(encode(&record).len(), size);
        let event = created(&mut scene, record).await?;
        assert_eq!(scene.told(&event), expected, "{size} bytes");
    }
    Ok(())
}

/// INV-4, ROLE-5, ENC-4: a record is any map; what is in it is not judged.
#[tokio::test]
async fn a_record_is_any_map() -> Result<()> {
    let mut scene = Scene::new().await?;
    let text = |text: &str| Ipld::String(text.to_owned());
    for (record, expected) in [
        (map([]), Passes),
        (map([("$type", text("com.example.other"))]), Passes),
        (map([("$type", Ipld::Integer(3)), ("text", Ipld::Null)]), Passes),
        (map([("float", Ipld::Float(0.5))]), Passes),
        (Ipld::List(vec![]), Drops(DropReason::BadRecord)),
        (text("just text"), Drops(DropReason::BadRecord)),
        (Ipld::Null, Drops(DropReason::BadRecord)),
    ] {
        let event = created(&mut scene, record.clone()).await?;
        assert_eq!(scene.told(&event), expected, "{record:?}");
    }
    Ok(())
}

/// INV-4: bytes that are no CBOR map to their end are no record, even if their CID is right.
#[tokio::test]
async fn a_record_that_is_no_whole_map_is_dropped() -> Result<()> {
    let mut scene = Scene::new().await?;
    let key = signing_key(AccountOptions::default(), 0);
    let whole = encode(&map([("text", Ipld::String("whole".to_owned()))]));
    for (what, block, is_good) in [
        ("control", whole.clone(), true),
        ("cut off", whole[..whole.len() - 1].to_vec(), false),
        ("with a byte too many", [&whole[..], &[0]].concat(), false),
        ("with a key twice", [&[0xa2], &whole[1..], &whole[1..]].concat(), false),
        ("no CBOR at all", vec![0xbf, 0xff], false),
        ("without any byte", vec![], false),
    ] {
        let mut tree = relay_simnet::mst::Tree::new();
        let cid = cid_of(&block);
        tree.insert(PATH, cid);
        let (root, nodes) = tree.root_and_blocks();
        let base = created(&mut scene, map([("text", Ipld::Null)])).await?;
        let mut parts = Parts::of(&base)?;
        parts.blocks = nodes.into_iter().chain([(cid, block)]).collect();
        parts.object_set("data", relay_simnet::block::link(&root));
        parts.op(0).insert("cid".to_owned(), super::forge::to(&cid));
        let expected = if is_good { Passes } else { Drops(DropReason::BadRecord) };
        assert_eq!(scene.told(&parts.seal(&key)), expected, "{what}");
    }
    Ok(())
}

/// INV-9: a record that many operations share is looked at once, and still must be there.
#[tokio::test]
async fn a_shared_record_counts_for_all_its_operations() -> Result<()> {
    let mut scene = Scene::new().await?;
    let writes = |from: usize| -> Vec<Write> {
        let path = |number: usize| format!("com.example.thing/{number}");
        let record = || map([("shared", Ipld::Bool(true))]);
        (from..from + 100).map(|number| Write::create(path(number), record())).collect()
    };
    scene.alice.apply(writes(1000)).await?;
    let shared = scene.next_of(EventKind::Commit).await?;
    assert_eq!(scene.told(&shared), Passes, "control");
    scene.alice.with(Fault::MissingRecord).apply(writes(2000)).await?;
    let missing = scene.next_of(EventKind::Commit).await?;
    assert_eq!(scene.told(&missing), Drops(DropReason::BadRecord));
    Ok(())
}
