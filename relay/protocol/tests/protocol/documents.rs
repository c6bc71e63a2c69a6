//! DID documents (DOC-1…7): forms that are in use, and each rule broken beside one that is kept.

use relay_protocol::{Curve, DOCUMENT_BYTES_MAX, Did, DidDocument, Invalid};
use serde_json::{Value, json};

use crate::build::DID;

// The test keys of KEY-5 in both forms, and one in the uncompressed legacy form.
const P256: &str = "zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo";
const P256_LEGACY: &str = "zxdM8dSstjrpZaRUwBmDvjGXweKuEMVN95A9oJBFjkWMh";
const K256: &str = "zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc";
const K256_LEGACY: &str = "z25z9DTpsiYYJKGsWmSPJK2NFN8PcJtZig12K59UgW7q5t";
const K256_UNCOMPRESSED: &str = "zQYEBzXeuTM9UR3rfvNag6L3RNAs5pQZyYPsomTsgQhsxLdEgCrPTLgFna8yqCnxPp\
                                 NT7DBk6Ym3dgPKNu86vt9GR";
const K256_OF_UNCOMPRESSED: &str = "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF";

fn parse(document: &Value, dev: bool) -> Result<DidDocument, Invalid> {
    DidDocument::parse(document.to_string().as_bytes(), &Did::parse(DID).unwrap(), dev)
}

/// A document as the production directory writes it: full ids of keys, relative ids of services.
fn document() -> Value {
    json!({
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
        "id": DID,
        "alsoKnownAs": ["at://Alice.example.com"],
        "verificationMethod": [key("did:plc:7iza6de2dwap2sbkpav7c6c6#atproto", "Multikey", K256)],
        "service": [service("#atproto_pds", "https://pds.example.com")],
    })
}

fn key(id: &str, kind: &str, multibase: &str) -> Value {
    json!({"id": id, "type": kind, "controller": DID, "publicKeyMultibase": multibase})
}

fn service(id: &str, endpoint: &str) -> Value {
    json!({"id": id, "type": "AtprotoPersonalDataServer", "serviceEndpoint": endpoint})
}

fn with(field: &str, value: Value) -> Value {
    let mut document = document();
    document[field] = value;
    document
}

fn multikey(document: &Value) -> Option<String> {
    parse(document, false).unwrap().key.map(|key| key.to_multikey())
}

fn pds(document: &Value, dev: bool) -> Option<String> {
    parse(document, dev).unwrap().pds.map(|endpoint| endpoint.url)
}

/// DOC-1…5: all three parts of a production document.
#[test]
fn a_production_document_is_read_whole() {
    let read = parse(&document(), false).unwrap();

    let key = read.key.unwrap();
    assert_eq!((key.curve(), key.to_multikey().as_str()), (Curve::K256, K256));
    let pds = read.pds.unwrap();
    assert_eq!(
        (pds.host.as_str(), pds.url.as_str()),
        ("pds.example.com", "https://pds.example.com")
    );
    assert!(pds.host.is_secure());
    assert_eq!(read.handle.unwrap().as_str(), "alice.example.com");
}

/// DOC-1.
#[test]
fn a_document_of_another_did_is_refused() {
    assert!(parse(&document(), false).is_ok());
    for id in [
        json!("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"),
        json!(DID.to_uppercase()),
        json!(7),
        json!(null),
    ] {
        assert!(parse(&with("id", id.clone()), false).is_err(), "{id}");
    }
    let did = Did::parse(DID).unwrap();
    for text in ["", "null", "[]", "\"text\"", "{}", "<html>", "{\"id\":"] {
        assert!(DidDocument::parse(text.as_bytes(), &did, false).is_err(), "{text}");
    }
    let not_utf8 = [b"{\"id\":\"".as_slice(), &[0xff], b"\"}"].concat();
    assert!(DidDocument::parse(&not_utf8, &did, false).is_err());
}

/// RES-1, SEC: size and nesting are bounded.
#[test]
fn large_and_deep_documents_are_refused() {
    let did = Did::parse(DID).unwrap();
    let padded = |length: usize| {
        let mut text = document().to_string().into_bytes();
        text.resize(length, b' ');
        DidDocument::parse(&text, &did, false).map(drop)
    };
    assert_eq!(padded(DOCUMENT_BYTES_MAX), Ok(()));
    assert!(padded(DOCUMENT_BYTES_MAX + 1).unwrap_err().what.starts_with("too large: "));

    let nested = |depth: usize| {
        let text = format!("{{\"id\":\"{DID}\",\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        DidDocument::parse(text.as_bytes(), &did, false).is_ok()
    };
    assert!(nested(100));
    assert!(!nested(10_000));
}

/// DOC-2, KEY-3, KEY-4: every form of a signing key in use.
#[test]
fn signing_keys_of_all_forms_are_read() {
    let full = format!("{DID}#atproto");
    for id in ["#atproto", &full] {
        for (kind, multibase, expected) in [
            ("Multikey", K256, K256),
            ("Multikey", P256, P256),
            ("EcdsaSecp256r1VerificationKey2019", P256_LEGACY, P256),
            ("EcdsaSecp256k1VerificationKey2019", K256_LEGACY, K256),
            ("EcdsaSecp256k1VerificationKey2019", K256_UNCOMPRESSED, K256_OF_UNCOMPRESSED),
        ] {
            let document = with("verificationMethod", json!([key(id, kind, multibase)]));
            assert_eq!(multikey(&document).as_deref(), Some(expected), "{id} {kind}");
        }
    }
}

/// DOC-2, DOC-7: keys that are unusable or for something else are passed over, not fatal.
#[test]
fn the_first_usable_signing_key_counts() {
    let other_controller = json!({
        "id": "#atproto", "type": "Multikey", "controller": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
        "publicKeyMultibase": K256,
    });
    let no_controller = json!({"id": "#atproto", "type": "Multikey", "publicKeyMultibase": K256});
    let unusable = [
        json!(null),
        json!("text"),
        json!({}),
        other_controller,
        no_controller,
        key("#atproto_label", "Multikey", K256),
        key("#atproto_space", "Multikey", K256),
        key("atproto", "Multikey", K256),
        key("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa#atproto", "Multikey", K256),
        key("#atproto", "Ed25519VerificationKey2020", K256),
        key("#atproto", "JsonWebKey2020", K256),
        key("#atproto", "Multikey", K256_LEGACY),
        key("#atproto", "Multikey", ""),
        key("#atproto", "EcdsaSecp256r1VerificationKey2019", P256),
    ];
    for entry in &unusable {
        assert_eq!(multikey(&with("verificationMethod", json!([entry]))), None, "{entry}");
    }

    let mut list = unusable.to_vec();
    list.push(key("#atproto", "Multikey", P256));
    list.push(key("#atproto", "Multikey", K256));
    assert_eq!(multikey(&with("verificationMethod", json!(list))).as_deref(), Some(P256));
}

/// DOC-3, HOST-2: addresses of a PDS.
#[test]
fn endpoints_have_only_scheme_host_and_port() {
    let url = |endpoint: &str, dev| {
        pds(&with("service", json!([service("#atproto_pds", endpoint)])), dev)
    };
    for (endpoint, expected) in [
        ("https://pds.example.com", "https://pds.example.com"),
        ("https://pds.example.com/", "https://pds.example.com"),
        ("HTTPS://PDS.example.com", "https://pds.example.com"),
    ] {
        assert_eq!(url(endpoint, false).as_deref(), Some(expected), "{endpoint}");
        assert_eq!(url(endpoint, true).as_deref(), Some(expected), "{endpoint}");
    }
    for (endpoint, expected) in [
        ("http://localhost:2583", "http://localhost:2583"),
        ("https://localhost:2583/", "https://localhost:2583"),
        ("http://pds.example.com", "http://pds.example.com"),
        ("https://pds.test", "https://pds.test"),
    ] {
        assert_eq!(url(endpoint, false), None, "{endpoint}");
        assert_eq!(url(endpoint, true).as_deref(), Some(expected), "{endpoint}");
    }
    for endpoint in [
        "",
        "pds.example.com",
        "wss://pds.example.com",
        "ftp://pds.example.com",
        "https://",
        "https://user@pds.example.com",
        "https://pds.example.com/path",
        "https://pds.example.com//",
        "https://pds.example.com?query",
        "https://pds.example.com/?query",
        "https://pds.example.com#fragment",
        "https://pds.example.com:8443",
        "https://127.0.0.1",
        "https://[::1]",
        "https://localhost",
        "https://pds.local",
    ] {
        assert_eq!(url(endpoint, true), None, "{endpoint}");
    }
}

/// DOC-3, DOC-4, DOC-7.
#[test]
fn the_first_pds_service_counts() {
    let labeler = json!({
        "id": "#atproto_labeler", "type": "AtprotoLabeler",
        "serviceEndpoint": "https://labels.example.com",
    });
    let space = service("#atproto_space_host", "https://space.example.com");
    let other_type = json!({
        "id": "#atproto_pds", "type": "Other", "serviceEndpoint": "https://other.example.com",
    });
    let full = service(&format!("{DID}#atproto_pds"), "https://one.example.com");
    let second = service("#atproto_pds", "https://two.example.com");
    let list = json!([null, 7, {}, labeler, space, other_type, full, second]);
    assert_eq!(pds(&with("service", list), false).as_deref(), Some("https://one.example.com"));

    let unusable = service("#atproto_pds", "https://one.example.com/path");
    assert_eq!(pds(&with("service", json!([unusable, second])), false), None);
    for endpoint in
        [json!({"uri": "https://a.example.com"}), json!(["https://a.example.com"]), json!(null)]
    {
        let mut entry = service("#atproto_pds", "");
        entry["serviceEndpoint"] = endpoint;
        assert_eq!(pds(&with("service", json!([entry])), false), None);
    }
}

/// DOC-4, DOC-6: absent, null and strange lists make an empty document, not a failure.
#[test]
fn missing_lists_are_empty() {
    for value in [json!(null), json!([]), json!({}), json!("text"), json!([null])] {
        let read = parse(&with("verificationMethod", value.clone()), false).unwrap();
        assert!(read.key.is_none() && read.pds.is_some() && read.handle.is_some());
        let read = parse(&with("service", value.clone()), false).unwrap();
        assert!(read.key.is_some() && read.pds.is_none() && read.handle.is_some());
        let read = parse(&with("alsoKnownAs", value), false).unwrap();
        assert!(read.key.is_some() && read.pds.is_some() && read.handle.is_none());
    }
    let bare = parse(&json!({"id": DID}), false).unwrap();
    assert!(bare.key.is_none() && bare.pds.is_none() && bare.handle.is_none());
}

/// DOC-5.
#[test]
fn the_first_valid_handle_counts() {
    let handle = |names: Value, dev| {
        let read = parse(&with("alsoKnownAs", names), dev).unwrap();
        read.handle.map(|handle| handle.as_str().to_owned())
    };
    let names = json!([
        7,
        "https://alice.example.com",
        "at://alice.example.com/path",
        "at://",
        "at://alice",
        "at://did:plc:7iza6de2dwap2sbkpav7c6c6",
        "at://Alice.test",
        "at://bob.example.com",
        "at://carol.example.com",
    ]);
    assert_eq!(handle(names.clone(), false).as_deref(), Some("bob.example.com"));
    assert_eq!(handle(names, true).as_deref(), Some("alice.test"));
    assert_eq!(handle(json!(["at://handle.invalid"]), false).as_deref(), Some("handle.invalid"));
}
