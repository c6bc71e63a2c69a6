//! A network as it is on a bad day, before a relay whose clock is moved on by hours: some hosts are down,
//! some come and go, some send more than they may, some are hostile. In the end each is where it belongs,
//! with the reason, and nothing of the honest ones is missing.

#![expect(clippy::print_stdout, reason = "the seed and the figures are for a person")]

mod fates;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use relay::{clock::Clock, upstream::UpstreamOptions};
use relay_simnet::{Account, NameServer, NameTrick, Net, Pds};
use serde_json::Value;
use tokio::time::Instant;

use self::fates::{Fate, Member};
use crate::{
    support::Relay,
    watch::{advance, held_clock},
};

/// Unless the environment gives another.
const SEED: u64 = 8;
/// Between two looks; the clock of the relay goes on by [`STEP_S`] meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Seconds of one step: a minute or two at once would look like a stall to the relay.
const STEP_S: u64 = 20;
/// Steps between two requests to the admin API.
const ASK_EVERY: u64 = 20;
/// Hosts of one page.
const PAGE: usize = 1_000;
/// How long a handshake may take; a tenth of the hosts make it last so long.
const HANDSHAKE_MAX: Duration = Duration::from_secs(2);

/// UP-10, HOST-1, HOST-4, HOST-9, HOST-11, I2: of 300 hosts 10 % are down in three ways, 5 % come and go,
/// 5 % send more than they may, 2 % or more are hostile. Each has the right status and reason, as an
/// operator sees it; those who come back and ask are read at once, the others within the hour; in the end
/// everything that was sent is with the consumers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_hosts_on_a_bad_day_all_end_where_they_belong() -> Result<()> {
    bad_day(300, Duration::from_mins(1)).await
}

/// The same with as many hosts as the network has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn three_thousand_hosts_on_a_bad_day_all_end_where_they_belong() -> Result<()> {
    bad_day(3_000, Duration::from_mins(10)).await
}

/// * `patience` – for each part of the day
#[expect(clippy::disallowed_methods, reason = "a run is repeated by its seed")]
async fn bad_day(hosts: usize, patience: Duration) -> Result<()> {
    let seed = std::env::var("SEED").ok().map_or(Ok(SEED), |seed| seed.parse())?;
    println!("SEED={seed}, {hosts} hosts");
    let day = Day::begin(seed, hosts, patience).await?;
    let told = format!("SEED={seed}");
    Box::pin(day.pass()).await.context(told)
}

/// One run.
struct Day {
    net: Net,
    clock: Clock,
    relay: Relay,
    members: Vec<Member>,
    /// Hosts whose name leads nowhere.
    nameless: Vec<String>,
    patience: Duration,
    begun: Instant,
    _names: NameServer,
}

/// What the admin API says of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    status: String,
    reason: String,
    error: String,
}

impl Day {
    /// Makes the network; a relay that has read all of it.
    async fn begin(seed: u64, hosts: usize, patience: Duration) -> Result<Self> {
        let begun = Instant::now();
        let (net, clock) = (Net::seeded(seed).await?, held_clock());
        let names = NameServer::start(NameTrick::None).await?;
        let mut members = Vec::new();
        let mut nameless = Vec::new();
        for (number, fate) in fates::deal(seed, hosts).into_iter().enumerate() {
            if fate == Fate::Nameless {
                nameless.push(format!("gone{number}.test"));
                continue;
            }
            members.push(Member::make(&net, number, fate).await?);
        }
        let (servers, held) = (vec![names.addr()], clock.clone());
        let relay = Relay::alone(&net, move |config, extras| {
            config.resolve_address.clone_from(&servers);
            extras.clock = held.clone();
            extras.upstream =
                UpstreamOptions { handshake_max: HANDSHAKE_MAX, ..UpstreamOptions::default() };
        })
        .await?;
        let mut names_of_all: Vec<_> = net.hosts().iter().map(Pds::hostname).collect();
        names_of_all.extend(nameless.iter().cloned());
        for added in relay.running.hosts.add_many(&names_of_all).await {
            added.map_err(|why| anyhow::anyhow!("a host was refused: {why}"))?;
        }
        let day = Self { net, clock, relay, members, nameless, patience, begun, _names: names };
        day.note("the network is made");
        Ok(day)
    }

    async fn pass(self) -> Result<()> {
        self.all_read().await?;
        self.note("all are read");
        self.set_limits().await?;
        for member in &self.members {
            member.begin_trouble().await?;
        }
        self.trouble().await?;
        self.note("the trouble is seen");
        self.return_by_request().await?;
        self.note("those who asked are read");
        self.peace().await?;
        self.note("all are read again");
        Box::pin(self.judged()).await
    }

    fn note(&self, what: &str) {
        println!("{:>6.1} s: {what}", self.begun.elapsed().as_secs_f64());
    }

    /// Waits; the clock goes on if `passing`.
    async fn until(&self, what: &str, passing: bool, holds: impl Fn() -> bool) -> Result<()> {
        let waiting = async {
            while !holds() {
                if passing {
                    advance(&self.clock, STEP_S);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(self.patience, waiting)
            .await
            .with_context(|| format!("waited {:?} for: {what}", self.patience))
    }

    async fn all_read(&self) -> Result<()> {
        let (relay, net) = (&self.relay, &self.net);
        let is_read =
            || relay.running.upstream.connected() == net.hosts().len() && relay.is_settled(net);
        self.until("all are read", false, is_read).await
    }

    async fn set_limits(&self) -> Result<()> {
        for member in &self.members {
            let Some(limits) = member.limits() else { continue };
            let mut body = limits;
            body["host"] = member.hostname().into();
            let (status, answer) = self.relay.command("hosts/limits", &body).await?;
            ensure!(status == 200, "{status} {answer}");
        }
        Ok(())
    }

    /// Lets hours pass until every host that has a reason to be elsewhere is there. What a host was seen
    /// as once counts: those over a limit are read for a minute now and then.
    async fn trouble(&self) -> Result<()> {
        let mut missing: BTreeMap<String, &Member> = self
            .members
            .iter()
            .filter(|member| member.fate.seen_as().is_some())
            .map(|member| (member.hostname(), member))
            .collect();
        let mut nameless: BTreeSet<_> = self.nameless.iter().cloned().collect();
        let begun = Instant::now();
        for step in 0_u64.. {
            advance(&self.clock, STEP_S);
            tokio::time::sleep(LOOK_EVERY).await;
            for member in &self.members {
                member.go_on(step).await?;
            }
            if !step.is_multiple_of(ASK_EVERY) {
                continue;
            }
            let told = self.told().await?;
            missing.retain(|name, member| !told.get(name).is_some_and(|told| is_as(told, member)));
            nameless.retain(|name| {
                let told = told.get(name);
                told.is_none_or(|told| told.status != "offline" || !told.reason.contains("resolve"))
            });
            if missing.is_empty() && nameless.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > self.patience {
                let left = missing.iter().map(|(name, member)| {
                    format!("{name} {:?}: {:?}", member.fate, told.get(name))
                });
                bail!("{:#?}, {nameless:#?}", left.collect::<Vec<_>>());
            }
        }
        Ok(())
    }

    /// Every second one that is down comes back and asks to be crawled. The clock stands still, so that
    /// no pause ends by itself.
    async fn return_by_request(&self) -> Result<()> {
        let back: Vec<_> = self.members.iter().filter(|member| member.fate.asks()).collect();
        let mut slowest = Duration::ZERO;
        for member in &back {
            member.come_back().await?;
            let asked = Instant::now();
            let status = member.host.request_crawl(&self.relay.url()).await?;
            ensure!(status == 200, "{}: {status}", member.hostname());
            member.host.connected().await.with_context(|| format!("{:?}", member.fate))?;
            slowest = slowest.max(asked.elapsed());
        }
        let is_read = || back.iter().all(|member| self.is_read(&member.host));
        self.until("those who asked are read to their end", false, is_read).await?;
        println!("{} asked; the slowest was connected after {slowest:?}", back.len());
        Ok(())
    }

    fn is_read(&self, host: &Pds) -> bool {
        let known = self.relay.running.hosts.by_name(&host.hostname());
        let mark = known.and_then(|known| known.mark()).map_or(0, |(_, mark)| mark.0);
        host.undelivered() == 0 && mark >= host.head()
    }

    /// All behave; those who do not ask are found by the relay, within the hours that pass.
    async fn peace(&self) -> Result<()> {
        for member in &self.members {
            member.come_back().await?;
        }
        self.all_read_in_time().await
    }

    async fn all_read_in_time(&self) -> Result<()> {
        let (relay, net) = (&self.relay, &self.net);
        let is_read =
            || relay.running.upstream.connected() == net.hosts().len() && relay.is_settled(net);
        self.until("all are read again", true, is_read).await
    }

    /// What an operator sees of all hosts, by name.
    async fn told(&self) -> Result<BTreeMap<String, Told>> {
        let mut told = BTreeMap::new();
        let mut cursor = String::new();
        loop {
            let path = format!("hosts?limit={PAGE}{cursor}");
            let (status, page) = self.relay.admin(&path).await?;
            ensure!(status == 200, "{page}");
            let text = |host: &Value, field: &str| host[field].as_str().unwrap_or("").to_owned();
            for host in page["hosts"].as_array().context("a list of hosts")? {
                let [status, reason, error] =
                    ["status", "statusReason", "lastError"].map(|field| text(host, field));
                told.insert(text(host, "hostname"), Told { status, reason, error });
            }
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(told),
            }
        }
    }

    /// In the end all are known and active but those without a name; the consumers have everything.
    async fn judged(self) -> Result<()> {
        let (told, known) = (self.told().await?, self.net.hosts().len() + self.nameless.len());
        ensure!(told.len() == known, "{} of {known} hosts are known", told.len());
        for member in &self.members {
            let told = told.get(&member.hostname()).context("a host is forgotten")?;
            ensure!(told.status == "active", "{:?}: {told:?}", member.fate);
        }
        for name in &self.nameless {
            let told = told.get(name).context("a host is forgotten")?;
            ensure!(
                told.status == "offline" && told.reason.contains("resolve"),
                "{name}: {told:?}"
            );
        }
        let mut watch = self.relay.watch().await?;
        let report = self.relay.proved(&self.net, &mut watch).await?;
        for account in self.accounts() {
            ensure!(watch.of(account).contains(&"commit".to_owned()), "{}", account.name());
        }
        self.note(&format!("proved: {report}"));
        self.relay.stop().await?;
        Ok(())
    }

    fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.members.iter().map(|member| &member.account)
    }
}

fn is_as(told: &Told, member: &Member) -> bool {
    let Some((status, words)) = member.fate.seen_as() else { return true };
    told.status == status
        && words.iter().any(|words| told.reason.contains(words) || told.error.contains(words))
}
