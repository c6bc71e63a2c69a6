//! Bounded, canonical DAG-CBOR (ENC-1…8).
use crate::Invalid;

/// Reads canonical DAG-CBOR from a slice; borrows everything, allocates nothing.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}
impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}
/// Writes canonical DAG-CBOR.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}
impl Writer {
    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }
}
#[expect(unused, reason = "skeleton")]
fn skeleton() -> Result<(), Invalid> {
    Ok(())
}
