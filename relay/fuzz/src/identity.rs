//! DID documents, host names and the other identifiers.

use relay_protocol::{
    Cid, Did, DidDocument, Handle, Hostname, Nsid, Rev, VerifyingKey, is_datetime, is_record_key,
    repo_path,
};
use url::{Host, Url};

/// The DID that the documents of the corpus are about.
const DID: &str = "did:plc:7iza6de2dwap2sbkpav7c6c6";

/// DOC-1…7: a document gives the same with and without development mode, where both permit it, and
/// what it gives reads back.
pub(crate) fn document(data: &[u8]) {
    let did = Did::parse(DID).expect("a valid DID");
    let strict = DidDocument::parse(data, &did, false);
    let dev = DidDocument::parse(data, &did, true);
    assert_eq!(strict.as_ref().err(), dev.as_ref().err(), "the mode decides about parts only");
    let (Ok(strict), Ok(dev)) = (strict, dev) else { return };
    let keys = [&strict, &dev].map(|document| document.key.as_ref().map(VerifyingKey::to_multikey));
    assert_eq!(keys[0], keys[1]);
    if let Some(key) = &keys[0] {
        let again = VerifyingKey::from_multikey(key).expect("a key reads what it prints");
        assert_eq!(&again.to_multikey(), key);
    }
    if let Some(endpoint) = &strict.pds {
        assert_eq!(Some(endpoint), dev.pds.as_ref());
        assert!(endpoint.host.is_secure());
    }
    for (document, mode) in [(&strict, false), (&dev, true)] {
        if let Some(endpoint) = &document.pds {
            let again = Hostname::parse(&endpoint.url, mode).expect("an endpoint's own address");
            assert_eq!(again, endpoint.host);
            is_the_host_of_its_url(&endpoint.host);
        }
        if let Some(handle) = &document.handle {
            assert_eq!(Handle::parse(handle.as_str(), mode).as_ref(), Ok(handle));
        }
    }
}

/// SYN-10, SEC-2: host names, and that the library that dials sees the same host in them.
pub(crate) fn hostname(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (strict, dev) = (Hostname::parse(text, false), Hostname::parse(text, true));
    if let Ok(strict) = &strict {
        assert_eq!(dev.as_ref(), Ok(strict), "development mode only permits more");
        assert!(strict.is_secure(), "without TLS only in development mode");
    }
    for (host, mode) in [(strict, false), (dev, true)] {
        let Ok(host) = host else { continue };
        let again = Hostname::parse(host.as_str(), mode).expect("a name reads what it prints");
        assert_eq!(again.as_str(), host.as_str());
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b':');
        assert!(host.as_str().bytes().all(plain), "{host}");
        is_the_host_of_its_url(&host);
    }
}

/// No name may be dialled as an address (SEC-2), or as another name. A name that nobody can dial,
/// such as one with a label that is no Punycode, is harmless.
fn is_the_host_of_its_url(host: &Hostname) {
    let Ok(url) = Url::parse(&format!("https://{host}/")) else { return };
    let name = host.as_str().split(':').next().unwrap_or_default();
    assert_eq!(url.host(), Some(Host::Domain(name)), "{host}");
}

/// SYN-1…9: what is accepted reads back from what it prints, and paths fall into their parts.
pub(crate) fn identifiers(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(did) = Did::parse(text) {
        assert_eq!(did.as_str(), text);
        let strict = did.method(false);
        if strict.is_ok() {
            assert_eq!(strict, did.method(true), "development mode only permits more");
            if let Some(host) = did.web_host() {
                let url = Url::parse(&format!("https://{host}/"));
                let name = host.split(':').next();
                assert!(url.is_err() || url.is_ok_and(|url| url.domain() == name), "{host}");
            }
        }
    }
    if let Ok(rev) = Rev::parse(text) {
        assert_eq!(rev.to_string(), text);
        assert_eq!(Rev::from_u64(rev.to_u64()), Some(rev));
    }
    if let Ok(cid) = Cid::parse(text) {
        assert_eq!(cid.to_string(), text);
        assert_eq!(Cid::from_bytes(&cid.to_bytes()), Ok(cid));
    }
    if let Ok(nsid) = Nsid::parse(text) {
        assert_eq!(nsid.as_str(), text);
    }
    if let Ok((collection, key)) = repo_path(text) {
        assert!(Nsid::parse(collection).is_ok() && is_record_key(key));
        assert_eq!(format!("{collection}/{key}"), text);
    }
    if let Ok(key) = VerifyingKey::from_multikey(text) {
        assert_eq!(key.to_multikey(), text);
    }
    for dev in [false, true] {
        if let Ok(handle) = Handle::parse(text, dev) {
            assert_eq!(handle.as_str(), text.to_ascii_lowercase());
        }
    }
    if is_datetime(text) {
        let (day, rest) = text.split_once('T').expect("a date and a time");
        assert_eq!(day.len(), 10);
        assert!(rest.ends_with('Z') || rest.contains(['+', '-']), "{text}");
    }
}
