//! The collections of a whole repository, from its CAR as it arrives (ENC-13…17, COM-1, MST-2).

mod reached;

use self::reached::Reached;
use crate::{
    Codec, Commit, CommitCid, DataCid, Did, EMPTY_TREE, Invalid, Rev,
    car::{Sections, TRUNCATED, read_header},
    cid::Cid,
    sha256::sha256,
};

/// Reads a repository that arrives in pieces, and learns which collections have records in it.
///
/// Every node holds its full keys, so each tells its collections by itself, in whatever order the nodes
/// come. Those count that can be reached from the commit: a record that looks like a node does not, and
/// neither does a node of an earlier tree. Blocks must hash to their CIDs (ENC-13).
///
/// Holds one section, links to nodes that are to come, and, of nodes that came before their parents, links
/// and names of collections; all of it bounded. Blocks in pre-order (ENC-17) leave nearly nothing to hold.
///
/// Neither the signature nor the shape of the tree across nodes is checked: what a host says of its own
/// account is believed to the same extent without any tree.
#[derive(Debug)]
pub struct RepoReader {
    did: String,
    sections: Sections,
    root: Option<CommitCid>,
    head: Option<(Rev, DataCid)>,
    reached: Reached,
}

impl RepoReader {
    /// Expects the repository of this account.
    pub fn new(did: &Did) -> Self {
        Self {
            did: did.as_str().to_owned(),
            sections: Sections::default(),
            root: None,
            head: None,
            reached: Reached::default(),
        }
    }

    /// Takes the next bytes. Gives whether all collections are known now: no later byte changes them.
    pub fn push(&mut self, piece: &[u8]) -> Result<bool, Invalid> {
        let Self { did, sections, root, head, reached } = self;
        sections.push(piece);
        while head.is_none() || !reached.is_whole() {
            let Some(section) = sections.next()? else { return Ok(false) };
            let Some(root) = *root else {
                *root = Some(read_header(section)?);
                continue;
            };
            let (cid, block) = section
                .split_first_chunk()
                .ok_or(Invalid::new("a CAR section is shorter than a CID"))?;
            let (codec, digest) = Cid::split(cid)?;
            if sha256(block) != *digest {
                return Err(Invalid::new("a block does not hash to its CID"));
            }
            if head.is_none() && *digest == root.0 {
                let (rev, data) = read_commit(block, did)?;
                *head = Some((rev, data));
                if data != EMPTY_TREE {
                    reached.want(&data.0)?;
                }
            } else if codec == Codec::DagCbor {
                reached.block(digest, block)?;
            }
        }
        Ok(true)
    }

    /// Revision and tree of the commit; `None` until it has come.
    pub const fn head(&self) -> Option<(Rev, DataCid)> {
        self.head
    }

    /// The collections that have a record, in order, each once. An error says why they cannot be known.
    pub fn finish(self) -> Result<Vec<String>, Invalid> {
        if self.is_whole() {
            return Ok(self.reached.into_names());
        }
        if self.root.is_none() || !self.sections.is_empty() {
            return Err(TRUNCATED);
        }
        Err(Invalid::new(if self.head.is_none() {
            "the CAR does not hold the block of its root"
        } else {
            "the CAR does not hold all nodes of the tree"
        }))
    }

    fn is_whole(&self) -> bool {
        self.head.is_some() && self.reached.is_whole()
    }
}

fn read_commit(block: &[u8], did: &str) -> Result<(Rev, DataCid), Invalid> {
    let commit = Commit::decode(block)?;
    if commit.did != did {
        return Err(Invalid::new("the commit is of another account"));
    }
    Ok((commit.rev, commit.data))
}
