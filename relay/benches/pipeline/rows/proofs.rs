//! What it costs to learn of collections while a commit is undone.

use std::hint::black_box;

use anyhow::{Result, ensure};
use relay_protocol::{Blocks, Cid, DataCid, Inversion, Op, OpAction, invert, invert_and_learn};
use relay_simnet::{
    block::{self, Cid36, cid_of, cid_of_nothing},
    mst::CachedTree,
};
use tokio::time::Instant;

use super::Measured;
use crate::{
    meter::{float, median},
    table::{Must, Row},
};

/// Records of the repository before the first commit.
const RECORDS: u64 = 5_000;
/// Its collections.
const COLLECTIONS: u64 = 8;
/// Commits of one operation each.
const COMMITS: u64 = 2_000;
/// Times that all are undone either way, in turn.
const ROUNDS: usize = 21;

/// A commit as the shards have it.
struct Proof {
    root: DataCid,
    prev_data: DataCid,
    path: String,
    cid: Cid,
    car: Vec<u8>,
}

impl Proof {
    fn op(&self) -> Op<'_> {
        Op { action: OpAction::Create, path: &self.path, cid: Some(self.cid), prev: None }
    }
}

/// Undoing with facts against undoing without, over the same commits in one run.
pub(super) fn measure(measured: &mut Measured) -> Result<()> {
    let proofs = make()?;
    let (mut ratios, mut plain_us) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let plain = time(&proofs, |proof, blocks| {
            invert(&proof.root, &proof.prev_data, &[proof.op()], blocks)
        })?;
        let learning = time(&proofs, |proof, blocks| {
            let ops = [proof.op()];
            let (found, learned) = invert_and_learn(&proof.root, &proof.prev_data, &ops, blocks);
            black_box(learned);
            found
        })?;
        ratios.push(learning / plain);
        plain_us.push(plain);
    }
    let row = Row::new("proofs", "undoing with facts about collections against without", "x");
    let raw = format!(
        "{:.2} us without, median of {ROUNDS} rounds of {COMMITS} commits",
        median(plain_us)
    );
    measured.add(row.must(Must::AtMost(1.1), None).is(median(ratios), raw));
    Ok(())
}

/// Microseconds per commit; the digests of the blocks are compared in either case.
fn time(proofs: &[Proof], undo: impl Fn(&Proof, &Blocks<'_>) -> Inversion) -> Result<f64> {
    let read: Vec<Blocks<'_>> =
        proofs.iter().map(|proof| Blocks::read(&proof.car)).collect::<Result<_, _>>()?;
    let begin = Instant::now();
    for (proof, blocks) in proofs.iter().zip(&read) {
        ensure!(undo(proof, black_box(blocks)) == Inversion::Ok, "a good commit is not undone");
    }
    Ok(begin.elapsed().as_secs_f64() * 1e6 / float(COMMITS))
}

fn make() -> Result<Vec<Proof>> {
    let key = |number: u64| {
        format!("app.example.c{}/3k{:011}", number % COLLECTIONS, number.wrapping_mul(7_919_797))
    };
    let mut tree = CachedTree::new();
    for number in 0..RECORDS {
        tree.insert(&key(number), cid_of_nothing(number));
    }
    let digest = |cid: &Cid36| Cid::from_bytes(cid).map(|cid| DataCid(cid.digest));
    let mut prev_data = digest(&tree.root())?;
    let commit = b"stands for the commit".as_slice();
    let commit_cid = cid_of(commit);
    let mut proofs = Vec::new();
    for number in RECORDS..RECORDS.saturating_add(COMMITS) {
        let (path, value) = (key(number), cid_of_nothing(number));
        tree.insert(&path, value);
        let (root, blocks) = tree.root_and_proof(&[&path]);
        let blocks = blocks.iter().map(|(cid, block)| (cid, block.as_slice()));
        let car = block::car(&[commit_cid], [(&commit_cid, commit)].into_iter().chain(blocks));
        let (root, cid) = (digest(&root)?, Cid::from_bytes(&value)?);
        proofs.push(Proof { root, prev_data, path, cid, car });
        prev_data = root;
    }
    Ok(proofs)
}
