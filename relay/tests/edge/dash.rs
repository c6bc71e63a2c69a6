//! The page: who gets in, what it shows, and that nothing hostile becomes a part of it.

use std::time::Duration;

use relay_simnet::{Consumer, Fault, Start};
use tokio::time::Instant;

use crate::{
    http::{Answer, open, post, send},
    relay::{PASSWORD, Relay},
};

/// What every page allows: files of the relay, nothing inline.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// The value of a hidden field.
pub(crate) fn hidden(page: &str, name: &str) -> String {
    let begin = format!("name=\"{name}\" value=\"");
    let rest = page.split(&begin).nth(1).ok_or_else(|| format!("no {name} in {page}")).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// Sends the login form as a browser does.
async fn log_in(relay: &Relay, password: &str, to: &str) -> Answer {
    let page = send(relay.running.admin, "GET", "/dash/login", &[]).await;
    let body = format!("token={}&to={to}&password={password}", hidden(&page.body, "token"));
    post(relay.running.admin, "/dash/login", &[], &body).await
}

/// A browser that is logged in: the line with its cookie.
pub(crate) async fn session(relay: &Relay) -> String {
    let answer = log_in(relay, PASSWORD, "/dash").await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/dash")), "{answer:?}");
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/dash", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    format!("Cookie: {}", cookie.split(';').next().unwrap())
}

/// A page of the session.
pub(crate) async fn page(relay: &Relay, session: &str, path: &str) -> Answer {
    send(relay.running.admin, "GET", path, &[session]).await
}

/// An operator logs in once and is in; nobody else sees anything, and nothing of it is public.
#[tokio::test]
async fn nobody_sees_the_page_without_a_login() {
    let relay = Relay::start().await;
    let routes = relay::api::dash_routes();
    assert!(routes.len() > 8 && routes.iter().all(|(_, path)| path.starts_with("/dash")));
    for (method, path) in &routes {
        let at = relay.running.admin;
        let outside = send(at, method, path, &[]).await;
        assert_eq!(outside.status, 401, "{method} {path}");
        assert!(outside.body.contains("name=\"password\""), "a way in: {path}");
        let forged = ["Cookie: relay_dash=AAAA"];
        assert_eq!(send(at, method, path, &forged).await.status, 401, "{method} {path}");
        let public = send(relay.api(), method, path, &[]).await;
        assert_eq!(public.status, 404, "{method} {path} is not public");
    }
    let session = session(&relay).await;
    for (method, path) in routes {
        if method != "GET" {
            let without_token = send(relay.running.admin, method, path, &[&session]).await;
            assert_eq!(without_token.status, 403, "{path}");
            continue;
        }
        let inside = page(&relay, &session, path).await;
        assert!(matches!(inside.status, 200 | 303 | 400), "{path}: {inside:?}");
        assert_eq!(inside.header("content-security-policy"), Some(POLICY), "{path}");
        assert_eq!(inside.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(inside.header("access-control-allow-origin"), None, "{path}");
        if inside.status != 200 {
            continue;
        }
        assert_eq!(inside.header("cache-control"), Some("no-store"));
        assert!(!inside.body.contains(" style=") && !inside.body.contains("<style"), "{path}");
        assert!(!inside.body.contains(" onclick=") && !inside.body.contains("javascript:"));
        assert_eq!(inside.body.matches("<script").count(), 1, "one file, nothing inline: {path}");
        assert!(!inside.body.contains(PASSWORD), "{path}");
    }
    let settings = page(&relay, &session, "/dash/settings").await.body;
    for part in ["admin_passwords", "(redacted)", "env RELAY_PLC_RATE", "10000", "not set"] {
        assert!(settings.contains(part), "{part}: {settings}");
    }

    let out = page(&relay, &session, "/dash").await;
    let body = format!("token={}", hidden(&out.body, "token"));
    let left = post(relay.running.admin, "/dash/logout", &[&session], &body).await;
    assert_eq!((left.status, left.header("location")), (303, Some("/dash/login")));
    assert!(left.header("set-cookie").unwrap().contains("Max-Age=0"));
    let after = page(&relay, &session, "/dash").await;
    assert_eq!(after.status, 401, "the cookie that was kept opens nothing");
    relay.stop().await;
}

/// After a restart an operator goes on where they were; with another password nobody does.
#[tokio::test]
async fn a_restart_logs_nobody_out() {
    let relay = Relay::start().await;
    let session = session(&relay).await;
    let relay = relay.restarted().await;
    assert_eq!(page(&relay, &session, "/dash").await.status, 200);
    relay.stop().await;
    let other = Relay::start_with(&[("RELAY_ADMIN_PASSWORD", "another")]).await;
    assert_eq!(page(&other, &session, "/dash").await.status, 401);
    other.stop().await;
}

/// Guesses at the page and at the admin API are counted together, so that neither is a way around.
#[tokio::test]
async fn guesses_are_slowed_down_for_page_and_api_together() {
    let relay = Relay::start().await;
    let at = relay.running.admin;
    for _ in 0..6 {
        let wrong = log_in(&relay, "guess", "/dash").await;
        assert_eq!(wrong.status, 401);
        assert!(wrong.body.contains("That is not the password."), "{}", wrong.body);
        assert_eq!(wrong.header("set-cookie"), None);
    }
    let slowed = log_in(&relay, PASSWORD, "/dash").await;
    assert_eq!(slowed.status, 429, "not even compared");
    assert!(slowed.header("retry-after").is_some() && slowed.header("set-cookie").is_none());
    let api = format!("Authorization: Bearer {PASSWORD}");
    assert_eq!(send(at, "GET", "/admin/v1/status", &[&api]).await.status, 429);
    relay.stop().await;
}

/// A page elsewhere cannot send a form in an operator's name, and a login leads nowhere else.
#[tokio::test]
async fn forms_of_other_pages_change_nothing() {
    let relay = Relay::start().await;
    let at = relay.running.admin;
    let (mine, other) = (session(&relay).await, session(&relay).await);
    let token = hidden(&page(&relay, &mine, "/dash").await.body, "token");
    let foreign = hidden(&page(&relay, &other, "/dash").await.body, "token");
    let cross = ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"];
    for (headers, body) in [
        (vec![], String::new()),
        (vec![], "token=".to_owned()),
        (vec![], format!("token={foreign}")),
        (vec![cross[0]], format!("token={token}")),
        (vec![cross[1]], format!("token={token}")),
    ] {
        let lines = [&[mine.as_str()][..], &headers].concat();
        let answer = post(at, "/dash/logout", &lines, &body).await;
        assert_eq!(answer.status, 403, "{headers:?} {body}");
    }
    assert_eq!(page(&relay, &mine, "/dash").await.status, 200, "still logged in");
    let long = format!("token={token}&x={}", "x".repeat(20_000));
    assert_eq!(post(at, "/dash/logout", &[&mine], &long).await.status, 413);
    let own = ["Origin: http://relay", "Sec-Fetch-Site: same-origin"];
    let body = format!("token={token}");
    assert_eq!(post(at, "/dash/logout", &[&mine, own[0], own[1]], &body).await.status, 303);

    let bare = post(at, "/dash/login", &[], &format!("password={PASSWORD}")).await;
    assert_eq!(bare.status, 403, "a login form has a token too");
    let away = log_in(&relay, PASSWORD, "https%3A%2F%2Fevil.example").await;
    assert_eq!(away.header("location"), Some("/dash"));
    let back = log_in(&relay, PASSWORD, "%2Fdash%2Fhosts%3Fstatus%3Dactive").await;
    assert_eq!(back.header("location"), Some("/dash/hosts?status=active"));
    relay.stop().await;
}

/// Why an event was dropped stands on the pages of its account and of its host, in words.
#[tokio::test]
async fn an_operator_reads_why_an_event_was_dropped() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    alice.with(Fault::HighS).post("bad").await.unwrap();
    relay.settled().await;
    let session = session(&relay).await;

    let account =
        page(&relay, &session, &format!("/dash/account?q=at://{}/x/y", alice.did())).await;
    for part in
        ["The signature does not verify", alice.did(), "is read: connected", "bad_signature"]
    {
        assert!(account.body.contains(part), "{part}: {}", account.body);
    }
    let encoded = pds.hostname().replace(':', "%3A");
    let host = page(&relay, &session, &format!("/dash/host?name={encoded}")).await;
    for part in ["The signature does not verify", alice.did(), "bad_signature", "#commit"] {
        assert!(host.body.contains(part), "{part}: {}", host.body);
    }
    let list = page(&relay, &session, "/dash/hosts?reason=bad_signature").await;
    assert!(list.body.contains(&pds.hostname()));
    let none = page(&relay, &session, "/dash/hosts?reason=fork").await;
    assert!(none.body.contains("No host is like that."), "{}", none.body);
    let overview = page(&relay, &session, "/dash").await;
    assert!(overview.body.contains("/dash/hosts?reason=bad_signature"), "{}", overview.body);

    let direct = page(&relay, &session, &format!("/dash/account?q={encoded}")).await;
    let to = direct.header("location").unwrap().to_owned();
    assert_eq!((direct.status, to), (303, format!("/dash/host?name={encoded}")));
    let stranger = "/dash/account?q=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
    let stranger = page(&relay, &session, stranger).await;
    assert!(stranger.body.contains("Its identity could not be found"), "{}", stranger.body);
    let handle = page(&relay, &session, "/dash/account?q=alice.example.com").await;
    assert!(handle.body.contains("holds no DID"), "{}", handle.body);
    for (path, status) in [
        ("/dash/host", 400),
        ("/dash/host?name=a%20b", 400),
        ("/dash/host?name=unknown.example.com", 404),
        ("/dash/live?view=nothing", 400),
        ("/dash/nothing", 404),
    ] {
        assert_eq!(page(&relay, &session, path).await.status, status, "{path}");
    }
    relay.stop().await;
}

/// SEC-10: names, errors, user agents and queries that try to be HTML stay text.
#[tokio::test]
async fn hostile_text_never_becomes_a_part_of_a_page() {
    const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let host = relay.running.hosts.by_name(&pds.hostname()).unwrap();
    host.failed(EVIL, 1_000);
    let dropped = relay::drops::Dropped {
        at_ms: 1_000,
        host: host.id(),
        host_seq: None,
        kind: None,
        did: Some(format!("did:web:{EVIL}")),
        reason: relay::domain::DropReason::BadDid,
        detail: EVIL.to_owned(),
    };
    relay.running.drops.record(dropped.clone());
    relay.running.drops.record_lenient(dropped);
    let upgrade = format!(
        "GET /xrpc/com.atproto.sync.subscribeRepos HTTP/1.1\r\nHost: relay\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nUser-Agent: {EVIL}\r\n\r\n"
    );
    let (switched, socket) = open(relay.api(), &upgrade).await;
    assert_eq!(switched.status, 101);
    relay.until("the consumer counts", || relay.running.firehose.count() == 1).await;

    let session = session(&relay).await;
    let query: String = url_encoded(EVIL);
    let name = pds.hostname().replace(':', "%3A");
    for path in [
        "/dash".to_owned(),
        "/dash/hosts".to_owned(),
        format!("/dash/hosts?q={query}&sort={query}&status={query}&page={query}"),
        format!("/dash/host?name={name}"),
        format!("/dash/host?name={query}"),
        format!("/dash/account?q={query}"),
        format!("/dash/account?q=did:web:{query}"),
        "/dash/consumers".to_owned(),
        format!("/dash/nothing?{query}"),
    ] {
        let answer = page(&relay, &session, &path).await;
        assert!(!answer.body.contains("<script>"), "{path}: {}", answer.body);
        assert!(!answer.body.contains("<img"), "{path}: {}", answer.body);
        assert!(!answer.body.contains("'><"), "{path}");
    }
    let shown = page(&relay, &session, "/dash/consumers").await.body;
    assert!(shown.contains("&lt;script&gt;"), "control, it is there as text: {shown}");
    let shown = page(&relay, &session, &format!("/dash/host?name={name}")).await.body;
    assert!(shown.matches("&lt;script&gt;").count() >= 3, "{shown}");
    drop(socket);
    relay.stop().await;
}

pub(crate) fn url_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// An operator of the whole network pages through 3,000 hosts without waiting.
#[tokio::test]
async fn three_thousand_hosts_are_listed_in_pages_without_waiting() {
    let names: Vec<_> = (0..3_000).map(|number| format!("pds-{number:04}.example.com")).collect();
    let relay = Relay::start().await;
    // Names that nobody has: none of them is dialled.
    relay.running.upstream.stop().await;
    let added = relay.running.hosts.add_many(&names).await;
    assert!(added.iter().all(Result::is_ok), "{:?}", added.first());
    let session = session(&relay).await;
    for path in ["/dash/hosts", "/dash/hosts?page=30", "/dash/hosts?q=17&sort=dropped", "/dash"] {
        let mut times = Vec::new();
        for _ in 0..5 {
            let began = Instant::now();
            assert_eq!(page(&relay, &session, path).await.status, 200, "{path}");
            times.push(began.elapsed());
        }
        // The machine may be busy with something else at one time, but not each time.
        let quickest = times.iter().min().unwrap();
        assert!(*quickest < Duration::from_millis(100), "{path}: {times:?}");
    }
    let first = page(&relay, &session, "/dash/hosts").await.body;
    assert_eq!(first.matches("<th scope=\"row\">").count(), 100);
    assert!(first.contains("3,000 hosts") && first.contains("Page 1 of 30"), "{first}");
    assert!(first.contains("pds-0000.example.com") && !first.contains("pds-0100.example.com"));
    let last = page(&relay, &session, "/dash/hosts?page=99").await.body;
    assert!(last.contains("Page 30 of 30") && last.contains("pds-2999.example.com"), "{last}");
    let found = page(&relay, &session, "/dash/hosts?q=PDS-0042").await.body;
    assert!(found.contains("1 of 3,000 hosts"), "{found}");
    relay.stop().await;
}

/// An open page is told what changed, and the stream ends when the relay stops.
#[tokio::test]
async fn an_open_page_stays_current() {
    let relay = Relay::start().await;
    let session = session(&relay).await;
    let request =
        format!("GET /dash/live?view=consumers HTTP/1.1\r\nHost: relay\r\n{session}\r\n\r\n");
    let (answer, mut socket) = open(relay.running.admin, &request).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let _consumer =
        Consumer::connect(&format!("ws://{}", relay.api()), Start::After(0)).await.unwrap();
    let mut seen = String::new();
    let shows = async {
        let mut bytes = [0; 4096];
        while !seen.contains("127.0.0.1") {
            let count = tokio::io::AsyncReadExt::read(&mut socket, &mut bytes).await.unwrap();
            assert!(count > 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), shows).await.unwrap();
    assert!(seen.contains("data: "), "{seen}");
    relay.stop().await;
}

/// A browser loads style and script once and asks afterwards whether they changed.
#[tokio::test]
async fn files_of_the_page_are_kept_by_browsers() {
    let relay = Relay::start().await;
    for (path, kind) in [
        ("/dash/style.css", "text/css"),
        ("/dash/live.js", "text/javascript"),
        ("/dash/icon.svg", "image/svg+xml"),
    ] {
        let first = send(relay.running.admin, "GET", path, &[]).await;
        assert_eq!(first.status, 200);
        assert!(first.header("content-type").unwrap().starts_with(kind), "{path}");
        let tag = first.header("etag").unwrap().to_owned();
        let again = [format!("If-None-Match: \"other\", {tag}")];
        let again = send(relay.running.admin, "GET", path, &[&again[0]]).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
        let changed = send(relay.running.admin, "GET", path, &["If-None-Match: \"x\""]).await;
        assert_eq!(changed.status, 200, "{path}");
    }
    relay.stop().await;
}

/// Anyone may read how the relay is, in a browser or a program, and learns nothing of single hosts.
#[tokio::test]
async fn the_public_status_says_how_the_relay_is_and_no_more() {
    let relay = Relay::start_with(&[("RELAY_CONTACT", "mailto:<b>relay</b>@example.com")]).await;
    let pds = relay.host("alpha").await;
    relay.account(&pds, "alice").await;

    let json = send(relay.api(), "GET", "/status", &[]).await;
    let facts = json.json();
    assert_eq!(json.header("content-type"), Some("application/json"));
    assert_eq!(facts["status"], "ok");
    assert_eq!(facts["hosts"], serde_json::json!({ "known": 1, "connected": 1 }));
    assert!(facts["upSince"].as_str().unwrap().ends_with('Z'));
    assert!(facts["eventsPerSecond"].is_number(), "{facts}");
    assert_eq!(facts["window"]["head"], relay.running.log.window().head.0);
    assert!(facts["window"]["bytes"].as_u64().unwrap() > 0);
    assert!(facts["window"]["begins"].as_str().unwrap().ends_with('Z'), "{facts}");
    let named = send(relay.api(), "GET", "/status.json", &["Accept: text/html"]).await;
    assert_eq!(named.json()["software"], facts["software"]);

    let page = send(relay.api(), "GET", "/status", &["Accept: text/html,*/*;q=0.8"]).await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("content-security-policy"), Some(POLICY));
    assert_eq!(page.header("vary"), Some("Accept"));
    assert!(page.body.contains("Status of this relay"), "{}", page.body);
    assert!(page.body.contains("&lt;b&gt;relay") && !page.body.contains("<b>"), "{}", page.body);
    for answer in [&json, &named, &page] {
        assert!(!answer.body.contains("127.0.0.1") && !answer.body.contains("alpha"));
        assert!(!answer.body.contains(&relay.data().display().to_string()));
        assert!(!answer.body.contains("/dash"), "{}", answer.body);
    }
    assert_eq!(send(relay.api(), "GET", "/status.css", &[]).await.status, 200);
    relay.stop().await;
}
