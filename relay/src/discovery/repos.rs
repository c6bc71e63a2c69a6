//! A page of a host's `listRepos`: what the host claims of its accounts (ACC-10). Pure.

use relay_protocol::Did;
use serde_json::Value;

use crate::domain::UpstreamStatus;

/// What a host claims of one account. Its rev is not looked at: nobody signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) did: Did,
    pub(super) status: UpstreamStatus,
}

/// Reads an entry; `None` when it is no account. `active` may be missing, as in lists from before there
/// were statuses.
pub(super) fn claim(repo: &Value) -> Option<Claim> {
    let did = Did::parse(repo.get("did")?.as_str()?).ok()?;
    let active = match repo.get("active") {
        None => true,
        Some(active) => active.as_bool()?,
    };
    let status = repo.get("status").and_then(Value::as_str);
    Some(Claim { did, status: UpstreamStatus::from_wire(active, status) })
}

/// Entries of one list at most: a host that lists more than it could have is playing games.
pub(super) fn listed_max(limit: u64, known: u64) -> u64 {
    limit.max(known).saturating_mul(2).saturating_add(10_000)
}

/// Whether most of what a host claims is not so; each such claim costs a lookup.
pub(super) fn is_mostly_wrong(listed: u64, refused: u64) -> bool {
    refused > 200 && refused > listed / 2
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::discovery::page::Page;

    /// ACC-5, ACC-10: statuses are read as those of the stream are; strange entries do no harm.
    #[test]
    fn claims_are_read_as_statuses_of_the_stream_are() {
        let did = "did:web:example.com";
        let body = json!({
            "cursor": "x",
            "repos": [
                {"did": did, "head": "h", "rev": "r"},
                {"did": did, "active": true},
                {"did": did, "active": false, "status": "takendown"},
                {"did": did, "active": false},
                {"did": did, "active": "yes"},
                {"did": "nobody", "active": true},
                "did",
            ],
        });
        let page = Page::read(body.to_string().as_bytes(), claim).unwrap();
        let statuses: Vec<_> = page.entries.iter().map(|claim| claim.status.as_text()).collect();
        assert_eq!(statuses, ["active", "active", "takendown", "inactive"]);
        assert_eq!((page.strange, page.next.as_deref()), (3, Some("x")));
        for wrong in [&b"{}"[..], b"[", br#"{"repos":7}"#] {
            assert!(Page::read(wrong, claim).is_err());
        }
    }

    #[test]
    fn a_list_is_bounded_by_the_size_of_its_host() {
        assert_eq!(listed_max(100, 7), 10_200);
        assert_eq!(listed_max(100, 1_000_000), 2_010_000);
        assert_eq!(listed_max(u64::MAX, 0), u64::MAX);
        for (listed, refused, wrong) in [
            (0, 0, false),
            (200, 200, false),
            (201, 201, true),
            (1_000, 500, false),
            (1_000, 501, true),
        ] {
            assert_eq!(is_mostly_wrong(listed, refused), wrong, "{listed} {refused}");
        }
    }
}
