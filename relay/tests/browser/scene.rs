//! A network that an operator has something to do with.

use std::time::Duration;

use relay::{
    domain::Actor,
    hosts::{Edit, LimitsEdit},
};
use relay_simnet::{
    Account, Consumer, Fault, NameServer, NameTrick, Pds, Start, clock::wall_micros,
};
use serde_json::{Value, json};

use crate::{
    http::post,
    relay::{PASSWORD, Relay},
};

/// What the bad host sends, and how often.
const FAULTS: [(Fault, usize); 4] =
    [(Fault::Legacy, 3), (Fault::FutureRev, 2), (Fault::WrongPrevData, 2), (Fault::HighS, 6)];
/// Hosts that have a name and nothing behind it.
const LOST: [&str; 6] = [
    "bluebell.example.com",
    "pds.harbour.example.org",
    "pds.old-mill.example.net",
    "social.lighthouse.example.com",
    "at.meadow.example.org",
    "pds.quarry.example.net",
];

/// The relay and its world.
pub(crate) struct Scene {
    pub(crate) relay: Relay,
    bad: (Pds, Account),
    new: Pds,
    good: Vec<Account>,
    /// They read all that comes, until they are ended.
    _consumers: tokio::task::JoinSet<()>,
    _names: NameServer,
}

impl Scene {
    /// Enough for every step of the story.
    pub(crate) async fn small() -> Self {
        Box::pin(Self::of(3)).await
    }

    /// Enough for a picture.
    pub(crate) async fn large() -> Self {
        let scene = Box::pin(Self::of(24)).await;
        scene.trouble().await;
        for (verb, note) in [("takeDown", "spam in every post"), ("restore", "an error of ours")] {
            let did = scene.good[1].did();
            let body = json!({ "did": did, "note": note });
            scene.admin(&format!("accounts/{verb}"), &body).await;
        }
        scene
    }

    async fn admin(&self, path: &str, body: &Value) {
        let password = format!("Authorization: Bearer {PASSWORD}");
        let path = format!("/admin/v1/{path}");
        let at = self.relay.running.admin;
        let answer = post(at, &path, &[&password], &body.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// A host that is banned, one that is throttled after a minute, and one that was tried for long.
    async fn trouble(&self) {
        let hosts = &self.relay.running.hosts;
        let ann = Actor::admin("ann");
        hosts.ban(LOST[4], &ann, "nothing but spam").await.unwrap();
        let loud = self.relay.host("loud").await;
        let limits = LimitsEdit { per_hour: Edit::Set(40), ..LimitsEdit::default() };
        hosts.set_limits(&loud.hostname(), limits, &ann, "it sends in bursts").await.unwrap();
        let account = self.relay.account(&loud, "echo").await;
        for _ in 0..120 {
            account.post("again and again").await.unwrap();
        }
        // An hour of tries takes an hour: what the last of them would say is said now.
        let lost = hosts.by_name(LOST[0]).unwrap();
        self.relay
            .until("it was tried", || hosts.view(LOST[0]).unwrap().last_error.is_some())
            .await;
        lost.waiting(wall_micros() / 1_000 + 240_000, 17, true);
    }

    /// Traffic that comes and goes, for so long.
    pub(crate) async fn work(&self, during: Duration) {
        let until = tokio::time::Instant::now() + during;
        let mut ticks = tokio::time::interval(Duration::from_millis(250));
        let mut round = 0_usize;
        while tokio::time::Instant::now() < until {
            // A tide, so that the lines have a shape.
            let high = if (round / 40).is_multiple_of(2) { 3 } else { 9 };
            for account in self.good.iter().cycle().skip(round).take(high) {
                account.post("the tide comes in").await.unwrap();
            }
            if round.is_multiple_of(5) {
                self.misbehave(round % 4, 1).await;
            }
            round += 1;
            ticks.tick().await;
        }
    }

    async fn of(hosts: usize) -> Self {
        let names = NameServer::start(NameTrick::None).await.unwrap();
        let resolver = names.addr().to_string();
        let relay = Relay::start_with(&[
            ("RELAY_CONTACT", "mailto:operator@example.com"),
            ("RESOLVE_ADDRESS", &resolver),
        ])
        .await;
        let mut good = Vec::new();
        for number in 0..hosts {
            let pds = relay.host(&format!("good-{number}")).await;
            for name in ["ann", "ben"] {
                good.push(relay.account(&pds, &format!("{name}-{number}")).await);
            }
        }
        let pds = relay.host("bad").await;
        let account = relay.account(&pds, "mallory").await;
        let new = relay.net.pds("new").await.unwrap();
        let lost: Vec<_> = LOST.iter().map(|name| (*name).to_owned()).collect();
        let added = relay.running.hosts.add_many(&lost).await;
        assert!(added.iter().all(Result::is_ok));
        let url = format!("ws://{}", relay.api());
        let mut consumers = tokio::task::JoinSet::new();
        for start in [Start::After(0), Start::Live] {
            let mut consumer = Consumer::connect(&url, start).await.unwrap();
            consumers.spawn(async move { while consumer.take(1).await.is_ok() {} });
        }
        let scene =
            Self { relay, bad: (pds, account), new, good, _consumers: consumers, _names: names };
        for (place, (_, times)) in FAULTS.iter().enumerate() {
            scene.misbehave(place, *times).await;
        }
        scene.relay.settled().await;
        scene.relay.running.checkpoint().await.unwrap();
        scene.admin("collections/backfill", &json!({ "dids": [scene.good_did()] })).await;
        scene
    }

    async fn misbehave(&self, place: usize, times: usize) {
        let Some((fault, _)) = FAULTS.get(place) else { return };
        for _ in 0..times {
            self.bad.1.with(*fault).post("not as it should be").await.unwrap();
        }
    }

    /// Name of the host whose events are dropped.
    pub(crate) fn bad_host(&self) -> String {
        self.bad.0.hostname()
    }

    /// The account of these events.
    pub(crate) fn bad_did(&self) -> String {
        self.bad.1.did().to_owned()
    }

    /// An account that writes as it should.
    pub(crate) fn good_did(&self) -> String {
        self.good[0].did().to_owned()
    }

    /// A host that the relay does not know yet.
    pub(crate) fn new_host(&self) -> String {
        self.new.hostname()
    }

    pub(crate) async fn end(self) {
        self.relay.stop().await;
    }
}
