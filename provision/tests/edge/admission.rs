//! Who reaches what: real requests through a real Caddy.

use anyhow::{Context as _, Result};
use reqwest::{Client, Method, Response};
use serde_json::Value;

use crate::{
    door::{LOOK_EVERY, OPERATOR, PATIENCE, STRANGER, Scene},
    process::PASSWORD,
    routes,
};

/// A word that must not be found again.
const SECRET: &str = "pomegranate";

/// Whether the relay gave this answer, and not Caddy.
fn is_of_relay(answer: &Response) -> bool {
    let server = answer.headers().get("server").and_then(|value| value.to_str().ok());
    server.is_some_and(|server| server.starts_with("relay/"))
}

async fn get(client: &Client, url: String) -> Result<Response> {
    Ok(client.get(url).send().await?)
}

/// Host and consumers reach every public path, and find nothing else.
#[tokio::test]
async fn every_public_path_reaches_the_relay_and_no_other_does() -> Result<()> {
    let Some(scene) = Scene::start(101, &[]).await? else { return Ok(()) };
    let client = scene.door.client(STRANGER)?;
    for path in routes::public()? {
        let answer = get(&client, scene.door.url(&path)).await?;
        assert!(is_of_relay(&answer), "{path}: {answer:?}");
        assert_ne!(answer.status(), 404, "{path}");
        let headers = answer.headers();
        assert_eq!(headers["access-control-allow-origin"], "*", "{path}");
        assert_eq!(headers["strict-transport-security"], "max-age=31536000", "{path}");
        assert!(!headers.contains_key("via"), "{path}");
    }
    for (path, status, name) in [
        ("/metrics", 404, "NotFound"),
        ("/debug/pprof", 404, "NotFound"),
        ("/admin", 404, "NotFound"),
        ("/admin/v1/status", 404, "NotFound"),
        ("/admin/v1/hosts", 404, "NotFound"),
        ("/dash", 404, "NotFound"),
        ("/dash/index.html", 404, "NotFound"),
        ("/xrpc/com.atproto.sync.getBlob", 501, "MethodNotImplemented"),
        ("/xrpc/com.atproto.sync.listRepos/x", 501, "MethodNotImplemented"),
    ] {
        let answer = get(&client, scene.door.url(path)).await?;
        assert!(!is_of_relay(&answer), "{path}: {answer:?}");
        assert_eq!(answer.status(), status, "{path}");
        let body: Value = answer.json().await?;
        assert_eq!(body["error"], name, "{path}");
    }
    Ok(())
}

/// A path that is written in a strange way opens the admin API for nobody.
#[tokio::test]
async fn no_spelling_of_a_path_reaches_what_is_closed() -> Result<()> {
    let Some(scene) = Scene::start(102, &[]).await? else { return Ok(()) };
    let authority = scene.door.authority();
    for path in [
        "/_health",
        "//admin/v1/status",
        "/%61dmin/v1/status",
        "/ADMIN/v1/status",
        "/admin/v1/../v1/status",
        "/_health/../admin/v1/status",
        "/xrpc/../admin/v1/status",
        "/xrpc/..%2fadmin/v1/status",
        "/admin/../_health",
        "/admin%2fv1%2fstatus",
        "/./admin/v1/status",
        "/_health/..;/admin/v1/status",
    ] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 127.0.0.1\r\n\
             Connection: close\r\n\r\n"
        );
        let answer = scene.door.trust.exchange(&authority, request.as_bytes()).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).context("a status")?;
        let expected = if path == "/_health" { "200" } else { "404 501" };
        assert!(expected.contains(status), "{path}: {answer}");
        assert!(!answer.contains("WWW-Authenticate"), "{path} reached the gate: {answer}");
    }
    Ok(())
}

/// An operator at home manages the relay; the next person does not see that one can.
#[tokio::test]
async fn the_admin_api_is_open_to_the_named_address_and_its_password() -> Result<()> {
    let allowed = [("RELAY_ADMIN_ALLOW", "127.0.0.2/32")];
    let Some(scene) = Scene::start(103, &allowed).await? else { return Ok(()) };
    let url = scene.door.url("/admin/v1/status");
    let ask = |client: Client, password: Option<&'static str>| {
        let request = client.get(url.clone()).header("x-forwarded-for", OPERATOR.to_string());
        match password {
            Some(password) => request.bearer_auth(password).send(),
            None => request.send(),
        }
    };
    let operator = scene.door.client(OPERATOR)?;
    let stranger = scene.door.client(STRANGER)?;

    assert_eq!(ask(operator.clone(), None).await?.status(), 401);
    let answer = ask(operator.clone(), Some(PASSWORD)).await?;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let body: Value = answer.json().await?;
    assert!(body["uptimeSeconds"].is_u64(), "{body}");

    let refused = ask(stranger, Some(PASSWORD)).await?;
    assert_eq!(refused.status(), 404, "a header does not make an operator");
    assert!(!is_of_relay(&refused));
    let metrics = get(&operator, scene.door.url("/metrics")).await?;
    assert_eq!(metrics.status(), 404, "not even for operators");
    Ok(())
}

/// Whoever types the name without `https` gets there all the same, and nothing in the clear.
#[tokio::test]
async fn plain_http_is_sent_to_https() -> Result<()> {
    let Some(scene) = Scene::start(104, &[]).await? else { return Ok(()) };
    let client = scene.door.client(STRANGER)?;
    for path in ["/xrpc/_health", "/admin/v1/status"] {
        let answer = get(&client, scene.door.plain_url(path)).await?;
        assert_eq!(answer.status(), 308);
        assert_eq!(answer.headers()["location"], format!("https://localhost{path}").as_str());
    }
    Ok(())
}

/// A body of any size costs the relay nothing; one that it takes arrives.
#[tokio::test]
async fn a_body_that_is_too_large_is_refused_at_the_door() -> Result<()> {
    let Some(scene) = Scene::start(105, &[]).await? else { return Ok(()) };
    let client = scene.door.client(STRANGER)?;
    let url = scene.door.url("/xrpc/com.atproto.sync.requestCrawl");
    let post = |body: reqwest::Body| {
        let request = client.request(Method::POST, url.clone());
        request.header("content-type", "application/json").body(body).send()
    };

    let small = post(r#"{"hostname":"no such name"}"#.into()).await?;
    assert!(is_of_relay(&small), "{small:?}");
    assert_eq!(small.status(), 400);

    let large = vec![b' '; (16 << 10) + 1];
    let answer = post(large.into()).await?;
    assert_eq!(answer.status(), 413);
    assert!(!is_of_relay(&answer), "{answer:?}");
    let body: Value = answer.json().await?;
    assert_eq!(body["error"], "PayloadTooLarge");
    Ok(())
}

/// A log that is copied to somebody for help holds no password.
#[tokio::test]
async fn no_secret_is_in_any_log() -> Result<()> {
    let allowed = [("RELAY_ADMIN_ALLOW", "127.0.0.2/32")];
    let Some(mut scene) = Scene::start(106, &allowed).await? else { return Ok(()) };
    let client = scene.door.client(OPERATOR)?;
    let ask = |path: &str, agent: &'static str| {
        let request = client.get(scene.door.url(path)).header("user-agent", agent);
        request.bearer_auth(SECRET).header("cookie", format!("session={SECRET}")).send()
    };

    let path = format!("/xrpc/com.atproto.sync.listRepos?token={SECRET}");
    assert_eq!(ask(&path, "first-visitor").await?.status(), 200);
    assert_eq!(ask("/admin/v1/status", "second-visitor").await?.status(), 401);
    scene.relay.stop().await?;
    assert_eq!(ask("/admin/v1/status", "third-visitor").await?.status(), 503);

    let logged = async {
        while !scene.door.access_log().contains("third-visitor") {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, logged).await.context("the last visitor is not logged")?;
    let access = scene.door.access_log();
    assert!(access.contains("first-visitor") && access.contains("second-visitor"), "{access}");
    assert!(access.contains(r#""uri":"/xrpc/com.atproto.sync.listRepos?..."#), "{access}");
    for log in [access, scene.door.log(), scene.relay.log()] {
        assert!(!log.contains(SECRET), "{log}");
    }
    Ok(())
}

/// Prometheus on this machine learns how many requests there are.
#[tokio::test]
async fn caddys_metrics_are_on_loopback() -> Result<()> {
    let Some(scene) = Scene::start(107, &[]).await? else { return Ok(()) };
    let client = scene.door.client(STRANGER)?;
    get(&client, scene.door.url("/_health")).await?.error_for_status()?;
    let text = get(&client, scene.door.metrics_url()).await?.error_for_status()?.text().await?;
    assert!(text.contains("caddy_http_requests_total{"), "{text}");
    Ok(())
}
