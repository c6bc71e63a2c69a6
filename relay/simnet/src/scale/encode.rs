//! DAG-CBOR of the few shapes that a commit needs, written straight into bytes.
//!
//! The rest of the simulator encodes through `serde_ipld_dagcbor`, which costs several times what
//! signing costs for a whole frame. A test holds both against each other.

use super::leaves::Sha;
use crate::block::{Cid36, push_varint};

const LINK_HEAD: [u8; 5] = [0xd8, 0x2a, 0x58, 0x25, 0x00];
const CID_HEAD: [u8; 4] = [0x01, 0x71, 0x12, 0x20];
const NULL: u8 = 0xf6;
const FALSE: u8 = 0xf4;

/// Room for most nodes, so that they are not moved while they grow.
const NODE_BYTES: usize = 768;

/// A writer of DAG-CBOR.
#[derive(Debug, Default)]
pub(super) struct Cbor(pub(super) Vec<u8>);

impl Cbor {
    fn head(&mut self, major: u8, argument: u64) {
        let major = major << 5;
        let bytes = argument.to_be_bytes();
        let [.., e, f, g, h] = bytes;
        match argument {
            0..24 => self.0.push(major | h),
            24..0x100 => self.0.extend_from_slice(&[major | 0x18, h]),
            0x100..0x1_0000 => self.0.extend_from_slice(&[major | 0x19, g, h]),
            0x1_0000..0x1_0000_0000 => self.0.extend_from_slice(&[major | 0x1a, e, f, g, h]),
            _ => {
                self.0.push(major | 0x1b);
                self.0.extend_from_slice(&bytes);
            }
        }
    }

    pub(super) fn map(&mut self, fields: u64) -> &mut Self {
        self.head(5, fields);
        self
    }

    pub(super) fn list(&mut self, items: usize) -> &mut Self {
        self.head(4, items as u64);
        self
    }

    pub(super) fn uint(&mut self, number: u64) -> &mut Self {
        self.head(0, number);
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.head(3, text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(2, bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn no(&mut self) -> &mut Self {
        self.0.push(FALSE);
        self
    }

    pub(super) fn cid(&mut self, cid: &Cid36) -> &mut Self {
        self.0.extend_from_slice(&LINK_HEAD);
        self.0.extend_from_slice(cid);
        self
    }

    /// A link to a block by its digest, or null.
    pub(super) fn link(&mut self, sha: Option<&Sha>) -> &mut Self {
        match sha {
            None => self.0.push(NULL),
            Some(sha) => {
                self.0.extend_from_slice(&LINK_HEAD);
                self.0.extend_from_slice(&CID_HEAD);
                self.0.extend_from_slice(sha);
            }
        }
        self
    }
}

/// A tree node while its entries become known.
#[derive(Debug)]
pub(super) struct Encoder {
    entries: Cbor,
    count: usize,
}

impl Encoder {
    pub(super) fn node() -> Self {
        Self { entries: Cbor(Vec::with_capacity(NODE_BYTES)), count: 0 }
    }

    /// Adds an entry whose first `prefix` bytes are those of the entry before.
    pub(super) fn entry(&mut self, path: &[u8], prefix: usize, value: &Sha, right: Option<&Sha>) {
        self.count += 1;
        let suffix = path.get(prefix..).unwrap_or_default();
        self.entries.map(4).text("k").bytes(suffix).text("p").uint(prefix as u64);
        self.entries.text("t").link(right).text("v").link(Some(value));
    }

    /// The block of the node.
    pub(super) fn finish(self, left: Option<&Sha>) -> Vec<u8> {
        let mut node = Cbor(Vec::with_capacity(self.entries.0.len() + 56));
        node.map(2).text("e").list(self.count);
        node.0.extend_from_slice(&self.entries.0);
        node.text("l").link(left);
        node.0
    }
}

/// A CAR file with one root (ENC-14).
pub(super) fn car(root: &Cid36, blocks: &[(Cid36, Vec<u8>)]) -> Vec<u8> {
    let size: usize = blocks.iter().map(|(cid, block)| cid.len() + block.len() + 3).sum();
    let mut header = Cbor(Vec::with_capacity(size + 64));
    header.map(2).text("roots").list(1).cid(root).text("version").uint(1);
    let mut out = Vec::with_capacity(size + 64);
    push_varint(&mut out, header.0.len());
    out.extend_from_slice(&header.0);
    for (cid, block) in blocks {
        push_varint(&mut out, cid.len() + block.len());
        out.extend_from_slice(cid);
        out.extend_from_slice(block);
    }
    out
}

/// The object that is signed, with its signature once there is one (COM-1).
pub(super) fn commit(did: &str, rev: &str, data: &Sha, signature: Option<&[u8]>) -> Vec<u8> {
    let mut out = Cbor(Vec::with_capacity(256));
    out.map(5 + u64::from(signature.is_some())).text("did").text(did).text("rev").text(rev);
    if let Some(signature) = signature {
        out.text("sig").bytes(signature);
    }
    out.text("data").link(Some(data)).text("prev").link(None).text("version").uint(3);
    out.0
}
