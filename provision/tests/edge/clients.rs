//! Who a client is behind a real Caddy: the relay's limits, its log of wrong passwords and its list of
//! consumers go by the address that Caddy saw.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;

use crate::{
    door::{LOOK_EVERY, OPERATOR, PATIENCE, STRANGER, Scene},
    process::PASSWORD,
    routes,
};

/// Caddy connects from there.
const TRUST_CADDY: [(&str, &str); 1] = [("RELAY_TRUSTED_PROXIES", "127.0.0.1,::1")];
/// Both addresses of the tests are operators', so that one of them can be the guesser.
const BOTH_MANAGE: [(&str, &str); 1] = [("RELAY_ADMIN_ALLOW", "127.0.0.2 127.0.0.3")];
/// Calls of requestCrawl per client and minute.
const CRAWLS_PER_MINUTE: usize = 10;
/// Wrong passwords before the next one must wait.
const FREE_FAILURES: usize = 6;
/// An address that nobody here has.
const INVENTED: &str = "203.0.113.7";

fn crawl(scene: &Scene, client: &Client) -> RequestBuilder {
    let url = scene.door.url("/xrpc/com.atproto.sync.requestCrawl");
    client.post(url).json(&serde_json::json!({ "hostname": "no such name" }))
}

fn login(scene: &Scene, client: &Client, password: &str) -> RequestBuilder {
    client.get(scene.door.url("/admin/v1/status")).bearer_auth(password)
}

async fn status(request: RequestBuilder) -> Result<u16> {
    Ok(request.send().await?.status().as_u16())
}

/// One visitor who asks without end is told to wait; the next one does not notice. Writing other
/// addresses into the request does not help the first.
#[tokio::test]
async fn a_visitor_who_used_up_its_calls_keeps_nobody_out() -> Result<()> {
    let Some(scene) = Scene::start_both(121, &[], &TRUST_CADDY).await? else { return Ok(()) };
    let (greedy, other) = (scene.door.client(STRANGER)?, scene.door.client(OPERATOR)?);
    for call in 0..CRAWLS_PER_MINUTE {
        assert_eq!(status(crawl(&scene, &greedy)).await?, 400, "call {call}");
    }
    let refused = crawl(&scene, &greedy).send().await?;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"), "{refused:?}");
    for name in ["x-forwarded-for", "forwarded", "x-real-ip", "x-client-ip"] {
        let spoofed = crawl(&scene, &greedy).header(name, INVENTED);
        assert_eq!(status(spoofed).await?, 429, "{name}");
    }
    let twice = crawl(&scene, &greedy)
        .header("x-forwarded-for", INVENTED)
        .header("x-forwarded-for", format!("{INVENTED}, 127.0.0.1"));
    assert_eq!(status(twice).await?, 429);

    let blamed = crawl(&scene, &other).header("x-forwarded-for", STRANGER.to_string());
    assert_eq!(status(blamed).await?, 400, "nobody is served under another's name");
    assert_eq!(status(crawl(&scene, &other)).await?, 400);
    Ok(())
}

/// Somebody who guesses passwords does not lock the operators out, and the log says where he is.
#[tokio::test]
async fn a_guesser_of_passwords_is_slowed_alone_and_named() -> Result<()> {
    let scene = Scene::start_both(122, &BOTH_MANAGE, &TRUST_CADDY).await?;
    let Some(scene) = scene else { return Ok(()) };
    let (guesser, operator) = (scene.door.client(STRANGER)?, scene.door.client(OPERATOR)?);
    for _ in 0..FREE_FAILURES {
        assert_eq!(status(login(&scene, &guesser, "guess")).await?, 401);
    }
    let spoofed = login(&scene, &guesser, "guess").header("x-forwarded-for", INVENTED);
    assert_eq!(status(spoofed).await?, 429);
    assert_eq!(status(login(&scene, &operator, PASSWORD)).await?, 200);
    scene.relay.says("a wrong admin password was given").await?;
    let log = scene.relay.log();
    let told = log.lines().filter(|line| line.contains("a wrong admin password was given"));
    let lines: Vec<_> = told.collect();
    assert!(lines.iter().all(|line| line.contains(&STRANGER.to_string())), "{lines:?}");
    Ok(())
}

/// The list of consumers shows where each of them is, not where Caddy is; without the setting it
/// shows Caddy.
#[tokio::test]
async fn consumers_are_shown_with_their_own_addresses() -> Result<()> {
    for (seed, settings, shown) in [
        (123, &TRUST_CADDY[..], [OPERATOR, STRANGER]),
        (124, &[], [IpAddr::from([127, 0, 0, 1]); 2]),
    ] {
        let Some(scene) = Scene::start_both(seed, &[], settings).await? else { return Ok(()) };
        let mut streams = Vec::new();
        for address in [OPERATOR, STRANGER] {
            streams.push(stream(&scene, address).await?);
        }
        let listed = async {
            let mut listed = addresses(&scene).await?;
            while listed.len() != streams.len() {
                tokio::time::sleep(LOOK_EVERY).await;
                listed = addresses(&scene).await?;
            }
            anyhow::Ok(listed)
        };
        let listed = tokio::time::timeout(PATIENCE, listed).await.context("they do not come")??;
        assert_eq!(listed, shown.map(|address| address.to_string()));
    }
    Ok(())
}

/// A stream that stays open as long as the answer is kept.
async fn stream(scene: &Scene, from: IpAddr) -> Result<Response> {
    let request = scene.door.client(from)?.get(scene.door.url(routes::FIREHOSE));
    let answer = request
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("x-forwarded-for", INVENTED)
        .send()
        .await?;
    anyhow::ensure!(answer.status() == 101, "{answer:?}");
    Ok(answer)
}

/// What the relay's own list says, in order of arrival.
async fn addresses(scene: &Scene) -> Result<Vec<String>> {
    let url = format!("http://{}/admin/consumers/list", scene.relay.admin_address());
    let client = Client::builder().no_proxy().build()?;
    let answer = client.get(url).bearer_auth(PASSWORD).send().await?.error_for_status()?;
    let rows: Vec<Value> = answer.json().await?;
    let address = |row: &Value| row["remote_addr"].as_str().map(str::to_owned);
    rows.iter().map(|row| address(row).context("no address")).collect()
}
