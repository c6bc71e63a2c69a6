//! The log on a simulated disk: what a reader sees through writing, restarts, crashes, damage.
//!
//! `crash` drives the writer without its thread, so that the same seed gives the same operations;
//! the others use the whole log.

mod compressed;
mod crash;
mod cursors;
mod damage;
mod faults;
mod format;
mod pace;
mod points;
mod repaired;
mod replay;
mod space;
mod support;
