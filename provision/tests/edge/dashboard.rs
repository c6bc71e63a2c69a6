//! The dashboards under a name of their own: everyone may look, nobody gets in.
//!
//! Behind Caddy stands what a Grafana is to it: something that answers everything, offers a session, and
//! remembers what it was asked.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result};
use reqwest::{Method, StatusCode};

use crate::{
    binaries,
    door::{self, Door, STRANGER, Scene},
};

/// What came through, each with its head in lower case.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    /// Takes what came since.
    fn take(&self) -> Result<Vec<String>> {
        let mut all = self.0.lock().map_err(|_poisoned| anyhow::anyhow!("the server failed"))?;
        Ok(std::mem::take(&mut *all))
    }

    /// Answers one request.
    fn answer(&self, mut stream: TcpStream) -> Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut head, mut line) = (String::new(), String::new());
        while reader.read_line(&mut line)? > 2 {
            head.push_str(&line);
            line.clear();
        }
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let mut body = vec![0; length.map_or(Ok(0), str::parse)?];
        reader.read_exact(&mut body)?;
        self.0.lock().map_err(|_poisoned| anyhow::anyhow!("poisoned"))?.push(head);
        let answer = "HTTP/1.1 200 OK\r\nSet-Cookie: grafana_session=1\r\nContent-Length: 4\r\n\
                      Connection: close\r\n\r\nseen";
        stream.write_all(answer.as_bytes())?;
        Ok(())
    }
}

/// Starts it; gives where it listens. It ends with the tests.
fn grafana() -> Result<(String, Seen)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (address, seen) = (listener.local_addr()?.to_string(), Seen::default());
    let kept = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Err(error) = kept.answer(stream) {
                println!("a request was not answered: {error:#}");
            }
        }
    });
    Ok((address, seen))
}

fn import() -> String {
    format!("import {}", binaries::root().join("provision/assets/dashboard.caddy").display())
}

/// A relay with dashboards; the site is an address, for which no name has to be known.
async fn scene(seed: u64, upstream: &str) -> Result<Option<(Scene, tempfile::TempDir)>> {
    let dir = tempfile::tempdir()?;
    let log = dir.path().join("dashboard.log").display().to_string();
    let settings = [
        ("RELAY_CADDY_MORE", &*import()),
        ("RELAY_DASHBOARD_SITE", "127.0.0.1"),
        ("RELAY_DASHBOARD_UPSTREAM", upstream),
        ("RELAY_DASHBOARD_LOG", &log),
    ];
    Ok(Scene::start(seed, &settings).await?.map(|scene| (scene, dir)))
}

/// An address of the dashboards.
fn url(door: &Door, path: &str) -> String {
    door.url(path).replace("//localhost", "//127.0.0.1")
}

/// A password that leaked, a cookie or a header that Grafana believes would make somebody more than a
/// visitor; and nothing that a visitor sends changes a dashboard.
#[tokio::test]
async fn everyone_may_look_at_the_dashboards_and_nobody_gets_in() -> Result<()> {
    let (address, seen) = grafana()?;
    let Some((scene, _dir)) = scene(171, &address).await? else { return Ok(()) };
    let client = scene.door.client(STRANGER)?;
    let secrets =
        ["authorization", "cookie", "x-webauth-user", "x-grafana-org-id", "x-jwt-assertion"];
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/d/relay/relay?from=now-6h"),
        (Method::GET, "/api/dashboards/uid/relay"),
        (Method::HEAD, "/public/build/app.js"),
        (Method::POST, "/api/ds/query"),
    ] {
        let mut asked = client.request(method.clone(), url(&scene.door, path));
        for secret in secrets {
            asked = asked.header(secret, "hunter2");
        }
        let answer = asked.body(if method == Method::POST { "{}" } else { "" }).send().await?;
        assert_eq!(answer.status(), StatusCode::OK, "{method} {path}");
        assert!(answer.headers().get("set-cookie").is_none(), "{path} hands a session out");
        let came = seen.take()?;
        assert_eq!(came.len(), 1, "{path}: {came:?}");
        assert!(!came.concat().contains("hunter2"), "{path}: {came:?}");
    }
    for (method, path, status) in [
        (Method::GET, "/login", 404),
        (Method::POST, "/login", 404),
        (Method::GET, "/login/generic_oauth", 404),
        (Method::GET, "/LOGIN", 404),
        (Method::GET, "//login", 404),
        (Method::GET, "/d/../login", 404),
        (Method::GET, "/%6cogin", 404),
        (Method::GET, "/api/admin/settings", 404),
        (Method::GET, "/api/datasources/proxy/1/api/v1/query", 404),
        (Method::GET, "/api/live/ws", 404),
        (Method::GET, "/metrics", 404),
        (Method::POST, "/api/dashboards/db", 405),
        (Method::PUT, "/api/user/password", 405),
        (Method::DELETE, "/api/dashboards/uid/relay", 405),
        (Method::PATCH, "/api/org", 405),
    ] {
        let answer = client.request(method.clone(), url(&scene.door, path)).send().await?;
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
        assert_eq!(seen.take()?, Vec::<String>::new(), "{method} {path} came through");
    }
    Ok(())
}

/// A Grafana that is away would look like a broken relay, and be told in words that nobody knows.
#[tokio::test]
async fn the_relay_does_not_mind_when_the_dashboards_are_away() -> Result<()> {
    // A port that nobody listens on any more.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let Some((scene, _dir)) = scene(172, &address).await? else { return Ok(()) };
    let client = scene.door.client(STRANGER)?;
    let away = client.get(url(&scene.door, "/d/relay/relay")).send().await?;
    assert_eq!(away.status(), StatusCode::SERVICE_UNAVAILABLE);
    let here = client.get(scene.door.url("/xrpc/_health")).send().await?;
    assert_eq!(here.status(), StatusCode::OK);
    Ok(())
}

/// A file that Caddy refuses would keep the relay from the public too.
#[test]
fn caddy_finds_the_dashboards_valid_and_formatted() -> Result<()> {
    let Some(caddy) = binaries::caddy() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let place = |name: &str| dir.path().join(name).display().to_string();
    let settings = [
        ("RELAY_CADDY_MORE", import()),
        ("RELAY_CADDY_LOG", place("access.log")),
        ("RELAY_DASHBOARD_LOG", place("dashboard.log")),
        ("XDG_DATA_HOME", place("data")),
        ("XDG_CONFIG_HOME", place("config")),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    let caddyfile = binaries::root().join("Caddyfile");
    let valid = door::command(&caddy, &caddyfile, &settings, "validate").output()?;
    assert!(valid.status.success(), "{}", String::from_utf8_lossy(&valid.stderr));
    let file = binaries::root().join("provision/assets/dashboard.caddy");
    let formatted = Command::new(&caddy).args(["fmt", "--diff"]).arg(&file).output();
    let formatted = formatted.context("run caddy fmt")?;
    assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stdout));
    Ok(())
}
