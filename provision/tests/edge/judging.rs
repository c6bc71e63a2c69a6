//! `provision selfcheck` on real relays of which one is made to miss what is known.

use std::fs;

use anyhow::{Context as _, Result};
use relay_simnet::{Account, Consumer, Net, Start};
use serde_json::{Value, json};

use crate::{
    binaries,
    process::{PASSWORD, RelayProcess, Setup},
    program::{Ended, Running},
};

/// Posts while a selfcheck listens, and gives what it says.
///
/// * `out` – where it keeps its result
async fn checked(
    [ours, theirs]: [&RelayProcess; 2],
    accounts: &[&Account],
    out: &str,
) -> Result<Ended> {
    let dir = tempfile::tempdir()?;
    let [env, password] =
        ["env", "password"].map(|name| dir.path().join(name).display().to_string());
    fs::write(&env, format!("RELAY_ADMIN_BIND={}\n", ours.admin_address()))?;
    fs::write(&password, PASSWORD)?;
    let (first, second) = (ours.url(), theirs.url());
    let words = ["selfcheck", &first, "--against", &second, "--env", &env, "--out", out];
    let more = ["--password-file", &password, "--for", "5m", "--settle", "3s"];
    let promise = ["--hosts", "2", "--tolerance", "0"];
    let mut check = Running::start(&[&words[..], &more, &promise].concat(), &[])?;
    check.says("measuring").await?;
    let mut stream = Consumer::connect(&second, Start::Live).await?;
    // What came at the moment of the interruption may count or not: the first of both rounds counts.
    for round in 0..2 {
        for post in 0..10 {
            for account in accounts {
                account.post(&format!("post {round} {post}")).await?;
            }
        }
        let mut came = 0;
        while came < 10 * accounts.len() {
            came += usize::from(stream.next().await?.text().starts_with("post "));
        }
    }
    check.interrupt()?;
    check.end().await
}

/// Whoever promises a network is told when a part of it is missing, how much, and why; when it is there,
/// the same check says that the promise is kept, and the result lies where the next one looks for it.
#[tokio::test]
async fn a_broken_promise_is_told_with_its_reasons_and_a_kept_one_is_kept() -> Result<()> {
    let net = Net::seeded(303).await?;
    let [alpha, beta] = [net.pds("alpha").await?, net.pds("beta").await?];
    let [alice, bob] = [alpha.account("alice").await?, beta.account("bob").await?];
    let relay = async |names: &[String]| -> Result<RelayProcess> {
        let setup = Setup { binary: Some(binaries::relay()?), ..Setup::default() };
        let relay = RelayProcess::start(&net, setup).await?;
        relay.add_hosts(names).await?;
        Ok(relay)
    };
    let ours = relay(&[alpha.hostname()]).await?;
    let theirs = relay(&[alpha.hostname(), beta.hostname()]).await?;
    theirs.reach(&net).await?;
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("result.json").display().to_string();
    let kept = || -> Result<Value> {
        let text = fs::read_to_string(&out)?;
        serde_json::from_str(&text).with_context(|| text.clone())
    };

    let broken = checked([&ours, &theirs], &[&alice, &bob], &out).await?;
    assert_eq!(broken.code, Some(1), "{broken:?}");
    let result = kept()?;
    let (hosts, events) = (&result["hosts"], &result["events"]);
    assert_eq!(hosts["verdict"], "broken", "{result:#}");
    let missing = json!({ "not known here": { "count": 1, "examples": [beta.hostname()] } });
    assert_eq!((&hosts["connected"], &hosts["missing"]), (&json!(1), &missing), "{result:#}");
    assert_eq!(events["verdict"], "broken", "{result:#}");
    let number = |field: &str| events[field].as_u64().unwrap_or_default();
    let (theirs_gave, missing) = (number("theirs"), number("missing"));
    assert!((20..=40).contains(&theirs_gave) && (10..=20).contains(&missing), "{result:#}");
    assert_eq!(events["reasons"]["unknown_account"]["count"], missing, "{result:#}");
    let said = format!("{missing} of the {theirs_gave} of the other relay are missing, ");
    assert!(broken.out.contains(&said) && broken.out.contains("unknown_account: "), "{broken:?}");

    ours.add_hosts(&[beta.hostname()]).await?;
    ours.reach(&net).await?;
    let good = checked([&ours, &theirs], &[&alice, &bob], &out).await?;
    assert_eq!(good.code, Some(0), "{good:?}");
    assert_eq!(
        (&kept()?["hosts"]["verdict"], &kept()?["events"]["missing"]),
        (&json!("kept"), &json!(0))
    );

    let alone = ["selfcheck", "127.0.0.1:1", "--against", "127.0.0.1:1", "--env", "/nowhere/env"];
    let alone = [&alone[..], &["--password-file", &out, "--out", &out]].concat();
    let ended = Running::start(&alone, &[])?.end().await?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        kept()?["error"].as_str().is_some_and(|why| why.contains("gives no stream")),
        "{ended:?}"
    );
    Ok(())
}
