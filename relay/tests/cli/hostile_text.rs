//! SEC-10: what strangers write reaches neither log nor metric as they wrote it.

use std::time::Duration;

use relay_simnet::{Ipld, Kind, Net, Upgrade};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::program::{Place, client};

/// Clears a screen, rings, turns the direction of writing, begins a line of its own.
const HOSTILE: &str = "\u{1b}[2J\u{7}\u{9b}31m\u{202e}\r\nFORGED line\u{2028}end";

/// Nothing in it can do anything to a terminal or pass for a line of ours.
fn assert_tame(what: &str, text: &str) {
    for line in text.lines() {
        assert!(!line.starts_with("FORGED"), "{what}: {line}");
        let odd = line.chars().find(|c| {
            c.is_control() && *c != '\t' || ['\u{202e}', '\u{2028}', '\u{9b}'].contains(c)
        });
        assert!(odd.is_none(), "{what} holds {odd:?}: {}", line.escape_debug());
    }
}

/// Sends bytes that are no proper request, and waits for whatever comes.
async fn say(at: &str, bytes: &[u8]) {
    let mut socket = TcpStream::connect(at).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut answer));
    read.await.unwrap().unwrap();
    assert_tame("an answer", &String::from_utf8_lossy(&answer).replace('\r', ""));
}

/// All that a client may write somewhere.
async fn clients(api: &str) {
    let path = "/xrpc/com.atproto.sync";
    let agent: String = HOSTILE.chars().filter(|c| !c.is_control()).collect();
    for request in [
        format!("GET /{HOSTILE} HTTP/1.1\r\nHost: relay\r\n\r\n"),
        format!(
            "GET {path}.getRepoStatus?did=did:web:%1b%5b2J%0aFORGED HTTP/1.1\r\nHost: a\r\n\r\n"
        ),
        format!(
            "GET {path}.getHostStatus?hostname=%1b%0d%0aFORGED HTTP/1.1\r\nConnection: close\r\n\r\n"
        ),
        format!("GET {path}.listRepos?cursor=%1b%0aFORGED HTTP/1.1\r\nConnection: close\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nConnection: close\r\nUser-Agent: {agent}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nConnection: close\r\nX-Forwarded-For: {agent}\r\n\r\n"),
    ] {
        let request = request.replace("HTTP/1.1\r\nHost: a", "HTTP/1.1\r\nConnection: close");
        say(api, request.as_bytes()).await;
    }
    let crawl = format!("http://{api}{path}.requestCrawl");
    for hostname in
        [HOSTILE.to_owned(), format!("{HOSTILE}.example.com"), "\u{202e}.test".to_owned()]
    {
        let body = serde_json::json!({ "hostname": hostname }).to_string();
        let answer = client().post(&crawl).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 400);
        assert_tame("the refusal", &answer.text().await.unwrap());
    }
}

/// A server that answers the upgrade with words of its own.
async fn rude_server() -> (String, tokio::sync::watch::Receiver<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("localhost:{}", listener.local_addr().unwrap().port());
    let (tell, asked) = tokio::sync::watch::channel(false);
    relay::tasks::Tasks::default().start(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 4_096];
            let read = socket.read(&mut request).await.unwrap_or(0);
            let is_upgrade = String::from_utf8_lossy(&request[..read]).contains("subscribeRepos");
            let body = if is_upgrade { format!("<b>{HOSTILE}</b>") } else { "{}".to_owned() };
            let head = if is_upgrade {
                "302 Found\r\nLocation: ws://FORGED\u{9b}31m\u{202e}.example.com"
            } else {
                "200 OK"
            };
            let answer = format!(
                "HTTP/1.1 {head}\r\nServer: \u{9b}31m rude\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            drop(socket.write_all(answer.as_bytes()).await);
            tell.send_if_modified(|asked| is_upgrade && !std::mem::replace(asked, true));
        }
    });
    (host, asked)
}

/// Events whose every text is hostile.
fn events(pds: &relay_simnet::Pds, did: &str) {
    let text = |text: &str| Ipld::String(text.to_owned());
    let time = ("time", text("2026-01-01T00:00:00.000Z"));
    for (kind, fields) in [
        (Kind::Identity, vec![("did", text(HOSTILE)), time.clone()]),
        (Kind::Identity, vec![("did", text(did)), ("handle", text(HOSTILE)), time.clone()]),
        (Kind::Identity, vec![("did", text(did)), ("time", text(HOSTILE))]),
        (
            Kind::Account,
            vec![
                ("did", text(did)),
                ("active", Ipld::Bool(false)),
                ("status", text(HOSTILE)),
                time.clone(),
            ],
        ),
        (Kind::Commit, vec![("repo", text(did)), ("rev", text(HOSTILE)), time]),
    ] {
        let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value));
        pds.send_payload(kind, fields.collect());
    }
}

/// SEC-10: names, handles, statuses, times, paths, agents, answers and errors of strangers, all of them
/// made to hurt whoever reads the log in a terminal. With everything logged, no line of the log, no metric and no
/// answer holds any of it as it was written.
#[tokio::test]
async fn hostile_words_reach_no_log_and_no_metric_as_they_were_written() {
    let net = Net::seeded(7).await.unwrap();
    let pds = net.pds("alpha").await.unwrap();
    let (rude, mut asked) = rude_server().await;
    let (plc, crawl) = (net.plc().url(), format!("{},{rude}", pds.hostname()));
    let settings = [
        ("RELAY_ALLOW_INSECURE_HOSTS", "true"),
        ("RELAY_PLC_HOST", plc.as_str()),
        ("RELAY_CRAWL", crawl.as_str()),
        ("RELAY_ADMIN_PASSWORD", "hostile-text"),
        ("RELAY_LOG_LEVEL", "trace"),
    ];
    let mut relay = Place::new().start(&[], &settings);
    let [api, admin, metrics] = relay.up().await;
    pds.connected().await.unwrap();
    let alice = pds.account("alice").await.unwrap();
    alice.post("good").await.unwrap();
    events(&pds, alice.did());
    pds.answer_all(Upgrade::Status { status: 502, retry_after: None, html: true });
    clients(&api).await;
    asked.wait_for(|asked| *asked).await.unwrap();
    relay.says("event dropped").await;
    let why = format!("http://{admin}/admin/v1/why?host={}", pds.hostname());
    let told = client().get(why).basic_auth("admin", Some("hostile-text")).send().await.unwrap();
    assert_tame("the answer to why", &told.text().await.unwrap());

    let counted = client().get(format!("http://{metrics}/metrics")).send().await.unwrap();
    assert_tame("the metrics", &counted.text().await.unwrap());
    let ended = relay.stop().await;
    assert!(ended.err.contains("FORGED"), "control: some of it is told, escaped: {}", ended.err);
    assert_tame("the log", &ended.err);
}
