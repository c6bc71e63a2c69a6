//! Thousands of hosts that are dialled anew: as fast as promised, never more at once than may be, and
//! without asking the directory more than it bears.

#![expect(clippy::print_stdout, reason = "the figures are for a person")]

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use relay_simnet::{
    Consumer, Start,
    scale::{Fleet, FleetOptions, Pace, Plan, Source},
};
use tokio::time::Instant;

use crate::process::{RelayProcess, Setup};

/// Ten accounts on each of as many hosts as the network has; each says something at first, and all
/// together these events while the relay is away.
const PLAN: Plan = Plan {
    seed: 17,
    hosts: 3_000,
    accounts: 30_000,
    records: 5,
    introduce: true,
    events: 60_000,
    announcements_per_mille: 10,
    each_fault_per_mille: 0,
    foreign_per_mille: 0,
};

/// Handshakes at once, as the setting says, and how long each host makes one last: far hosts do.
const HANDSHAKES: &str = "32";
const HANDSHAKES_MAX: u64 = 32;
const ANSWER_AFTER: Duration = Duration::from_millis(500);
/// Requests to the directory per second, as the setting says.
const LOOKUPS: &str = "500";
const LOOKUPS_PER_SECOND: u64 = 500;

/// All hosts are to be read again after this time.
const READ_WITHIN: Duration = Duration::from_mins(2);
/// Longest that a part of the run may take.
const PATIENCE: Duration = Duration::from_mins(10);
/// Between two looks at what the relay has accepted.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const MEMORY_MAX: u64 = 3 << 30;

/// UP-9, RES-7, T20: 3,000 hosts with something to say, which answer after half a second each, are read
/// within two minutes, at a first start and after a restart; never more than the set number are dialled
/// at once; the directory is asked no faster than the setting says, and after a restart only for those
/// who announce a new identity.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn three_thousand_hosts_are_read_again_within_two_minutes() -> Result<()> {
    let options = FleetOptions {
        backlog_max: u64::MAX,
        owed_max: u64::MAX,
        answer_after: ANSWER_AFTER,
        ..FleetOptions::default()
    };
    let fleet = Fleet::start(&PLAN, options).await?;
    let mut source = Source::live(&PLAN)?;
    fleet.play(&mut source, u64::from(PLAN.accounts), Pace::Fast).await?;
    let settings = [("RELAY_HANDSHAKES_MAX", HANDSHAKES), ("RELAY_PLC_RATE", LOOKUPS)];
    let setup = Setup { settings: &settings, ..Setup::default() };
    let mut relay = RelayProcess::start_beside(fleet.plc_url(), setup).await?;

    let begun = (Instant::now(), fleet.lookups());
    for some in fleet.addresses().chunks(100) {
        relay.add_hosts(some).await?;
    }
    let first = watched(&fleet, &relay, begun).await?;
    first.print("first start");
    ensure!(first.lookups >= u64::from(PLAN.accounts), "{} lookups", first.lookups);

    relay.stop().await?;
    fleet.play(&mut source, PLAN.events, Pace::Fast).await?;
    let begun = (Instant::now(), fleet.lookups());
    relay.restart().await?;
    let second = watched(&fleet, &relay, begun).await?;
    second.print("restart");
    // Some hundred accounts announced a new identity.
    ensure!(second.lookups < u64::from(PLAN.accounts) / 100, "{} lookups again", second.lookups);

    let mut consumer = Consumer::connect(&relay.url(), Start::After(0)).await?;
    let report = fleet.ledger().checker().settle(&mut consumer).await?.clean()?;
    println!("{report}");
    relay.stop().await
}

/// What was seen of a start.
struct Seen {
    connected: Duration,
    caught_up: Duration,
    handshakes: u64,
    lookups: u64,
    lookups_per_second: f64,
    /// Accepted events per second, one number for each look.
    ramp: Vec<f64>,
    resident: u64,
}

impl Seen {
    fn print(&self, what: &str) {
        let ramp: Vec<_> = self.ramp.iter().map(|rate| format!("{rate:.0}")).collect();
        println!(
            "{what}: {} hosts read after {:.1} s, at most {} handshakes at once; all caught up after \
             {:.1} s; accepted events/s every {} s: {}; {} lookups, at most {:.0}/s; {} MB resident",
            PLAN.hosts,
            self.connected.as_secs_f64(),
            self.handshakes,
            self.caught_up.as_secs_f64(),
            LOOK_EVERY.as_secs(),
            ramp.join(" "),
            self.lookups,
            self.lookups_per_second,
            self.resident >> 20,
        );
    }
}

/// Follows a start until all that the hosts have is accepted.
///
/// * `begun` – when, and what the directory had been asked before
async fn watched(
    fleet: &Fleet,
    relay: &RelayProcess,
    (begun, asked_before): (Instant, u64),
) -> Result<Seen> {
    fleet.take_handshakes_most();
    let (mut lookups, mut head) = (fleet.lookups(), accepted(relay).await?);
    let mut seen = Seen {
        connected: Duration::MAX,
        caught_up: Duration::MAX,
        handshakes: 0,
        lookups: 0,
        lookups_per_second: 0.0,
        ramp: Vec::new(),
        resident: 0,
    };
    let all: u64 = fleet.heads().iter().sum();
    let mut looked = Instant::now();
    loop {
        tokio::time::sleep(LOOK_EVERY / 50).await;
        if seen.connected == Duration::MAX && fleet.subscribed() == u64::from(PLAN.hosts) {
            seen.connected = begun.elapsed();
        }
        let passed = looked.elapsed();
        if passed < LOOK_EVERY {
            continue;
        }
        looked = Instant::now();
        let now = (fleet.lookups(), accepted(relay).await?);
        let per_second = |before: f64, after: f64| (after - before) / passed.as_secs_f64();
        seen.ramp.push(per_second(head, now.1));
        let rate = per_second(float(lookups), float(now.0));
        seen.lookups_per_second = seen.lookups_per_second.max(rate);
        (lookups, head) = now;
        seen.resident = seen.resident.max(relay.resident_bytes()?);
        if head >= float(all) && seen.connected < Duration::MAX {
            seen.caught_up = begun.elapsed();
            break;
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "{} of {all} accepted; {}",
            head,
            relay.situation().await
        );
    }
    (seen.handshakes, seen.lookups) = (fleet.take_handshakes_most(), lookups - asked_before);
    ensure!(seen.connected <= READ_WITHIN, "all hosts are read after {:?}", seen.connected);
    let busy = HANDSHAKES_MAX / 2..=HANDSHAKES_MAX;
    ensure!(busy.contains(&seen.handshakes), "{} handshakes at once", seen.handshakes);
    // What was saved up may come at once.
    let lookups_max = float(LOOKUPS_PER_SECOND) * (1.0 + 1.0 / LOOK_EVERY.as_secs_f64()) * 1.05;
    ensure!(seen.lookups_per_second <= lookups_max, "{} lookups/s", seen.lookups_per_second);
    ensure!(seen.resident < MEMORY_MAX, "{} bytes", seen.resident);
    Ok(seen)
}

/// Events of the whole log so far.
async fn accepted(relay: &RelayProcess) -> Result<f64> {
    let metrics = relay.metrics().await?;
    let head = metrics.lines().find_map(|line| line.strip_prefix("relay_eventlog_head_seq "));
    Ok(head.context("no head among the metrics")?.parse()?)
}

fn float(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
