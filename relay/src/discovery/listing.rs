//! A page of another relay's `listHosts`, and which of its hosts are wanted (HOST-13). Pure.

use serde_json::Value;

use super::page::list;

/// Accounts that a claim of another relay can make room for at most.
const ACCOUNTS_MAX: u64 = 500_000_000;

/// A page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// Hosts that are worth a try, and room for how many accounts each needs.
    pub(super) wanted: Vec<(String, u64)>,
    /// Hosts that the other relay has given up or never read.
    pub(super) passed_over: u64,
    /// Entries that are no hosts.
    pub(super) refused: u64,
    /// What to ask the next page with; `None` on the last.
    pub(super) next: Option<String>,
}

impl Page {
    /// Reads the answer of `listHosts`; a strange entry is counted and does no harm to the others.
    ///
    /// # Errors
    /// What is wrong, when it is no such answer.
    pub(super) fn read(json: &[u8]) -> Result<Self, String> {
        let (hosts, next) = list(json, ("hosts", "hosts"))?;
        let mut page = Self { next, ..Self::default() };
        for host in &hosts {
            match host.get("hostname").and_then(Value::as_str) {
                None => page.refused += 1,
                Some(_) if !is_wanted(host) => page.passed_over += 1,
                Some(name) => page.wanted.push((name.to_owned(), room(host))),
            }
        }
        Ok(page)
    }

    /// Entries of all kinds.
    pub(super) fn listed(&self) -> u64 {
        self.passed_over + self.refused + self.wanted.len() as u64
    }
}

/// A host that the other relay reads, or would read again when asked; one without a seq was never read.
/// The status may be missing, as the lexicon allows.
fn is_wanted(host: &Value) -> bool {
    let status = host.get("status").and_then(Value::as_str);
    let seq = host.get("seq").and_then(Value::as_i64);
    matches!(status, None | Some("active" | "idle")) && seq.is_some_and(|seq| seq > 0)
}

/// Accounts that a host is to have room for that has so many elsewhere.
pub fn room_for(accounts: u64) -> u64 {
    accounts.saturating_mul(2).min(ACCOUNTS_MAX)
}

/// Twice what the host has there, so that it is not throttled for being new here.
fn room(host: &Value) -> u64 {
    let accounts = host.get("accountCount").and_then(Value::as_u64).unwrap_or(0);
    room_for(accounts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// HOST-13: hosts that the other relay gave up or never read are not taken.
    #[test]
    fn hosts_that_another_relay_reads_are_wanted_and_no_others() {
        let host = |status: &str, seq: i64| json!({"hostname": "a", "status": status, "seq": seq});
        for (host, wanted) in [
            (host("active", 1), true),
            (host("idle", 7), true),
            (host("active", 0), false),
            (host("active", -1), false),
            (host("offline", 7), false),
            (host("throttled", 7), false),
            (host("banned", 7), false),
            (host("something new", 7), false),
            (json!({"hostname": "a", "seq": 7}), true),
            (json!({"hostname": "a", "status": "active"}), false),
            (json!({"hostname": "a", "status": "active", "seq": "7"}), false),
        ] {
            assert_eq!(is_wanted(&host), wanted, "{host}");
        }
    }

    /// HOST-7: a host that comes from a list has room for twice its accounts, within a bound.
    #[test]
    fn a_host_gets_room_for_twice_its_accounts() {
        for (count, expected) in [
            (json!(0), 0),
            (json!(300), 600),
            (json!(u64::MAX), ACCOUNTS_MAX),
            (json!(-5), 0),
            (json!("many"), 0),
            (json!(null), 0),
        ] {
            assert_eq!(room(&json!({ "accountCount": count })), expected, "{count}");
        }
    }

    /// One strange entry does not hide the others; what is no list is said to be none.
    #[test]
    fn pages_are_read_whatever_is_on_them() {
        let body = json!({
            "cursor": "2",
            "hosts": [
                {"hostname": "a.example.com", "status": "active", "seq": 5, "accountCount": 3},
                {"hostname": 7},
                "b.example.com",
                {"hostname": "c.example.com", "status": "offline", "seq": 5},
            ],
            "more": true,
        });
        let page = Page::read(body.to_string().as_bytes()).unwrap();
        assert_eq!(page.wanted, [("a.example.com".to_owned(), 6)]);
        assert_eq!((page.refused, page.passed_over, page.listed()), (2, 1, 4));
        assert_eq!(page.next.as_deref(), Some("2"));
        assert_eq!(Page::read(br#"{"hosts":[],"cursor":""}"#).unwrap(), Page::default());
        for wrong in [&b"<html>"[..], b"[]", br#"{"hosts":{}}"#, b""] {
            assert!(Page::read(wrong).is_err(), "{wrong:?}");
        }
    }
}
