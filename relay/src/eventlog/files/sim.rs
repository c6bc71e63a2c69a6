//! A disk in memory that forgets what was not synced.
//!
//! Model, on purpose harsher than a journaling file system: after a crash each unsynced write of a
//! file may be there, or not, or in part, sector by sector and in any order; a file may have grown
//! over bytes that were never written, which then are zeros or rubbish; each unsynced change of a
//! name may be there or not, independently of the others. A failed sync drops what it should have
//! kept, while the running machine still reads it, as Linux does.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{File, Files};
use crate::eventlog::segment::HEADER;

mod dice;
mod fault;
mod left;

pub(crate) use dice::Dice;
pub(crate) use fault::Fault;
use fault::Op;
pub(crate) use left::Left;
use left::{Change, Inode, NameChange, crash_names, has_extension};

/// A sync that the disk leaves out, as a writer would that forgot it. One kind each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skip {
    /// Of the records of a batch, before the head moves.
    Batch,
    /// Of the footer of a segment.
    Footer,
    /// Of a new segment with its header, before it gets its name.
    NewFile,
    /// Of the new file with what recovery copied, before it gets its name.
    Recovery,
    /// Of a compressed segment, before it takes the place of the plain one.
    Compressed,
    /// Of the directory after a new file got its name.
    NewName,
    /// Of the directory after a file was removed.
    OldName,
}

/// The last bytes of a sealed segment begin with this.
const END_MAGIC: &[u8; 8] = b"RELAYEND";

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The disk; clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    unsynced_names: Vec<NameChange>,
    /// Every operation that changes something, in order.
    ops: Vec<String>,
    crash_at: Option<usize>,
    /// What goes wrong at the first operation of its kind from this one on.
    fault: Option<(usize, Fault)>,
    /// How often something went wrong in this life.
    struck: usize,
    /// Reads and writes are short and interrupted, by these dice.
    choppy: Option<Dice>,
    is_down: bool,
    /// Handles of an earlier life do nothing.
    life: u64,
    capacity: u64,
    skip: Option<Skip>,
    /// How often the disk left out a sync.
    skipped: usize,
    left: BTreeMap<Left, usize>,
    unreadable: BTreeSet<PathBuf>,
}

impl State {
    /// Counts an operation; fails from the chosen one on.
    fn op(&mut self, what: impl FnOnce() -> String) -> io::Result<()> {
        if self.is_down || self.crash_at.is_some_and(|at| self.ops.len() >= at) {
            self.is_down = true;
            return Err(io::Error::other("the simulated machine is down"));
        }
        self.ops.push(what());
        Ok(())
    }

    /// Whether the operation that was just counted is the one that goes wrong.
    fn struck(&mut self, op: Op) -> Option<io::Error> {
        let now = self.ops.len() - 1;
        let (_, fault) = self.fault.take_if(|(at, fault)| now >= *at && fault.op() == op)?;
        self.struck += 1;
        if let Some(story) = self.ops.last_mut() {
            *story = format!("{story} fails: {fault:?}");
        }
        Some(fault.error())
    }

    /// How much of a read or write of so many bytes is done at once.
    fn chop(&mut self, bytes: usize) -> io::Result<usize> {
        let Some(dice) = self.choppy.as_mut().filter(|_| bytes > 0) else { return Ok(bytes) };
        match dice.below(4) {
            0 => Err(io::ErrorKind::Interrupted.into()),
            1 => Ok(1 + size(dice.below(bytes as u64))),
            _ => Ok(bytes),
        }
    }

    fn used(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].now.len() as u64).sum()
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Whether the sync of this file is one that the disk leaves out.
    fn is_skipped(&self, inode: usize) -> bool {
        let name = self.names.iter().find(|(_, other)| **other == inode).map(|(name, _)| name);
        let is = |extension| name.is_some_and(|name| has_extension(name, extension));
        let inode = &self.inodes[inode];
        let has_footer = inode.unsynced.iter().any(|change| {
            matches!(change, Change::Write(_, bytes) if bytes.windows(8).any(|b| b == END_MAGIC))
        });
        match self.skip {
            Some(Skip::Batch) => is("log") && !has_footer,
            Some(Skip::Footer) => is("log") && has_footer,
            Some(Skip::NewFile) => is("tmp") && inode.now.len() == HEADER,
            Some(Skip::Recovery) => is("tmp") && inode.now.len() > HEADER && !has_footer,
            Some(Skip::Compressed) => is("tmp") && has_footer,
            Some(Skip::NewName | Skip::OldName) | None => false,
        }
    }

    /// Whether the sync of the directory is one that the disk leaves out.
    fn are_names_skipped(&self) -> bool {
        let last = self.unsynced_names.last();
        match self.skip {
            Some(Skip::NewName) => last.is_some_and(NameChange::is_new_segment),
            Some(Skip::OldName) => last.is_some_and(NameChange::is_removal),
            _ => false,
        }
    }
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            ops: Vec::new(),
            crash_at: None,
            fault: None,
            struck: 0,
            choppy: None,
            is_down: false,
            life: 0,
            capacity: 1 << 40,
            skip: None,
            skipped: 0,
            left: BTreeMap::new(),
            unreadable: BTreeSet::new(),
        })))
    }

    pub(crate) fn skipping(skip: Option<Skip>) -> Self {
        let disk = Self::new();
        disk.0.lock().skip = skip;
        disk
    }

    /// How often a sync was left out.
    pub(crate) fn skipped(&self) -> usize {
        self.0.lock().skipped
    }

    /// How often crashes left what.
    pub(crate) fn left(&self) -> BTreeMap<Left, usize> {
        self.0.lock().left.clone()
    }

    /// Number of operations so far.
    pub(crate) fn ops(&self) -> usize {
        self.0.lock().ops.len()
    }

    /// The operations from this one on, for a failing test to print.
    pub(crate) fn story(&self, from: usize) -> String {
        self.0.lock().ops.get(from..).unwrap_or_default().join("\n")
    }

    /// The machine goes down before this operation.
    pub(crate) fn crash_at(&self, op: usize) {
        self.0.lock().crash_at = Some(op);
    }

    /// The first sync at or after this operation fails.
    pub(crate) fn fail_sync_at(&self, op: usize) {
        self.fail_at(op, Fault::IoOnSync);
    }

    /// The first operation of its kind at or after this one goes wrong.
    pub(crate) fn fail_at(&self, op: usize, fault: Fault) {
        self.0.lock().fault = Some((op, fault));
    }

    /// From now on reads and writes may do a part only, or be interrupted.
    pub(crate) fn chop(&self, dice: Dice) {
        self.0.lock().choppy = Some(dice);
    }

    pub(crate) fn is_down(&self) -> bool {
        self.0.lock().is_down
    }

    /// Whether something went wrong in this life.
    pub(crate) fn has_struck(&self) -> bool {
        self.0.lock().struck > 0
    }

    pub(crate) fn set_free(&self, free: u64) {
        let mut state = self.0.lock();
        state.capacity = state.used() + free;
    }

    /// Power off and on again: the dice decide what is left of unsynced things.
    pub(crate) fn crash(&self, dice: &mut Dice) {
        let mut locked = self.0.lock();
        let state = &mut *locked;
        let mut names = state.synced_names.clone();
        let mut left: Vec<Left> =
            state.inodes.iter_mut().filter_map(|inode| inode.crash(dice)).collect();
        let changes = std::mem::take(&mut state.unsynced_names);
        left.extend(crash_names(&mut names, changes, dice));
        for how in left {
            *state.left.entry(how).or_default() += 1;
        }
        state.names.clone_from(&names);
        state.synced_names = names;
        drop(locked);
        self.restart();
    }

    /// The process ends and starts again; the machine goes on, so nothing is lost.
    pub(crate) fn restart(&self) {
        let mut state = self.0.lock();
        (state.is_down, state.crash_at, state.fault, state.struck) = (false, None, None, 0);
        state.life += 1;
    }

    /// Paths of all files.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().names.keys().cloned().collect()
    }

    /// The bytes of a file.
    pub(crate) fn content(&self, path: &Path) -> Vec<u8> {
        let state = self.0.lock();
        state.inodes[state.inode(path).unwrap()].now.clone()
    }

    /// Changes a file behind the log's back, durably.
    pub(crate) fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.lock();
        let inode = state.inode(path).unwrap();
        let inode = &mut state.inodes[inode];
        change(&mut inode.now);
        inode.synced.clone_from(&inode.now);
        inode.unsynced.clear();
    }

    /// A file that is there, durably.
    pub(crate) fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.0.lock();
        let inode = state.inodes.len();
        state.inodes.push(Inode { now: bytes.clone(), synced: bytes, unsynced: Vec::new() });
        state.names.insert(path.to_path_buf(), inode);
        state.synced_names.insert(path.to_path_buf(), inode);
    }

    /// A file that is gone, durably.
    pub(crate) fn forget(&self, path: &Path) {
        let mut state = self.0.lock();
        state.names.remove(path).unwrap();
        state.synced_names.remove(path);
    }

    /// The medium cannot read this file any more.
    pub(crate) fn make_unreadable(&self, path: &Path) {
        self.0.lock().unreadable.insert(path.to_path_buf());
    }

    fn file(&self, state: &State, inode: usize, path: &Path) -> Arc<dyn File> {
        let path = path.to_path_buf();
        Arc::new(SimFile { disk: self.clone(), inode, path, life: state.life })
    }
}

impl Files for Disk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let state = self.0.lock();
        let below = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(below
            .map(|(path, inode)| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                (name, state.inodes[*inode].now.len() as u64)
            })
            .collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.0.lock();
        state.op(|| format!("create {}", path.display()))?;
        if let Some(error) = state.struck(Op::Create) {
            return Err(error);
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.names.insert(path.to_path_buf(), inode);
        state.unsynced_names.push(NameChange::Set(path.to_path_buf(), inode));
        Ok(self.file(&state, inode, path))
    }

    fn open(&self, path: &Path, _writable: bool) -> io::Result<Arc<dyn File>> {
        let state = self.0.lock();
        let inode = state.inode(path)?;
        Ok(self.file(&state, inode, path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.op(|| format!("rename {} {}", from.display(), to.display()))?;
        if let Some(error) = state.struck(Op::Rename) {
            return Err(error);
        }
        let inode = state.inode(from)?;
        state.names.remove(from);
        state.names.insert(to.to_path_buf(), inode);
        let change = NameChange::Move(from.to_path_buf(), to.to_path_buf(), inode);
        state.unsynced_names.push(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.op(|| format!("remove {}", path.display()))?;
        if let Some(error) = state.struck(Op::Remove) {
            return Err(error);
        }
        state.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        state.unsynced_names.push(NameChange::Unset(path.to_path_buf()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.op(|| format!("sync {}", dir.display()))?;
        if let Some(error) = state.struck(Op::SyncNames) {
            state.unsynced_names.clear();
            return Err(error);
        }
        if state.are_names_skipped() {
            state.skipped += 1;
        } else {
            state.synced_names = state.names.clone();
            state.unsynced_names.clear();
        }
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.0.lock();
        Ok(state.capacity.saturating_sub(state.used()))
    }
}

#[derive(Debug)]
struct SimFile {
    disk: Disk,
    inode: usize,
    path: PathBuf,
    life: u64,
}

impl SimFile {
    fn change<T>(
        &self,
        what: &str,
        act: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.disk.0.lock();
        if state.life != self.life {
            return Err(io::Error::other("a file of an earlier life"));
        }
        state.op(|| format!("{what} {}", self.path.display()))?;
        act(&mut state)
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.0.lock();
        if state.unreadable.contains(&self.path) {
            return Err(rustix::io::Errno::IO.into());
        }
        let wanted = state.chop(buffer.len())?;
        let bytes = &state.inodes[self.inode].now;
        let rest = bytes.get(size(offset)..).unwrap_or_default();
        let read = rest.len().min(wanted);
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let at = size(offset);
        self.change(&format!("write {offset}+{} to", bytes.len()), |state| {
            let error = state.struck(Op::Write);
            // Part of what cannot be written gets there.
            let wanted = if error.is_some() { bytes.len() / 2 } else { state.chop(bytes.len())? };
            let room = size(state.capacity.saturating_sub(state.used()));
            let inode = &mut state.inodes[self.inode];
            let growth = (at + wanted).saturating_sub(inode.now.len());
            let fits = wanted - growth.saturating_sub(room).min(wanted);
            let change = Change::Write(at, bytes[..fits].to_vec());
            change.apply(&mut inode.now);
            inode.unsynced.push(change);
            match error {
                Some(error) => Err(error),
                None if fits == 0 && wanted > 0 => Err(io::ErrorKind::StorageFull.into()),
                None => Ok(fits),
            }
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.change(&format!("cut at {length}"), |state| {
            if let Some(error) = state.struck(Op::Cut) {
                return Err(error);
            }
            let inode = &mut state.inodes[self.inode];
            let change = Change::Length(size(length));
            change.apply(&mut inode.now);
            inode.unsynced.push(change);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.change("sync", |state| {
            let error = state.struck(Op::Sync);
            let is_skipped = state.is_skipped(self.inode);
            let inode = &mut state.inodes[self.inode];
            if let Some(error) = error {
                inode.unsynced.clear();
                return Err(error);
            }
            if is_skipped {
                state.skipped += 1;
            } else {
                let changes = std::mem::take(&mut inode.unsynced);
                for change in changes {
                    change.apply(&mut inode.synced);
                }
            }
            Ok(())
        })
    }
}
