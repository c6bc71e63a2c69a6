//! The whole program before and behind a real Caddy: what it says of a machine that is ready, of a relay
//! that does its work, and of one that is away.

use std::{fs, net::IpAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use relay_simnet::Account;
use serde_json::Value;
use tokio::task::JoinSet;

use super::servers::{Server, Zone, answer};
use crate::{
    door::Scene,
    process::{PASSWORD, free_port},
    program::{Said, provision, provision_with},
};

const LOCAL: [&str; 2] = ["127.0.0.1", "::1"];

/// A name server that knows the one name, and one whose clock is right enough.
pub(crate) async fn surroundings() -> Result<(Server, Server)> {
    let addresses: Result<Vec<IpAddr>, _> = LOCAL.iter().map(|text| text.parse()).collect();
    let names = Server::names(Zone { addresses: addresses?, name: Some("localhost") }).await?;
    Ok((names, Server::http(answer("200 OK", "")).await?))
}

/// The lines of one check.
fn of<'v>(answer: &'v Value, check: &str) -> Vec<&'v Value> {
    let lines = answer["lines"].as_array().into_iter().flatten();
    lines.filter(|line| line["check"] == check).collect()
}

/// Every line that is not well says why, and what to do; the exit code is that of the worst.
fn is_told(said: &Said) -> Result<Value> {
    let answer = said.json();
    let lines = answer["lines"].as_array().context("lines")?;
    for line in lines {
        let is_ok = line["state"] == "ok";
        let is_empty = |name: &str| line[name].as_str().is_none_or(str::is_empty);
        assert!(is_empty("cause") == is_ok && is_empty("fix") == is_ok, "{line}");
    }
    let has_failed = lines.iter().any(|line| line["state"] == "fail");
    assert_eq!(said.code, Some(i32::from(has_failed)), "{said:?}");
    Ok(answer)
}

/// A machine on which only `init` was run: its settings are right, its ports free, and nothing is asked
/// of a relay that is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_without_a_relay_is_looked_at_before() -> Result<()> {
    let (names, time) = surroundings().await?;
    let dir = tempfile::tempdir()?;
    let place = dir.path().display().to_string();
    let begun = [
        "init",
        "relay.example.com",
        "--contact",
        "mailto:a@b.example",
        "--dir",
        &place,
        "--data-dir",
        &place,
    ];
    assert_eq!(provision(&begun).code, Some(0));
    let env = dir.path().join("env");
    let mut text = fs::read_to_string(&env)?;
    for name in ["RELAY_API_BIND", "RELAY_METRICS_LISTEN", "RELAY_ADMIN_BIND"] {
        text.extend([name, "=127.0.0.1:", &free_port()?.to_string(), "\n"]);
    }
    fs::write(&env, text)?;
    let (https, http) = (free_port()?, free_port()?.to_string());
    let (url, env) = (format!("https://localhost:{https}"), env.display().to_string());
    let (server, time) = (names.at.to_string(), time.url());

    let said = provision(&[
        "doctor",
        "--before",
        &url,
        "--env",
        &env,
        "--name-server",
        &server,
        "--time-from",
        &time,
        "--http-port",
        &http,
        "--json",
    ]);

    let answer = is_told(&said)?;
    for check in ["settings", "dns", "ports"] {
        let lines = of(&answer, check);
        let is_ok = lines.iter().all(|line| line["state"] == "ok");
        assert!(!lines.is_empty() && is_ok, "{check}: {lines:?}");
    }
    assert_eq!(of(&answer, "ports").len(), 2, "both are free: {answer}");
    for check in ["tls", "websocket", "admin", "live", "window", "consumers", "backups"] {
        assert!(of(&answer, check).is_empty(), "{check} needs a relay: {answer}");
    }
    Ok(())
}

/// What the relay of a scene was started with, as the file that `doctor` reads.
pub(crate) fn settings(scene: &Scene, dir: &Path, more: &str) -> Result<String> {
    let env = dir.join("env");
    let text = format!(
        "RELAY_API_BIND={}\nRELAY_ADMIN_BIND={}\nRELAY_DATA_DIR={}\n\
         RELAY_PLC_HOST={}\nRELAY_ADMIN_PASSWORD={PASSWORD}\nRELAY_ALLOW_INSECURE_HOSTS=true\n\
         RELAY_CONTACT=mailto:a@b.example\n{more}",
        scene.relay.url().replace("http://", ""),
        scene.relay.admin_address(),
        scene.relay.data().display(),
        scene.net.plc().url(),
    );
    fs::write(&env, text)?;
    fs::set_permissions(&env, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(env.display().to_string())
}

/// Runs all checks of `--after` on the public name of a scene.
async fn after(scene: &Scene, env: String) -> Result<Said> {
    let (names, time) = surroundings().await?;
    let (url, http) = (scene.door.url(""), scene.door.http_port().to_string());
    let (server, time) = (names.at.to_string(), time.url());
    let roots = scene.door.root().display().to_string();
    let said = tokio::task::spawn_blocking(move || {
        let words = [
            "doctor",
            "--after",
            &url,
            "--env",
            &env,
            "--name-server",
            &server,
            "--time-from",
            &time,
            "--http-port",
            &http,
            "--listen",
            "6s",
            "--json",
        ];
        provision_with(&[("SSL_CERT_FILE", &roots)], &words)
    });
    Ok(said.await?)
}

/// Somebody who writes until the set is dropped.
pub(crate) fn writing(account: Account) -> JoinSet<Result<()>> {
    let mut writer = JoinSet::new();
    writer.spawn(async move {
        loop {
            account.post("hello").await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    writer
}

/// Behind the Caddyfile every line about the public name is well; when the relay stops, those that need
/// it fail, each with its cause and what to do, and those about Caddy stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_behind_caddy_is_seen_from_its_name() -> Result<()> {
    let metrics = format!("127.0.0.1:{}", free_port()?);
    let relays = [("RELAY_METRICS_LISTEN", &*metrics), ("RELAY_TRUSTED_PROXIES", "127.0.0.1,::1")];
    let started = Scene::start_both(321, &[], &relays);
    let Some(mut scene) = started.await? else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let bare = format!("RELAY_METRICS_LISTEN={metrics}\n");
    let trust = format!("{bare}RELAY_TRUSTED_PROXIES=127.0.0.1,::1\n");
    let alice = scene.net.pds("alpha").await?.account("alice").await?;
    scene.relay.crawl(&scene.net).await?;
    let posts = writing(alice);

    let answer = is_told(&after(&scene, settings(&scene, dir.path(), &trust)?).await?)?;
    for check in ["dns", "tls", "websocket", "admin", "consumers"] {
        let lines = of(&answer, check);
        let is_ok = lines.iter().all(|line| line["state"] == "ok");
        assert!(!lines.is_empty() && is_ok, "{check}: {lines:?}");
    }
    for (check, words) in [("live", "verified"), ("window", "still filling")] {
        let lines = of(&answer, check);
        let has = |line: &&&Value| line["what"].as_str().is_some_and(|what| what.contains(words));
        let line = lines.iter().find(has).with_context(|| format!("{check}: {lines:?}"))?;
        assert_eq!(line["state"], "ok", "{line}");
    }
    let shown = of(&answer, "websocket")[0]["what"].to_string();
    assert!(shown.contains("(relay/"), "the relay itself answers through Caddy: {shown}");

    // A file without the setting: the relay would take all for one.
    let answer = is_told(&after(&scene, settings(&scene, dir.path(), &bare)?).await?)?;
    let lines = of(&answer, "websocket");
    assert!(lines.len() == 2 && lines[1]["state"] == "warn", "{lines:?}");
    assert!(lines[1]["fix"].to_string().contains("RELAY_TRUSTED_PROXIES"), "{lines:?}");

    drop(posts);
    scene.relay.stop().await?;
    let answer = is_told(&after(&scene, settings(&scene, dir.path(), &trust)?).await?)?;
    for check in ["dns", "tls", "admin"] {
        let lines = of(&answer, check);
        let is_ok = lines.iter().all(|line| line["state"] == "ok");
        assert!(!lines.is_empty() && is_ok, "{check} is Caddy's matter: {lines:?}");
    }
    for (check, cause, fix) in [
        ("websocket", "503", "relay health"),
        ("live", "503", "websocket"),
        ("window", "", "systemctl status relay"),
        ("consumers", "", "systemctl status relay"),
    ] {
        let lines = of(&answer, check);
        assert!(lines.len() == 1 && lines[0]["state"] == "fail", "{check}: {lines:?}");
        let told = |name: &str| lines[0][name].as_str().unwrap_or_default();
        assert!(told("cause").contains(cause) && told("fix").contains(fix), "{:?}", lines[0]);
    }
    Ok(())
}
