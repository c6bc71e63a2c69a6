//! `docs/screens.md` shows what `doctor` and `compare` say of real relays.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result};
use relay_simnet::{Consumer, Start};

use crate::{
    binaries,
    doctor::front::{settings, surroundings, writing},
    door::Scene,
    machines::between,
    process::{PASSWORD, RelayProcess, Setup, free_port},
    program::{in_repository, provision_with},
};

const PAGE: &str = "docs/screens.md";
/// Checks whose lines say nothing of the machine on which the test runs.
const CHECKS: &str = "dns,tls,websocket,admin,window";

/// A text without what differs from run to run: numbers, accounts, units of time, columns.
fn shape(text: &str) -> Vec<String> {
    let word = |word: &str| {
        let is_number = word.contains(|letter: char| letter.is_ascii_digit());
        if is_number || word.starts_with("did:") { "#".to_owned() } else { word.to_owned() }
    };
    let is_unit = |word: &&str| ["ms", "s"].contains(&word.trim_end_matches([',', ':', ';']));
    let line = |line: &str| {
        let words = line.split_whitespace().filter(|word| !is_unit(word)).map(word);
        words.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect()
}

/// Long lines of a screen are broken anew when a number grows, so that only their words count.
fn words(text: &str) -> String {
    shape(text).join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The page says what the program says, but for the numbers; with `UPDATE=1` it is written anew.
fn shown(screens: &[(&str, String)]) -> Result<()> {
    let path = in_repository(PAGE);
    let page = fs::read_to_string(&path).context(PAGE)?;
    let wanted = screens.iter().fold(page.clone(), |page, (name, screen)| {
        between(&page, name, &format!("```text\n{}\n```\n", screen.trim_end()))
    });
    if std::env::var_os("UPDATE").is_some() {
        return fs::write(&path, wanted).context(PAGE);
    }
    assert_eq!(
        words(&page),
        words(&wanted),
        "{PAGE} is not what the program says now; look at the change, then type `just screens`"
    );
    Ok(())
}

/// What `doctor` says of a relay behind Caddy whose settings lack one thing.
async fn doctor(scene: &Scene, metrics: &str) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let env = settings(scene, dir.path(), &format!("RELAY_METRICS_LISTEN={metrics}\n"))?;
    let (names, time) = surroundings().await?;
    let (url, http) = (scene.door.url(""), scene.door.http_port().to_string());
    let (server, time) = (names.at.to_string(), time.url());
    let roots = scene.door.root().display().to_string();
    let said = tokio::task::spawn_blocking(move || {
        let place = ["doctor", "--after", &url, "--env", &env, "--only", CHECKS];
        let tests = ["--name-server", &server, "--time-from", &time, "--http-port", &http];
        let arguments = [&place[..], &tests[..]].concat();
        provision_with(&[("SSL_CERT_FILE", &roots)], &arguments)
    });
    let said = said.await?;
    assert_eq!(said.code, Some(0), "{said:?}");
    Ok(said.out)
}

/// What `compare` says of a relay that does not read a host which another one reads.
async fn compare(scene: &Scene, theirs: &RelayProcess) -> Result<String> {
    let (ours, theirs) = (scene.relay.url(), theirs.url());
    let (admin, plc) = (format!("http://{}", scene.relay.admin_address()), scene.net.plc().url());
    let said = tokio::task::spawn_blocking(move || {
        let relays = ["compare", &ours, &theirs, "127.0.0.1:1", "--admin", &admin, "--plc", &plc];
        let arguments = [&relays[..], &["--for", "6s", "--settle", "4s"]].concat();
        provision_with(&[("RELAY_ADMIN_PASSWORD", PASSWORD)], &arguments)
    });
    let said = said.await?;
    assert_eq!(said.code, Some(1), "not good: {said:?}");
    Ok(said.out)
}

/// Who thinks about these commands sees what they would be told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_screens_shows_the_program_as_it_is() -> Result<()> {
    let metrics = format!("127.0.0.1:{}", free_port()?);
    let relays = [("RELAY_METRICS_LISTEN", &*metrics)];
    let started = Scene::start_both(331, &[], &relays);
    let Some(scene) = started.await? else { return Ok(()) };
    let [alpha, beta] = [scene.net.pds("alpha").await?, scene.net.pds("beta").await?];
    let [alice, bob] = [alpha.account("alice").await?, beta.account("bob").await?];
    let setup = Setup { binary: Some(binaries::relay()?), ..Setup::default() };
    let theirs = RelayProcess::start_beside(scene.net.plc().url(), setup).await?;
    scene.relay.add_hosts(&[alpha.hostname()]).await?;
    theirs.add_hosts(&[alpha.hostname(), beta.hostname()]).await?;
    let mut of_theirs = Consumer::connect(&theirs.url(), Start::After(0)).await?;
    let did = alice.as_ref().to_owned();
    let posts = [writing(alice), writing(bob)];
    let mut met = BTreeSet::new();
    while met.len() < 2 {
        met.insert(of_theirs.next().await?.did);
    }
    let mut of_ours = Consumer::connect(&scene.relay.url(), Start::After(0)).await?;
    of_ours.next_for(&did).await?;

    let compared = compare(&scene, &theirs).await?;
    let examined = doctor(&scene, &metrics).await?;
    drop(posts);

    shown(&[("doctor", examined), ("compare", compared)])
}
