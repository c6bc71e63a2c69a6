//! Bounded, canonical DAG-CBOR (ENC-1…8).
//!
//! [`Reader`] walks bytes from outside without copying or allocating; whatever it accepts is the
//! only encoding of its value, so a block that was read needs no re-encoding to prove it canonical
//! (ENC-9). [`Writer`] produces the same form (ENC-10).

mod entries;
mod record;
mod writer;

use std::str;

pub use entries::MapEntries;
pub(crate) use entries::sorts_before;
pub use record::{RECORD_BYTES_MAX, check_record};
pub use writer::{UintBytes, Writer, encode_uint};

use crate::{Cid, Codec, Invalid};

/// Items of one array or entries of one map (ENC-8).
const CONTAINER_ITEMS_MAX: usize = 131_072;
/// Bytes of one map key (ENC-8).
const KEY_BYTES_MAX: usize = 8_192;
/// Arrays and maps inside each other below what a decoder opens itself. ENC-8 asks for 32 and allows
/// a hard cap of 128, which costs about 16 KiB of stack; records of other people are not dropped for
/// style. No decoder opens more than a map of lists of maps around a value, so that nothing that
/// passes nests deeper than the cap.
const DEPTH_MAX: u32 = 120;
/// A link in front of its 36 CID bytes: tag 42, byte string of 37, multibase prefix 0 (ENC-3).
const LINK_PREFIX: [u8; 5] = [0xd8, 0x2a, 0x58, 0x25, 0x00];
/// CID bytes with the prefix 0; links of records may be of kinds that we do not know (ENC-8).
const RECORD_LINK_BYTES_MAX: u64 = 101;

const UINT: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;
const FLOAT: u8 = 0xfb;

const TRUNCATED: Invalid = Invalid::new("CBOR ends inside a value");
const TOO_DEEP: Invalid = Invalid::new("CBOR is nested too deeply");
const NOT_UTF_8: Invalid = Invalid::new("a text string is not UTF-8");
const NOT_A_LINK: Invalid = Invalid::new("expected a CID link");

/// What the next value is, judged by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An integer from 0 on.
    Uint,
    /// An integer below 0.
    Negative,
    /// A byte string.
    Bytes,
    /// A text string.
    Text,
    /// An array.
    Array,
    /// A map.
    Map,
    /// A tag; only tag 42, a CID link, will be readable.
    Link,
    /// `true` or `false`.
    Bool,
    /// `null`.
    Null,
    /// A float or another value that DAG-CBOR or atproto forbids (ENC-4).
    Forbidden,
}

/// How strictly a value that nobody asks for is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// Frames, commits and nodes: all of ENC-1…7.
    Protocol,
    /// Records (ROLE-5): finite 64-bit floats, all 64-bit integers and foreign CIDs are permitted.
    Record,
}

/// Reads canonical DAG-CBOR from a slice; borrows everything, allocates nothing.
///
/// A method that reads a value consumes it when it succeeds. After an error the position is
/// somewhere inside the refused value: give up, or [`Clone`] the reader before trying.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, total: bytes.len() }
    }

    /// Bytes read so far.
    pub const fn position(&self) -> usize {
        self.total.saturating_sub(self.rest.len())
    }

    /// Bytes not read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Fails when bytes are left (ENC-7).
    pub const fn expect_end(&self) -> Result<(), Invalid> {
        if self.rest.is_empty() { Ok(()) } else { Err(Invalid::new("bytes follow the CBOR value")) }
    }

    /// Kind of the next value, `None` at the end of the bytes. Reads nothing; the value itself may
    /// still turn out to be malformed.
    #[inline]
    pub fn kind(&self) -> Option<Kind> {
        self.rest.first().map(|first| match first >> 5 {
            UINT => Kind::Uint,
            NEGATIVE => Kind::Negative,
            BYTES => Kind::Bytes,
            TEXT => Kind::Text,
            ARRAY => Kind::Array,
            MAP => Kind::Map,
            TAG => Kind::Link,
            _ => match *first {
                FALSE | TRUE => Kind::Bool,
                NULL => Kind::Null,
                _ => Kind::Forbidden,
            },
        })
    }

    /// Whether the next value is `null`; reads nothing.
    #[inline]
    pub fn is_null(&self) -> bool {
        self.rest.first() == Some(&NULL)
    }

    /// Reads `null` if it is next and says whether it was. The usual shape for a field that may be
    /// null: `if reader.take_null() { None } else { Some(reader.text()?) }`.
    #[inline]
    pub fn take_null(&mut self) -> bool {
        match self.rest.split_first() {
            Some((&NULL, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Reads exactly these bytes if they are next and says whether they were: for shapes that have
    /// one encoding only, such as the fields of a tree node.
    #[inline]
    pub(crate) fn take_literal<const N: usize>(&mut self, encoded: &[u8; N]) -> bool {
        match self.rest.split_first_chunk::<N>() {
            Some((first, rest)) if first == encoded => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Reads `null`.
    pub fn null(&mut self) -> Result<(), Invalid> {
        if self.take_null() { Ok(()) } else { Err(Invalid::new("expected null")) }
    }

    /// Reads `true` or `false`.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, Invalid> {
        match self.rest.split_first() {
            Some((&value @ (FALSE | TRUE), rest)) => {
                self.rest = rest;
                Ok(value == TRUE)
            }
            _ => Err(Invalid::new("expected a boolean")),
        }
    }

    /// Reads an integer in 0..2^63.
    #[inline]
    pub fn uint(&mut self) -> Result<u64, Invalid> {
        let value = self.argument(UINT, Invalid::new("expected an unsigned integer"))?;
        signed(value)?;
        Ok(value)
    }

    /// Reads an integer in -2^63..2^63.
    pub fn int(&mut self) -> Result<i64, Invalid> {
        match self.head()? {
            (UINT, value) => signed(value),
            // CBOR stores -1 - n, which is the complement of n.
            (NEGATIVE, value) => signed(value).map(|value| !value),
            _ => Err(Invalid::new("expected an integer")),
        }
    }

    /// Reads a byte string.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Invalid> {
        let length = self.argument(BYTES, Invalid::new("expected a byte string"))?;
        self.take(length)
    }

    /// Reads a text string, checked to be UTF-8 (ENC-6).
    #[inline]
    pub fn text(&mut self) -> Result<&'a str, Invalid> {
        utf8(self.text_bytes()?)
    }

    /// Reads a text string whose bytes the caller will check to be ASCII.
    #[inline]
    pub(crate) fn text_bytes(&mut self) -> Result<&'a [u8], Invalid> {
        let length = self.argument(TEXT, Invalid::new("expected a text string"))?;
        self.take(length)
    }

    /// Reads the head of an array and gives its number of items, at most 131,072. The caller reads
    /// exactly so many values. Do not allocate by this number: it is a claim.
    #[inline]
    pub fn array_len(&mut self) -> Result<usize, Invalid> {
        items(self.argument(ARRAY, Invalid::new("expected an array"))?)
    }

    /// Reads the head of a map and gives its number of entries, at most 131,072. Does not look at
    /// the keys: [`Self::map`] also checks their order.
    #[inline]
    pub fn map_len(&mut self) -> Result<usize, Invalid> {
        items(self.argument(MAP, Invalid::new("expected a map"))?)
    }

    /// Reads the head of a map whose keys then come from [`MapEntries::next_key`].
    #[inline]
    pub fn map(&mut self) -> Result<MapEntries<'a>, Invalid> {
        Ok(MapEntries::new(self.map_len()?))
    }

    /// Reads a link to a `CIDv1` with sha2-256 and codec dag-cbor or raw (ENC-3, ENC-11).
    pub fn cid_link(&mut self) -> Result<Cid, Invalid> {
        Cid::from_bytes(self.link()?)
    }

    /// Reads a link to a dag-cbor block and gives its digest (ENC-12).
    #[inline]
    pub fn block_link(&mut self) -> Result<&'a [u8; 32], Invalid> {
        match Cid::split(self.link()?)? {
            (Codec::DagCbor, digest) => Ok(digest),
            (Codec::Raw, _) => Err(Invalid::new("a link is not to a dag-cbor block")),
        }
    }

    /// Skips one value of any shape, checking it by ENC-1…7: what is skipped is canonical too.
    #[inline]
    pub fn skip_value(&mut self) -> Result<(), Invalid> {
        self.skip(DEPTH_MAX, Rules::Protocol)
    }

    /// Skips one value as [`Self::skip_value`] does and gives its bytes.
    pub fn value_bytes(&mut self) -> Result<&'a [u8], Invalid> {
        let from = self.rest;
        self.skip_value()?;
        let length = from.len().saturating_sub(self.rest.len());
        from.get(..length).ok_or(TRUNCATED)
    }

    /// Skips these bytes if they are next and says whether they were.
    #[inline]
    pub(crate) fn skip_prefix(&mut self, prefix: &[u8]) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Reads a map key, checked to be text of at most 8,192 bytes.
    #[inline]
    fn key(&mut self) -> Result<&'a [u8], Invalid> {
        let length = self.argument(TEXT, Invalid::new("a map key is not text"))?;
        let key = self.take(length)?;
        if key.len() > KEY_BYTES_MAX {
            return Err(Invalid::new("a map key is too long"));
        }
        check_utf8(key)?;
        Ok(key)
    }

    /// The 36 bytes of a link.
    #[inline]
    fn link(&mut self) -> Result<&'a [u8; 36], Invalid> {
        if !self.take_literal(&LINK_PREFIX) {
            return Err(NOT_A_LINK);
        }
        let (cid, rest) = self.rest.split_first_chunk().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(cid)
    }

    /// Skips what follows a tag head.
    fn skip_link(&mut self, tag: u64, rules: Rules) -> Result<(), Invalid> {
        if tag != 42 {
            return Err(Invalid::new("a tag is not 42"));
        }
        let length = self.argument(BYTES, NOT_A_LINK)?;
        let fits = match rules {
            Rules::Protocol => length == 37,
            Rules::Record => length <= RECORD_LINK_BYTES_MAX,
        };
        if !fits || self.take(length)?.first() != Some(&0) {
            return Err(NOT_A_LINK);
        }
        Ok(())
    }

    fn skip(&mut self, depth: u32, rules: Rules) -> Result<(), Invalid> {
        if rules == Rules::Record
            && let Some((&FLOAT, rest)) = self.rest.split_first()
        {
            let (float, rest) = rest.split_first_chunk().ok_or(TRUNCATED)?;
            self.rest = rest;
            return if f64::from_be_bytes(*float).is_finite() {
                Ok(())
            } else {
                Err(Invalid::new("a float is not a number or not finite"))
            };
        }
        let (major, argument) = self.head()?;
        match major {
            UINT | NEGATIVE if rules == Rules::Protocol => signed(argument).map(|_| ()),
            BYTES => self.take(argument).map(|_| ()),
            TEXT => self.take(argument).and_then(check_utf8),
            ARRAY => {
                let depth = depth.checked_sub(1).ok_or(TOO_DEEP)?;
                for _ in 0..items(argument)? {
                    self.skip(depth, rules)?;
                }
                Ok(())
            }
            MAP => {
                let depth = depth.checked_sub(1).ok_or(TOO_DEEP)?;
                let mut entries = MapEntries::new(items(argument)?);
                while entries.next_key_bytes(self)?.is_some() {
                    self.skip(depth, rules)?;
                }
                Ok(())
            }
            TAG => self.skip_link(argument, rules),
            _ => Ok(()),
        }
    }

    #[inline]
    fn take(&mut self, length: u64) -> Result<&'a [u8], Invalid> {
        let length = usize::try_from(length).or(Err(TRUNCATED))?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Reads a head that must be of this major type; `refusal` says so otherwise.
    #[inline]
    fn argument(&mut self, major: u8, refusal: Invalid) -> Result<u64, Invalid> {
        match self.rest.first() {
            None => Err(TRUNCATED),
            Some(first) if first >> 5 != major => Err(refusal),
            Some(_) => self.head().map(|(_, argument)| argument),
        }
    }

    /// Reads major type and argument (ENC-1). Of major type 7 only false, true and null pass.
    #[inline]
    fn head(&mut self) -> Result<(u8, u64), Invalid> {
        let (&first, rest) = self.rest.split_first().ok_or(TRUNCATED)?;
        let (major, short) = (first >> 5, first & 0x1f);
        if first >= 0xe0 {
            simple(first)?;
        } else if short >= 24 {
            return self.long_head(major, short, rest);
        }
        self.rest = rest;
        Ok((major, u64::from(short)))
    }

    fn long_head(&mut self, major: u8, width: u8, rest: &'a [u8]) -> Result<(u8, u64), Invalid> {
        let (value, least, rest) = match width {
            24 => {
                let (bytes, rest) = rest.split_first_chunk::<1>().ok_or(TRUNCATED)?;
                (u64::from(u8::from_be_bytes(*bytes)), 24, rest)
            }
            25 => {
                let (bytes, rest) = rest.split_first_chunk::<2>().ok_or(TRUNCATED)?;
                (u64::from(u16::from_be_bytes(*bytes)), 0x100, rest)
            }
            26 => {
                let (bytes, rest) = rest.split_first_chunk::<4>().ok_or(TRUNCATED)?;
                (u64::from(u32::from_be_bytes(*bytes)), 0x1_0000, rest)
            }
            27 => {
                let (bytes, rest) = rest.split_first_chunk::<8>().ok_or(TRUNCATED)?;
                (u64::from_be_bytes(*bytes), 0x1_0000_0000, rest)
            }
            31 => return Err(Invalid::new("a CBOR length is indefinite")),
            _ => return Err(Invalid::new("a CBOR head is reserved")),
        };
        if value < least {
            return Err(Invalid::new("an integer or length is not in its shortest form"));
        }
        self.rest = rest;
        Ok((major, value))
    }
}

fn simple(first: u8) -> Result<(), Invalid> {
    Err(Invalid::new(match first {
        FALSE | TRUE | NULL => return Ok(()),
        0xf9..=FLOAT => "a float is not allowed here",
        0xff => "a CBOR length is indefinite",
        _ => "a simple value is not false, true or null",
    }))
}

#[inline]
fn signed(value: u64) -> Result<i64, Invalid> {
    i64::try_from(value).or(Err(Invalid::new("an integer does not fit 64 signed bits")))
}

#[inline]
fn items(count: u64) -> Result<usize, Invalid> {
    usize::try_from(count)
        .ok()
        .filter(|count| *count <= CONTAINER_ITEMS_MAX)
        .ok_or(Invalid::new("an array or map has too many items"))
}

#[inline]
fn utf8(bytes: &[u8]) -> Result<&str, Invalid> {
    str::from_utf8(bytes).or(Err(NOT_UTF_8))
}

/// Most text is ASCII, which is found out faster than UTF-8.
#[inline]
fn check_utf8(bytes: &[u8]) -> Result<(), Invalid> {
    if bytes.is_ascii() || str::from_utf8(bytes).is_ok() { Ok(()) } else { Err(NOT_UTF_8) }
}
