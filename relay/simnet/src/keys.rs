//! Signing keys of both curves, derived from the seed, and their public forms.

use k256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use sha2::{Digest, Sha256};

/// Curve of a signing key (KEY-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Curve {
    /// secp256k1, what the reference PDS uses.
    #[default]
    K256,
    /// NIST P-256.
    P256,
}

/// How a DID document writes the public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum KeyForm {
    /// `Multikey` with the full id, as the production directory (KEY-3).
    #[default]
    Multikey,
    /// `Ecdsa…VerificationKey2019` with the 33-byte point and a relative id (KEY-4).
    LegacyCompressed,
    /// `Ecdsa…VerificationKey2019` with the 65-byte point and a relative id (KEY-4).
    LegacyUncompressed,
}

/// A private key.
#[derive(Clone)]
pub enum SigningKey {
    /// secp256k1.
    K256(k256::ecdsa::SigningKey),
    /// NIST P-256.
    P256(p256::ecdsa::SigningKey),
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "SigningKey({})", self.multikey())
    }
}

impl SigningKey {
    /// The key that belongs to a seed and a label; the same on every run.
    pub fn derive(curve: Curve, seed: u64, label: &str) -> Self {
        for attempt in 0_u64.. {
            let mut hash = Sha256::new();
            hash.update(b"relay-simnet signing key");
            hash.update(seed.to_be_bytes());
            hash.update(attempt.to_be_bytes());
            hash.update(label.as_bytes());
            if let Some(key) = Self::from_bytes(curve, &hash.finalize()) {
                return key;
            }
        }
        Self::derive(curve, seed, "") // a digest outside the group order 2^64 times in a row
    }

    /// The key with these 32 bytes; `None` when they are no scalar of the curve.
    pub fn from_bytes(curve: Curve, bytes: &[u8]) -> Option<Self> {
        match curve {
            Curve::K256 => k256::ecdsa::SigningKey::from_slice(bytes).ok().map(Self::K256),
            Curve::P256 => p256::ecdsa::SigningKey::from_slice(bytes).ok().map(Self::P256),
        }
    }

    /// The curve.
    pub fn curve(&self) -> Curve {
        match self {
            Self::K256(_) => Curve::K256,
            Self::P256(_) => Curve::P256,
        }
    }

    /// Signature over SHA-256 of the message: `r‖s`, 64 bytes, low S, deterministic (RFC 6979).
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.sign_as(message, Form::LowS)
    }

    /// The same signature with `n − s`, which KEY-2 forbids.
    pub fn sign_high_s(&self, message: &[u8]) -> Vec<u8> {
        self.sign_as(message, Form::HighS)
    }

    /// The same signature in DER, which KEY-1 forbids.
    pub fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        self.sign_as(message, Form::Der)
    }

    #[expect(clippy::expect_used, reason = "a 32-byte digest can always be signed")]
    fn sign_as(&self, message: &[u8], form: Form) -> Vec<u8> {
        let digest = Sha256::digest(message);
        match self {
            Self::K256(key) => {
                let signed: k256::ecdsa::Signature = key.sign_prehash(&digest).expect("sign");
                let low = signed.normalize_s();
                let (r, s) = low.split_scalars();
                match form {
                    Form::LowS => low.to_vec(),
                    Form::Der => low.to_der().as_bytes().to_vec(),
                    Form::HighS => {
                        k256::ecdsa::Signature::from_scalars(r, -s).expect("high S").to_vec()
                    }
                }
            }
            Self::P256(key) => {
                let signed: p256::ecdsa::Signature = key.sign_prehash(&digest).expect("sign");
                let low = signed.normalize_s();
                let (r, s) = low.split_scalars();
                match form {
                    Form::LowS => low.to_vec(),
                    Form::Der => low.to_der().as_bytes().to_vec(),
                    Form::HighS => {
                        p256::ecdsa::Signature::from_scalars(r, -s).expect("high S").to_vec()
                    }
                }
            }
        }
    }

    /// Whether `signature` is a low-S signature of this key over the message (KEY-1, KEY-2).
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let digest = Sha256::digest(message);
        match self {
            Self::K256(key) => {
                k256::ecdsa::Signature::from_slice(signature).is_ok_and(|signature| {
                    signature.normalize_s() == signature
                        && key.verifying_key().verify_prehash(&digest, &signature).is_ok()
                })
            }
            Self::P256(key) => {
                p256::ecdsa::Signature::from_slice(signature).is_ok_and(|signature| {
                    signature.normalize_s() == signature
                        && key.verifying_key().verify_prehash(&digest, &signature).is_ok()
                })
            }
        }
    }

    /// The public point, 33 bytes compressed or 65 bytes.
    pub fn public_point(&self, compressed: bool) -> Vec<u8> {
        match self {
            Self::K256(key) => key.verifying_key().to_sec1_point(compressed).as_bytes().to_vec(),
            Self::P256(key) => key.verifying_key().to_sec1_point(compressed).as_bytes().to_vec(),
        }
    }

    /// `z…` with the codec and the compressed point (KEY-3).
    pub fn multikey(&self) -> String {
        let codec: [u8; 2] = match self {
            Self::K256(_) => [0xe7, 0x01],
            Self::P256(_) => [0x80, 0x24],
        };
        base58(&[codec.as_slice(), &self.public_point(true)].concat())
    }

    /// `publicKeyMultibase` in one of the forms, and the type that goes with it.
    pub fn document_form(&self, form: KeyForm) -> (&'static str, String) {
        let legacy = match self {
            Self::K256(_) => "EcdsaSecp256k1VerificationKey2019",
            Self::P256(_) => "EcdsaSecp256r1VerificationKey2019",
        };
        match form {
            KeyForm::Multikey => ("Multikey", self.multikey()),
            KeyForm::LegacyCompressed => (legacy, base58(&self.public_point(true))),
            KeyForm::LegacyUncompressed => (legacy, base58(&self.public_point(false))),
        }
    }

    /// A short number for the key, the same wherever the key is compared.
    pub(crate) fn number(&self) -> u64 {
        let digest = Sha256::digest(self.multikey());
        digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }
}

#[derive(Clone, Copy)]
enum Form {
    LowS,
    HighS,
    Der,
}

fn base58(bytes: &[u8]) -> String {
    format!("z{}", bs58::encode(bytes).into_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// KEY-3: a published key pair.
    #[test]
    fn the_multikey_agrees_with_the_published_one() {
        let private = data_encoding::HEXLOWER
            .decode(b"9085d2bef69286a6cbb51623c8fa258629945cd55ca705cc4e66700396894e0c")
            .unwrap();
        let key = SigningKey::from_bytes(Curve::K256, &private).unwrap();
        assert_eq!(key.multikey(), "zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme");
    }

    /// KEY-1, KEY-2: good signatures verify; high S, DER and other keys do not.
    #[test]
    fn only_low_s_signatures_of_the_key_verify() {
        for curve in [Curve::K256, Curve::P256] {
            let key = SigningKey::derive(curve, 1, "alice");
            let other = SigningKey::derive(curve, 1, "bob");
            for message in 0..16_u8 {
                let message = [message];
                let good = key.sign(&message);
                assert_eq!(good.len(), 64);
                assert_eq!(good, key.sign(&message));
                assert!(key.verifies(&message, &good));
                assert!(!key.verifies(&message, &key.sign_high_s(&message)));
                assert_eq!(key.sign_high_s(&message)[..32], good[..32]);
                assert!(!key.verifies(&message, &key.sign_der(&message)));
                assert!(!other.verifies(&message, &good));
            }
        }
    }

    /// KEY-3, KEY-4: lengths and first characters of the public forms.
    #[test]
    fn public_forms_have_their_shape() {
        let k256 = SigningKey::derive(Curve::K256, 1, "alice");
        let p256 = SigningKey::derive(Curve::P256, 1, "alice");
        assert!(k256.multikey().starts_with("zQ3s"));
        assert!(p256.multikey().starts_with("zDn"));
        assert_eq!(k256.public_point(true).len(), 33);
        assert_eq!(k256.public_point(false).len(), 65);
        assert_ne!(k256.number(), p256.number());
        assert_eq!(
            p256.document_form(KeyForm::LegacyCompressed).0,
            "EcdsaSecp256r1VerificationKey2019"
        );
    }
}
