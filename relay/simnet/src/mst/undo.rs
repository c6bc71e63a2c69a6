//! Undoing operations in a partial tree, for the tests: shows that proofs suffice, and that
//! spoilt ones do not.
//!
//! Works on a list of leaves and absent subtrees in the order of their keys (spec 7.3). It is no
//! model of speed; bounds are those of the tests.

use super::{EntryView, NodeData, encode_node, layer};
use crate::block::{Blocks, Cid36, cid_of};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Leaf(String, Cid36),
    Absent(Cid36, u8),
}

impl Part {
    fn layer(&self) -> u8 {
        match self {
            Self::Leaf(key, _) => layer(key),
            Self::Absent(_, layer) => *layer,
        }
    }
}

/// One operation: path, value after, value before.
pub(crate) type Change<'a> = (&'a str, Option<Cid36>, Option<Cid36>);

/// The root before the changes; an error says what is missing or wrong.
pub(crate) fn undo(root: &Cid36, blocks: &Blocks, changes: &[Change<'_>]) -> Result<Cid36, String> {
    let mut parts = Vec::new();
    let top = blocks.get(root).and_then(|block| NodeData::decode(block)).ok_or("no root")?;
    let top_layer = match top.entries.first() {
        Some((key, ..)) => layer(std::str::from_utf8(key).map_err(|error| error.to_string())?),
        None => 0,
    };
    flatten(root, blocks, top_layer, &mut parts)?;
    for (path, after, before) in changes {
        let Some(after) = after else { continue };
        let at = parts.iter().position(|part| *part == Part::Leaf((*path).to_owned(), *after));
        let at = at.ok_or_else(|| format!("{path} is not in the slice with its new value"))?;
        match before {
            Some(before) => parts[at] = Part::Leaf((*path).to_owned(), *before),
            None => drop(parts.remove(at)),
        }
    }
    for (path, after, before) in changes {
        let (None, Some(before)) = (after, before) else { continue };
        let later = |part: &Part| matches!(part, Part::Leaf(key, _) if key.as_str() >= *path);
        let at = parts.iter().position(later).unwrap_or(parts.len());
        if at > 0 && matches!(parts[at - 1], Part::Absent(..)) {
            return Err(format!("the place of {path} is hidden"));
        }
        parts.insert(at, Part::Leaf((*path).to_owned(), *before));
    }
    match parts.as_slice() {
        [] => Ok(cid_of(&encode_node(None, &[]))),
        [Part::Absent(cid, _)] => Ok(*cid),
        _ => {
            let top = parts.iter().map(Part::layer).max().unwrap_or(0);
            rebuild(&parts, top)
        }
    }
}

fn flatten(cid: &Cid36, blocks: &Blocks, at: u8, parts: &mut Vec<Part>) -> Result<(), String> {
    let Some(block) = blocks.get(cid) else {
        parts.push(Part::Absent(*cid, at));
        return Ok(());
    };
    if cid_of(block) != *cid {
        return Err("a block does not have its CID".to_owned());
    }
    let node = NodeData::decode(block).ok_or("a block is not a node")?;
    if let Some(left) = node.left {
        flatten(&left, blocks, at - 1, parts)?;
    }
    for (key, value, right) in node.entries {
        let key = String::from_utf8(key).map_err(|error| error.to_string())?;
        parts.push(Part::Leaf(key, value));
        if let Some(right) = right {
            flatten(&right, blocks, at - 1, parts)?;
        }
    }
    Ok(())
}

fn rebuild(parts: &[Part], at: u8) -> Result<Cid36, String> {
    if let [Part::Absent(cid, layer)] = parts
        && *layer == at
    {
        return Ok(*cid);
    }
    let mut left = None;
    let mut entries: Vec<EntryView<'_>> = Vec::new();
    let mut rest = parts;
    loop {
        let gap = rest.iter().take_while(|part| part.layer() < at).count();
        let (below, here) = rest.split_at(gap);
        let child = if below.is_empty() { None } else { Some(rebuild(below, at - 1)?) };
        match entries.last_mut() {
            Some(entry) => entry.right = child,
            None => left = child,
        }
        match here.split_first() {
            None => break,
            Some((Part::Leaf(key, value), after)) => {
                entries.push(EntryView { key, value: *value, right: None });
                rest = after;
            }
            Some((Part::Absent(..), _)) => {
                return Err("an absent subtree would have to be opened".to_owned());
            }
        }
    }
    Ok(cid_of(&encode_node(left, &entries)))
}
