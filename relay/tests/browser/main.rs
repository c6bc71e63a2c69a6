//! The dashboard in a real browser: Chromium drives through it, a person's steps one after the other.
//!
//! `just stage build,browser` runs what CI runs, `just screenshots` makes the pictures of `docs/pictures`.
//! Both set `BROWSER_MODULES` (packages of npm), `CHROMIUM_BINARY` and `NODE_BINARY`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../edge/http.rs"]
#[expect(dead_code, reason = "shared with the tests of the edge")]
mod http;
#[path = "../edge/relay.rs"]
#[expect(dead_code, reason = "shared with the tests of the edge")]
mod relay;
mod scene;

use std::{ffi::OsString, path::Path, time::Duration};

use serde_json::json;

use crate::{relay::PASSWORD, scene::Scene};

/// How long the pictures' relay works before it is looked at: lines of the last hour need a past.
const PAST: Duration = Duration::from_secs(100);

/// What an operator does on a working day, without JavaScript too, and whether everyone can use it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium; `just stage build,browser` runs it"]
async fn an_operator_does_a_days_work_in_a_browser() {
    let scene = Box::pin(Scene::small()).await;
    drive(&scene, "story.mjs", Path::new("")).await;
    Box::pin(scene.end()).await;
}

/// The pictures of the documentation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "makes pictures; `just screenshots` runs it"]
async fn pictures_of_every_view() {
    let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures");
    std::fs::create_dir_all(&to).unwrap();
    let scene = Box::pin(Scene::large()).await;
    Box::pin(scene.work(PAST)).await;
    tokio::select! {
        () = Box::pin(scene.work(Duration::from_hours(1))) => {}
        () = drive(&scene, "pictures.mjs", &to) => {}
    }
    Box::pin(scene.end()).await;
}

/// Runs a script of this directory against the scene.
async fn drive(scene: &Scene, script: &str, pictures: &Path) {
    let told = json!({
        "dash": format!("http://{}", scene.relay.running.admin),
        "status": format!("http://{}", scene.relay.api()),
        "password": PASSWORD,
        "badHost": scene.bad_host(),
        "badDid": scene.bad_did(),
        "goodDid": scene.good_did(),
        "newHost": scene.new_host(),
        "pictures": pictures,
    });
    let node = named("NODE_BINARY").unwrap_or_else(|| "node".into());
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser").join(script);
    let mut command = tokio::process::Command::new(node);
    command.arg(here).env("BROWSER_SCENE", told.to_string()).kill_on_drop(true);
    let ended = command.status().await.unwrap();
    assert!(ended.success(), "{script} failed; it says above what it missed");
}

fn named(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
