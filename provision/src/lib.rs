//! What every way of deploying the relay shares: Ansible, the NixOS module, Compose and people on a
//! laptop call this and hold no logic of their own.
//!
//! The program `provision` is a thin front of it. With the feature `operate` off, which is how CI
//! builds the program for its own verbs, only what fetches and runs things is compiled.

pub mod ansible;
#[cfg(feature = "operate")]
pub mod backup;
pub mod cache;
#[cfg(feature = "operate")]
pub mod compare;
#[cfg(feature = "operate")]
pub mod deployment;
#[cfg(feature = "operate")]
pub mod doctor;
#[cfg(feature = "operate")]
pub mod env_file;
#[cfg(feature = "operate")]
pub mod facts;
#[cfg(feature = "operate")]
pub mod feed;
#[cfg(feature = "operate")]
pub mod files;
#[cfg(feature = "operate")]
pub mod image;
#[cfg(feature = "operate")]
pub mod infra;
#[cfg(feature = "operate")]
pub mod init;
#[cfg(feature = "operate")]
pub mod known;
#[cfg(feature = "operate")]
pub mod moment;
pub mod peers;
#[cfg(feature = "operate")]
pub mod robot;
#[cfg(feature = "operate")]
pub mod roster;
pub mod run;
#[cfg(feature = "operate")]
pub mod selfcheck;
#[cfg(feature = "operate")]
pub mod sizing;
#[cfg(feature = "operate")]
pub mod snapshot;
#[cfg(feature = "operate")]
pub mod ssh;
#[cfg(feature = "operate")]
pub mod stack;
#[cfg(feature = "operate")]
pub mod told;
#[cfg(feature = "operate")]
pub mod tuned;
#[cfg(feature = "operate")]
pub mod tunnel;
#[cfg(feature = "operate")]
pub mod upgrade;
#[cfg(feature = "operate")]
pub mod watch;
#[cfg(feature = "operate")]
pub mod words;
