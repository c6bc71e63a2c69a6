//! Host names (HOST-2, SYN-10): what is one, what is none, and what only development mode permits.

use relay_protocol::Hostname;

/// HOST-2, SYN-10: forms that give the same host, for everyone and in development mode.
#[test]
fn host_names_are_normalised() {
    for dev in [false, true] {
        for text in [
            "pds.example.com",
            "PDS.Example.COM",
            "https://pds.example.com",
            "HTTPS://pds.example.com/",
            "wss://pds.example.com/xrpc/com.atproto.sync.subscribeRepos?cursor=0",
            "https://pds.example.com?x=https://other.com",
            "https://pds.example.com#fragment",
            "pds.example.com/path",
        ] {
            let host = Hostname::parse(text, dev).unwrap();
            assert_eq!(host.as_str(), "pds.example.com", "{text}");
            assert_eq!(host.to_string(), "pds.example.com");
            assert!(host.is_secure(), "{text}");
        }
    }
}

/// HOST-2: what no mode permits.
#[test]
fn addresses_that_are_no_hosts_are_refused() {
    let long = format!("{}.com", "a.".repeat(130));
    let endless = "a".repeat(100_000);
    for (text, reason) in [
        ("", "no host"),
        ("https://", "no host"),
        ("https:///path", "no host"),
        ("example", "at least one dot"),
        ("example.com.", "ends with a dot"),
        ("user@example.com", "user"),
        ("https://user:password@example.com", "user"),
        ("127.0.0.1", "IP address"),
        ("https://192.168.0.1/", "IP address"),
        ("2130706433", "IP address"),
        ("[::1]", "IP address"),
        ("[::1]:80", "IP address"),
        ("fe80::1", "IP address"),
        ("0x7f.0.0.0x1", "last label"),
        ("example.com:443", "port"),
        ("https://example.com:8080", "port"),
        ("example.com:", "port"),
        ("ftp://example.com", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("exa mple.com", "label"),
        ("exa\nmple.com", "label"),
        ("exa%6dple.com", "label"),
        ("bücher.com", "label"),
        ("pds_1.example.com", "label"),
        ("-a.example.com", "label"),
        ("example.com\\@evil.com", "user"),
        ("example.local", "reserved"),
        ("example.internal", "reserved"),
        ("handle.invalid", "reserved"),
        (&long, "253"),
        (&endless, "2,048"),
    ] {
        for dev in [false, true] {
            let refusal = Hostname::parse(text, dev).expect_err(text);
            assert!(refusal.what.contains(reason), "{text}: {refusal}, expected `{reason}`");
            assert!(!refusal.what.contains("--dev"), "{text}: {refusal}");
        }
    }
    assert!(Hostname::parse("example.com", false).is_ok());
    // The path is not looked at, but counts.
    let address = |length: usize| format!("{:p<length$}", "https://example.com/");
    assert!(Hostname::parse(&address(2_048), false).is_ok());
    assert!(Hostname::parse(&address(2_049), false).is_err());
}

/// HOST-2, DESIGN 10.16: what only development mode permits; the refusal names it.
#[test]
fn development_mode_permits_local_hosts() {
    for (text, name, secure) in [
        ("localhost:2583", "localhost:2583", false),
        ("LOCALHOST:2583", "localhost:2583", false),
        ("http://localhost:2583/", "localhost:2583", false),
        ("ws://localhost:2583", "localhost:2583", false),
        ("https://localhost:2583", "localhost:2583", true),
        ("http://pds.example.com", "pds.example.com", false),
        ("ws://pds.example.com", "pds.example.com", false),
        ("pds.test", "pds.test", true),
        ("http://pds.test", "pds.test", false),
    ] {
        let host = Hostname::parse(text, true).expect(text);
        assert_eq!((host.as_str(), host.is_secure()), (name, secure), "{text}");

        let refusal = Hostname::parse(text, false).expect_err(text);
        assert!(refusal.what.contains("--dev"), "{text}: {refusal}");
    }
    for text in [
        "localhost",
        "http://localhost",
        "localhost:",
        "localhost:0",
        "localhost:080",
        "localhost:65536",
        "localhost:+80",
        "localhost:80:80",
        "http://127.0.0.1:2583",
    ] {
        let refusal = Hostname::parse(text, true).expect_err(text);
        assert!(!refusal.what.contains("--dev"), "{text}: {refusal}");
    }
}
