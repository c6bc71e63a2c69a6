//! What every way of deploying the relay shares: Ansible, the NixOS module, Compose and people on a
//! laptop call this and hold no logic of their own.
//!
//! The program `provision` is a thin front of it. With the feature `operate` off, which is how CI
//! builds the program for its own verbs, nothing of this is compiled.

#[cfg(feature = "operate")]
pub mod env_file;
#[cfg(feature = "operate")]
pub mod facts;
#[cfg(feature = "operate")]
pub mod feed;
#[cfg(feature = "operate")]
pub mod files;
#[cfg(feature = "operate")]
pub mod init;
#[cfg(feature = "operate")]
pub mod moment;
#[cfg(feature = "operate")]
pub mod sizing;
#[cfg(feature = "operate")]
pub mod told;
#[cfg(feature = "operate")]
pub mod tuned;
#[cfg(feature = "operate")]
pub mod watch;
#[cfg(feature = "operate")]
pub mod words;
