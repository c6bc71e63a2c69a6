//! The hosts and accounts of the adversaries, and what each does when it has its turn.

mod rogue;

use crate::{
    Account, AccountOptions, Adversary, CheckTrick, Fault, IdentityTrick, Net, Pds, RawFrame,
    server::{lock, spawn},
    wire::Kind,
};
use anyhow::{Context, Result};
use rogue::Rogue;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

/// Events that a host of an adversary may owe the relay before it waits with more.
const BACKLOG_MAX: u64 = 200;

/// What a host of an adversary keeps for replays: events and bytes.
const RETAINED: (usize, usize) = (2_000, 24 << 20);

/// `#sync` events in one flood; more than a relay passes at once (SYNC-7).
const FLOOD: usize = 14;

/// Least time between two changes of one document: a relay looks again after an announcement at most
/// once a minute, and ten times a day when it knows no host of the account (IDE-5, RES-3).
const fn document_pause(trick: IdentityTrick) -> Duration {
    match trick {
        IdentityTrick::PrivateEndpoint => Duration::from_mins(12),
        _ => Duration::from_secs(80),
    }
}

/// Least time between two requests of one server to be crawled: a relay keeps its answer (HOST-4).
const KNOCK_PAUSE: Duration = Duration::from_secs(65);

/// Names of which none may become a host, also where plain HTTP and ports are permitted.
const ODD_NAMES: &[&str] = &[
    "10.0.0.1",
    "127.0.0.1:2583",
    "[::1]",
    "2130706433",
    "0x7f.1",
    "user:word@pds.example.com",
    "ftp://pds.example.com",
    "pds..example.com",
    "localhost:0x50",
    "pds.example.com\u{0}",
    "http://169.254.169.254/latest/meta-data",
];

/// Where the adversaries play.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) net: Net,
    pub(super) honest: Vec<Account>,
    pub(super) pause: Duration,
    /// Hosts, and accounts on each, of those whose events are wrong.
    pub(super) crew: (usize, usize),
}

/// All adversaries of a mix.
#[derive(Debug)]
pub(super) struct Cast {
    stage: Stage,
    hosts: Vec<Pds>,
    crew: Vec<Rogue>,
    flooder: Option<Rogue>,
    held_up: BTreeMap<Adversary, Loner>,
    identities: BTreeMap<IdentityTrick, Impersonation>,
    strangers: BTreeMap<CheckTrick, Stranger>,
    /// A host that redirects point to and that no one must ask because of them.
    bait: Option<Pds>,
    relay: Option<String>,
    misled: Arc<Mutex<Vec<String>>>,
    turn: usize,
}

/// An adversary with a host of its own.
#[derive(Debug)]
struct Loner {
    host: Pds,
    rogue: Rogue,
    next: Option<Instant>,
}

/// An account whose document is not always one.
#[derive(Debug)]
struct Impersonation {
    rogue: Rogue,
    is_on: bool,
    next: Option<Instant>,
}

#[derive(Debug)]
struct Stranger {
    server: Pds,
    next: Option<Instant>,
    knocks: usize,
}

fn is_due(next: Option<Instant>) -> bool {
    next.is_none_or(|next| Instant::now() >= next)
}

impl Cast {
    pub(super) async fn prepare(stage: Stage, adversaries: &[Adversary]) -> Result<Self> {
        let mut cast = Self {
            stage,
            hosts: Vec::new(),
            crew: Vec::new(),
            flooder: None,
            held_up: BTreeMap::new(),
            identities: BTreeMap::new(),
            strangers: BTreeMap::new(),
            bait: None,
            relay: None,
            misled: Arc::default(),
            turn: 0,
        };
        cast.bait = Some(cast.stage.net.stranger("bait").await?);
        let is_crew = |one: &Adversary| {
            !one.holds_up() && !matches!(one, Adversary::Identity(_) | Adversary::Check(_))
        };
        if adversaries.iter().any(is_crew) {
            cast.hire().await?;
        }
        for adversary in adversaries {
            match *adversary {
                Adversary::Identity(trick) => cast.add_identity(trick).await?,
                Adversary::Check(trick) => cast.add_stranger(trick).await?,
                one if one.holds_up() => cast.add_loner(one).await?,
                _ => {}
            }
        }
        Ok(cast)
    }

    async fn host(&mut self, name: &str) -> Result<Pds> {
        let host = self.stage.net.pds(name).await?;
        host.retain(RETAINED.0, RETAINED.1);
        self.hosts.push(host.clone());
        Ok(host)
    }

    async fn hire(&mut self) -> Result<()> {
        let (hosts, accounts) = self.stage.crew;
        for number in 0..hosts {
            let host = self.host(&format!("rogue-{number}")).await?;
            for account in 0..accounts {
                let name = format!("rogue-{number}-{account}");
                self.crew.push(Rogue::join(&host, &name, AccountOptions::default()).await?);
            }
            if number == 0 {
                let flooder = Rogue::join(&host, "flooder", AccountOptions::default()).await?;
                self.flooder = Some(flooder);
            }
        }
        Ok(())
    }

    async fn add_loner(&mut self, adversary: Adversary) -> Result<()> {
        let name = format!("rogue {adversary}").to_ascii_lowercase().replace(' ', "-");
        let host = self.host(&name).await?;
        let rogue = Rogue::join(&host, &name, AccountOptions::default()).await?;
        self.held_up.insert(adversary, Loner { host, rogue, next: None });
        Ok(())
    }

    async fn add_identity(&mut self, trick: IdentityTrick) -> Result<()> {
        let host = self.host("rogue-identities").await?;
        let options = AccountOptions { web: trick.is_web(), ..AccountOptions::default() };
        let name = format!("posing-as-{trick:?}").to_ascii_lowercase();
        let rogue = Rogue::join(&host, &name, options).await?;
        self.identities.insert(trick, Impersonation { rogue, is_on: false, next: None });
        Ok(())
    }

    async fn add_stranger(&mut self, trick: CheckTrick) -> Result<()> {
        let server = self.stage.net.stranger(&format!("stranger-{trick:?}")).await?;
        if let Some(answer) = trick.answer(&server.url(), &self.bait_url()) {
            server.describe_as(answer, Adversary::Check(trick));
        }
        if trick == CheckTrick::Relay {
            server.set_server_header("some-relay/1 (atproto-relay)");
        }
        self.strangers.insert(trick, Stranger { server, next: None, knocks: 0 });
        Ok(())
    }

    fn bait_url(&self) -> String {
        self.bait.as_ref().map(Pds::url).unwrap_or_default()
    }

    pub(super) fn knock_at(&mut self, relay: &str) {
        self.relay = Some(relay.to_owned());
    }

    pub(super) fn host_of(&self, adversary: Adversary) -> Option<&Pds> {
        self.held_up.get(&adversary).map(|loner| &loner.host)
    }

    pub(super) fn misled(&self) -> Vec<String> {
        let mut found = lock(&self.misled).clone();
        for (trick, stranger) in &self.strangers {
            if !stranger.server.cursors().is_empty() {
                found.push(format!("the relay subscribed to the server of {trick:?}"));
            }
        }
        if let Some(bait) = self.bait.as_ref().filter(|bait| !bait.seen().is_empty()) {
            found.push(format!("the relay followed a redirect: {:?}", bait.seen()));
        }
        found
    }

    /// The turn of an adversary. One that has to wait sends an honest event instead.
    pub(super) async fn strike(&mut self, adversary: Adversary) -> Result<()> {
        match adversary {
            Adversary::Identity(trick) => self.impersonate(trick).await,
            Adversary::Check(trick) => {
                self.knock(trick);
                Ok(())
            }
            one if one.holds_up() => self.hold_up(one).await,
            Adversary::Event(Fault::SyncFlood) => self.flood().await,
            Adversary::Event(fault) => self.spoil(fault).await,
            Adversary::Frame(raw) => self.frame(raw).await,
            _ => self.pose().await,
        }
    }

    fn next_of_crew(&mut self) -> Result<&mut Rogue> {
        self.turn += 1;
        let at = self.turn % self.crew.len().max(1);
        self.crew.get_mut(at).context("no account of an adversary")
    }

    async fn spoil(&mut self, fault: Fault) -> Result<()> {
        let rogue = self.next_of_crew()?;
        if rogue.owes().await? {
            return Ok(());
        }
        if fault.strikes(Kind::Commit) {
            rogue.change(Some(fault)).await?;
        } else {
            rogue.account.with(fault).sync().await?;
        }
        rogue.change(None).await
    }

    async fn flood(&mut self) -> Result<()> {
        let rogue = self.flooder.as_mut().context("no account to flood with")?;
        if rogue.owes().await? {
            return Ok(());
        }
        for _ in 0..FLOOD {
            rogue.account.with(Fault::SyncFlood).sync().await?;
        }
        rogue.change(None).await
    }

    async fn frame(&mut self, raw: RawFrame) -> Result<()> {
        let rogue = self.next_of_crew()?;
        if rogue.owes().await? {
            return Ok(());
        }
        rogue.account.pds().await?.send_raw(raw);
        rogue.change(None).await
    }

    /// An event of an honest account from a host that it does not live on.
    async fn pose(&mut self) -> Result<()> {
        let turn = self.turn;
        let victim = self.stage.honest.get(turn % self.stage.honest.len().max(1));
        let victim = victim.context("nobody to pose as")?.clone();
        let rogue = self.next_of_crew()?;
        if rogue.owes().await? {
            return Ok(());
        }
        victim.through(&rogue.account.pds().await?).post("not mine").await?;
        rogue.change(None).await
    }

    async fn hold_up(&mut self, adversary: Adversary) -> Result<()> {
        let elsewhere = self.bait_url();
        let pause = self.stage.pause;
        let loner = self.held_up.get_mut(&adversary).context("an adversary without a host")?;
        let host = &loner.host;
        if is_due(loner.next) && host.subscribers() > 0 && host.undelivered() == 0 {
            loner.next = Some(Instant::now() + pause);
            match adversary {
                Adversary::Frame(raw) => host.send_raw(raw),
                Adversary::Stream(trick) => host.play(trick),
                Adversary::Handshake(trick) => {
                    host.answer_next_as(trick.upgrade(&host.url(), &elsewhere), adversary);
                    host.cut();
                }
                _ => {}
            }
        }
        if !loner.rogue.owes().await? {
            loner.rogue.change(None).await?;
        }
        Ok(())
    }

    async fn impersonate(&mut self, trick: IdentityTrick) -> Result<()> {
        let elsewhere = self.bait_url();
        let player = self.identities.get_mut(&trick).context("an adversary without an account")?;
        if player.rogue.owes().await? {
            return Ok(());
        }
        if is_due(player.next) {
            player.next = Some(Instant::now() + document_pause(trick));
            player.toggle(trick, &elsewhere).await?;
        }
        player.rogue.change(None).await
    }

    /// Asks the relay to crawl a server that it must not take.
    fn knock(&mut self, trick: CheckTrick) {
        let (Some(relay), Some(stranger)) = (self.relay.clone(), self.strangers.get_mut(&trick))
        else {
            return;
        };
        if !is_due(stranger.next) {
            return;
        }
        let name = if trick == CheckTrick::OddName {
            let name = ODD_NAMES.get(stranger.knocks % ODD_NAMES.len());
            name.copied().unwrap_or_default().to_owned()
        } else {
            stranger.next = Some(Instant::now() + KNOCK_PAUSE);
            stranger.server.hostname()
        };
        stranger.knocks += 1;
        let (server, misled) = (stranger.server.clone(), Arc::clone(&self.misled));
        // A check may take seconds, and the honest traffic does not wait for it.
        spawn(async move {
            let told = match server.request_crawl_of(&relay, &name).await {
                Ok(200) => format!("the relay took {name:?} as a host ({trick:?})"),
                Ok(_) => {
                    // The others count when the relay gets their answer.
                    if matches!(trick, CheckTrick::Relay | CheckTrick::OddName) {
                        server.world.ledger.struck(Adversary::Check(trick));
                    }
                    return;
                }
                Err(error) => format!("the relay did not answer {name:?} ({trick:?}): {error:#}"),
            };
            lock(&misled).push(told);
        });
    }

    pub(super) async fn make_peace(&mut self) -> Result<()> {
        for (trick, player) in &mut self.identities {
            if player.is_on {
                player.toggle(*trick, "").await?;
                player.rogue.change(None).await?;
            }
        }
        for host in &self.hosts {
            host.behave();
        }
        // Connections on which a trick is being played would last as long as the relay bears it.
        for loner in self.held_up.values() {
            loner.host.cut();
        }
        Ok(())
    }
}

impl Impersonation {
    /// Changes the document and announces it.
    async fn toggle(&mut self, trick: IdentityTrick, elsewhere: &str) -> Result<()> {
        let account = &self.rogue.account;
        self.is_on = !self.is_on;
        let adversary = Adversary::Identity(trick);
        let (registry, own) = match account.web() {
            Some(web) => (web.registry(), web.url()),
            None => (account.world().plc.registry(), String::new()),
        };
        let answer = trick.answer(&own, elsewhere);
        registry.play(account.did(), self.is_on.then_some((answer, adversary)));
        let handle = account.current_handle().await;
        account.identity(Some(&handle)).await?;
        Ok(())
    }
}

impl Rogue {
    /// Whether its host has so much for the relay that more would only fill memory.
    async fn owes(&self) -> Result<bool> {
        Ok(self.account.pds().await?.undelivered() > BACKLOG_MAX)
    }
}
