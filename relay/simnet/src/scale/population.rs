//! Who lives on the network: everything about an account that follows from its number.

use super::Plan;
use crate::clock::{START_MICROS, tid};
use anyhow::{Context, Result};
use rand::{RngExt, rngs::StdRng};
use secp256k1::SecretKey;
use sha2::{Digest, Sha256};

/// Records of the largest repositories.
pub const RECORDS_MAX: u32 = 100_000;

/// How fast sizes fall from the largest repository to the median one. 0.78 gives a mean of about
/// 50 records when the median is 20.
const SIZE_EXPONENT: f64 = 0.78;

/// Bytes of the identifier in a did:plc.
const ID_BYTES: usize = 15;

/// A 64-bit mix of a number (`SplitMix64`).
pub(super) const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The accounts of a plan. Account 0 is the most active one and has the largest repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    seed: u64,
    hosts: u32,
    accounts: u32,
    /// Median records of a repository.
    records: u32,
}

impl Population {
    /// The accounts that a plan describes.
    pub fn of(plan: &Plan) -> Self {
        let Plan { seed, hosts, accounts, records, .. } = *plan;
        Self { seed, hosts: hosts.max(1), accounts, records }
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.accounts
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.accounts == 0
    }

    /// How many hosts they are spread over.
    pub fn hosts(&self) -> u32 {
        self.hosts
    }

    /// The host of an account.
    pub fn host(&self, account: u32) -> u32 {
        account % self.hosts
    }

    /// A number that depends on the seed, the account and nothing else.
    pub(super) fn mixed(&self, account: u32) -> u64 {
        mix(self.seed ^ mix(u64::from(account)))
    }

    fn id(&self, account: u32) -> [u8; ID_BYTES] {
        let first = self.mixed(account).to_be_bytes();
        let second = mix(self.mixed(account)).to_be_bytes();
        let mut id = [0; ID_BYTES];
        id[..8].copy_from_slice(&first);
        id[8..11].copy_from_slice(&second[..3]);
        // The number itself, hidden by what precedes it, so that it can be read back.
        for ((to, mask), digit) in id[11..].iter_mut().zip(&second[4..]).zip(account.to_be_bytes())
        {
            *to = mask ^ digit;
        }
        id
    }

    /// The DID of an account.
    pub fn did(&self, account: u32) -> String {
        let text = data_encoding::BASE32_NOPAD.encode(&self.id(account)).to_ascii_lowercase();
        format!("did:plc:{text}")
    }

    /// The account with this DID.
    pub fn number(&self, did: &str) -> Option<u32> {
        let text = did.strip_prefix("did:plc:")?.to_ascii_uppercase();
        let id = data_encoding::BASE32_NOPAD.decode(text.as_bytes()).ok()?;
        let id: [u8; ID_BYTES] = id.try_into().ok()?;
        let second = mix(u64::from_be_bytes(id[..8].try_into().ok()?)).to_be_bytes();
        let mut number = [0; 4];
        for ((to, mask), digit) in number.iter_mut().zip(&second[4..]).zip(&id[11..]) {
            *to = mask ^ digit;
        }
        let account = u32::from_be_bytes(number);
        (account < self.accounts && self.id(account) == id).then_some(account)
    }

    /// The handle of an account.
    pub fn handle(account: u32) -> String {
        format!("user-{account:06}.test")
    }

    /// The bytes of the private key of an account.
    pub(super) fn secret_bytes(&self, account: u32) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"relay-simnet scale key");
        hash.update(self.seed.to_be_bytes());
        hash.update(account.to_be_bytes());
        hash.finalize().into()
    }

    /// The private key of an account.
    pub(super) fn secret(&self, account: u32) -> Result<SecretKey> {
        SecretKey::from_secret_bytes(self.secret_bytes(account))
            .context("a digest outside of the group order")
    }

    /// The public key of an account as documents write it (KEY-3).
    pub fn multikey(&self, account: u32) -> Result<String> {
        let point = secp256k1::PublicKey::from_secret_key(&self.secret(account)?).serialize();
        let bytes = [[0xe7, 0x01].as_slice(), &point].concat();
        Ok(format!("z{}", bs58::encode(bytes).into_string()))
    }

    /// Records that an account has at the start: half of the accounts have less than the median,
    /// and sizes rise with activity from there as a power law.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and RECORDS_MAX"
    )]
    pub fn records(&self, account: u32) -> u32 {
        let share = (f64::from(account) + 0.5) / f64::from(self.accounts.max(1));
        let median = f64::from(self.records);
        let records = if share < 0.5 {
            median * (0.5 / share).powf(SIZE_EXPONENT)
        } else {
            median * (1.0 - share) / 0.5
        };
        records.clamp(1.0, f64::from(RECORDS_MAX)) as u32
    }

    /// The rev of the last commit before the simulation began.
    pub(super) fn first_rev(&self, account: u32) -> u64 {
        tid(START_MICROS - 60_000_000 - self.mixed(account) % 86_400_000_000, 0)
    }

    /// An account by its activity: Zipf with an offset, so that the first one of 500,000 makes
    /// 0.2 % of the events and not 7 %.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below the number of accounts"
    )]
    pub(super) fn active(&self, rng: &mut StdRng) -> u32 {
        let count = f64::from(self.accounts);
        let offset = (count / 10_000.0).max(2.0);
        let at = offset * ((count + offset) / offset).powf(rng.random::<f64>()) - offset;
        (at as u32).min(self.accounts.saturating_sub(1))
    }
}
