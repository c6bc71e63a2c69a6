//! The policy file: what it says is so, after a start and after it was read again.
#![expect(clippy::disallowed_methods, reason = "the relay that is asked is our own")]

use std::{fs, path::Path};

use anyhow::Result;
use relay_simnet::Net;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Relay};

/// A relay with a policy file beside its data.
async fn start(net: &Net, file: &Path) -> Result<Relay> {
    let file = file.to_path_buf();
    Relay::join_with(net, move |config, _| config.policy_file.clone_from(&file)).await
}

async fn ask(relay: &Relay, path: &str, body: &Value) -> Result<u16> {
    let url = format!("{}{path}", relay.admin_url());
    let request = reqwest::Client::new().post(url).bearer_auth(PASSWORD).json(body);
    Ok(request.send().await?.status().as_u16())
}

async fn read(relay: &Relay, path: &str) -> Result<Value> {
    let url = format!("{}{path}", relay.admin_url());
    Ok(reqwest::Client::new().get(url).bearer_auth(PASSWORD).send().await?.json().await?)
}

/// Reads the file again; gives what was changed, or what was wrong with the file.
async fn reload(relay: &Relay) -> Result<Value> {
    let url = format!("{}/admin/v1/policy/reload", relay.admin_url());
    let answer = reqwest::Client::new().post(url).bearer_auth(PASSWORD).send().await?;
    let answer: Value = answer.json().await?;
    Ok(if answer["changes"].is_null() {
        answer["message"].clone()
    } else {
        answer["changes"].clone()
    })
}

async fn takedowns(relay: &Relay) -> Result<Value> {
    Ok(read(relay, "/admin/repo/takedowns").await?["dids"].clone())
}

async fn banned(relay: &Relay) -> Result<Value> {
    Ok(read(relay, "/admin/subs/listDomainBans").await?["banned_domains"].clone())
}

/// Setting `policy_file`: what it says is made so at the start and when it is read again; what leaves
/// the file is undone; what an operator decided by hand stays; what the file says is not undone by hand
/// for longer than until it is read again.
#[tokio::test]
async fn what_the_policy_file_says_is_so_and_what_was_decided_by_hand_stays() -> Result<()> {
    let net = Net::seeded(91).await?;
    let alpha = net.pds("alpha").await?;
    let (alice, bob) = (alpha.account("alice").await?, alpha.account("bob").await?);
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("policy.toml");
    let text = |more: &str| {
        format!(
            "banned_domains = [\"spam.example\"]\ntakedowns = [\"{}\"]\n{more}\n\
             [host.\"{}\"]\naccount_limit = 777\nstrict = true\n",
            alice.did(),
            alpha.hostname()
        )
    };
    fs::write(&file, text("trusted_domains = [\"*.good.example\"]"))?;
    let relay = start(&net, &file).await?;
    relay.settled(&net).await?;

    assert_eq!(takedowns(&relay).await?, json!([alice.did()]));
    assert_eq!(banned(&relay).await?, json!(["spam.example"]));
    let hosts = read(&relay, "/admin/v1/hosts").await?;
    assert_eq!(hosts["hosts"][0]["ownLimits"]["accounts"], 777);
    assert_eq!(hosts["hosts"][0]["strictness"], "strict");
    let domains = read(&relay, "/admin/v1/domains").await?;
    assert_eq!(domains["banned"][0]["actor"], "policy");
    assert!(domains["trusted"].as_array().unwrap().contains(&json!("*.good.example")));
    assert_eq!(reload(&relay).await?, json!([]), "nothing is done twice");

    // By hand: more, and one thing less.
    assert_eq!(ask(&relay, "/admin/repo/takeDown", &json!({ "did": bob.did() })).await?, 200);
    assert_eq!(
        ask(&relay, "/admin/subs/banDomain", &json!({ "Domain": "junk.example" })).await?,
        200
    );
    let undone = json!({ "did": alice.did() });
    assert_eq!(ask(&relay, "/admin/repo/reverseTakedown", &undone).await?, 200);
    let again = reload(&relay).await?;
    assert_eq!(again, json!([format!("take down {}", alice.did())]));

    // All leaves the file, over a restart.
    let file_now = file.clone();
    let relay = relay
        .restart_after(async move |_| Ok(fs::write(&file_now, "# nothing any more\n")?))
        .await?;
    assert_eq!(takedowns(&relay).await?, json!([bob.did()]), "by hand");
    assert_eq!(banned(&relay).await?, json!(["junk.example"]), "by hand");
    let hosts = read(&relay, "/admin/v1/hosts").await?;
    assert_eq!(hosts["hosts"][0]["ownLimits"]["accounts"], Value::Null);
    assert_eq!(hosts["hosts"][0]["strictness"], "default");
    let audit = read(&relay, &format!("/admin/v1/audit?subject={}", alice.did())).await?;
    let last = &audit["audit"][0];
    assert_eq!(
        (&last["action"], &last["actor"]),
        (&json!("account.reverseTakedown"), &json!("policy"))
    );
    Ok(())
}

/// A slip in the file changes nothing and is told with line and column; a start with it is refused, for
/// it would pass on what should not be.
#[tokio::test]
async fn a_policy_file_with_a_slip_changes_nothing() -> Result<()> {
    let net = Net::seeded(92).await?;
    net.pds("alpha").await?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("policy.toml");
    fs::write(&file, "banned_domains = [\"spam.example\"]\n")?;
    let relay = start(&net, &file).await?;

    fs::write(&file, "banned_domains = []\ntakedowns = [\"nonsense\"]\n")?;
    let told = reload(&relay).await?;
    assert!(told.as_str().unwrap().contains("line 2, column 14"), "{told}");
    assert_eq!(banned(&relay).await?, json!(["spam.example"]));
    let state = read(&relay, "/admin/v1/policy").await?;
    assert!(state["trouble"].as_str().unwrap().contains("line 2, column 14"), "{state}");
    assert!(state["followedAt"].is_string());

    let refused = relay.restart().await.err().map(|why| format!("{why:#}"));
    assert!(refused.as_deref().is_some_and(|why| why.contains("line 2, column 14")), "{refused:?}");
    Ok(())
}

/// `hosts = "allow-list"`: only what is named is read, at once also where a connection is open, and a
/// stranger is refused; without the list all come back.
#[tokio::test]
async fn only_hosts_on_the_allow_list_are_read() -> Result<()> {
    let net = Net::seeded(93).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("policy.toml");
    fs::write(&file, "")?;
    let relay = start(&net, &file).await?;
    let connected = |name: &str| relay.running.hosts.view(name).is_some_and(|view| view.connected);
    relay
        .until("both are read", || connected(&alpha.hostname()) && connected(&beta.hostname()))
        .await?;

    let named = format!("hosts = \"allow-list\"\n[host.\"{}\"]\n", alpha.hostname());
    fs::write(&file, named)?;
    reload(&relay).await?;
    relay.until("beta is not read any more", || !connected(&beta.hostname())).await?;
    assert!(connected(&alpha.hostname()));
    let (status, _) = relay.request_crawl(&beta.hostname()).await?;
    assert_eq!(status, 403);

    fs::write(&file, "hosts = \"open\"\n")?;
    reload(&relay).await?;
    relay.until("beta is read again", || connected(&beta.hostname())).await?;
    Ok(())
}
