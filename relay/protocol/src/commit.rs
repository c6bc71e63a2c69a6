//! The signed commit object, version 3 (COM-1…5).

use sha2::{Digest as _, Sha256};

use crate::{DataCid, Invalid, Reader, Rev, VerifyingKey, Writer};

/// A decoded commit block; borrows its bytes.
#[derive(Debug, Clone)]
pub struct Commit<'a> {
    /// DID as written; its syntax is not checked.
    pub did: &'a str,
    /// Revision.
    pub rev: Rev,
    /// Root of the tree.
    pub data: DataCid,
    /// 64 bytes r‖s when valid; any length here.
    pub sig: &'a [u8],
    /// Number of fields without `sig`.
    signed_fields: usize,
    /// The encoded fields before `sig`, and those after it.
    signed: [&'a [u8]; 2],
}

/// The fields met so far.
#[derive(Default)]
struct Fields<'a> {
    did: Option<&'a str>,
    rev: Option<Rev>,
    data: Option<DataCid>,
    prev: Option<()>,
    sig: Option<&'a [u8]>,
    version: Option<u64>,
}

impl<'a> Fields<'a> {
    /// Reads the value of a field.
    fn read(&mut self, key: &str, reader: &mut Reader<'a>) -> Result<(), Invalid> {
        match key {
            "did" => self.did = Some(reader.text()?),
            "rev" => self.rev = Some(Rev::parse(reader.text()?)?),
            "sig" => self.sig = Some(reader.bytes()?),
            "data" => self.data = Some(DataCid(*reader.block_link()?)),
            "prev" => {
                if !reader.take_null() {
                    reader.block_link()?;
                }
                self.prev = Some(());
            }
            "version" => self.version = Some(reader.uint()?),
            _ => reader.skip_value()?,
        }
        Ok(())
    }
}

impl<'a> Commit<'a> {
    /// Decodes a block whose CID was checked; must be canonical (ENC-9), version 3 (COM-1); unknown
    /// fields are kept for the signature (COM-2). `prev` must be there and is ignored (COM-5).
    pub fn decode(block: &'a [u8]) -> Result<Self, Invalid> {
        const MISSING: Invalid = Invalid::new("a field of the commit is missing");
        let mut reader = Reader::new(block);
        let mut entries = reader.map()?;
        let signed_fields = entries.remaining().saturating_sub(1);
        let start = reader.position();
        let mut fields = Fields::default();
        let mut signed = [&[][..]; 2];
        loop {
            let entry = reader.position();
            let Some(key) = entries.next_key(&mut reader)? else { break };
            fields.read(key, &mut reader)?;
            if key == "sig" {
                signed = [block.get(start..entry).unwrap_or_default(), reader.rest()];
            }
        }
        reader.expect_end()?;
        if fields.version.ok_or(MISSING)? != 3 {
            return Err(Invalid::new("the commit is not of version 3"));
        }
        fields.prev.ok_or(MISSING)?;
        Ok(Self {
            did: fields.did.ok_or(MISSING)?,
            rev: fields.rev.ok_or(MISSING)?,
            data: fields.data.ok_or(MISSING)?,
            sig: fields.sig.ok_or(MISSING)?,
            signed_fields,
            signed,
        })
    }

    /// The bytes that were signed: the same map without `sig` (COM-3).
    pub fn unsigned(&self) -> Vec<u8> {
        let [before, after] = self.signed;
        let length = before.len().saturating_add(after.len()).saturating_add(5);
        let mut out = Writer::with_capacity(length);
        out.map(self.signed_fields).raw(before).raw(after);
        out.into_bytes()
    }

    /// Checks the signature (KEY-1, KEY-2).
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), Invalid> {
        let [before, after] = self.signed;
        let mut head = Writer::new();
        head.map(self.signed_fields);
        let digest = Sha256::new()
            .chain_update(head.as_bytes())
            .chain_update(before)
            .chain_update(after)
            .finalize();
        key.verify_digest(&digest.into(), self.sig)
    }
}
