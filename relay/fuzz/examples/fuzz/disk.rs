//! A disk in memory whose files come from an input.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use relay::eventlog::{File, Files};
use relay_fuzz::Choices;

/// Directory of the log.
pub(crate) const DIR: &str = "/log";
/// Files that an input may have.
const FILES_MAX: usize = 3;

// Offsets and lengths of `docs/event-log.md`.
const HEADER: usize = 128;
const RECORDS_MIN: usize = 24; // of a compressed block, which begins as a record does
const TRAILER: usize = 64;

/// The disk.
#[derive(Debug, Default)]
pub(crate) struct Disk(Mutex<BTreeMap<PathBuf, Arc<Memory>>>);

#[derive(Debug, Default)]
struct Memory(Mutex<Vec<u8>>);

impl Disk {
    /// Files one after the other, each as its length, the seq in its name less what its header says,
    /// and its bytes. Unless the first byte is 0, checksums are made true, or nothing behind them
    /// would ever be read.
    pub(crate) fn of(data: &[u8]) -> Self {
        let mut choices = Choices::new(data);
        let mends = choices.byte() != 0;
        let disk = Self::default();
        for _ in 0..FILES_MAX {
            if choices.is_done() {
                break;
            }
            let (length, off) = (choices.short(), choices.byte());
            let mut file = choices.take(length).to_vec();
            if mends {
                mend(&mut file);
            }
            let base = number(&file, 16).wrapping_add(off.into());
            let path = Path::new(DIR).join(format!("{base:020}.log"));
            held(&disk.0).insert(path, Arc::new(Memory(Mutex::new(file))));
        }
        disk
    }

    fn find(&self, path: &Path) -> io::Result<Arc<Memory>> {
        held(&self.0).get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Makes the checksums of a file true, as far as its lengths lead.
fn mend(file: &mut [u8]) {
    let salt = u32::try_from(number(file, 12) & u64::from(u32::MAX)).unwrap_or(0);
    if file.len() < HEADER {
        return;
    }
    put(file, HEADER - 4, &crc32fast::hash(&file[..HEADER - 4]).to_le_bytes());
    let mut at = HEADER;
    while let Some(length) = record_length(file, at) {
        let sum = checksum(salt, &file[at + 4..at + length]);
        put(file, at, &sum.to_le_bytes());
        at += length;
    }
    let Some(trailer) = file.len().checked_sub(TRAILER).filter(|trailer| *trailer >= HEADER) else {
        return;
    };
    let records_end = usize::try_from(number(file, trailer + 40)).unwrap_or(usize::MAX);
    if let Some(marks) = file.get(records_end..trailer) {
        let sum = checksum(salt, marks);
        put(file, trailer + 52, &sum.to_le_bytes());
    }
    let sum = checksum(salt, &file[trailer..trailer + TRAILER - 4]);
    if file[trailer..].starts_with(b"RELAYEND") {
        put(file, trailer + TRAILER - 4, &sum.to_le_bytes());
    }
}

/// The length that a record or block says it has, if it is all there.
fn record_length(file: &[u8], at: usize) -> Option<usize> {
    let length = file.get(at + 4..at + 8)?.try_into().ok()?;
    let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
    (length >= RECORDS_MIN && at + length <= file.len()).then_some(length)
}

fn checksum(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

/// Eight bytes as a number, 0 where there are none.
fn number(file: &[u8], at: usize) -> u64 {
    let bytes = file.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    u64::from_le_bytes(bytes.unwrap_or_default())
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn size(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Files for Disk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, _dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let files = held(&self.0);
        let names = files.iter().map(|(path, file)| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, held(&file.0).len() as u64)
        });
        Ok(names.collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = Arc::<Memory>::default();
        held(&self.0).insert(path.to_path_buf(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, path: &Path, _writable: bool) -> io::Result<Arc<dyn File>> {
        self.find(path).map(|file| file as Arc<dyn File>)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.find(from)?;
        let mut files = held(&self.0);
        files.remove(from);
        files.insert(to.to_path_buf(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.find(path)?;
        held(&self.0).remove(path);
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(1 << 40)
    }
}

impl File for Memory {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = held(&self.0);
        let rest = bytes.get(size(offset)..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut file = held(&self.0);
        let end = size(offset) + bytes.len();
        let length = file.len().max(end);
        file.resize(length, 0);
        file[end - bytes.len()..end].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        held(&self.0).resize(size(length), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
