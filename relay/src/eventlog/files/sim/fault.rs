//! What a disk does wrong once.

use std::io;

use rustix::io::Errno;

/// Kinds of operations that can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Create,
    Write,
    Cut,
    Sync,
    Rename,
    Remove,
    SyncNames,
}

/// One operation of a kind gives an error; a write does half of it all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    FullOnCreate,
    IoOnCreate,
    FullOnWrite,
    IoOnWrite,
    IoOnCut,
    IoOnSync,
    FullOnSync,
    InterruptedOnSync,
    FullOnRename,
    IoOnRename,
    IoOnRemove,
    IoOnSyncNames,
    NoDescriptorOnCreate,
    NoDescriptorOnSyncNames,
}

impl Fault {
    pub(crate) const ALL: [Self; 14] = [
        Self::FullOnCreate,
        Self::IoOnCreate,
        Self::FullOnWrite,
        Self::IoOnWrite,
        Self::IoOnCut,
        Self::IoOnSync,
        Self::FullOnSync,
        Self::InterruptedOnSync,
        Self::FullOnRename,
        Self::IoOnRename,
        Self::IoOnRemove,
        Self::IoOnSyncNames,
        Self::NoDescriptorOnCreate,
        Self::NoDescriptorOnSyncNames,
    ];

    pub(super) fn op(self) -> Op {
        match self {
            Self::FullOnCreate | Self::IoOnCreate | Self::NoDescriptorOnCreate => Op::Create,
            Self::FullOnWrite | Self::IoOnWrite => Op::Write,
            Self::IoOnCut => Op::Cut,
            Self::IoOnSync | Self::FullOnSync | Self::InterruptedOnSync => Op::Sync,
            Self::FullOnRename | Self::IoOnRename => Op::Rename,
            Self::IoOnRemove => Op::Remove,
            Self::IoOnSyncNames | Self::NoDescriptorOnSyncNames => Op::SyncNames,
        }
    }

    pub(super) fn error(self) -> io::Error {
        let errno = match self {
            Self::FullOnCreate | Self::FullOnWrite | Self::FullOnSync | Self::FullOnRename => {
                Errno::NOSPC
            }
            Self::InterruptedOnSync => Errno::INTR,
            Self::NoDescriptorOnCreate => Errno::MFILE,
            Self::NoDescriptorOnSyncNames => Errno::NFILE,
            Self::IoOnCreate
            | Self::IoOnWrite
            | Self::IoOnCut
            | Self::IoOnSync
            | Self::IoOnRename
            | Self::IoOnRemove
            | Self::IoOnSyncNames => Errno::IO,
        };
        errno.into()
    }
}
