//! Identifiers (T1, SYN-1…10, HOST-2): official lists and tables of our own.

use proptest::prelude::*;
use relay_protocol::{Did, DidMethod, Handle, Nsid, Rev, is_datetime, is_record_key, repo_path};

use crate::vectors::interop_lines;

/// Checks the two official lists of an identifier, and that ours are not all empty.
fn official(name: &str, is_valid: impl Fn(&str) -> bool) {
    for line in interop_lines(&format!("syntax/{name}_syntax_valid.txt")) {
        assert!(is_valid(&line), "{name} `{line}` is valid");
    }
    for line in interop_lines(&format!("syntax/{name}_syntax_invalid.txt")) {
        assert!(!is_valid(&line), "{name} `{line}` is not valid");
    }
}

/// Checks the restated facts.
fn ours(is_valid: impl Fn(&str) -> bool, valid: &[&str], invalid: &[&str]) {
    for text in valid {
        assert!(is_valid(text), "`{text}` is valid");
    }
    for text in invalid {
        assert!(!is_valid(text), "`{text}` is not valid");
    }
}

/// T1, SYN-1.
#[test]
pub(crate) fn tids() {
    let is_valid = |text: &str| Rev::parse(text).is_ok();
    official("tid", is_valid);
    ours(
        is_valid,
        &["3jzfcijpj2z2a", "7777777777777", "3zzzzzzzzzzzz", "2222222222222", "bzzzzzzzzzzzz"],
        &[
            "",
            "3jzfcijpj2z21",
            "0000000000000",
            "3JZFCIJPJ2Z2A",
            "3jzfcijpj2z2aa",
            "3jzfcijpj2z2",
            "3jzf-cij-pj2z-2a",
            "zzzzzzzzzzzzz",
            "kjzfcijpj2z2a",
            // The top bit of the number is set.
            "c222222222222",
            "j222222222222",
            "3jzfcijpj2zü",
        ],
    );
}

/// SYN-1: the numbers behind the text.
#[test]
fn tids_are_times() {
    let rev = |text: &str| Rev::parse(text).unwrap();
    assert_eq!(rev("2222222222222").to_u64(), 0);
    assert_eq!(rev("3jzfcijpj2z2a").micros(), 1_688_137_381_887_007);
    assert_eq!(rev("3jzfcijpj2z2a").to_u64() & 0x3ff, 6);
    assert_eq!(rev("3mbd3542k2222").micros(), 1_767_225_600_000_000);
    assert_eq!(Rev::from_u64(u64::MAX >> 1).map(Rev::to_u64), Some(u64::MAX >> 1));
    assert_eq!(Rev::from_u64(1 << 63), None);
}

proptest! {
    /// SYN-1: text and number say the same, and both have one order.
    #[test]
    fn tids_are_ordered_like_their_numbers(left in 0..1_u64 << 63, right in 0..1_u64 << 63) {
        let revs = [left, right].map(|number| Rev::from_u64(number).unwrap());
        let texts = revs.map(|rev| rev.to_string());
        prop_assert_eq!(revs[0].cmp(&revs[1]), texts[0].cmp(&texts[1]));
        for (rev, text) in revs.into_iter().zip(texts) {
            prop_assert_eq!(Rev::parse(&text), Ok(rev));
            prop_assert_eq!(Rev::from_u64(rev.to_u64()), Some(rev));
        }
    }
}

/// T1, SYN-2.
#[test]
pub(crate) fn dids() {
    let is_valid = |text: &str| Did::parse(text).is_ok();
    official("did", is_valid);
    let longest = format!("did:a:{}", "b".repeat(2_042));
    let too_long = format!("{longest}b");
    ours(
        is_valid,
        &[
            "did:m:v",
            "did:method:VAL",
            "did:method:val%BB",
            "did:method::::val",
            "did:plc:7iza6de2dwap2sbkpav7c6c6",
            "did:web:localhost%3A1234",
            &longest,
        ],
        &[
            "",
            "did",
            "did:method",
            "did:method:",
            "did::val",
            "method:did:val",
            "DID:method:val",
            "did:METHOD:val",
            "did:m123:val",
            "did:method:val:",
            "did:method:val%",
            "did:method:val/two",
            "did:method:val?two",
            "did:method:val#two",
            "did:method:vál",
            " did:method:val",
            &too_long,
        ],
    );
    assert_eq!(Did::parse("did:web:Example.com").unwrap().as_str(), "did:web:Example.com");
}

/// SYN-2…4: a syntax error, an unknown method and a broken rule of a method are told apart.
#[test]
fn did_methods() {
    let method = |text: &str, dev| Did::parse(text).unwrap().method(dev);
    let plc = "did:plc:7iza6de2dwap2sbkpav7c6c6";
    assert_eq!(method(plc, false), Ok(DidMethod::Plc));
    assert_eq!(method("did:web:example.com", false), Ok(DidMethod::Web));
    assert_eq!(method("did:web:a-b.c0.example.co", false), Ok(DidMethod::Web));

    let unsupported = "the method of a DID is not plc or web";
    for other in ["did:key:zQ3shZc2QzApp2oymGvQbzP8eKheVshBHbU4ZYjeXqwSKEn6N", "did:plcx:a"] {
        assert_eq!(method(other, true).unwrap_err().what, unsupported);
    }
    for bad in [
        "did:plc:7iza6de2dwap2sbkpav7c6c",
        "did:plc:7iza6de2dwap2sbkpav7c6c66",
        "did:plc:7iza6de2dwap2sbkpav7c6c1",
        "did:plc:7IZA6DE2DWAP2SBKPAV7C6C6",
        "did:plc:7iza6de2dwap2sbkpav7c6.6",
        "did:web:Example.com",
        "did:web:example",
        "did:web:localhost",
        "did:web:example.com:user",
        "did:web:example.com%3A8080",
        "did:web:127.0.0.1",
        "did:web:example.local",
        "did:web:example.com.",
        "did:web:-a.example.com",
        "did:web:localhost%3A",
        "did:web:localhost%3A70000",
        "did:web:localhost%3A0",
        "did:web:localhost%3A2583%3A1",
    ] {
        let refusal = method(bad, true).expect_err(bad);
        assert_ne!(refusal.what, unsupported);
        assert!(method(bad, false).is_err(), "{bad}");
    }
}

/// SYN-4, DESIGN 10.16: only development mode knows localhost and .test, and the refusal says so.
#[test]
fn development_mode_permits_local_dids() {
    for (text, host) in [
        ("did:web:localhost%3A2583", Some("localhost:2583")),
        ("did:web:pds.test", Some("pds.test")),
    ] {
        let did = Did::parse(text).unwrap();
        assert_eq!(did.method(true), Ok(DidMethod::Web));
        assert!(did.method(false).unwrap_err().what.contains("--dev"));
        assert_eq!(did.web_host().as_deref(), host);
    }
    let host = |text: &str| Did::parse(text).unwrap().web_host();
    assert_eq!(host("did:web:example.com").as_deref(), Some("example.com"));
    assert_eq!(host("did:web:example.com:user"), None);
    assert_eq!(host("did:plc:7iza6de2dwap2sbkpav7c6c6"), None);
}

const RESERVED: [&str; 8] =
    ["alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion"];

fn is_reserved(handle: &str) -> bool {
    let tld = handle.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    RESERVED.contains(&tld.as_str())
}

/// T1, SYN-5: the official list is about the regular expression alone, so it also names reserved
/// top-level domains, which are refused.
#[test]
pub(crate) fn handles() {
    official("handle", |text| Handle::parse(text, true).is_ok() || is_reserved(text));
    let longest_label = format!("{}.com", "a".repeat(63));
    let too_long_label = format!("{}.com", "a".repeat(64));
    let longest = format!("{}co", "a.".repeat(125)) + "m";
    assert_eq!(longest.len(), 253);
    let too_long = format!("{longest}m");
    ours(
        |text| Handle::parse(text, false).is_ok(),
        &[
            "john.bsky.app",
            "A.ISI.EDU",
            "4chan.org",
            "xn--ls8h.com",
            "thing.a01",
            "handle.invalid",
            &longest_label,
            &longest,
        ],
        &[
            "",
            "org",
            "john.0",
            "john.-",
            "john-.com",
            "-john.com",
            "john..com",
            ".john.com",
            "john.com.",
            "jo_hn.com",
            "jo@hn.com",
            "bücher.com",
            " john.com",
            "127.0.0.1",
            "cn.8",
            &too_long_label,
            &too_long,
        ],
    );
    assert_eq!(Handle::parse("A.ISI.EDU", false).unwrap().as_str(), "a.isi.edu");
}

/// SYN-5, DESIGN 10.16.
#[test]
fn reserved_top_level_domains_are_refused() {
    for tld in RESERVED {
        assert!(Handle::parse(&format!("alice.{tld}"), true).is_err(), "{tld}");
        assert!(Handle::parse(&format!("alice.{}", tld.to_uppercase()), true).is_err(), "{tld}");
        assert!(Handle::parse(&format!("{tld}.com"), false).is_ok(), "{tld}");
    }
    assert!(Handle::parse("alice.test", true).is_ok());
    assert!(Handle::parse("alice.test", false).unwrap_err().what.contains("--dev"));
}

/// T1, SYN-6.
#[test]
pub(crate) fn nsids() {
    let is_valid = |text: &str| Nsid::parse(text).is_ok();
    official("nsid", is_valid);
    let longest_name = format!("com.example.{}", "o".repeat(63));
    let too_long_name = format!("com.example.{}", "o".repeat(64));
    let longest = format!("{}com.{}", "a.".repeat(125), "o".repeat(63));
    assert_eq!(longest.len(), 317);
    let long_authority = format!("com{}.foo", ".middle".repeat(40));
    let too_long = format!("a{longest}");
    ours(
        is_valid,
        &[
            "app.bsky.feed.post",
            "a.b.c",
            "a-0.b-1.c",
            "one.2.three",
            "cn.8.lex.stuff",
            "com.example.f00",
            &longest_name,
            &longest,
            &long_authority,
        ],
        &[
            "",
            "com.example",
            "1.0.0.127.record",
            "0two.example.foo",
            "com.example.3",
            "com.example.fooBar.2",
            "com.example.foo-bar",
            "com.example-.foo",
            "com.-example.foo",
            "one.two..three",
            ".one.two.three",
            "one.two.three.",
            "com.example.foo.*",
            "com.exa💩ple.thing",
            "one.two.three ",
            &too_long_name,
            &too_long,
        ],
    );
    assert_eq!(Nsid::parse("com.example.fooBar").unwrap().as_str(), "com.example.fooBar");
}

/// T1, SYN-7.
#[test]
pub(crate) fn record_keys() {
    official("recordkey", is_record_key);
    let longest = "o".repeat(512);
    let too_long = "o".repeat(513);
    ours(
        is_record_key,
        &[
            "self",
            "pre:fix",
            ":",
            "-",
            "_",
            "~",
            "...",
            "self.",
            "~1.2-3_",
            "3jzfcijpj2z2a",
            &longest,
        ],
        &["", ".", "..", "alpha/beta", "@handle", "any space", "any+space", "é", "a%2F", &too_long],
    );
}

/// SYN-8.
#[test]
fn repo_paths() {
    assert_eq!(repo_path("app.bsky.feed.post/self"), Ok(("app.bsky.feed.post", "self")));
    assert_eq!(repo_path("a.b.c/pre:fix"), Ok(("a.b.c", "pre:fix")));
    let longest = format!("{}com.{}/{}", "a.".repeat(125), "o".repeat(63), "k".repeat(512));
    assert!(repo_path(&longest).is_ok());
    for bad in [
        "",
        "/",
        "app.bsky.feed.post",
        "app.bsky.feed.post/",
        "/app.bsky.feed.post/self",
        "app.bsky.feed.post/self/",
        "app.bsky.feed.post/a/b",
        "app.bsky.feed.post//a",
        "app.bsky.feed.post/..",
        "post/self",
        "app.bsky/self",
        &format!("{}/self", "a.".repeat(600)),
    ] {
        assert!(repo_path(bad).is_err(), "{bad}");
    }
    // What is far too long is told by its length, before it is read.
    for (length, names_its_length) in [(1_024, false), (1_025, true), (100_000, true)] {
        let collection = "app.bsky.feed.post/";
        let path = format!("{collection}{}", "k".repeat(length - collection.len()));
        let refusal = repo_path(&path).unwrap_err().what;
        assert_eq!(refusal.contains("1,024"), names_its_length, "{length}: {refusal}");
    }
}

/// T1, SYN-9.
#[test]
pub(crate) fn datetimes() {
    official("datetime", is_datetime);
    for line in interop_lines("syntax/datetime_parse_invalid.txt") {
        assert!(!is_datetime(&line), "`{line}` names no time");
    }
    let longest = format!("1985-04-12T23:20:50.{}Z", "1".repeat(20));
    let too_long = format!("1985-04-12T23:20:50.{}Z", "1".repeat(21));
    ours(
        is_datetime,
        &[
            "1985-04-12T23:20:50.123Z",
            "1985-04-12T23:20:50Z",
            "1985-04-12T23:20:50.123+01:45",
            "1985-04-12T23:20:50.123-07:00",
            "0000-01-01T00:00:00.000Z",
            "1985-04-12T23:20:50+23:59",
            "0000-01-01T01:00:00+01:00",
            "2024-02-29T00:00:00Z",
            "2000-02-29T00:00:00Z",
            &longest,
        ],
        &[
            "",
            "1985-04-12",
            "1985-04-12T23:20Z",
            "1985-04-12T23:20:50",
            "1985-04-12T23:20:50.Z",
            "1985-04-12t23:20:50Z",
            "1985-04-12T23:20:50z",
            "1985-04-12 23:20:50Z",
            "1985-04-12T23:20:50-00:00",
            "1985-04-12T23:20:50+0000",
            "1985-04-12T23:20:50+24:00",
            "1985-04-12T23:20:50+01:60",
            "1985-04-12T23:20:50+01:00Z",
            "1985-00-12T23:20:50Z",
            "1985-13-12T23:20:50Z",
            "1985-04-00T23:20:50Z",
            "1985-04-31T23:20:50Z",
            "1985-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "1985-04-12T24:00:00Z",
            "1985-04-12T23:20:60Z",
            "1985-04-12T23:60:50Z",
            "1985-04-12T23:20:61Z",
            "0000-01-01T00:00:00+01:00",
            "+01985-04-12T23:20:50Z",
            "-0001-12-31T23:00:00Z",
            " 1985-04-12T23:20:50Z",
            &too_long,
        ],
    );
}
