//! Content-addressed blocks: CIDs, DAG-CBOR through `serde_ipld_dagcbor`, and CAR files.

use anyhow::{Context, Result};
use ipld_core::{cid::Cid, ipld::Ipld};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Binary `CIDv1` with SHA-256: version, codec, `12 20`, digest (ENC-11).
pub type Cid36 = [u8; 36];

/// What a CID starts with when it names a DAG-CBOR block.
const DAG_CBOR_PREFIX: [u8; 4] = [0x01, 0x71, 0x12, 0x20];

/// Blocks by their CID.
pub type Blocks = BTreeMap<Cid36, Vec<u8>>;

/// The CID of a DAG-CBOR block.
pub fn cid_of(block: &[u8]) -> Cid36 {
    let mut cid = [0; 36];
    cid[..4].copy_from_slice(&DAG_CBOR_PREFIX);
    cid[4..].copy_from_slice(&Sha256::digest(block));
    cid
}

/// A CID that names no block of the simulated network; different for every `number`.
pub fn cid_of_nothing(number: u64) -> Cid36 {
    cid_of(&[b"no such block ".as_slice(), &number.to_be_bytes()].concat())
}

/// Text form: `b` and base32 in lower case without padding.
pub fn cid_text(cid: &Cid36) -> String {
    format!("b{}", data_encoding::BASE32_NOPAD.encode(cid).to_ascii_lowercase())
}

/// Reads the text form of a CID.
pub fn cid_from_text(text: &str) -> Result<Cid36> {
    let base32 = text.strip_prefix('b').context("a CID starts with b")?.to_ascii_uppercase();
    let bytes = data_encoding::BASE32_NOPAD.decode(base32.as_bytes()).context("decode the CID")?;
    <Cid36>::try_from(bytes).ok().context("a CID has 36 bytes")
}

/// The CID as the codec wants it.
#[expect(clippy::expect_used, reason = "every Cid36 of the simulator is a well-formed CIDv1")]
pub fn link(cid: &Cid36) -> Cid {
    Cid::read_bytes(cid.as_slice()).expect("a Cid36 is a CIDv1")
}

/// The bytes of a CID that came from the codec; `None` if it is not `CIDv1` with 32 bytes.
pub fn from_link(cid: &Cid) -> Option<Cid36> {
    cid.to_bytes().try_into().ok()
}

/// Canonical DAG-CBOR of a value.
#[expect(clippy::expect_used, reason = "encoding into memory fails only when memory ends")]
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(&value).expect("encoding into memory")
}

/// A value from its canonical DAG-CBOR.
///
/// # Errors
/// When the bytes are not one whole canonical value.
pub fn decode(block: &[u8]) -> Result<Ipld> {
    serde_ipld_dagcbor::from_slice(block).context("decode a block")
}

/// A map from its fields.
pub fn map<const N: usize>(fields: [(&str, Ipld); N]) -> Ipld {
    Ipld::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Bytes that are encoded as a byte string and not as a list.
#[derive(Debug, Clone, Copy)]
pub struct ByteString<'a>(pub &'a [u8]);

impl Serialize for ByteString<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Bytes that are decoded from a byte string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByteBuf(pub Vec<u8>);

impl<'de> Deserialize<'de> for ByteBuf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = ByteBuf;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("a byte string")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<ByteBuf, E> {
                Ok(ByteBuf(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// A CAR v1 file with these roots and blocks, in this order (ENC-14).
pub fn car<'a>(
    roots: &[Cid36],
    blocks: impl IntoIterator<Item = (&'a Cid36, &'a [u8])>,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Header {
        roots: Vec<Cid>,
        version: u64,
    }
    let header = encode(&Header { roots: roots.iter().map(link).collect(), version: 1 });
    let mut out = Vec::with_capacity(1024);
    push_varint(&mut out, header.len());
    out.extend_from_slice(&header);
    for (cid, block) in blocks {
        push_varint(&mut out, cid.len() + block.len());
        out.extend_from_slice(cid);
        out.extend_from_slice(block);
    }
    out
}

/// What a CAR file holds, in order of appearance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Car {
    /// CIDs of the roots; the first one is the commit.
    pub roots: Vec<Cid36>,
    /// CID as written in the file, and block.
    pub blocks: Vec<(Cid36, Vec<u8>)>,
}

/// The roots and the blocks of a CAR file of the simulated network, in order of appearance.
///
/// # Errors
/// When the file is not a whole CAR v1 file; digests are not checked.
pub fn read_car(car: &[u8]) -> Result<Car> {
    #[derive(Deserialize)]
    struct Header {
        roots: Vec<Cid>,
    }
    let mut rest = car;
    let header: Header = serde_ipld_dagcbor::from_slice(take_section(&mut rest)?)?;
    let roots = header.roots.iter().filter_map(from_link).collect();
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let section = take_section(&mut rest)?;
        let (cid, block) = section.split_at_checked(36).context("a section holds a CID")?;
        blocks.push((cid.try_into()?, block.to_vec()));
    }
    Ok(Car { roots, blocks })
}

fn take_section<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let mut length = 0_usize;
    for shift in (0..63).step_by(7) {
        let (byte, tail) = rest.split_first().context("the CAR ends inside a length")?;
        *rest = tail;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let (section, tail) = rest.split_at_checked(length).context("the CAR ends inside a section")?;
    *rest = tail;
    Ok(section)
}

/// Appends an unsigned LEB128 number.
pub(crate) fn push_varint(out: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ENC-14: what is written can be read, also with lengths of several bytes.
    #[test]
    fn a_car_file_reads_back() {
        let blocks: Vec<_> = [3, 127, 128, 20_000]
            .map(|length| vec![7_u8; length])
            .into_iter()
            .map(|block| (cid_of(&block), block))
            .collect();
        let file = car(&[blocks[0].0], blocks.iter().map(|(cid, block)| (cid, block.as_slice())));

        let read = read_car(&file).unwrap();

        assert_eq!(read.roots, [blocks[0].0]);
        assert_eq!(read.blocks, blocks);
        assert!(read_car(&file[..file.len() - 1]).is_err());
    }

    /// ENC-11: text and bytes of a CID are the same thing.
    #[test]
    fn cid_text_reads_back() {
        let cid = cid_of(&[0xa0]);
        assert_eq!(cid_from_text(&cid_text(&cid)).unwrap(), cid);
        assert_eq!(cid_text(&cid).len(), 59);
        assert_eq!(link(&cid).to_string(), cid_text(&cid));
        assert!(cid_from_text("bafy").is_err());
    }
}
