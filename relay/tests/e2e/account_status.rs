//! What an account's status lets pass, how it heals by itself, and how it ends (spec 9.2).

use anyhow::Result;
use relay::domain::{DropReason, LocalStatus};
use relay_protocol::Did;
use relay_simnet::{Account, Answer, Net, Pds};

use crate::{
    support::Relay,
    watch::{Watch, advance, held_clock},
};

struct Scene {
    net: Net,
    alpha: Pds,
    alice: Account,
    clock: relay::clock::Clock,
    relay: Relay,
    watch: Watch,
}

impl Scene {
    async fn new(seed: u64) -> Result<Self> {
        let net = Net::seeded(seed).await?;
        let alpha = net.pds("alpha").await?;
        let alice = alpha.account("alice").await?;
        let clock = held_clock();
        let relay = Relay::join_by(&net, &clock).await?;
        let mut watch = relay.watch().await?;
        relay.news(&net, &mut watch).await?;
        Ok(Self { net, alpha, alice, clock, relay, watch })
    }

    async fn news(&mut self) -> Result<Vec<String>> {
        self.relay.news(&self.net, &mut self.watch).await
    }

    async fn proved(mut self) -> Result<()> {
        self.relay.proved(&self.net, &mut self.watch).await?;
        Ok(())
    }
}

/// ACC-4: nothing of an inactive account passes but announcements; then it goes on.
#[tokio::test]
async fn commits_of_an_inactive_account_are_dropped_until_it_is_active() -> Result<()> {
    let mut scene = Scene::new(40).await?;
    let alice = scene.alice.clone();

    alice.deactivate().await?;
    alice.post("in vain").await?;
    alice.sync().await?;
    alice.change_handle("alicia.test").await?;
    assert_eq!(scene.news().await?, ["account deactivated", "identity alicia.test"]);
    assert_eq!(scene.relay.drops(&alice), [DropReason::AccountInactive; 2]);

    alice.set_status(true, None).await?;
    alice.post("back").await?;
    assert_eq!(scene.news().await?, ["account active", "commit"]);
    scene.proved().await
}

/// ACC-2, ACC-5: `active` decides, unknown words are passed on, words without a meaning are left out.
#[tokio::test]
async fn statuses_of_every_kind_are_told_as_the_table_says() -> Result<()> {
    let mut scene = Scene::new(41).await?;
    let alice = scene.alice.clone();
    let long = "x".repeat(65);

    for (active, status, told, passes) in [
        (false, Some("suspended"), "account suspended", false),
        (false, Some("frozen"), "account frozen", false),
        (false, Some("desynchronized"), "account desynchronized", false),
        (false, Some(long.as_str()), "account", false),
        (true, Some("deleted"), "account active", true),
        (true, Some("throttled"), "account active but throttled", true),
        (true, Some("desynchronized"), "account active but desynchronized", true),
        (false, Some("active"), "account", false),
        (true, None, "account active", true),
    ] {
        alice.set_status(active, status).await?;
        alice.post("does it pass?").await?;
        let expected = if passes { vec![told, "commit"] } else { vec![told] };
        assert_eq!(scene.news().await?, expected, "{active} {status:?}");
        advance(&scene.clock, 3_601);
    }
    scene.proved().await
}

/// ACC-3: an exact repetition within a minute is one announcement; later it is news.
#[tokio::test]
async fn an_announcement_repeated_within_a_minute_comes_out_once() -> Result<()> {
    let mut scene = Scene::new(42).await?;
    let alice = scene.alice.clone();

    alice.deactivate().await?;
    alice.deactivate().await?;
    assert_eq!(scene.news().await?, ["account deactivated"]);
    assert_eq!(scene.relay.drops(&alice), [DropReason::Redundant]);
    advance(&scene.clock, 61);
    alice.deactivate().await?;
    assert_eq!(scene.news().await?, ["account deactivated"]);
    scene.proved().await
}

/// T19, VAL-6: the host never announced that the account is active again. Its next commit makes the
/// relay ask, announce it by itself, and go on.
#[tokio::test]
async fn an_account_that_is_active_again_in_silence_heals_by_one_question() -> Result<()> {
    let mut scene = Scene::new(43).await?;
    let alice = scene.alice.clone();
    alice.deactivate().await?;
    assert_eq!(scene.news().await?, ["account deactivated"]);

    alice.set_status_in_silence(true, None).await?;
    alice.post("back").await?;
    alice.post("and on").await?;

    assert_eq!(scene.news().await?, ["account active", "commit", "commit"]);
    assert_eq!(scene.alpha.requests("getRepoStatus"), 1);
    assert_eq!(scene.relay.drops(&alice), []);
    scene.proved().await
}

/// T19, ACC-11, SEC-3: an inactive account that goes on writing buys one question in 5 minutes, then
/// in 10, 20, 40 and 60.
#[tokio::test]
async fn an_inactive_account_that_goes_on_writing_causes_few_questions() -> Result<()> {
    let mut scene = Scene::new(44).await?;
    let alice = scene.alice.clone();
    alice.deactivate().await?;
    let mut asked = Vec::new();

    for minutes in [0, 4, 2, 5, 6, 15, 10, 41, 59, 2] {
        advance(&scene.clock, minutes * 60);
        for number in 0..4 {
            alice.post(&format!("in vain {number}")).await?;
        }
        assert_eq!(
            scene.news().await?,
            Vec::<String>::from_iter(asked.is_empty().then(|| "account deactivated".to_owned()))
        );
        asked.push(scene.alpha.requests("getRepoStatus"));
    }

    assert_eq!(asked, [1, 1, 2, 2, 3, 3, 4, 5, 5, 6]);
    assert_eq!(scene.relay.dropped_total(DropReason::AccountInactive), 40);
    scene.proved().await
}

/// VAL-6, ACC-7: a host that cannot be asked changes nothing, neither for the inactive nor, however
/// long it is away, for the active.
#[tokio::test]
async fn a_host_that_does_not_answer_changes_no_status() -> Result<()> {
    let mut scene = Scene::new(45).await?;
    let bob = scene.alpha.account("bob").await?;
    scene.news().await?;
    let alice = scene.alice.clone();
    alice.deactivate().await?;
    alice.set_status_in_silence(true, None).await?;
    scene.alpha.answer_path("getRepoStatus", Some(503));
    alice.post("in vain").await?;
    assert_eq!(scene.news().await?, ["account deactivated"]);
    assert_eq!(scene.relay.drops(&alice), [DropReason::AccountInactive]);

    scene.alpha.down();
    advance(&scene.clock, 3 * 24 * 3_600);
    for (account, active) in [(&alice, false), (&bob, true)] {
        let method = format!("com.atproto.sync.getRepoStatus?did={}", account.did());
        assert_eq!(scene.relay.get(&method).await?.1["active"], active);
    }
    scene.alpha.up().await?;
    bob.post("still here").await?;
    assert_eq!(scene.news().await?, ["commit"]);
    scene.proved().await
}

/// ACC-13: a tombstone in the directory deletes the account, whatever its host goes on to say.
#[tokio::test]
async fn a_tombstoned_account_is_announced_as_deleted() -> Result<()> {
    let mut scene = Scene::new(46).await?;
    let alice = scene.alice.clone();

    scene.net.plc().tombstone(&alice);
    alice.identity(None).await?;
    scene.watch.take(1).await?;
    assert_eq!(scene.watch.of(&alice).last().map(String::as_str), Some("account deleted"));
    advance(&scene.clock, 120);
    alice.post("from beyond").await?;
    alice.set_status(true, None).await?;
    assert_eq!(scene.news().await?, [""; 0]);

    let method = format!("com.atproto.sync.getRepoStatus?did={}", alice.did());
    assert_eq!(scene.relay.get(&method).await?.1["status"], "deleted");
    let view = scene.relay.running.hosts.view(&scene.alpha.hostname());
    assert_eq!(view.map(|view| view.account_count), Some(0));
    scene.proved().await
}

/// ACC-13, RES-2: a directory that does not know a DID any more, and says so without a tombstone,
/// deletes nothing: the account goes on with the key that was confirmed last.
#[tokio::test]
async fn a_missing_document_alone_deletes_nothing() -> Result<()> {
    for answer in [Answer::NotFound, Answer::Gone] {
        let mut scene = Scene::new(47).await?;
        let alice = scene.alice.clone();
        scene.net.plc().answer(&alice, answer.clone());

        alice.identity(None).await?;
        assert_eq!(scene.news().await?, ["identity"], "{answer:?}");
        let method = format!("com.atproto.sync.getRepoStatus?did={}", alice.did());
        assert_eq!(scene.relay.get(&method).await?.1["active"], true, "{answer:?}");
        scene.net.plc().answer(&alice, Answer::Document);
        alice.post("still here").await?;
        assert_eq!(scene.news().await?, ["commit"], "{answer:?}");
        scene.proved().await?;
    }
    Ok(())
}

/// VAL-5, ACC-2, ACC-3, T24: what this relay decides overrides the host's word on the stream.
#[tokio::test]
async fn a_takedown_by_this_relay_overrides_the_host() -> Result<()> {
    let mut scene = Scene::new(48).await?;
    let (alice, bob) = (scene.alice.clone(), scene.alpha.account("bob").await?);
    scene.news().await?;
    scene.net.oracle().ignore(&alice);
    let did = Did::parse(alice.did())?;

    assert!(scene.relay.running.ingest.set_local_status(&did, LocalStatus::Takendown).await?);
    assert_eq!(scene.news().await?, ["account takendown"]);
    alice.post("in vain").await?;
    alice.set_status(true, None).await?;
    bob.post("not concerned").await?;
    assert_eq!(scene.news().await?, ["account takendown", "commit"]);
    assert_eq!(scene.relay.drops(&alice), [DropReason::LocallyInactive]);

    assert!(scene.relay.running.ingest.set_local_status(&did, LocalStatus::None).await?);
    alice.post("back").await?;
    assert_eq!(scene.news().await?, ["account active", "commit"]);
    scene.relay.settled(&scene.net).await?;
    scene.net.oracle().check(&scene.watch.seen).clean()?;
    Ok(())
}
