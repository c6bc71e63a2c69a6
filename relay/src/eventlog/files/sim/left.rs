//! What a crash leaves of a file and of a directory, by the dice.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Dice, size};

const SECTOR: usize = 512;

/// What became of unsynced changes in a crash; a run must have met every kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Left {
    /// No write of a file.
    NoWrite,
    /// All writes.
    EveryWrite,
    /// The first ones, the last of them torn.
    TornEnd,
    /// Some, whole or torn, in any order.
    Reordered,
    /// The length without the bytes.
    LengthOnly,
    /// No change of a name.
    NoName,
    /// Some of them.
    SomeNames,
    /// All.
    EveryName,
}

impl Left {
    pub(crate) const ALL: [Self; 8] = [
        Self::NoWrite,
        Self::EveryWrite,
        Self::TornEnd,
        Self::Reordered,
        Self::LengthOnly,
        Self::NoName,
        Self::SomeNames,
        Self::EveryName,
    ];
}

#[derive(Debug, Default)]
pub(super) struct Inode {
    pub(super) now: Vec<u8>,
    pub(super) synced: Vec<u8>,
    pub(super) unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    pub(super) fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write(at, bytes) => {
                let end = at + bytes.len();
                to.resize(to.len().max(end), 0);
                to[*at..end].copy_from_slice(bytes);
            }
            Self::Length(length) => to.resize(*length, 0),
        }
    }

    /// Applies sectors of a write by the dice.
    fn tear(&self, to: &mut Vec<u8>, dice: &mut Dice) {
        let Self::Write(at, bytes) = self else { return self.apply(to) };
        let mut from = 0;
        while from < bytes.len() {
            let sector_end = ((at + from) / SECTOR + 1) * SECTOR - at;
            let upto = sector_end.min(bytes.len());
            if dice.one_in(2) {
                Self::Write(at + from, bytes[from..upto].to_vec()).apply(to);
            }
            from = upto;
        }
    }
}

impl Inode {
    /// What a crash leaves; says how when there was something unsynced.
    pub(super) fn crash(&mut self, dice: &mut Dice) -> Option<Left> {
        let changes = std::mem::take(&mut self.unsynced);
        let mut left = std::mem::take(&mut self.synced);
        let how = match dice.below(5) {
            0 => Left::NoWrite,
            1 => {
                for change in &changes {
                    change.apply(&mut left);
                }
                Left::EveryWrite
            }
            2 => {
                let count = size(dice.below(changes.len() as u64 + 1));
                for change in &changes[..count] {
                    change.apply(&mut left);
                }
                if let Some(torn) = changes.get(count) {
                    torn.tear(&mut left, dice);
                }
                Left::TornEnd
            }
            3 => {
                for change in &changes {
                    match dice.below(3) {
                        0 => {}
                        1 => change.apply(&mut left),
                        _ => change.tear(&mut left, dice),
                    }
                }
                Left::Reordered
            }
            _ => {
                let fill = if dice.one_in(2) { 0 } else { u8::try_from(dice.below(256)).unwrap() };
                left.resize(left.len().max(self.now.len()), fill);
                Left::LengthOnly
            }
        };
        self.now.clone_from(&left);
        self.synced = left;
        (!changes.is_empty()).then_some(how)
    }
}

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Set(PathBuf, usize),
    Unset(PathBuf),
    Move(PathBuf, PathBuf, usize),
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Set(path, inode) => {
                names.insert(path, inode);
            }
            Self::Unset(path) => {
                names.remove(&path);
            }
            Self::Move(from, to, inode) => {
                if names.get(&from) == Some(&inode) {
                    names.remove(&from);
                }
                names.insert(to, inode);
            }
        }
    }

    /// Whether a file got the name under which the log will look for it.
    pub(super) fn is_new_segment(&self) -> bool {
        matches!(self, Self::Move(_, to, _) if has_extension(to, "log"))
    }

    pub(super) fn is_removal(&self) -> bool {
        matches!(self, Self::Unset(_))
    }
}

pub(super) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// Applies what a crash leaves of these changes; says how when there were any.
pub(super) fn crash_names(
    names: &mut BTreeMap<PathBuf, usize>,
    changes: Vec<NameChange>,
    dice: &mut Dice,
) -> Option<Left> {
    let how = match dice.below(3) {
        0 => Left::NoName,
        1 => Left::SomeNames,
        _ => Left::EveryName,
    };
    let any = !changes.is_empty();
    for change in changes {
        if how == Left::EveryName || (how == Left::SomeNames && dice.one_in(2)) {
            change.apply(names);
        }
    }
    any.then_some(how)
}
