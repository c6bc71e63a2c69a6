//! Which hosts have no `describeRepo`. Pure.

use std::collections::HashMap;

use parking_lot::Mutex;
use serde_json::Value;

use crate::{domain::HostId, net::Answer};

/// How long a host counts as one without: it may have been updated.
const AGAIN_MS: u64 = 24 * 3_600_000;

/// Hosts that are remembered; the network has some thousands.
const HOSTS_MAX: usize = 50_000;

/// How a host is asked for the collections of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A short answer.
    DescribeRepo,
    /// The whole repository, because the host has no other way.
    GetRepo,
}

impl Method {
    /// As the API says it.
    pub const fn as_text(self) -> &'static str {
        match self {
            Self::DescribeRepo => "describeRepo",
            Self::GetRepo => "getRepo",
        }
    }
}

/// Hosts without `describeRepo`, so that they are not asked twice for each account. Until when, by the
/// steady clock.
#[derive(Debug, Default)]
pub(super) struct Methods(Mutex<HashMap<HostId, u64>>);

impl Methods {
    pub(super) fn of(&self, host: HostId, now_ms: u64) -> Method {
        match self.0.lock().get(&host) {
            Some(until_ms) if now_ms < *until_ms => Method::GetRepo,
            _ => Method::DescribeRepo,
        }
    }

    pub(super) fn note_missing(&self, host: HostId, now_ms: u64) {
        let mut hosts = self.0.lock();
        if hosts.len() >= HOSTS_MAX {
            hosts.clear();
        }
        hosts.insert(host, now_ms.saturating_add(AGAIN_MS));
    }

    /// It has no other method either: it is asked for both again.
    pub(super) fn forget(&self, host: HostId) {
        self.0.lock().remove(&host);
    }
}

/// Whether an answer says that the host does not know the method, rather than the account.
///
/// Hosts say it in many ways: by 501, by a page of their web server, by an error of their own name. What
/// may as well be about the account is not taken for it: a whole repository would be asked for in vain.
pub(super) fn is_missing(answer: &Answer) -> bool {
    let json = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    let text = |field| json.get(field).and_then(Value::as_str).unwrap_or_default();
    let (name, message) = (text("error"), text("message").to_ascii_lowercase());
    let is_named = matches!(
        name,
        "MethodNotImplemented"
            | "MethodNotFound"
            | "NotImplemented"
            | "UnknownMethod"
            | "UnsupportedMethod"
            | "XRPCNotSupported"
    );
    let words = ["method not", "unknown method", "no such method", "not implemented", "xrpc not"];
    let is_told = !name.starts_with("Repo") && words.iter().any(|words| message.contains(words));
    match answer.status {
        501 => true,
        404 | 405 => name.is_empty() || is_named || is_told,
        400 => is_named || is_told,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only what is about the method changes how a host is asked.
    #[test]
    fn a_missing_method_is_told_from_a_missing_account() {
        let says = |status, body: &str| {
            let body = bytes::Bytes::copy_from_slice(body.as_bytes());
            is_missing(&Answer { status, retry_after: None, server: None, body })
        };
        for (status, body) in [
            (501, ""),
            (501, r#"{"error":"MethodNotImplemented","message":"Method Not Implemented"}"#),
            (404, ""),
            (404, "<html>404 page not found</html>"),
            (405, "Method Not Allowed"),
            (404, r#"{"error":"XRPCNotSupported","message":"XRPCNotSupported"}"#),
            (400, r#"{"error":"MethodNotImplemented"}"#),
            (400, r#"{"error":"InvalidRequest","message":"method not found"}"#),
            (400, r#"{"error":"InvalidRequest","message":"XRPC not supported"}"#),
        ] {
            assert!(says(status, body), "{status} {body}");
        }
        for (status, body) in [
            (200, ""),
            (400, ""),
            (400, r#"{"error":"InvalidRequest","message":"Could not find repo"}"#),
            (400, r#"{"error":"RepoNotFound","message":"method not found"}"#),
            (404, r#"{"error":"RepoNotFound"}"#),
            (404, r#"{"error":"NotFound","message":"no such account"}"#),
            (400, r#"{"error":"RepoTakendown"}"#),
            (403, r#"{"error":"RepoDeactivated"}"#),
            (401, ""),
            (429, ""),
            (500, r#"{"error":"InternalServerError"}"#),
            (503, "not implemented"),
        ] {
            assert!(!says(status, body), "{status} {body}");
        }
    }

    /// A host that was updated is found the next day.
    #[test]
    fn a_host_without_the_method_is_remembered_for_a_day() {
        let (methods, host) = (Methods::default(), HostId(7));
        assert_eq!(methods.of(host, 5), Method::DescribeRepo);
        methods.note_missing(host, 5);
        assert_eq!(methods.of(host, 5 + AGAIN_MS - 1), Method::GetRepo);
        assert_eq!(methods.of(HostId(8), 6), Method::DescribeRepo);
        assert_eq!(methods.of(host, 5 + AGAIN_MS), Method::DescribeRepo);
        methods.note_missing(host, 5);
        methods.forget(host);
        assert_eq!(methods.of(host, 6), Method::DescribeRepo);
    }
}
