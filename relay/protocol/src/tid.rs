//! Revisions (SYN-1).
use std::fmt;

use crate::Invalid;

/// A revision: a TID as its 64-bit number, so that order is numeric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rev(u64);

impl Rev {
    /// Parses 13 characters of base32-sortable.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        todo!()
    }
    /// From the number that [`Self::to_u64`] gave.
    pub fn from_u64(number: u64) -> Option<Self> {
        todo!()
    }
    /// The number.
    pub fn to_u64(self) -> u64 {
        self.0
    }
    /// Its time in microseconds since 1970.
    pub fn micros(self) -> u64 {
        self.0 >> 10
    }
}
impl fmt::Display for Rev {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
