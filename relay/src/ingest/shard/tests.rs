//! A shard between real rooms: store on SQLite, event log on a disk, identities at a simulated directory.
//!
//! The tests play the part of `upstream`: they read simulated hosts and hand each frame over. Time is
//! the clock of the bench, which stands still until a test moves it; what has to happen is waited
//! for, never slept for.

mod accounts;
mod bench;
mod identity;
mod parking;
mod replayed;
mod room;
