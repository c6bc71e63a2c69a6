//! Tree nodes, and undoing operations, against the simulator's naive tree.

use std::collections::BTreeSet;

use ipld_core::ipld::Ipld;
use relay_protocol::{
    Blocks, Cid, Collections, DataCid, Inversion, Nsid, Op, OpAction, check_applied, invert,
    invert_and_learn,
};
use relay_simnet::{
    block::{self, Cid36, cid_of, cid_of_nothing, link},
    mst::{NodeData, Tree},
};

use crate::Choices;

/// Entries of a node (MST-6).
const NODE_ENTRIES_MAX: usize = 1_024;
/// Bytes of a key (MST-6).
const KEY_BYTES_MAX: usize = 1_024;
/// Keys that an input may name.
const KEYS: usize = 48;

/// MST-2…6: one node as the root of a tree whose other nodes are not shown.
pub(crate) fn node(data: &[u8]) {
    let root = cid_of(data);
    let found = with_blocks(std::iter::once((&root, data)), |blocks| {
        invert(&digest(&root), &digest(&root), &[], blocks)
    });
    let is_node = NodeData::decode(data).is_some_and(|node| is_sound(&node, data));
    assert_eq!(found == Inversion::Ok, is_node, "{found:?}");
}

/// The rules for a node by itself, from what an independent codec sees in it.
fn is_sound(node: &NodeData, data: &[u8]) -> bool {
    let layers: BTreeSet<u32> = node.entries.iter().map(|(key, ..)| layer(key)).collect();
    let children = || node.entries.iter().map(|(.., right)| right).chain([&node.left]).flatten();
    let layer_fits = match (layers.first(), layers.len()) {
        (None, _) => node.left.is_none(),
        (Some(0), 1) => children().next().is_none(),
        (Some(_), count) => count == 1,
    };
    let are_ascending = node.entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let are_keys = node.entries.iter().all(|(key, ..)| (1..=KEY_BYTES_MAX).contains(&key.len()));
    let values = node.entries.iter().map(|(_, value, _)| value);
    layer_fits
        && are_ascending
        && are_keys
        && node.entries.len() <= NODE_ENTRIES_MAX
        && values.chain(children()).all(|cid| cid.starts_with(&[1, 0x71, 0x12, 0x20]))
        && encoded(node) == data
}

/// MST-1, for keys that need not be text.
fn layer(key: &[u8]) -> u32 {
    let digest = cid_of(key);
    let zero_bytes = digest[4..].iter().take_while(|byte| **byte == 0).count();
    let next = digest[4..].get(zero_bytes).map_or(0, |byte| byte.leading_zeros());
    let zero_bits = u32::try_from(zero_bytes).unwrap_or(32) * 8 + next;
    zero_bits / 2
}

/// The one encoding that a node has: all fields and no others, prefixes as long as they can be.
fn encoded(node: &NodeData) -> Vec<u8> {
    let child = |cid: &Option<Cid36>| cid.as_ref().map_or(Ipld::Null, |cid| Ipld::Link(link(cid)));
    let mut before: &[u8] = &[];
    let mut entries = Vec::new();
    for (key, value, right) in &node.entries {
        let shared = before.iter().zip(key).take_while(|(a, b)| a == b).count();
        entries.push(block::map([
            ("k", Ipld::Bytes(key[shared..].to_vec())),
            ("p", Ipld::Integer(i128::try_from(shared).unwrap_or(0))),
            ("t", child(right)),
            ("v", Ipld::Link(link(value))),
        ]));
        before = key;
    }
    block::encode(&block::map([("e", Ipld::List(entries)), ("l", child(&node.left))]))
}

/// INV-1…8: any list of operations against a tree. The naive tree undoes them one by one.
pub(crate) fn inversion(data: &[u8]) {
    let mut choices = Choices::new(data);
    let case = Case::read(&mut choices);
    let ops: Vec<Op<'_>> = case.ops.iter().map(Draft::as_op).collect();
    let expected = undone(&case.tree, &case.ops);
    let prev_data = match (&expected, case.lies) {
        (Some(before), false) => before.root(),
        _ => case.claimed,
    };
    let is_true = expected.as_ref().is_some_and(|before| before.root() == prev_data);
    let (root, whole) = case.tree.root_and_blocks();
    let judge = |blocks: &block::Blocks| {
        with_blocks(blocks.iter().map(|(cid, block)| (cid, block.as_slice())), |blocks| {
            let (undone, learned) =
                invert_and_learn(&digest(&root), &digest(&prev_data), &ops, blocks);
            if undone == Inversion::Ok {
                check_learned(&learned, &case);
            }
            (undone, check_applied(&digest(&root), &ops, blocks).is_ok())
        })
    };

    // With all nodes there is exactly one answer.
    let (found, is_applied) = judge(&whole);
    match (&expected, found) {
        (Some(before), Inversion::Ok) => assert_eq!(before.root(), prev_data),
        (Some(before), Inversion::Mismatch { found }) => {
            assert_eq!(found, digest(&before.root()));
            assert!(!is_true);
        }
        (None, Inversion::Structure(_)) => {}
        (_, other) => panic!("{other:?}, expected {is_true} of {:?}", case.ops),
    }
    assert_eq!(is_applied, is_applied_to(&case.tree, &case.ops));

    // A covering proof gives the same answer to what is true; less of it never makes a lie true.
    let paths: Vec<&str> = case.ops.iter().map(|op| op.path.as_str()).collect();
    let mut proof = case.tree.proof(&paths);
    if !paths.is_empty() {
        let (found, _) = judge(&proof);
        assert_eq!(found == Inversion::Ok, is_true, "{found:?} by the proof of {:?}", case.ops);
    }
    for _ in 0..choices.below(4) {
        let Some(cid) = proof.keys().nth(choices.below(proof.len().max(1))).copied() else { break };
        proof.remove(&cid);
    }
    if let (Inversion::Ok, _) = judge(&proof) {
        assert!(is_true, "less than a proof made true what is not: {:?}", case.ops);
    }
}

/// Facts about collections hold in the tree after the operations, and say of each collection that an
/// operation names whether it is there.
fn check_learned(learned: &Collections<'_>, case: &Case) {
    let names =
        case.tree.leaves().keys().filter_map(|path| path.split_once('/')).map(|(name, _)| name);
    let there: BTreeSet<&str> = names.filter(|name| Nsid::parse(name).is_ok()).collect();
    let (present, absent): (BTreeSet<_>, BTreeSet<_>) =
        (learned.present().collect(), learned.absent().collect());
    assert!(present.is_subset(&there), "{present:?} of {there:?}");
    assert!(absent.is_disjoint(&there), "{absent:?} of {there:?}");
    assert!(!learned.is_whole() || present == there, "{present:?} are not {there:?}");
    for op in &case.ops {
        let Some((name, _)) = op.path.split_once('/') else { continue };
        let is_shown = present.contains(name) || absent.contains(name);
        assert!(is_shown || Nsid::parse(name).is_err(), "{name} is not shown");
    }
}

/// A tree, and operations that are said to have led to it.
struct Case {
    tree: Tree,
    ops: Vec<Draft>,
    /// Whether `claimed` is told instead of the true root before.
    lies: bool,
    claimed: Cid36,
}

impl Case {
    fn read(choices: &mut Choices<'_>) -> Self {
        let mut tree = Tree::new();
        for _ in 0..choices.below(KEYS) {
            tree.insert(key(choices), cid_of_nothing(choices.below(4) as u64));
        }
        let lies = choices.below(8) == 7;
        let claimed = if choices.below(2) == 0 { tree.root() } else { Tree::new().root() };
        let mut ops = Vec::new();
        for _ in 0..choices.below(12) {
            ops.push(Draft::read(choices, &mut tree));
        }
        Self { tree, ops, lies, claimed }
    }
}

/// A key out of few, so that operations meet.
fn key(choices: &mut Choices<'_>) -> String {
    let number = choices.below(KEYS * 2);
    format!("com.example.c{}/{number:03}", number % 3)
}

/// An operation before it borrows its path.
#[derive(Debug)]
struct Draft {
    action: OpAction,
    path: String,
    cid: Option<Cid36>,
    prev: Option<Cid36>,
}

impl Draft {
    /// Takes an operation; most of them are done to the tree too, so that they are true.
    fn read(choices: &mut Choices<'_>, tree: &mut Tree) -> Self {
        let path = key(choices);
        let old = tree.get(&path);
        let value = cid_of_nothing(choices.below(4) as u64);
        let (action, cid) = match (choices.below(3), old) {
            (0, Some(_)) => (OpAction::Delete, None),
            (_, Some(_)) => (OpAction::Update, Some(value)),
            (_, None) => (OpAction::Create, Some(value)),
        };
        let mut draft = Self { action, path, cid, prev: old };
        match draft.cid {
            Some(cid) => drop(tree.insert(draft.path.clone(), cid)),
            None => drop(tree.remove(&draft.path)),
        }
        match choices.below(32) {
            0..26 => {}
            26 => draft.action = OpAction::Create,
            27 => draft.action = OpAction::Update,
            28 => draft.action = OpAction::Delete,
            29 => draft.cid = None,
            30 => draft.prev = Some(cid_of_nothing(7)),
            _ => draft.cid = draft.cid.map(|_| cid_of_nothing(8)),
        }
        draft
    }

    fn as_op(&self) -> Op<'_> {
        let read = |cid: &Cid36| Cid::from_bytes(cid).expect("a dag-cbor CID");
        Op {
            action: self.action,
            path: &self.path,
            cid: self.cid.as_ref().map(read),
            prev: self.prev.as_ref().map(read),
        }
    }

    /// Whether the operation has what its action needs (INV-7).
    const fn is_complete(&self) -> bool {
        match self.action {
            OpAction::Create => self.cid.is_some() && self.prev.is_none(),
            OpAction::Update => self.cid.is_some() && self.prev.is_some(),
            OpAction::Delete => self.cid.is_none() && self.prev.is_some(),
        }
    }
}

/// The tree before the operations, `None` when they cannot have led to this one.
fn undone(tree: &Tree, ops: &[Draft]) -> Option<Tree> {
    if !ops.iter().all(Draft::is_complete) || !are_paths_unique(ops) {
        return None;
    }
    let mut before = tree.clone();
    for op in ops {
        if tree.get(&op.path) != op.cid {
            return None;
        }
        match op.prev {
            Some(prev) => drop(before.insert(op.path.clone(), prev)),
            None => drop(before.remove(&op.path)),
        }
    }
    Some(before)
}

/// LEG-1: whether the tree is what the operations left, old values not being asked for.
fn is_applied_to(tree: &Tree, ops: &[Draft]) -> bool {
    let is_complete = |op: &Draft| match op.action {
        OpAction::Create => op.cid.is_some() && op.prev.is_none(),
        OpAction::Update => op.cid.is_some(),
        OpAction::Delete => op.cid.is_none(),
    };
    are_paths_unique(ops) && ops.iter().all(|op| is_complete(op) && tree.get(&op.path) == op.cid)
}

fn are_paths_unique(ops: &[Draft]) -> bool {
    let paths: BTreeSet<&str> = ops.iter().map(|op| op.path.as_str()).collect();
    paths.len() == ops.len()
}

/// Passes blocks through a CAR file, as they arrive.
fn with_blocks<'b, T>(
    blocks: impl Iterator<Item = (&'b Cid36, &'b [u8])>,
    check: impl FnOnce(&Blocks<'_>) -> T,
) -> T {
    let commit = b"stands for the commit".as_slice();
    let commit_cid = cid_of(commit);
    // In two steps, because the commit lives shorter than the blocks.
    let mut car = block::car(&[commit_cid], [(&commit_cid, commit)]);
    let header_bytes = block::car(&[], []).len();
    car.extend_from_slice(&block::car(&[], blocks)[header_bytes..]);
    check(&Blocks::read(&car).expect("a sound CAR"))
}

fn digest(cid: &Cid36) -> DataCid {
    DataCid(Cid::from_bytes(cid).expect("a dag-cbor CID").digest)
}
