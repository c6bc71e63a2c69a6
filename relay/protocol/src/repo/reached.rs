//! Which nodes belong to a tree, when they come in any order.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Range,
};

use crate::{Invalid, collections::collection, mst::node};

/// Links, names and nodes that are held at once; some 130 MB when they are chosen to need the most. Of nodes
/// that all come before their parents that is enough for two million records, of others for any number.
const HELD_MAX: usize = 2_000_000;

/// Names of collections in one CAR; an account with more is somebody's game.
const NAMES_MAX: usize = 10_000;

/// The first half of a digest: nobody finds two blocks that share it, but whoever could would deceive us
/// about his own account alone.
type Link = [u8; 16];

/// What is left of a node whose parent has not come.
#[derive(Debug)]
struct Held {
    links: Range<u32>,
    names: Range<u32>,
}

/// The nodes of one tree.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// They belong to the tree and are to come.
    wanted: HashSet<Link>,
    /// They came before a parent did, or are none of the tree.
    held: HashMap<Link, Held>,
    /// Those of all that were held.
    links: Vec<Link>,
    /// The same.
    names: Vec<u32>,
    /// Numbers of names.
    numbers: BTreeMap<Box<str>, u32>,
    /// Numbers of the names that belong to the tree.
    present: BTreeSet<u32>,
    /// Keys of the node that is being read.
    keys: Vec<u8>,
}

impl Reached {
    /// A block that is not the commit: a node, a record, or anything else.
    pub(super) fn block(&mut self, digest: &[u8; 32], block: &[u8]) -> Result<(), Invalid> {
        let link = link(digest);
        let is_wanted = self.wanted.remove(&link);
        if !is_wanted && self.held.contains_key(&link) {
            return Ok(());
        }
        match self.read(block) {
            // What is no node is a record, unless it had to be one.
            Err(what) if is_wanted || what == TOO_MANY_NAMES => Err(what),
            Err(_) => Ok(()),
            Ok(node) if is_wanted => {
                self.take(&node)?;
                self.check_held()
            }
            Ok(node) => {
                self.held.insert(link, node);
                self.check_held()
            }
        }
    }

    /// A node that belongs to the tree: it is to come, or was held.
    pub(super) fn want(&mut self, digest: &[u8; 32]) -> Result<(), Invalid> {
        self.want_all(vec![link(digest)])
    }

    /// Whether nothing of the tree is to come.
    pub(super) fn is_whole(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Names of the collections of the tree, in order.
    pub(super) fn into_names(self) -> Vec<String> {
        let Self { numbers, present, .. } = self;
        let names = numbers.into_iter().filter(|(_, number)| present.contains(number));
        names.map(|(name, _)| name.into_string()).collect()
    }

    fn want_all(&mut self, mut links: Vec<Link>) -> Result<(), Invalid> {
        while let Some(link) = links.pop() {
            let Some(Held { links: below, names }) = self.held.remove(&link) else {
                // Subtrees of different keys have different roots. One that has come already and is
                // wanted again does not come a second time, so that the tree never becomes whole.
                if !self.wanted.insert(link) {
                    return Err(Invalid::new("a node occurs twice in the tree"));
                }
                continue;
            };
            self.present.extend(part(&self.names, &names));
            links.extend(part(&self.links, &below));
        }
        Ok(())
    }

    /// Takes a node that has just been read and belongs to the tree.
    fn take(&mut self, node: &Held) -> Result<(), Invalid> {
        self.present.extend(part(&self.names, &node.names));
        let below: Vec<Link> = part(&self.links, &node.links).collect();
        self.names.truncate(start(&node.names));
        self.links.truncate(start(&node.links));
        self.want_all(below)
    }

    /// Reads a node; what it has is behind all others. After an error nothing of it is left.
    fn read(&mut self, block: &[u8]) -> Result<Held, Invalid> {
        let (links, names) = (self.links.len(), self.names.len());
        let read = self.append(block);
        if let Err(what) = read {
            self.links.truncate(links);
            self.names.truncate(names);
            return Err(what);
        }
        Ok(Held {
            links: short(links)?..short(self.links.len())?,
            names: short(names)?..short(self.names.len())?,
        })
    }

    fn append(&mut self, block: &[u8]) -> Result<(), Invalid> {
        let Self { links, names, numbers, keys, .. } = self;
        keys.clear();
        let mut entries = Vec::new();
        let left = node::decode(block, keys, &mut entries)?;
        links.extend(left.map(link));
        let mut last: &[u8] = &[];
        for entry in entries {
            links.extend(entry.right.map(link));
            let key = entry.key.of(keys);
            // Its name and the slash behind it.
            if !last.is_empty() && key.starts_with(last) {
                continue;
            }
            let Some(name) = collection(key) else { continue };
            last = key.get(..=name.len()).unwrap_or_default();
            names.push(number(numbers, name)?);
        }
        Ok(())
    }

    fn check_held(&self) -> Result<(), Invalid> {
        let Self { wanted, held, links, names, .. } = self;
        let parts = [wanted.len(), held.len(), links.len(), names.len()];
        if parts.into_iter().fold(0, usize::saturating_add) > HELD_MAX {
            return Err(Invalid::new("too large: too many nodes of the tree wait for others"));
        }
        Ok(())
    }
}

const TOO_MANY_NAMES: Invalid = Invalid::new("too large: there are more than 10,000 collections");

fn number(numbers: &mut BTreeMap<Box<str>, u32>, name: &str) -> Result<u32, Invalid> {
    if let Some(known) = numbers.get(name) {
        return Ok(*known);
    }
    if numbers.len() >= NAMES_MAX {
        return Err(TOO_MANY_NAMES);
    }
    let number = short(numbers.len())?;
    numbers.insert(name.into(), number);
    Ok(number)
}

fn link(digest: &[u8; 32]) -> Link {
    digest.first_chunk().copied().unwrap_or_default()
}

/// Places are below [`HELD_MAX`] and what one node can add.
fn short(place: usize) -> Result<u32, Invalid> {
    u32::try_from(place).or(Err(Invalid::new("too large: too many nodes of the tree")))
}

fn start(range: &Range<u32>) -> usize {
    usize::try_from(range.start).unwrap_or(usize::MAX)
}

fn part<'a, T: Copy>(list: &'a [T], range: &Range<u32>) -> impl Iterator<Item = T> + 'a {
    let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
    list.iter().skip(start(range)).take(length).copied()
}
