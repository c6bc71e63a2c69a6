//! Operations, and that undoing them leads to prevData (VAL-11, VAL-12, INV-1…10, MST-8).

use anyhow::Result;
use relay_simnet::{
    AccountOptions, Fault, Ipld, Write,
    block::{cid_of_nothing, encode, map},
};

use super::{
    forge::{Parts, to},
    scene::{
        Event, Scene,
        Told::{Drops, Passes},
    },
};
use crate::domain::{DropReason, EventKind};

fn path(number: usize) -> String {
    format!("com.example.thing/{number:05}")
}

fn record(words: &str) -> Ipld {
    map([("text", Ipld::String(words.to_owned()))])
}

fn creates(numbers: std::ops::Range<usize>) -> Vec<Write> {
    numbers.map(|number| Write::create(path(number), record("same"))).collect()
}

async fn applied(scene: &mut Scene, writes: Vec<Write>) -> Result<Event> {
    scene.alice.apply(writes).await?;
    scene.next_of(EventKind::Commit).await
}

/// A repo of sixty records, so that proofs leave parts of the tree out.
async fn grown() -> Result<Scene> {
    let mut scene = Scene::new().await?;
    let grown = applied(&mut scene, creates(0..60)).await?;
    assert_eq!(scene.take(&grown), Passes);
    Ok(scene)
}

/// A create, an update and a delete in one commit.
fn mixed(first_free: usize) -> Vec<Write> {
    vec![
        Write::create(path(first_free), record("new")),
        Write::update(path(first_free % 7 + 20), record(&format!("changed {first_free}"))),
        Write::delete(path(first_free % 50)),
    ]
}

/// INV-5, INV-6, INV-8, INV-9, MST-8, T13: what hosts really send, from the first commit to the last
/// record's end and a new beginning.
#[tokio::test]
async fn unusual_but_right_commits_pass() -> Result<()> {
    let mut scene = Scene::before_the_first_commit(AccountOptions::default()).await?;
    let first = scene.next_of(EventKind::Commit).await?;
    assert_eq!(scene.take(&first), Passes, "the first commit, without prevData");
    scene.next_of(EventKind::Sync).await?;

    let same = || Write::update(path(0), record("same"));
    let moved = vec![Write::delete(path(0)), Write::create(path(1), record("same"))];
    for (what, writes) in [
        ("the empty commit of an empty repo", vec![]),
        ("one create", creates(0..1)),
        ("an empty commit, which carries no tree", vec![]),
        ("an update that changes nothing", vec![same()]),
        ("a moved record, whose CID is not new", moved),
        ("the deletion of the last record", vec![Write::delete(path(1))]),
        ("a new beginning with 200 creates of one value", creates(0..200)),
        ("200 deletes", (0..200).map(|number| Write::delete(path(number))).collect()),
    ] {
        let event = applied(&mut scene, writes).await?;
        assert_eq!(scene.take(&event), Passes, "{what}");
    }
    Ok(())
}

/// MST-8, INV-6: without operations the data must be prevData.
#[tokio::test]
async fn an_empty_commit_must_not_change_the_data() -> Result<()> {
    let mut scene = grown().await?;
    let empty = applied(&mut scene, vec![]).await?;
    assert_eq!(scene.told(&empty), Passes, "control");
    let other = empty.set("prevData", to(&cid_of_nothing(1)));
    assert_eq!(scene.told(&other), Drops(DropReason::ProofMismatch));
    Ok(())
}

/// INV-10, INV-1, VAL-12, T13: each way in which a proof can fail, in a commit of three operations;
/// nothing of it enters the state, and the next commit passes.
#[tokio::test]
async fn proofs_that_fail_are_dropped() -> Result<()> {
    let mut scene = grown().await?;
    let faults = [
        (Fault::WrongPrevData, &[DropReason::ProofMismatch][..]),
        (Fault::WrongOpPrev, &[DropReason::ProofMismatch]),
        (Fault::OmittedOp, &[DropReason::ProofMismatch, DropReason::ProofIncomplete]),
        (Fault::MissingNode, &[DropReason::ProofIncomplete, DropReason::BadTree]),
        (Fault::CorruptNode, &[DropReason::BadTree]),
        (Fault::ExtraCreate, &[DropReason::BadTree, DropReason::ProofIncomplete]),
        (Fault::OpCidMismatch, &[DropReason::BadTree]),
        (Fault::DuplicatePath, &[DropReason::BadOps]),
        (Fault::NoPrevData, &[DropReason::Legacy]),
        (Fault::Legacy, &[DropReason::Legacy]),
    ];
    for (number, (fault, reasons)) in faults.iter().enumerate() {
        let before = scene.repo();
        scene.alice.with(*fault).apply(mixed(100 + number)).await?;
        let wrong = scene.next_of(EventKind::Commit).await?;
        let told = scene.take(&wrong);
        let fits = matches!(told, Drops(reason) if reasons.contains(&reason));
        assert!(fits, "{fault:?}: {told:?} {}", scene.detail(&wrong));
        assert_eq!(scene.repo(), before, "{fault:?}");

        let right = applied(&mut scene, creates(200 + number..201 + number)).await?;
        assert_eq!(scene.take(&right), Passes, "control after {fault:?}");
    }
    assert_eq!(scene.net.unfired_faults(), [""; 0]);
    Ok(())
}

/// INV-1, I7: a mismatch is told with what was expected and what was found.
#[tokio::test]
async fn a_mismatch_names_both_roots() -> Result<()> {
    let mut scene = grown().await?;
    let event = applied(&mut scene, creates(60..61)).await?;
    let real = match &event.payload()["prevData"] {
        Ipld::Link(cid) => cid.to_string(),
        other => panic!("{other:?}"),
    };
    let claimed = to(&cid_of_nothing(9));
    let Ipld::Link(claimed_cid) = &claimed else { panic!("a link") };
    let claimed_text = claimed_cid.to_string();

    let wrong = event.set("prevData", claimed);
    assert_eq!(scene.told(&wrong), Drops(DropReason::ProofMismatch));
    let detail = scene.detail(&wrong);
    assert!(detail.contains(&real) && detail.contains(&claimed_text), "{detail}");
    assert_eq!(scene.told(&event), Passes, "control");
    Ok(())
}

/// INV-2: the order of the operations says nothing.
#[tokio::test]
async fn operations_may_come_in_any_order() -> Result<()> {
    let mut scene = grown().await?;
    let event = applied(&mut scene, mixed(100)).await?;
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut parts = Parts::of(&event)?;
        let ops = parts.ops().clone();
        *parts.ops() = order.map(|at: usize| ops[at].clone()).to_vec();
        assert_eq!(scene.told(&parts.wrap()), Passes, "{order:?}");
    }
    let mut swapped = Parts::of(&event)?;
    let (create, update) = (swapped.op(0)["path"].clone(), swapped.op(1)["path"].clone());
    swapped.op(0).insert("path".to_owned(), update);
    swapped.op(1).insert("path".to_owned(), create);
    assert_eq!(scene.told(&swapped.wrap()), Drops(DropReason::BadTree), "swapped paths");
    Ok(())
}

/// INV-7, T13: one path twice is never invertible, in short lists and in long ones.
#[tokio::test]
async fn a_path_may_occur_once() -> Result<()> {
    let mut scene = grown().await?;
    for count in [1, 2, 8, 9, 100] {
        let event = applied(&mut scene, creates(1000..1000 + count)).await?;
        assert_eq!(scene.told(&event), Passes, "control: {count} operations");
        let mut parts = Parts::of(&event)?;
        let last = parts.ops().last().cloned();
        parts.ops().extend(last);
        let twice = parts.wrap();
        assert_eq!(
            scene.told(&twice),
            Drops(DropReason::BadOps),
            "{count} operations and one more"
        );
        assert!(scene.detail(&twice).contains(&path(999 + count)), "the path is named");
        let undo = (1000..1000 + count).map(|number| Write::delete(path(number))).collect();
        applied(&mut scene, undo).await?;
    }
    Ok(())
}

/// VAL-11, 5.1, LEG-1: what each action must have and must not have.
#[tokio::test]
async fn operations_have_the_fields_of_their_action() -> Result<()> {
    let mut scene = grown().await?;
    let event = applied(&mut scene, mixed(100)).await?;
    assert_eq!(scene.told(&event), Passes, "control");
    let nothing = || Some(to(&cid_of_nothing(1)));
    let (create, update, delete) = (0, 1, 2);
    // The operation, the field, and its new value; `None` removes it.
    for (at, field, value, reason) in [
        (create, "prev", nothing(), DropReason::BadOps),
        (create, "cid", Some(Ipld::Null), DropReason::BadOps),
        (update, "cid", Some(Ipld::Null), DropReason::BadOps),
        (delete, "cid", nothing(), DropReason::BadOps),
        (update, "prev", None, DropReason::Legacy),
        (delete, "prev", None, DropReason::Legacy),
        (delete, "cid", None, DropReason::Malformed),
        (create, "path", None, DropReason::Malformed),
        (create, "action", None, DropReason::Malformed),
        (create, "action", Some("rename".into()), DropReason::Malformed),
    ] {
        let mut parts = Parts::of(&event)?;
        let case = format!("{field} of operation {at} is {value:?}");
        match value {
            Some(value) => drop(parts.op(at).insert(field.to_owned(), value)),
            None => drop(parts.op(at).remove(field)),
        }
        assert_eq!(scene.told(&parts.wrap()), Drops(reason), "{case}");
    }
    Ok(())
}

/// SYN-7, SYN-8: paths of operations.
#[tokio::test]
async fn paths_are_a_collection_and_a_record_key() -> Result<()> {
    let mut scene = grown().await?;
    for good in ["com.example.thing/a:b", "com.example.thing/~._-", "a.b.C/1"] {
        let event = applied(&mut scene, vec![Write::create(good, record("new"))]).await?;
        assert_eq!(scene.told(&event), Passes, "control: {good}");
    }
    let event = applied(&mut scene, creates(60..61)).await?;
    let long = format!("com.example.thing/{}", "x".repeat(513));
    for bad in
        ["", "com.example.thing", "/com.example.thing/a", "com.example.thing//a", "a/b/c", "a.b/c"]
            .into_iter()
            .chain(["com.example.thing/", "com.example.thing/..", "com.example.thing/a b", &long])
    {
        let mut parts = Parts::of(&event)?;
        parts.op(0).insert("path".to_owned(), bad.into());
        assert_eq!(scene.told(&parts.wrap()), Drops(DropReason::Malformed), "{bad:?}");
    }
    Ok(())
}

/// ENC-12: values are dag-cbor links.
#[tokio::test]
async fn values_of_operations_are_dag_cbor_links() -> Result<()> {
    let mut scene = grown().await?;
    let event = applied(&mut scene, mixed(100)).await?;
    assert_eq!(scene.told(&event), Passes, "control");
    for (at, field) in [(0, "cid"), (1, "cid"), (1, "prev"), (2, "prev")] {
        let mut raw = cid_of_nothing(2);
        raw[1] = 0x55;
        let mut parts = Parts::of(&event)?;
        parts.op(at).insert(field.to_owned(), to(&raw));
        assert_eq!(scene.told(&parts.wrap()), Drops(DropReason::Malformed), "raw {field}");
        let mut parts = Parts::of(&event)?;
        parts.op(at).insert(field.to_owned(), "bafy".into());
        assert_eq!(scene.told(&parts.wrap()), Drops(DropReason::Malformed), "text as {field}");
    }
    Ok(())
}

/// MST-2, MST-4: a tree whose root is no node, or a node with a key too many.
#[tokio::test]
async fn a_tree_that_breaks_its_rules_is_dropped() -> Result<()> {
    let mut scene = Scene::new().await?;
    let event = applied(&mut scene, creates(0..1)).await?;
    assert_eq!(scene.told(&event), Passes, "control");
    let key = super::scene::signing_key(AccountOptions::default(), 0);
    for (what, root) in [
        ("no node", encode(&record("not a node"))),
        (
            "a bare pointer",
            encode(&map([("e", Ipld::List(vec![])), ("l", to(&cid_of_nothing(4)))])),
        ),
    ] {
        let mut parts = Parts::of(&event)?;
        let cid = relay_simnet::block::cid_of(&root);
        parts.blocks.push((cid, root));
        parts.object_set("data", relay_simnet::block::link(&cid));
        assert_eq!(scene.told(&parts.seal(&key)), Drops(DropReason::BadTree), "{what}");
    }
    Ok(())
}
