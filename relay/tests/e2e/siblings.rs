//! Relays that are told of each other's decisions (`RELAY_SIBLING_RELAYS`).
#![expect(clippy::disallowed_methods, reason = "the relay that is asked is our own")]

use anyhow::{Context as _, Result};
use relay_simnet::{Account, Net};
use serde_json::{Value, json};

use crate::support::{PASSWORD, Relay};

/// Addresses of three relays, free a moment ago: each must be told those of the others.
fn addresses() -> Result<[String; 3]> {
    let free = || -> Result<_> { Ok(std::net::TcpListener::bind("127.0.0.1:0")?) };
    // Held together, so that they differ.
    let held = [free()?, free()?, free()?];
    let mut addresses = [const { String::new() }; 3];
    for (address, listener) in addresses.iter_mut().zip(&held) {
        *address = listener.local_addr()?.to_string();
    }
    Ok(addresses)
}

/// The relay of this number, which tells the two others.
async fn start(net: &Net, addresses: &[String; 3], number: usize) -> Result<Relay> {
    let own = addresses[number].clone();
    let others: Vec<String> = addresses
        .iter()
        .filter(|address| **address != own)
        .map(|address| format!("http://{address}"))
        .collect();
    Relay::join_with(net, move |config, _| {
        config.admin_bind = own.parse().unwrap();
        config.sibling_relays.clone_from(&others);
    })
    .await
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

async fn status(relay: &Relay, account: &Account) -> Result<Value> {
    let method = format!("com.atproto.sync.getRepoStatus?did={}", account.did());
    Ok(relay.get(&method).await?.1["status"].clone())
}

/// Waits until an account has this status at a relay.
async fn has_status(relay: &Relay, account: &Account, expected: Value) -> Result<()> {
    let waited = async {
        while status(relay, account).await? != expected {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Ok(())
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), waited)
        .await
        .with_context(|| format!("{} never became {expected}", account.did()))?
}

/// How many requests a relay has for each of its siblings, in order of the addresses.
async fn waiting(relay: &Relay) -> Result<Vec<u64>> {
    let siblings = read(relay, "/admin/v1/siblings").await?;
    let siblings = siblings["siblings"].as_array().context("a list")?;
    Ok(siblings.iter().map(|sibling| sibling["waiting"].as_u64().unwrap()).collect())
}

async fn actions(relay: &Relay, account: &Account) -> Result<Vec<(String, String)>> {
    let rows = read(relay, &format!("/admin/v1/audit?subject={}", account.did())).await?;
    let rows = rows["audit"].as_array().context("a list")?.clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(rows.iter().rev().map(|row| (text(&row["action"]), text(&row["actor"]))).collect())
}

/// Setting `sibling_relays`, API-6: what an operator does at one relay is done at its siblings, each time once, in order, and
/// also at one that was away meanwhile and at a relay that was restarted before it could tell. None of
/// them passes on what it was told.
#[tokio::test]
async fn what_is_decided_at_one_relay_holds_at_its_siblings() -> Result<()> {
    let net = Net::seeded(77).await?;
    let alpha = net.pds("alpha").await?;
    let (alice, bob) = (alpha.account("alice").await?, alpha.account("bob").await?);
    let addresses = addresses()?;
    let first = start(&net, &addresses, 0).await?;
    let second = start(&net, &addresses, 1).await?;
    for account in [&alice, &bob] {
        account.post("hello").await?;
    }
    first.settled(&net).await?;
    second.settled(&net).await?;

    // The third is away.
    let did = |account: &Account| json!({ "did": account.did() });
    assert_eq!(ask(&first, "/admin/repo/takeDown", &did(&alice)).await?, 200);
    has_status(&second, &alice, json!("takendown")).await?;
    assert_eq!(ask(&first, "/admin/repo/reverseTakedown", &did(&alice)).await?, 200);
    has_status(&second, &alice, Value::Null).await?;
    assert_eq!(ask(&first, "/admin/v1/accounts/suspend", &did(&bob)).await?, 200);
    has_status(&second, &bob, json!("suspended")).await?;
    assert_eq!(ask(&first, "/admin/repo/takeDown", &did(&alice)).await?, 200);
    has_status(&second, &alice, json!("takendown")).await?;
    // A letter is done a moment after it was taken; four are what the third has missed.
    first.until_waiting([0, 4]).await?;
    let siblings = read(&first, "/admin/v1/siblings").await?["siblings"].clone();
    assert_eq!((&siblings[0]["behind"], &siblings[1]["behind"]), (&json!(false), &json!(true)));
    assert!(siblings[1]["lastError"].is_string() && siblings[1]["oldestAt"].is_string());
    let scraped = scraped(&first).await?;
    assert!(scraped.contains("relay_actions_letters_total{outcome=\"delivered\"}"), "{scraped}");

    let first = first.restart().await?;
    assert_eq!(waiting(&first).await?, [0, 4], "also after a restart");
    let third = start(&net, &addresses, 2).await?;
    has_status(&third, &alice, json!("takendown")).await?;
    has_status(&third, &bob, json!("suspended")).await?;
    first.until_waiting([0, 0]).await?;

    let told = |name: &str| (name.to_owned(), "sibling:127.0.0.1".to_owned());
    let expected =
        [told("account.takeDown"), told("account.reverseTakedown"), told("account.takeDown")];
    assert_eq!(actions(&second, &alice).await?, expected, "each once, in order");
    assert_eq!(actions(&third, &alice).await?, expected);
    for relay in [&second, &third] {
        assert_eq!(waiting(relay).await?, [0, 0], "what was told is not told on");
    }
    Ok(())
}

async fn scraped(relay: &Relay) -> Result<String> {
    let url = format!("http://{}/metrics", relay.running.metrics);
    Ok(reqwest::get(url).await?.text().await?)
}

impl Relay {
    /// Waits until so many requests wait for each sibling.
    async fn until_waiting(&self, expected: [u64; 2]) -> Result<()> {
        let waited = async {
            while waiting(self).await? != expected {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            Ok(())
        };
        tokio::time::timeout(std::time::Duration::from_mins(1), waited).await?
    }
}

/// A host that asks one relay to crawl it is read by its siblings too, and what a sibling calls wrong is
/// given up, so that it holds up nothing that comes after.
#[tokio::test]
async fn a_host_that_asks_one_relay_is_read_by_all() -> Result<()> {
    let net = Net::seeded(78).await?;
    let addresses = addresses()?;
    let first = start(&net, &addresses, 0).await?;
    let second = start(&net, &addresses, 1).await?;
    let third = start(&net, &addresses, 2).await?;
    let alpha = net.pds("alpha").await?;

    let (status, answer) = first.request_crawl(&alpha.hostname()).await?;

    assert_eq!(status, 200, "{answer}");
    for relay in [&second, &third] {
        let known = || relay.running.hosts.by_name(&alpha.hostname()).is_some();
        relay.until("the host is known", known).await?;
    }
    first.until_waiting([0, 0]).await?;
    for relay in [&second, &third] {
        assert_eq!(waiting(relay).await?, [0, 0]);
    }
    Ok(())
}
