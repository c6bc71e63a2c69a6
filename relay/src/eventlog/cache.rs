//! What was read from files, shared by all readers: each block is read and decompressed once (I5).

use std::{collections::HashSet, io, sync::Arc};

use bytes::Bytes;
use lru::LruCache;
use metrics::{Counter, Gauge, counter, gauge};
use parking_lot::{Condvar, Mutex};

use super::files::length;
use crate::telemetry::metrics as catalogue;

/// Whole records that were read in one go and found to be sound.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) bytes: Bytes,
    /// Seq of the first record.
    pub(super) first: u64,
    /// Seq of the last one.
    pub(super) last: u64,
    /// Where in the file the next ones begin.
    pub(super) after: u64,
}

/// Which records: of which segment, as it was written or compressed, from where on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) base: u64,
    pub(super) is_compressed: bool,
    pub(super) offset: u64,
}

/// The newest blocks, by use.
#[derive(Debug)]
pub(super) struct Cache {
    state: Mutex<State>,
    loaded: Condvar,
    bytes_max: usize,
    measures: Measures,
}

#[derive(Debug)]
struct State {
    blocks: LruCache<Key, Arc<Loaded>>,
    bytes: usize,
    /// Being read by one of those who want them; at most as many as there are readers of files.
    loading: HashSet<Key>,
    decompressed: u64,
}

#[derive(Debug)]
struct Measures {
    bytes: Gauge,
    decompressed: Counter,
}

/// Takes the key back also when the one who reads panics: the others must not wait for ever.
struct Turn<'a>(&'a Cache, Key);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state.lock().loading.remove(&self.1);
        self.0.loaded.notify_all();
    }
}

impl Cache {
    /// Keeps at most `bytes_max` bytes of records; one block at least, whatever its size.
    pub(super) fn new(bytes_max: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        gauge!(catalogue::EVENTLOG_BLOCKS_LIMIT).set(bytes_max as f64);
        let state = State {
            blocks: LruCache::unbounded(),
            bytes: 0,
            loading: HashSet::new(),
            decompressed: 0,
        };
        Self {
            state: Mutex::new(state),
            loaded: Condvar::new(),
            bytes_max,
            measures: Measures {
                bytes: gauge!(catalogue::EVENTLOG_BLOCKS_DEPTH),
                decompressed: counter!(catalogue::EVENTLOG_BLOCKS_DECOMPRESSED),
            },
        }
    }

    /// The block if it is here.
    pub(super) fn find(&self, key: Key) -> Option<Arc<Loaded>> {
        self.state.lock().blocks.get(&key).map(Arc::clone)
    }

    /// The block; reads it unless another reader does so already, which is waited for.
    pub(super) fn get(
        &self,
        key: Key,
        load: impl FnOnce() -> Result<Loaded, Unsound>,
    ) -> Result<Arc<Loaded>, Unsound> {
        let mut state = self.state.lock();
        loop {
            if let Some(block) = state.blocks.get(&key) {
                return Ok(Arc::clone(block));
            }
            if state.loading.insert(key) {
                break;
            }
            self.loaded.wait(&mut state);
        }
        drop(state);
        let turn = Turn(self, key);
        let block = Arc::new(load()?);
        if key.is_compressed {
            self.measures.decompressed.increment(1);
        }
        self.keep(key, &block);
        drop(turn);
        Ok(block)
    }

    /// How many blocks were decompressed.
    #[cfg(test)]
    pub(super) fn decompressed(&self) -> u64 {
        self.state.lock().decompressed
    }

    fn keep(&self, key: Key, block: &Arc<Loaded>) {
        let mut forgotten = Vec::new();
        let mut state = self.state.lock();
        state.decompressed += u64::from(key.is_compressed);
        state.bytes = state.bytes.saturating_add(block.bytes.len());
        if let Some(replaced) = state.blocks.push(key, Arc::clone(block)) {
            state.bytes = state.bytes.saturating_sub(replaced.1.bytes.len());
            forgotten.push(replaced);
        }
        while state.bytes > self.bytes_max && state.blocks.len() > 1 {
            let Some(oldest) = state.blocks.pop_lru() else { break };
            state.bytes = state.bytes.saturating_sub(oldest.1.bytes.len());
            forgotten.push(oldest);
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        self.measures.bytes.set(length(state.bytes) as f64);
        // Memory is given back after the lock.
        drop(state);
        drop(forgotten);
    }
}

/// Why a block was not read.
#[derive(Debug)]
pub(super) enum Unsound {
    /// The file could not be read.
    Io(io::Error),
    /// What was read is not what was written.
    Damaged(&'static str),
}

impl From<io::Error> for Unsound {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    fn key(offset: u64) -> Key {
        Key { base: 1, is_compressed: true, offset }
    }

    fn block(bytes: usize) -> Loaded {
        Loaded { bytes: vec![0; bytes].into(), first: 1, last: 1, after: 0 }
    }

    /// DESIGN 10.11: who wants a block that is being read waits for it instead of reading it again.
    #[test]
    fn a_block_that_many_want_at_once_is_loaded_once() {
        let (cache, loads) = (Cache::new(1 << 20), AtomicUsize::new(0));
        let start = Barrier::new(8);
        let load = || {
            loads.fetch_add(1, Ordering::Relaxed);
            std::thread::yield_now();
            Ok(block(100))
        };
        let read = || {
            start.wait();
            (0..50).all(|offset| cache.get(key(offset), load).is_ok())
        };
        std::thread::scope(|scope| {
            let readers = [(); 8].map(|()| scope.spawn(read));
            assert!(readers.into_iter().all(|reader| reader.join().unwrap()));
        });
        assert_eq!(loads.into_inner(), 50);
    }

    /// I5: the bytes kept never pass the limit, and what was used last stays.
    #[test]
    fn the_blocks_used_least_go_at_the_limit() {
        let cache = Cache::new(1_000);
        for offset in 0..10 {
            cache.get(key(offset), || Ok(block(300))).unwrap();
            assert!(cache.state.lock().bytes <= 1_000);
            assert!(cache.find(key(0)).is_some(), "used again and again");
        }
        assert!(cache.find(key(1)).is_none());
        assert!(cache.find(key(9)).is_some());
        cache.get(key(99), || Ok(block(5_000))).unwrap();
        assert_eq!(cache.state.lock().blocks.len(), 1);
    }

    /// Who waited for a reader that failed reads by itself.
    #[test]
    fn a_failed_load_is_tried_again() {
        let cache = Cache::new(1_000);
        let failed = cache.get(key(1), || Err(Unsound::Damaged("so")));
        assert!(matches!(failed, Err(Unsound::Damaged("so"))));
        assert!(cache.get(key(1), || Ok(block(1))).is_ok());
    }
}
