//! A repository as its host holds it, and the commits that change it.

use crate::{
    block::{Blocks, Cid36, car, cid_of, encode, link},
    clock::tid_text,
    keys::SigningKey,
    mst::CachedTree,
    wire::Fields,
};
use anyhow::{Context, Result};
use ipld_core::ipld::Ipld;

/// One change of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A record that was not there.
    Create {
        /// `collection/key`.
        path: String,
        /// The record.
        record: Ipld,
    },
    /// A record that was there.
    Update {
        /// `collection/key`.
        path: String,
        /// The new record.
        record: Ipld,
    },
    /// A record that goes.
    Delete {
        /// `collection/key`.
        path: String,
    },
}

impl Write {
    /// A new record.
    pub fn create(path: impl Into<String>, record: Ipld) -> Self {
        Self::Create { path: path.into(), record }
    }

    /// A changed record.
    pub fn update(path: impl Into<String>, record: Ipld) -> Self {
        Self::Update { path: path.into(), record }
    }

    /// A record that goes.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::Delete { path: path.into() }
    }

    /// `collection/key`.
    pub fn path(&self) -> &str {
        match self {
            Self::Create { path, .. } | Self::Update { path, .. } | Self::Delete { path } => path,
        }
    }
}

/// One entry of `ops`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Op {
    pub(crate) action: &'static str,
    pub(crate) path: String,
    pub(crate) cid: Option<Cid36>,
    pub(crate) prev: Option<Cid36>,
}

impl Op {
    fn to_ipld(&self) -> Ipld {
        let mut fields = Fields::from([
            ("action".to_owned(), Ipld::String(self.action.to_owned())),
            ("path".to_owned(), Ipld::String(self.path.clone())),
            ("cid".to_owned(), self.cid.as_ref().map_or(Ipld::Null, |cid| Ipld::Link(link(cid)))),
        ]);
        if let Some(prev) = &self.prev {
            fields.insert("prev".to_owned(), Ipld::Link(link(prev)));
        }
        Ipld::Map(fields)
    }
}

/// How the signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Signing {
    #[default]
    LowS,
    HighS,
    Der,
    Flipped,
}

/// The state of a repository after its last commit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Repo {
    pub(crate) tree: CachedTree,
    /// TID of the last commit, 0 before the first one.
    pub(crate) rev: u64,
    pub(crate) data: DataRoot,
    /// The signed commit block and its CID.
    pub(crate) commit: Option<(Cid36, Vec<u8>)>,
}

/// The root of the tree; the empty tree before the first commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DataRoot(pub(crate) Cid36);

impl Default for DataRoot {
    fn default() -> Self {
        Self(CachedTree::new().root())
    }
}

impl Repo {
    /// Collections that have a record, in order.
    pub(crate) fn collections(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut from = String::new();
        while let Some((key, _)) = self.tree.at_or_after(&from) {
            let collection = key.split('/').next().unwrap_or_default().to_owned();
            // The character behind a slash: the first key behind all of this collection.
            from = format!("{collection}0");
            found.push(collection);
        }
        found
    }
}

/// A `#commit` or `#sync` whose parts can still be spoilt.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) did: String,
    pub(crate) rev: u64,
    pub(crate) since: u64,
    pub(crate) time: String,
    pub(crate) ops: Vec<Op>,
    pub(crate) prev_data: Option<Cid36>,
    /// The unsigned commit object.
    pub(crate) object: Fields,
    pub(crate) key: SigningKey,
    pub(crate) signing: Signing,
    /// All blocks apart from the commit block.
    pub(crate) blocks: Vec<(Cid36, Vec<u8>)>,
    pub(crate) extra_roots: Vec<Cid36>,
    pub(crate) without_commit_block: bool,
    pub(crate) truncated_car: bool,
    /// What the message says the commit CID is, if not the truth.
    pub(crate) claimed_commit: Option<Cid36>,
    /// A commit block to send instead of signing the object.
    pub(crate) ready_commit: Option<Vec<u8>>,
}

/// A signed draft.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// The payload without `seq`.
    pub(crate) payload: Fields,
    pub(crate) commit: Cid36,
    pub(crate) commit_block: Vec<u8>,
}

impl Repo {
    /// Applies writes and drafts their commit. An empty list gives an empty commit.
    ///
    /// # Errors
    /// When a created record is there already, or an updated or deleted one is not.
    pub(crate) fn draft(
        &mut self,
        did: &str,
        key: &SigningKey,
        micros: u64,
        writes: &[Write],
    ) -> Result<Draft> {
        let first = self.commit.is_none();
        let mut ops = Vec::with_capacity(writes.len());
        let mut records = Vec::with_capacity(writes.len());
        for write in writes {
            ops.push(self.apply(write, &mut records)?);
        }
        let paths: Vec<&str> = writes.iter().map(Write::path).collect();
        let (data, proof) = if writes.is_empty() && !first {
            (self.data.0, Blocks::new())
        } else {
            self.tree.root_and_proof(&paths)
        };
        let mut draft = self.unsigned(did, key, micros);
        draft.object.insert("data".to_owned(), Ipld::Link(link(&data)));
        draft.ops = ops;
        draft.prev_data = (!first).then_some(self.data.0);
        draft.blocks = proof.into_iter().chain(records).collect();
        self.data = DataRoot(data);
        Ok(draft)
    }

    /// Drafts the signed object for the present tree, as a `#sync` needs it.
    pub(crate) fn unsigned(&mut self, did: &str, key: &SigningKey, micros: u64) -> Draft {
        let rev = crate::clock::tid(micros, 0).max(self.rev + 1);
        let since = std::mem::replace(&mut self.rev, rev);
        let object = Fields::from([
            ("did".to_owned(), Ipld::String(did.to_owned())),
            ("version".to_owned(), Ipld::Integer(3)),
            ("data".to_owned(), Ipld::Link(link(&self.data.0))),
            ("rev".to_owned(), Ipld::String(tid_text(rev))),
            ("prev".to_owned(), Ipld::Null),
        ]);
        Draft {
            did: did.to_owned(),
            rev,
            since,
            time: crate::clock::datetime(micros),
            ops: Vec::new(),
            prev_data: None,
            object,
            key: key.clone(),
            signing: Signing::LowS,
            blocks: Vec::new(),
            extra_roots: Vec::new(),
            without_commit_block: false,
            truncated_car: false,
            claimed_commit: None,
            ready_commit: None,
        }
    }

    fn apply(&mut self, write: &Write, records: &mut Vec<(Cid36, Vec<u8>)>) -> Result<Op> {
        let path = write.path().to_owned();
        let before = self.tree.get(&path);
        let op = match write {
            Write::Create { record, .. } => {
                anyhow::ensure!(before.is_none(), "{path} is there already");
                let cid = store(record, records);
                Op { action: "create", path, cid: Some(cid), prev: None }
            }
            Write::Update { record, .. } => {
                anyhow::ensure!(before.is_some(), "{path} is not there to be updated");
                let cid = store(record, records);
                Op { action: "update", path, cid: Some(cid), prev: before }
            }
            Write::Delete { .. } => {
                anyhow::ensure!(before.is_some(), "{path} is not there to be deleted");
                Op { action: "delete", path, cid: None, prev: before }
            }
        };
        match op.cid {
            Some(cid) => self.tree.insert(&op.path, cid),
            None => self.tree.remove(&op.path),
        };
        Ok(op)
    }

    /// The CID and the block of the last commit.
    pub(crate) fn last_commit(&self) -> Result<&(Cid36, Vec<u8>)> {
        self.commit.as_ref().context("the repository has no commit yet")
    }
}

fn store(record: &Ipld, records: &mut Vec<(Cid36, Vec<u8>)>) -> Cid36 {
    let block = encode(record);
    let cid = cid_of(&block);
    if records.iter().all(|(other, _)| *other != cid) {
        records.push((cid, block));
    }
    cid
}

impl Draft {
    fn sign(&mut self) -> Vec<u8> {
        if let Some(block) = self.ready_commit.take() {
            return block;
        }
        let unsigned = encode(&self.object);
        let signature = match self.signing {
            Signing::LowS => self.key.sign(&unsigned),
            Signing::HighS => self.key.sign_high_s(&unsigned),
            Signing::Der => self.key.sign_der(&unsigned),
            Signing::Flipped => {
                let mut signature = self.key.sign(&unsigned);
                if let Some(byte) = signature.get_mut(40) {
                    *byte ^= 1;
                }
                signature
            }
        };
        self.object.insert("sig".to_owned(), Ipld::Bytes(signature));
        encode(&self.object)
    }

    fn car(&self, commit: &Cid36, commit_block: &[u8]) -> Vec<u8> {
        let mut roots = vec![*commit];
        roots.extend_from_slice(&self.extra_roots);
        let first = (!self.without_commit_block).then_some((commit, commit_block));
        let rest = self.blocks.iter().map(|(cid, block)| (cid, block.as_slice()));
        let mut file = car(&roots, first.into_iter().chain(rest));
        if self.truncated_car {
            file.truncate(file.len().saturating_sub(10));
        }
        file
    }

    /// Signs; gives the payload of a `#commit`.
    pub(crate) fn into_commit(mut self) -> Sealed {
        let commit_block = self.sign();
        let commit = cid_of(&commit_block);
        let blocks = self.car(&commit, &commit_block);
        let since = match self.since {
            0 => Ipld::Null,
            rev => Ipld::String(tid_text(rev)),
        };
        let claimed = self.claimed_commit.unwrap_or(commit);
        let mut payload = Fields::from([
            ("repo".to_owned(), Ipld::String(self.did)),
            ("rev".to_owned(), Ipld::String(tid_text(self.rev))),
            ("since".to_owned(), since),
            ("time".to_owned(), Ipld::String(self.time)),
            ("commit".to_owned(), Ipld::Link(link(&claimed))),
            ("blocks".to_owned(), Ipld::Bytes(blocks)),
            ("ops".to_owned(), Ipld::List(self.ops.iter().map(Op::to_ipld).collect())),
            ("blobs".to_owned(), Ipld::List(Vec::new())),
            ("rebase".to_owned(), Ipld::Bool(false)),
            ("tooBig".to_owned(), Ipld::Bool(false)),
        ]);
        if let Some(prev_data) = &self.prev_data {
            payload.insert("prevData".to_owned(), Ipld::Link(link(prev_data)));
        }
        Sealed { payload, commit, commit_block }
    }

    /// Signs; gives the payload of a `#sync`.
    pub(crate) fn into_sync(mut self) -> Sealed {
        let commit_block = self.sign();
        let commit = cid_of(&commit_block);
        let blocks = self.car(&commit, &commit_block);
        let payload = Fields::from([
            ("did".to_owned(), Ipld::String(self.did)),
            ("rev".to_owned(), Ipld::String(tid_text(self.rev))),
            ("time".to_owned(), Ipld::String(self.time)),
            ("blocks".to_owned(), Ipld::Bytes(blocks)),
        ]);
        Sealed { payload, commit, commit_block }
    }
}
