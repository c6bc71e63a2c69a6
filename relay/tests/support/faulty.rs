//! The machine's files, of which one operation fails, or which do reads and writes in parts.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use relay::eventlog::{File, Files, Machine};
use rustix::io::Errno;

/// Operations that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Create,
    Write,
    Sync,
    Rename,
    Remove,
    SyncNames,
}

/// One operation that fails; a write does half of it all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) op: Op,
    pub(crate) errno: Errno,
    /// So many operations of this kind succeed before.
    pub(crate) after: u64,
}

/// Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultyFiles(Arc<State>);

#[derive(Debug, Default)]
struct State {
    fault: Mutex<Option<Fault>>,
    struck: AtomicU64,
    is_choppy: AtomicBool,
    chopped: AtomicU64,
}

impl FaultyFiles {
    /// From now on this is to fail, once.
    pub(crate) fn fail(&self, fault: Fault) {
        *self.0.fault.lock() = Some(fault);
    }

    /// How often something failed.
    pub(crate) fn struck(&self) -> u64 {
        self.0.struck.load(Ordering::SeqCst)
    }

    /// From now on every other read and write does a part only, and every third is interrupted.
    pub(crate) fn chop(&self) {
        self.0.is_choppy.store(true, Ordering::SeqCst);
    }

    /// How many reads and writes were not done whole.
    pub(crate) fn chopped(&self) -> u64 {
        self.0.chopped.load(Ordering::SeqCst)
    }

    fn strike(&self, op: Op) -> io::Result<()> {
        let mut planned = self.0.fault.lock();
        let Some(fault) = planned.as_mut().filter(|fault| fault.op == op) else { return Ok(()) };
        if fault.after > 0 {
            fault.after -= 1;
            return Ok(());
        }
        let error = fault.errno.into();
        *planned = None;
        self.0.struck.fetch_add(1, Ordering::SeqCst);
        Err(error)
    }

    /// How many of these bytes are done at once.
    fn part(&self, bytes: usize) -> io::Result<usize> {
        if !self.0.is_choppy.load(Ordering::SeqCst) || bytes < 2 {
            return Ok(bytes);
        }
        match self.0.chopped.fetch_add(1, Ordering::SeqCst) % 6 {
            0 | 3 => Err(io::ErrorKind::Interrupted.into()),
            1 | 5 => Ok(bytes / 2),
            2 => Ok(1),
            _ => Ok(bytes),
        }
    }

    fn wrap(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FaultyFile { files: self.clone(), file })
    }
}

impl Files for FaultyFiles {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        Machine.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        Machine.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.strike(Op::Create)?;
        Ok(self.wrap(Machine.create(path)?))
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(Machine.open(path, writable)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.strike(Op::Rename)?;
        Machine.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.strike(Op::Remove)?;
        Machine.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.strike(Op::SyncNames)?;
        Machine.sync_dir(dir)
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        // Far above what the log wants, so that the test does not depend on the machine's disk.
        Ok(1 << 40)
    }
}

#[derive(Debug)]
struct FaultyFile {
    files: FaultyFiles,
    file: Arc<dyn File>,
}

impl File for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let part = self.files.part(buffer.len())?;
        self.file.read_at(&mut buffer[..part], offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if let Err(error) = self.files.strike(Op::Write) {
            self.file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        self.file.write_at(&bytes[..self.files.part(bytes.len())?], offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.files.strike(Op::Sync)?;
        self.file.sync()
    }
}
