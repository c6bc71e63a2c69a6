//! What others answer about collections: hosts of an account, relays of a collection. Pure.

use std::collections::BTreeSet;

use relay_protocol::{Did, Nsid};
use serde_json::Value;

use crate::discovery::Page;

/// Collections of one account that are believed; more is somebody's game.
pub(super) const COLLECTIONS_MAX: usize = 10_000;

/// A page of `listReposByCollection`, each account once.
///
/// # Errors
/// What is wrong, when it is no such answer.
pub(super) fn page(json: &[u8]) -> Result<Page<Did>, String> {
    let did = |repo: &Value| Did::parse(repo.get("did")?.as_str()?).ok();
    let mut page = Page::read(json, did)?;
    let mut seen = BTreeSet::new();
    page.entries.retain(|did| seen.insert(did.as_str().to_owned()));
    Ok(page)
}

/// A page of the names of collections that a directory of collections gives.
///
/// # Errors
/// What is wrong, when it is no such answer.
pub(super) fn names(json: &[u8]) -> Result<(Vec<String>, Option<String>), String> {
    let Ok(answer) = serde_json::from_slice::<Value>(json) else {
        return Err("its list of collections is not JSON".to_owned());
    };
    let listed = answer.get("collections").and_then(Value::as_object);
    let listed = listed.ok_or_else(|| "its answer is no list of collections".to_owned())?;
    let next = answer.get("cursor").and_then(Value::as_str).filter(|text| !text.is_empty());
    let names = listed.keys().filter(|name| Nsid::parse(name).is_ok());
    Ok((names.cloned().collect(), next.map(ToOwned::to_owned)))
}

/// The collections of an account, from the answer of `describeRepo`, each once.
///
/// # Errors
/// What is wrong, when it is no answer about this account.
pub(super) fn described(json: &[u8], did: &Did) -> Result<Vec<String>, String> {
    let Ok(answer) = serde_json::from_slice::<Value>(json) else {
        return Err("the answer is not JSON".to_owned());
    };
    if answer.get("did").and_then(Value::as_str) != Some(did.as_str()) {
        return Err("the answer is about another DID".to_owned());
    }
    let listed = answer.get("collections").and_then(Value::as_array);
    let listed = listed.ok_or_else(|| "the answer names no collections".to_owned())?;
    if listed.len() > COLLECTIONS_MAX {
        return Err(format!("the answer names more than {COLLECTIONS_MAX} collections"));
    }
    // What is no name cannot be asked for either.
    let names = listed.iter().filter_map(Value::as_str).filter(|name| Nsid::parse(name).is_ok());
    let names: BTreeSet<&str> = names.collect();
    Ok(names.into_iter().map(ToOwned::to_owned).collect())
}

/// The name of an error in the form of xrpc.
pub(super) fn error_name(json: &[u8]) -> String {
    let answer = serde_json::from_slice::<Value>(json).unwrap_or_default();
    answer.get("error").and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// One strange entry does not hide the others, and nobody is listed twice.
    #[test]
    fn pages_of_accounts_are_read_whatever_is_on_them() {
        let did = "did:web:example.com";
        let body = json!({"cursor": "x", "repos": [{"did": did}, {"did": 7}, "y", {"did": did}]});
        let read = page(body.to_string().as_bytes()).unwrap();
        assert_eq!((read.entries.len(), read.strange, read.next.as_deref()), (1, 2, Some("x")));
        assert_eq!(page(br#"{"repos":[],"cursor":""}"#).unwrap(), Page::default());
        for wrong in [&b"{}"[..], b"<html>", br#"{"repos":{}}"#] {
            assert!(page(wrong).is_err());
        }
    }

    /// Only an answer about the account counts, and only what can be a collection.
    #[test]
    fn only_an_answer_about_the_account_says_what_it_has() {
        let did = Did::parse("did:web:example.com").unwrap();
        let read = |body: Value| described(body.to_string().as_bytes(), &did);
        let names = json!(["b.example.two", "a.example.one", "no name", 7, "a.example.one"]);
        assert_eq!(
            read(json!({"did": did.as_str(), "collections": names})).unwrap(),
            ["a.example.one", "b.example.two"]
        );
        for wrong in [
            json!({"did": "did:web:other.com", "collections": []}),
            json!({"collections": []}),
            json!({"did": did.as_str()}),
            json!({"did": did.as_str(), "collections": vec!["a.b.c"; COLLECTIONS_MAX + 1]}),
            json!([]),
        ] {
            assert!(read(wrong).is_err());
        }
        assert!(described(b"<html>", &did).is_err());
    }

    #[test]
    fn names_of_collections_come_from_a_directory() {
        let body = br#"{"collections":{"a.example.one":5,"bad":1},"cursor":"n"}"#;
        assert_eq!(names(body).unwrap(), (vec!["a.example.one".to_owned()], Some("n".to_owned())));
        assert!(names(br#"{"collections":[]}"#).is_err());
        assert_eq!(error_name(br#"{"error":"RepoNotFound"}"#), "RepoNotFound");
        assert_eq!(error_name(b"<html>"), "");
    }
}
