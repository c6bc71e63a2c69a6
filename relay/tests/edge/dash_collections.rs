//! The page of collections: what is in the index, what one account has, and how it is filled.

use std::time::Duration;

use crate::{
    dash::{hidden, page, session, url_encoded},
    http::post,
    relay::{PASSWORD, Relay},
};

/// Loads a page until it has a text; the index follows the log by itself.
async fn until(relay: &Relay, session: &str, (path, text): (&str, &str)) -> String {
    let looked = async {
        loop {
            let found = page(relay, session, path).await;
            assert_eq!(found.status, 200, "{path}: {found:?}");
            if found.body.contains(text) {
                return found.body;
            }
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(30), looked).await;
    found.map_err(|_late| format!("{path} never had {text}")).unwrap()
}

/// An operator sees which collections there are, finds one by its name, and sees what one account has
/// and how well that is known.
#[tokio::test]
async fn collections_are_found_by_name_and_by_account() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let (alice, _bob) = (relay.account(&pds, "alice").await, relay.account(&pds, "bob").await);
    let session = session(&relay).await;
    // Whom the database does not have yet is asked for by nobody.
    relay.running.checkpoint().await.unwrap();
    let body = serde_json::json!({ "dids": [alice.did()] }).to_string();
    let password = format!("Authorization: Bearer {PASSWORD}");
    let fill = "/admin/v1/collections/backfill";
    assert_eq!(post(relay.running.admin, fill, &[&password], &body).await.status, 200);

    let all = until(&relay, &session, ("/dash/collections", "app.bsky.feed.post")).await;
    assert!(all.contains("Collections with the most accounts"), "{all}");
    let none = page(&relay, &session, "/dash/collections?prefix=org.example").await.body;
    assert!(none.contains("No collection begins with that."), "{none}");
    assert!(!none.contains("app.bsky.feed.post"), "{none}");
    let of_alice = format!("/dash/collections?did={}", url_encoded(alice.did()));
    let shown = until(&relay, &session, (&of_alice, "<td>proven</td>")).await;
    assert!(shown.contains("This is all that it has."), "{shown}");
    let stranger = page(&relay, &session, "/dash/collections?did=did:web:a.example.com").await.body;
    assert!(stranger.contains("has never seen an event of this account"), "{stranger}");
    let hostile = page(&relay, &session, "/dash/collections?did=%3Cscript%3E&prefix=%3Cb%3E").await;
    assert_eq!(hostile.status, 400);
    assert!(!hostile.body.contains("<script>"), "{hostile:?}");
    let hostile = page(&relay, &session, "/dash/collections?prefix=%3Cb%3E").await.body;
    assert!(hostile.contains("&lt;b&gt;") && !hostile.contains("<b>"), "{hostile}");
    relay.stop().await;
}

/// What an operator begins by a form is under way, and stands in the audit log.
#[tokio::test]
async fn the_index_is_filled_by_forms() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let session = session(&relay).await;
    let token = hidden(&page(&relay, &session, "/dash").await.body, "token");
    let send = async |fields: &str| {
        let body = format!("token={token}&{fields}");
        post(relay.running.admin, "/dash/collections", &[&session], &body).await
    };

    for (fields, word) in [
        ("do=resolve".to_owned(), "resolving"),
        (format!("do=ask&dids={}", url_encoded(alice.did())), "asking"),
        ("do=import&from=relay.example.com".to_owned(), "importing"),
    ] {
        let done = send(&fields).await;
        let to = format!("/dash/collections?done={word}");
        assert_eq!((done.status, done.header("location")), (303, Some(&*to)), "{done:?}");
        let after = page(&relay, &session, &to).await.body;
        assert!(after.contains("role=\"status\""), "{after}");
    }
    let shown = page(&relay, &session, "/dash/collections").await.body;
    assert!(shown.contains("relay.example.com"), "the list of it is read: {shown}");
    let audit = page(&relay, &session, "/dash/audit").await.body;
    assert!(audit.contains("ollections"), "{audit}");
    for wrong in ["do=nothing", "do=ask&dids=alice", "do=import&from=10.0.0.1"] {
        let refused = send(wrong).await;
        assert_eq!(refused.status, 400, "{wrong}: {refused:?}");
        assert!(refused.body.contains("That did not work"), "{refused:?}");
    }
    relay.stop().await;
}
