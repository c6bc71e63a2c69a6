//! Which files make up the index, and all that is kept as a whole.
//!
//! ```text
//! offset  size  meaning
//! 0       8     "RLYPMAN1"
//! 8       4     CRC-32 of what follows
//! 12      …     varints: first journal that counts, segments from the newest, position, names,
//!               counts by collection, notes
//! ```
//!
//! Written beside the old one and renamed over it, so that there is always a whole one. Everything
//! that it names is durable before; what it no longer names is removed after.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use super::{
    CollectionCount, IndexError,
    block::{put, take},
    disk,
    journal::{put_bytes, take_bytes},
    ledger::Ledger,
};
use crate::{domain::Seq, eventlog::Files};

const MAGIC: &[u8; 8] = b"RLYPMAN1";
const HEADER_BYTES: usize = 12;
pub(super) const NAME: &str = "manifest";
pub(super) const NEW_NAME: &str = "manifest.new";

/// What the file says.
#[derive(Debug, Clone, Default)]
pub(super) struct Manifest {
    /// Batches of this journal and later ones are not in the segments.
    pub(super) journal: u64,
    /// The newest first.
    pub(super) segments: Vec<u64>,
    pub(super) names: Vec<Arc<str>>,
    pub(super) ledger: Ledger,
}

impl Manifest {
    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.resize(HEADER_BYTES, 0);
        put(&mut out, self.journal);
        put(&mut out, disk::length(self.segments.len()));
        for segment in &self.segments {
            put(&mut out, *segment);
        }
        let ledger = &self.ledger;
        put(&mut out, ledger.position.map_or(0, |position| position.0.saturating_add(1)));
        put(&mut out, disk::length(self.names.len()));
        for name in &self.names {
            put_bytes(&mut out, name.as_bytes());
        }
        put(&mut out, disk::length(ledger.counts.len()));
        for count in &ledger.counts {
            put(&mut out, count.proven);
            put(&mut out, count.believed);
        }
        put(&mut out, disk::length(ledger.progress.len()));
        for (key, value) in &ledger.progress {
            put_bytes(&mut out, key);
            put_bytes(&mut out, value);
        }
        let checksum = crc32fast::hash(out.get(HEADER_BYTES..).unwrap_or_default());
        out[8..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (checksum, mut bytes) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
        if crc32fast::hash(bytes) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let all = &mut bytes;
        let journal = take(all)?;
        let mut segments = Vec::new();
        for _ in 0..take(all)? {
            segments.push(take(all)?);
        }
        let position = take(all)?.checked_sub(1).map(Seq);
        let mut names = Vec::new();
        for _ in 0..take(all)? {
            names.push(std::str::from_utf8(take_bytes(all)?).ok()?.into());
        }
        let mut counts = Vec::new();
        for _ in 0..take(all)? {
            counts.push(CollectionCount { proven: take(all)?, believed: take(all)? });
        }
        let mut progress = BTreeMap::new();
        for _ in 0..take(all)? {
            progress.insert(take_bytes(all)?.to_vec(), take_bytes(all)?.to_vec());
        }
        let ledger = Ledger::from_parts(position, counts, progress);
        bytes.is_empty().then_some(Self { journal, segments, names, ledger })
    }

    /// Takes the place of the one before, durably.
    pub(super) fn store(&self, files: &dyn Files, dir: &Path) -> Result<(), IndexError> {
        let (new, path) = (dir.join(NEW_NAME), dir.join(NAME));
        let file = files.create(&new).map_err(|error| disk::unwritable(&new, &error))?;
        file.write_all_at(&self.encode(), 0).map_err(|error| disk::unwritable(&new, &error))?;
        file.sync().map_err(|error| disk::unsynced(&new, &error))?;
        files.rename(&new, &path).map_err(|error| disk::unwritable(&path, &error))?;
        files.sync_dir(dir).map_err(|error| disk::unsynced(dir, &error))
    }

    /// * `bytes` – length of the file
    pub(super) fn load(files: &dyn Files, dir: &Path, bytes: u64) -> Result<Self, IndexError> {
        let path = dir.join(NAME);
        let io = |error| disk::unreadable(&path, &error);
        let size =
            usize::try_from(bytes).map_err(|_large| disk::damaged(&path, "it is too large"))?;
        let file = files.open(&path, false).map_err(io)?;
        let content = disk::read(&*file, 0, size).map_err(io)?;
        Self::decode(&content).ok_or_else(|| disk::damaged(&path, "its content is damaged"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn manifest() -> Manifest {
        let counts = (0..5).map(|n| CollectionCount { proven: n, believed: n << 40 }).collect();
        let notes = [(b"host/a".to_vec(), b"7".to_vec())];
        Manifest {
            journal: 9,
            segments: vec![8, 3],
            names: vec!["app.bsky.feed.post".into(), "app.bsky.feed.like".into()],
            ledger: Ledger::from_parts(Some(Seq(0)), counts, notes.into()),
        }
    }

    /// An index opens as it was left.
    #[test]
    fn a_manifest_comes_back() {
        let (written, read) = (manifest(), Manifest::decode(&manifest().encode()).unwrap());
        assert_eq!(format!("{written:?}"), format!("{read:?}"));
    }

    proptest! {
        /// A damaged one is never taken for a whole one, nor for an empty index.
        #[test]
        fn a_damaged_manifest_is_refused(flip in any::<prop::sample::Index>(), cut in any::<bool>()) {
            let mut bytes = manifest().encode();
            let place = flip.index(bytes.len() * 8);
            if cut {
                bytes.truncate(place / 8);
            } else {
                bytes[place / 8] ^= 1 << (place % 8);
            }
            prop_assert!(Manifest::decode(&bytes).is_none());
        }
    }
}
