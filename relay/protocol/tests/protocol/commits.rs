//! COM-1…5: commit objects, and the bytes that are signed.

use ipld_core::ipld::Ipld;
use k256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use relay_protocol::{Commit, Invalid, VerifyingKey};
use relay_simnet::block::{cid_of_nothing, encode, link, map};

const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
const REV: &str = "3jzfcijpj2z2a";

fn text(text: &str) -> Ipld {
    Ipld::String(text.to_owned())
}

/// The fields of a valid commit but `sig`.
fn fields() -> Vec<(String, Ipld)> {
    [
        ("did", text(DID)),
        ("rev", text(REV)),
        ("data", Ipld::Link(link(&cid_of_nothing(1)))),
        ("prev", Ipld::Null),
        ("version", Ipld::Integer(3)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn block(fields: &[(String, Ipld)]) -> Vec<u8> {
    encode(&Ipld::Map(fields.iter().cloned().collect()))
}

fn key() -> (SigningKey, VerifyingKey) {
    let private = SigningKey::from_slice(&[7; 32]).unwrap();
    let point = private.verifying_key().to_sec1_point(true);
    let text = bs58::encode([&[0xe7, 0x01], point.as_bytes()].concat()).into_string();
    (private, VerifyingKey::from_multikey(&format!("z{text}")).unwrap())
}

/// Signs the fields and encodes them with the signature.
fn signed(mut fields: Vec<(String, Ipld)>) -> Vec<u8> {
    let signature: Signature = key().0.sign(&block(&fields));
    fields.push(("sig".to_owned(), Ipld::Bytes(signature.to_vec())));
    block(&fields)
}

fn with(name: &str, value: Ipld) -> Vec<(String, Ipld)> {
    let mut fields = fields();
    fields.retain(|(other, _)| other != name);
    fields.push((name.to_owned(), value));
    fields
}

fn what(block: &[u8]) -> Result<(), &'static str> {
    Commit::decode(block).map(|_| ()).map_err(|invalid| invalid.what)
}

/// COM-1, COM-3.
#[test]
fn a_commit_gives_its_fields_and_the_bytes_that_were_signed() {
    let bytes = signed(fields());
    let commit = Commit::decode(&bytes).unwrap();
    assert_eq!(commit.did, DID);
    assert_eq!(commit.rev.to_string(), REV);
    assert_eq!(commit.data, crate::change::data(&cid_of_nothing(1)));
    assert_eq!(commit.sig.len(), 64);
    assert_eq!(commit.unsigned(), block(&fields()));
    assert_eq!(commit.verify(&key().1), Ok(()));

    let other =
        VerifyingKey::from_multikey("zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc").unwrap();
    let refused = Invalid::new("the signature is not of this key and message");
    assert_eq!(commit.verify(&other), Err(refused));
}

/// COM-2: fields that we do not know are part of what was signed, wherever they sort, and also
/// where the map's head changes its length with the signature.
#[test]
fn unknown_fields_are_signed_with_the_rest() {
    for extra in [1, 16, 17, 18, 19, 20, 250, 251, 252] {
        let mut more = fields();
        for number in 0..extra {
            let name = if number % 2 == 0 { format!("a{number}") } else { format!("zzzz{number}") };
            let value = map([("nested", Ipld::List(vec![Ipld::Null, Ipld::Integer(number)]))]);
            more.push((name, value));
        }
        let bytes = signed(more.clone());
        let commit = Commit::decode(&bytes).unwrap();
        assert_eq!(commit.unsigned(), block(&more), "{extra}");
        assert_eq!(commit.verify(&key().1), Ok(()), "{extra}");
    }
}

/// COM-5.
#[test]
fn prev_must_be_there_and_is_ignored() {
    let with_prev = with("prev", Ipld::Link(link(&cid_of_nothing(2))));
    let bytes = signed(with_prev);
    assert_eq!(Commit::decode(&bytes).unwrap().verify(&key().1), Ok(()));
    assert_eq!(what(&signed(with("prev", text("no")))), Err("expected a CID link"));
}

/// COM-1: missing fields, other versions, wrong types.
#[test]
fn commits_of_another_form_are_refused() {
    assert_eq!(what(&signed(fields())), Ok(()));
    for name in ["did", "rev", "data", "prev", "version"] {
        let mut fewer = fields();
        fewer.retain(|(other, _)| other != name);
        assert_eq!(what(&signed(fewer)), Err("a field of the commit is missing"), "{name}");
    }
    assert_eq!(what(&block(&fields())), Err("a field of the commit is missing"));
    for version in [0, 1, 2, 4, 1 << 40] {
        let refused = what(&signed(with("version", Ipld::Integer(version))));
        assert_eq!(refused, Err("the commit is not of version 3"));
    }
    let wrong = [
        ("did", Ipld::Bytes(DID.into()), "expected a text string"),
        ("rev", Ipld::Integer(1), "expected a text string"),
        ("data", Ipld::Null, "expected a CID link"),
        ("version", text("3"), "expected an unsigned integer"),
        ("sig", text("64 bytes"), "expected a byte string"),
    ];
    for (name, value, refusal) in wrong {
        let mut fields = with(name, value);
        if name != "sig" {
            fields.push(("sig".to_owned(), Ipld::Bytes(vec![1; 64])));
        }
        assert_eq!(what(&block(&fields)), Err(refusal), "{name}");
    }
    assert!(what(&signed(with("rev", text("not a revision")))).is_err());
    assert!(what(&signed(with("float", Ipld::Float(1.5)))).is_err(), "ENC-4");
    assert!(what(b"\x80").is_err());
}

/// KEY-1: a signature of another length decodes, and is refused by the key.
#[test]
fn signatures_of_another_length_do_not_verify() {
    for length in [0, 63, 65, 72] {
        let bytes = block(&with("sig", Ipld::Bytes(vec![1; length])));
        let commit = Commit::decode(&bytes).unwrap();
        let refused = Invalid::new("the signature is not 64 bytes");
        assert_eq!(commit.verify(&key().1), Err(refused));
    }
}

/// ENC-9: every truncation and extension is refused; a changed bit is refused, or leaves a
/// canonical block whose signature is wrong.
#[test]
fn mutated_commits_are_refused_or_not_signed() {
    let good = signed(with("prevv", Ipld::Integer(-7)));
    let key = key().1;
    assert_eq!(Commit::decode(&good).unwrap().verify(&key), Ok(()));

    for end in 0..good.len() {
        assert!(what(&good[..end]).is_err(), "cut at {end}");
    }
    for byte in 0..=255 {
        let longer = [good.as_slice(), &[byte]].concat();
        assert_eq!(what(&longer), Err("bytes follow the CBOR value"));
    }
    let mut passed = 0;
    for place in 0..good.len() {
        for bit in 0..8 {
            let mut flipped = good.clone();
            flipped[place] ^= 1 << bit;
            let Ok(commit) = Commit::decode(&flipped) else { continue };
            passed += 1;
            assert!(commit.verify(&key).is_err(), "byte {place} bit {bit}");
            let mut read: Ipld = serde_ipld_dagcbor::from_slice(&flipped).unwrap();
            assert_eq!(encode(&read), flipped, "byte {place} bit {bit}");
            if let Ipld::Map(fields) = &mut read {
                fields.remove("sig");
            }
            assert_eq!(commit.unsigned(), encode(&read), "byte {place} bit {bit}");
        }
    }
    assert!(passed > 96 * 8, "the bits of signature and tree are free: {passed}");
}
