//! Takes a `#commit` or `#sync` apart, to change it and to seal it again.

use anyhow::{Context as _, Result};
use relay_simnet::{
    Ipld,
    block::{self, Cid36, car, cid_of, encode, link},
    keys::SigningKey,
    wire::Fields,
};

use super::scene::Event;
use crate::domain::EventKind;

/// A message in its parts. [`Self::seal`] signs and wraps them anew, so that whatever a test changed
/// here is the only thing that differs.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    kind: EventKind,
    pub(super) payload: Fields,
    /// The commit object, `sig` included.
    pub(super) object: Fields,
    /// All blocks but that of the commit.
    pub(super) blocks: Vec<(Cid36, Vec<u8>)>,
}

impl Parts {
    pub(super) fn of(event: &Event) -> Result<Self> {
        let payload = event.payload();
        let Some(Ipld::Bytes(bytes)) = payload.get("blocks") else { anyhow::bail!("no blocks") };
        let file = block::read_car(bytes)?;
        let root = *file.roots.first().context("no root")?;
        let (commit, blocks): (Vec<_>, Vec<_>) =
            file.blocks.into_iter().partition(|(cid, _)| *cid == root);
        let (_, commit) = commit.into_iter().next().context("no commit block")?;
        let Ipld::Map(object) = block::decode(&commit)? else { anyhow::bail!("no commit object") };
        Ok(Self { kind: event.kind, payload, object, blocks })
    }

    /// Sets a field of the commit object.
    pub(super) fn object_set(&mut self, field: &str, value: impl Into<Ipld>) {
        self.object.insert(field.to_owned(), value.into());
    }

    /// Sets a field of the message.
    pub(super) fn set(&mut self, field: &str, value: impl Into<Ipld>) {
        self.payload.insert(field.to_owned(), value.into());
    }

    /// Sets rev in message and commit.
    pub(super) fn set_rev(&mut self, rev: &str) {
        self.set("rev", rev.to_owned());
        self.object_set("rev", rev.to_owned());
    }

    /// The operations, to be changed.
    pub(super) fn ops(&mut self) -> &mut Vec<Ipld> {
        match self.payload.get_mut("ops") {
            Some(Ipld::List(ops)) => ops,
            other => panic!("no ops: {other:?}"),
        }
    }

    /// The fields of an operation.
    pub(super) fn op(&mut self, at: usize) -> &mut Fields {
        match &mut self.ops()[at] {
            Ipld::Map(fields) => fields,
            other => panic!("no operation: {other:?}"),
        }
    }

    /// Signs the commit object and wraps everything.
    pub(super) fn seal(mut self, key: &SigningKey) -> Event {
        self.object.remove("sig");
        let signature = key.sign(&encode(&self.object));
        self.object.insert("sig".to_owned(), Ipld::Bytes(signature));
        self.wrap()
    }

    /// Wraps everything without signing anew.
    pub(super) fn wrap(mut self) -> Event {
        let commit = encode(&self.object);
        let root = cid_of(&commit);
        let blocks = self.blocks.iter().map(|(cid, block)| (cid, block.as_slice()));
        let file = car(&[root], std::iter::once((&root, commit.as_slice())).chain(blocks));
        self.wrap_car(file, &root)
    }

    /// Puts a CAR of the test's own making into the message.
    pub(super) fn wrap_car(&mut self, file: Vec<u8>, root: &Cid36) -> Event {
        self.set("blocks", file);
        if self.kind == EventKind::Commit {
            self.set("commit", link(root));
        }
        Event::of(self.kind, self.payload.clone())
    }
}

/// A link as a field wants it.
pub(super) fn to(cid: &Cid36) -> Ipld {
    Ipld::Link(link(cid))
}
