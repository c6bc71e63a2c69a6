//! Signing keys of both curves (KEY-1…5).
use crate::Invalid;

/// The two curves of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Curve {
    /// NIST P-256, `zDn…`
    P256,
    /// secp256k1, `zQ3s…`
    K256,
}
/// A parsed public key, ready to verify.
#[derive(Debug, Clone)]
pub struct VerifyingKey {
    bytes: [u8; 34],
}
impl VerifyingKey {
    /// Multikey or the part after `did:key:` (KEY-3).
    pub fn from_multikey(text: &str) -> Result<Self, Invalid> {
        todo!()
    }
    /// `publicKeyMultibase` of a legacy verification method (KEY-4): 33 or 65 raw bytes.
    pub fn from_legacy(text: &str, curve: Curve) -> Result<Self, Invalid> {
        todo!()
    }
    /// What [`Self::to_bytes`] gave.
    pub fn from_bytes(bytes: &[u8; 34]) -> Result<Self, Invalid> {
        todo!()
    }
    /// One byte for the curve (1 = P-256, 2 = K-256) and the 33-byte compressed point.
    pub fn to_bytes(&self) -> [u8; 34] {
        self.bytes
    }
    /// The `z…` text.
    pub fn to_multikey(&self) -> String {
        todo!()
    }
    /// The curve.
    pub fn curve(&self) -> Curve {
        todo!()
    }
    /// Checks a signature over SHA-256 of `message`; 64 bytes r‖s, low S on both curves (KEY-2).
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Invalid> {
        todo!()
    }
}
