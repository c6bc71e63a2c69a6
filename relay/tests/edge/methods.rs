//! Every method of the table in spec section 12: who may call it how, and what its parameters take.

use std::fmt::Write as _;

use relay_simnet::Pds;

use crate::{
    http::{Answer, post, send},
    relay::{PASSWORD, Relay},
};

const SYNC: &str = "/xrpc/com.atproto.sync.";

/// Methods that are read, with a query that is right.
fn read(pds: &Pds, did: &str) -> [(&'static str, String, u16); 7] {
    [
        ("listHosts", String::new(), 200),
        ("getHostStatus", format!("hostname={}", pds.hostname()), 200),
        ("listRepos", String::new(), 200),
        ("listReposByCollection", "collection=com.example.one".to_owned(), 200),
        ("getRepoStatus", format!("did={did}"), 200),
        ("getLatestCommit", format!("did={did}"), 200),
        ("getRepo", format!("did={did}"), 302),
    ]
}

fn error(answer: &Answer) -> (u16, String) {
    (answer.status, answer.error())
}

/// API-1: each method takes its verb and no other; HEAD is GET without the body; all are open to
/// browsers.
#[tokio::test]
async fn every_method_takes_its_verb_and_no_other() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    for (method, query, status) in read(&pds, alice.did()) {
        let path = format!("{SYNC}{method}?{query}");
        let got = send(relay.api(), "GET", &path, &[]).await;
        assert_eq!(got.status, status, "{method}: {got:?}");
        assert_eq!(got.header("access-control-allow-origin"), Some("*"), "{method}");
        let head = send(relay.api(), "HEAD", &path, &[]).await;
        assert_eq!((head.status, head.body.as_str()), (status, ""), "{method}");
        assert_eq!(head.header("location"), got.header("location"), "{method}");
        for verb in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let refused = send(relay.api(), verb, &path, &[]).await;
            assert_eq!(error(&refused), (405, "MethodNotAllowed".to_owned()), "{verb} {method}");
            let allowed = refused.header("allow").unwrap();
            assert!(allowed.contains("GET") && !allowed.contains("POST"), "{method}: {allowed}");
        }
        let ask = ["Origin: https://example.net", "Access-Control-Request-Method: GET"];
        assert_eq!(send(relay.api(), "OPTIONS", &path, &ask).await.status, 204, "{method}");
    }
    for verb in ["GET", "PUT", "DELETE"] {
        let refused = send(relay.api(), verb, &format!("{SYNC}requestCrawl"), &[]).await;
        assert_eq!(error(&refused), (405, "MethodNotAllowed".to_owned()), "{verb}");
        assert_eq!(refused.header("allow"), Some("POST"));
    }
    relay.stop().await;
}

/// API-7: unknown parameters are nothing; of a repeated one the first counts; escapes are undone.
#[tokio::test]
async fn parameters_are_read_as_the_lexicon_says() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let did = alice.did();
    for (method, query, status) in read(&pds, did) {
        let more = format!("{SYNC}{method}?unknown=1&{query}&did=nonsense&hostname=x&limit=7&&=");
        assert_eq!(send(relay.api(), "GET", &more, &[]).await.status, status, "{more}");
    }
    let escaped = did.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "%{byte:02x}").unwrap();
        text
    });
    let status = relay.sync(&format!("getRepoStatus?did={escaped}")).await;
    assert_eq!(status.json()["did"], did);
    let name = pds.hostname().to_uppercase();
    assert_eq!(relay.sync(&format!("getHostStatus?hostname={name}")).await.status, 200, "HOST-2");

    let long = format!("did:web:{}.com", "a".repeat(2_048));
    let fits = format!("did:plc:{}", "a".repeat(24));
    for method in ["getRepoStatus", "getLatestCommit", "getRepo"] {
        for wrong in [&long, "did%3", "did:plc:%ff%fe", "did:plc:a%00b", "DID:plc:abc", "plc:abc"] {
            let refused = relay.sync(&format!("{method}?did={wrong}")).await;
            assert_eq!(error(&refused), (400, "InvalidRequest".to_owned()), "{method} {wrong}");
            assert!(refused.body.len() < 400, "what is sent back is cut: {}", refused.body);
        }
        let unknown = relay.sync(&format!("{method}?did={fits}")).await;
        assert_eq!(error(&unknown), (404, "RepoNotFound".to_owned()), "control");
    }
    relay.stop().await;
}

/// API-4: what is passed on stays one header line, whatever the query holds.
#[tokio::test]
async fn a_redirect_cannot_be_bent_by_its_query() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    for tail in ["&since=%0d%0aSet-Cookie:%20a=b", "&x=//evil.example", "&x=@evil.example/", "&%3f"]
    {
        let query = format!("did={}{tail}", alice.did());
        let answer = relay.sync(&format!("getRepo?{query}")).await;
        let expected = format!("{}{SYNC}getRepo?{query}", pds.url());
        assert_eq!(answer.header("location"), Some(expected.as_str()));
        assert_eq!(answer.header("set-cookie"), None);
    }
    relay.stop().await;
}

/// Spec 12: notifyOfUpdate and other methods of old or of others are 501 with any verb and body.
#[tokio::test]
async fn methods_of_others_are_501_with_any_verb() {
    let relay = Relay::start().await;
    let body = "{\"hostname\":\"pds.example.com\"}";
    for method in ["com.atproto.sync.notifyOfUpdate", "com.atproto.identity.resolveDid", "x", ""] {
        let path = format!("/xrpc/{method}");
        for answer in
            [post(relay.api(), &path, &[], body).await, send(relay.api(), "GET", &path, &[]).await]
        {
            assert_eq!(error(&answer), (501, "MethodNotImplemented".to_owned()), "{method}");
        }
    }
    assert!(relay.running.hosts.all().is_empty(), "notifyOfUpdate adds nobody");
    relay.stop().await;
}

/// API-6: the routes of the admin API, with and without password, with right and wrong input.
#[tokio::test]
async fn the_admin_api_checks_password_verb_and_input() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let at = relay.running.admin;
    let password = format!("Authorization: Bearer {PASSWORD}");
    for path in ["/admin/v1/hosts", "/admin/pds/requestCrawl"] {
        let body = serde_json::json!({ "hostname": pds.hostname(), "hostnames": [pds.hostname()] });
        let (good, large) = (body.to_string(), "x".repeat((1 << 20) + 1));
        let refused = post(at, path, &[], &good).await;
        assert_eq!(error(&refused), (401, "Unauthorized".to_owned()), "{path}");
        assert_eq!(refused.header("access-control-allow-origin"), None);
        for (wrong, status) in [("", 400), ("{}", 400), ("[", 400), (large.as_str(), 413)] {
            let refused = post(at, path, &[&password], wrong).await;
            assert_eq!(error(&refused), (status, "InvalidRequest".to_owned()), "{path}");
        }
        assert_eq!(post(at, path, &[&password], &good).await.status, 200, "control");
        assert_eq!(error(&send(at, "DELETE", path, &[&password]).await).0, 405);
    }
    let one = "/admin/pds/requestCrawl";
    for name in ["10.0.0.1", "a b", "", "x.", "ftp://pds.example.com"] {
        let body = serde_json::json!({ "hostname": name }).to_string();
        let refused = post(at, one, &[&password], &body).await;
        assert_eq!(error(&refused), (400, "InvalidRequest".to_owned()), "{name:?}");
    }
    for query in ["limit=0", "limit=1001", "limit=x", "cursor=x", "cursor=-1"] {
        let refused = relay.admin(&format!("/admin/v1/hosts?{query}")).await;
        assert_eq!(error(&refused), (400, "InvalidRequest".to_owned()), "{query}");
    }
    for query in ["limit=1", "limit=1000", "cursor=", "cursor=18446744073709551615", "other=1"] {
        assert_eq!(relay.admin(&format!("/admin/v1/hosts?{query}")).await.status, 200, "{query}");
    }
    let missing = relay.admin("/admin/v1/nothing").await;
    assert_eq!(error(&missing), (404, "NotFound".to_owned()));
    relay.stop().await;
}

/// API-2: an operator's walk through the hosts with `limit=1`, while hosts are added.
#[tokio::test]
async fn the_operators_list_is_complete_while_hosts_are_added() {
    let relay = Relay::start().await;
    let mut names = Vec::new();
    for name in ["a", "b", "c", "d"] {
        names.push(relay.net.pds(name).await.unwrap().hostname());
    }
    for name in names.iter().take(3) {
        relay.running.hosts.admit(name, true).await.unwrap();
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = relay.admin(&format!("/admin/v1/hosts?limit=1&cursor={cursor}")).await.json();
        let hosts = page["hosts"].as_array().unwrap();
        assert_eq!(hosts.len(), 1);
        seen.push(hosts[0]["hostname"].as_str().unwrap().to_owned());
        if seen.len() == 2 {
            relay.running.hosts.admit(&names[3], true).await.unwrap();
        }
        match page["cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(seen, names);
    relay.stop().await;
}
