//! Revisions (SYN-1).

use std::{fmt, fmt::Write as _};

use crate::Invalid;

/// base32-sortable: the order of characters is the order of numbers.
const ALPHABET: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";
const TEXT_BYTES: usize = 13;
/// The top bit of a TID is 0.
const NUMBER_MAX: u64 = u64::MAX >> 1;

/// A revision: a TID as its 64-bit number, so that order is numeric.
///
/// The number is below 2^63: 53 bits of microseconds, then 10 bits of clock id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rev(u64);

impl Rev {
    /// Parses 13 characters of base32-sortable.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        Self::parse_bytes(text.as_bytes())
    }

    /// As [`Self::parse`], from bytes that need not be UTF-8.
    pub(crate) fn parse_bytes(text: &[u8]) -> Result<Self, Invalid> {
        const REFUSAL: Invalid = Invalid::new("a TID is not 13 characters of base32-sortable");
        if text.len() != TEXT_BYTES {
            return Err(REFUSAL);
        }
        let mut number = 0_u128;
        for &digit in text {
            let value = match digit {
                b'2'..=b'7' => digit.wrapping_sub(b'2'),
                b'a'..=b'z' => digit.wrapping_sub(b'a').wrapping_add(6),
                _ => return Err(REFUSAL),
            };
            number = (number << 5) | u128::from(value);
        }
        u64::try_from(number)
            .ok()
            .and_then(Self::from_u64)
            .ok_or(Invalid::new("a TID has its top bit set"))
    }

    /// From the number that [`Self::to_u64`] gave; `None` from 2^63 on.
    pub fn from_u64(number: u64) -> Option<Self> {
        (number <= NUMBER_MAX).then_some(Self(number))
    }

    /// The number.
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// Its time in microseconds since 1970.
    pub const fn micros(self) -> u64 {
        self.0 >> 10
    }
}

impl fmt::Display for Rev {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for shift in [60_u32, 55, 50, 45, 40, 35, 30, 25, 20, 15, 10, 5, 0] {
            let [digit, ..] = self.0.wrapping_shr(shift).to_le_bytes();
            let digit = ALPHABET.get(usize::from(digit & 0x1f)).copied().unwrap_or_default();
            out.write_char(char::from(digit))?;
        }
        Ok(())
    }
}
