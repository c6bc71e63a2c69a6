//! What hosts send in the life of an account comes out once, in order, with the same bytes.

use anyhow::Result;
use relay_simnet::{Account, AccountOptions, Curve, KeyForm, Net};
use serde_json::Value;

use crate::{support::Relay, watch::Watch};

/// A network with one host, a relay that reads it, and a consumer of that relay.
struct Scene {
    net: Net,
    relay: Relay,
    watch: Watch,
}

impl Scene {
    async fn new(seed: u64) -> Result<Self> {
        let net = Net::seeded(seed).await?;
        net.pds("alpha").await?;
        let relay = Relay::join(&net).await?;
        let watch = relay.watch().await?;
        Ok(Self { net, relay, watch })
    }

    async fn account(&self, options: AccountOptions) -> Result<Account> {
        self.net.pds("alpha").await?.account_with("alice", options).await
    }

    async fn news(&mut self) -> Result<Vec<String>> {
        self.relay.news(&self.net, &mut self.watch).await
    }

    async fn status(&self, account: &Account) -> Result<(u16, Value)> {
        self.relay.get(&format!("com.atproto.sync.getRepoStatus?did={}", in_query(account))).await
    }

    /// Number of live accounts that the relay tells of the host.
    async fn accounts(&self) -> Result<Value> {
        let host = self.net.pds("alpha").await?.hostname();
        let (_, told) =
            self.relay.get(&format!("com.atproto.sync.getHostStatus?hostname={host}")).await?;
        Ok(told["accountCount"].clone())
    }
}

/// `%` is the only character of a DID that a query does not take as it is.
fn in_query(account: &Account) -> String {
    account.did().replace('%', "%25")
}

/// Every row of the table in spec 9.3 apart from migration, which needs two hosts.
async fn live_a_whole_life(seed: u64, options: AccountOptions) -> Result<()> {
    let mut scene = Scene::new(seed).await?;

    let alice = scene.account(options).await?;
    assert_eq!(scene.news().await?, ["identity alice.test", "account active", "commit"]);
    alice.post("hello").await?;
    assert_eq!(scene.news().await?, ["commit"]);
    alice.change_handle("alicia.test").await?;
    assert_eq!(scene.news().await?, ["identity alicia.test"]);
    alice.deactivate().await?;
    assert_eq!(scene.news().await?, ["account deactivated"]);
    alice.activate().await?;
    assert_eq!(scene.news().await?, ["account active", "identity alicia.test", "sync"]);
    alice.takedown().await?;
    assert_eq!(scene.news().await?, ["account takendown"]);
    alice.reverse_takedown().await?;
    assert_eq!(scene.news().await?, ["account active"]);
    alice.post("still here").await?;
    assert_eq!(scene.news().await?, ["commit"]);
    alice.rotate_key(true).await?;
    assert_eq!(scene.news().await?, ["identity", "sync"]);
    alice.post("with the new key").await?;
    assert_eq!(scene.news().await?, ["commit"]);
    alice.delete_account().await?;
    assert_eq!(scene.news().await?, ["account deleted"]);

    scene.relay.proved(&scene.net, &mut scene.watch).await?;
    Ok(())
}

/// T8, T11, spec 9.3: K-256, the curve of most accounts, with the key as the production directory
/// writes it.
#[tokio::test]
async fn the_life_of_an_account_with_a_k256_key_comes_out_as_the_table_says() -> Result<()> {
    live_a_whole_life(1, AccountOptions::default()).await
}

/// T8, T11, KEY-1: P-256.
#[tokio::test]
async fn the_life_of_an_account_with_a_p256_key_comes_out_as_the_table_says() -> Result<()> {
    live_a_whole_life(2, AccountOptions { curve: Curve::P256, ..AccountOptions::default() }).await
}

/// T8, T11, KEY-4: both curves and both point forms of the key documents before Multikey.
#[tokio::test]
async fn the_life_of_an_account_with_a_legacy_key_comes_out_as_the_table_says() -> Result<()> {
    for (seed, key_form) in [(3, KeyForm::LegacyCompressed), (4, KeyForm::LegacyUncompressed)] {
        for curve in [Curve::K256, Curve::P256] {
            live_a_whole_life(
                seed,
                AccountOptions { curve, key_form, ..AccountOptions::default() },
            )
            .await?;
        }
    }
    Ok(())
}

/// T8, T11, RES-1: did:web, whose documents lie on hosts of their own.
#[tokio::test]
async fn the_life_of_a_did_web_account_comes_out_as_the_table_says() -> Result<()> {
    for curve in [Curve::K256, Curve::P256] {
        live_a_whole_life(5, AccountOptions { web: true, curve, ..AccountOptions::default() })
            .await?;
    }
    Ok(())
}

/// API-3, ACC-2, ACC-8: what the API tells follows what the host announced, at once.
#[tokio::test]
async fn the_api_tells_the_status_that_was_last_announced() -> Result<()> {
    let mut scene = Scene::new(6).await?;
    let alice = scene.account(AccountOptions::default()).await?;
    let post = alice.post("hello").await?;
    scene.news().await?;
    let (_, told) = scene.status(&alice).await?;
    assert_eq!((&told["active"], &told["rev"]), (&true.into(), &post.rev.as_str().into()));
    assert_eq!(scene.accounts().await?, 1);

    for (active, status) in
        [(false, Some("deactivated")), (false, Some("suspended")), (false, None), (true, None)]
    {
        alice.set_status(active, status).await?;
        scene.news().await?;
        let (_, told) = scene.status(&alice).await?;
        assert_eq!(told["active"], active, "{status:?}");
        assert_eq!(told["status"].as_str(), status);
        assert_eq!(scene.accounts().await?, 1, "{status:?}");
    }
    alice.delete_account().await?;
    scene.news().await?;

    let (_, told) = scene.status(&alice).await?;
    assert_eq!((&told["active"], &told["status"]), (&false.into(), &"deleted".into()));
    assert_eq!(scene.accounts().await?, 0, "a deleted account counts no more");
    scene.relay.proved(&scene.net, &mut scene.watch).await?;
    Ok(())
}

/// ACC-6, SEC-8: a deleted account may come back, but not with an old commit.
#[tokio::test]
async fn a_deleted_account_may_come_back_with_a_newer_rev_only() -> Result<()> {
    let mut scene = Scene::new(7).await?;
    let alice = scene.account(AccountOptions::default()).await?;
    alice.post("before").await?;
    scene.news().await?;
    alice.delete_account().await?;
    scene.news().await?;

    alice.set_status(true, None).await?;
    assert_eq!(scene.news().await?, ["account active"]);
    alice.with(relay_simnet::Fault::StaleRev).post("from the past").await?;
    assert_eq!(scene.news().await?, [""; 0]);
    alice.post("after").await?;
    assert_eq!(scene.news().await?, ["commit"]);

    assert_eq!(scene.relay.drops(&alice), [relay::domain::DropReason::Stale]);
    assert_eq!(scene.accounts().await?, 1, "and counts again");
    scene.relay.proved(&scene.net, &mut scene.watch).await?;
    Ok(())
}

/// I4, ROLE-7: accounts of many hosts that write at the same time; each in its own order, all in one.
#[tokio::test]
async fn accounts_that_write_at_once_come_out_each_in_its_order() -> Result<()> {
    let net = Net::seeded(8).await?;
    let mut accounts = Vec::new();
    for host in ["alpha", "beta", "gamma", "delta"] {
        let host = net.pds(host).await?;
        for name in ["alice", "bob", "carol"] {
            accounts.push(host.account(&format!("{name}-{}", host.name())).await?);
        }
    }
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;

    let writers = accounts.iter().map(|account| async move {
        for number in 0..20 {
            account.post(&format!("post {number}")).await?;
        }
        anyhow::Ok(())
    });
    futures_util::future::try_join_all(writers).await?;

    let report = relay.proved(&net, &mut watch).await?;
    assert_eq!(report.matched, 12 * (3 + 20));
    for account in &accounts {
        let revs: Vec<_> = watch
            .seen
            .iter()
            .filter(|event| event.did == account.did())
            .filter_map(|event| event.rev.clone())
            .collect();
        assert!(revs.is_sorted(), "{revs:?}");
    }
    Ok(())
}
