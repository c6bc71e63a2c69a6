//! Thousands of hosts, hundreds of thousands of accounts.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::{Measured, events::bursts, replay};
use crate::{
    ground::{Extent, Ground, Sample},
    meter::{CpuTime, float, median},
    options::Options,
    run::{Play, Run},
    table::{Must, Row},
};

/// Bursts that measure the cost of an event.
const BURSTS: u64 = 3;
/// How often memory is looked at in the course of a run.
const LOOKS: u32 = 150;
/// Events after a restart that would show a forgotten identity.
const AFTER_RESTART: u64 = 5_000;
/// What relay and network may take together.
const MEMORY_MB_MAX: f64 = 12_000.0;

/// Every row that needs the wide network, in one life of it.
pub(super) async fn measure(options: &Options, measured: &mut Measured) -> Result<()> {
    let wide = options.size.wide;
    let mut few = None;
    if options.wants("known") {
        let extent = Extent { accounts: wide.few_accounts, ..wide.extent };
        let mut ground = Box::pin(super::make(options, extent)).await?;
        ground.introduce(options.size.warm_up).await?;
        // Costs of another time, and more of them where more was introduced.
        replay::compressed(&ground).await?;
        few = Some((bursts(&mut ground, BURSTS, options.size.bursts.1).await?, extent.accounts));
        ground.end().await?;
    }
    let begin = Instant::now();
    let mut ground = Box::pin(super::make(options, wide.extent)).await?;
    println!("{} hosts are read after {:?}", wide.extent.hosts, begin.elapsed());
    if options.wants("idle") {
        idle(&ground, options, measured).await?;
        ground.reconnect().await?;
    }
    let rest = ["known", "memory", "restart", "sustained"];
    if rest.iter().any(|row| options.wants(row)) {
        let begin = Instant::now();
        ground.introduce(0).await?;
        println!("{} accounts are known after {:?}", wide.extent.accounts, begin.elapsed());
    }
    if let Some(few) = few {
        known(&mut ground, options, (few, measured)).await?;
    }
    if options.wants("memory") {
        memory(&mut ground, options, measured).await?;
    }
    if options.wants("restart") {
        restart(&mut ground, options, measured).await?;
    }
    if options.wants("sustained") {
        sustained(&mut ground, options, measured).await?;
    }
    ground.end().await
}

/// Hosts that send nothing.
async fn idle(ground: &Ground, options: &Options, measured: &mut Measured) -> Result<()> {
    let what = format!("idle with {} hosts connected", options.size.wide.extent.hosts);
    let row = Row::new("idle", what, "%").must(Must::AtMost(3.0), None);
    let (percent, raw) = idle_percent(ground, options).await?;
    measured.add(row.is(percent, raw));
    Ok(())
}

/// How much of a core the relay takes while nothing comes, and raw figures.
pub(super) async fn idle_percent(ground: &Ground, options: &Options) -> Result<(f64, String)> {
    // What a connection costs at first is not idleness.
    tokio::time::sleep(options.size.wide.idle).await;
    let before = CpuTime::of(ground.relay.pid())?.all;
    tokio::time::sleep(options.size.wide.idle).await;
    let spent = CpuTime::of(ground.relay.pid())?.all - before;
    let seconds = options.size.wide.idle.as_secs_f64();
    let resident = float(ground.relay.resident_bytes()?) / 1e6;
    let raw = format!("of a core, over {seconds:.0} s; {resident:.0} MB resident");
    Ok((spent / seconds * 100.0, raw))
}

/// Many known accounts against few.
async fn known(
    ground: &mut Ground,
    options: &Options,
    ((few, accounts), measured): ((Vec<Run>, u32), &mut Measured),
) -> Result<()> {
    ground.receive(Play::Fast(options.size.warm_up)).await?;
    replay::compressed(ground).await?;
    let many = bursts(ground, BURSTS, options.size.bursts.1).await?;
    let cost = |runs: &[Run]| median(runs.iter().map(Run::cost).collect());
    let (cost_few, cost_many) = (cost(&few), cost(&many));
    let all = options.size.wide.extent.accounts;
    let what = format!("CPU per event, {all} known accounts against {accounts}");
    let row = Row::new("known", what, "x").must(Must::AtMost(1.15), None);
    let last = many.last().map(Run::raw).transpose()?.unwrap_or_default();
    let raw = format!("{cost_many:.2} V against {cost_few:.2} V; {last}");
    measured.add(row.is(cost_many / cost_few, raw));
    Ok(())
}

fn look_every(seconds: u64) -> Duration {
    Duration::from_secs(seconds) / LOOKS
}

/// What the relay takes after minutes of traffic.
async fn memory(ground: &mut Ground, options: &Options, measured: &mut Measured) -> Result<()> {
    let found = memory_after(ground, options).await?;
    let row = Row::new("memory", found.what, "MB").must(Must::AtMost(600.0), 350.0);
    measured.add(row.is(found.megabytes, found.raw));
    let row = Row::new("memory", "its growth over the second half of that time", "%");
    let row = row.must(Must::AtMost(1.0), None);
    measured.add(row.is(found.growth_percent, found.growth_raw));
    Ok(())
}

/// What was found about memory.
pub(super) struct Memory {
    pub(super) what: String,
    pub(super) megabytes: f64,
    pub(super) raw: String,
    pub(super) growth_percent: f64,
    pub(super) growth_raw: String,
}

/// Plays for minutes and looks at the memory of the relay.
pub(super) async fn memory_after(ground: &mut Ground, options: &Options) -> Result<Memory> {
    let (rate, seconds) = options.size.wide.memory;
    let first = float(ground.relay.resident_bytes()?) / 1e6;
    let play = Play::At(rate, u64::from(rate) * seconds);
    let samples = ground.watch(play, look_every(seconds)).await?;
    let resident: Vec<f64> = samples.iter().map(|sample| float(sample.relay) / 1e6).collect();
    let megabytes = float(ground.relay.resident_bytes()?) / 1e6;
    let most = resident.iter().copied().fold(megabytes, f64::max);
    let half = resident.get(resident.len() / 2..).unwrap_or_default();
    let tenth = (half.len() / 5).max(1);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / float(part.len() as u64);
    // The ends are means, because a checkpoint comes and goes.
    let start = mean(half.get(..tenth).unwrap_or_default());
    let end = mean(half.get(half.len().saturating_sub(tenth)..).unwrap_or_default());
    let extent = options.size.wide.extent;
    Ok(Memory {
        what: format!(
            "memory: {} hosts, {} accounts, {seconds} s at {rate} events/s",
            extent.hosts, extent.accounts
        ),
        megabytes,
        raw: format!("{first:.0} MB before these minutes, {most:.0} at most"),
        growth_percent: (end / start - 1.0) * 100.0,
        growth_raw: format!("from {start:.1} to {end:.1} MB"),
    })
}

/// From `kill -9` to serving.
async fn restart(ground: &mut Ground, options: &Options, measured: &mut Measured) -> Result<()> {
    let wanted = options.size.wide.retained;
    let missing = wanted.saturating_sub(ground.head().await?);
    ground.receive(Play::Fast(missing)).await?;
    let retained = ground.head().await?;
    let lookups = ground.fleet.lookups();
    ground.relay.kill()?;
    let begin = Instant::now();
    ground.relay.restart().await?;
    let took = begin.elapsed().as_secs_f64();
    ground.fleet.connected().await?;
    let all_read = begin.elapsed().as_secs_f64();
    let by_itself = ground.fleet.lookups() - lookups;
    ground.reconnect().await?;
    ground.receive(Play::Fast(AFTER_RESTART)).await?;
    let by_events = ground.fleet.lookups() - lookups - by_itself;
    let accounts = options.size.wide.extent.accounts;
    let what = format!("restart after kill -9: {accounts} accounts, {retained} events");
    let row = Row::new("restart", what, "s").must(Must::AtMost(2.0), None);
    let raw = format!("to the first answer; all hosts are read after {all_read:.1} s");
    measured.add(row.is(took, raw));
    let row = Row::new("restart", "lookups until then", "").must(Must::AtMost(0.0), None);
    // Three in a thousand are #identity, which asks for a lookup.
    let raw = format!("and {by_events} by the next {AFTER_RESTART} events, for those of #identity");
    measured.add(row.is(float(by_itself), raw));
    Ok(())
}

/// A rate that holds, on both cores together with the network.
async fn sustained(ground: &mut Ground, options: &Options, measured: &mut Measured) -> Result<()> {
    let (rate, seconds) = options.size.wide.sustained;
    ground.restart(&[], options.shared).await?;
    let events = u64::from(rate) * seconds;
    let (cpu, begin) = (CpuTime::of(ground.relay.pid())?.all, Instant::now());
    let ours = CpuTime::of(std::process::id())?.all;
    let samples = ground.watch(Play::At(rate, events), look_every(seconds)).await?;
    let took = begin.elapsed().as_secs_f64();
    let cpu = CpuTime::of(ground.relay.pid())?.all - cpu;
    let ours = CpuTime::of(std::process::id())?.all - ours;
    let extent = options.size.wide.extent;
    let what =
        format!("validated events/s from {} hosts for {seconds} s, network included", extent.hosts);
    let row = Row::new("sustained", what, "/s").must(Must::AtLeast(f64::from(rate)), None);
    // To three digits: the last event is due a moment before the end.
    let reached = (float(events) / took / 10.0).round() * 10.0;
    let raw = format!(
        "cores: relay {:.2}, network and check {:.2}; {:.1} us of the relay per event",
        cpu / took,
        ours / took,
        cpu * 1e6 / float(events)
    );
    measured.add(row.is(reached, raw));
    let most = |of: fn(&Sample) -> u64| float(samples.iter().map(of).max().unwrap_or(0));
    let row = Row::new("sustained", "longest backlog of all hosts, in events", "");
    let last = samples.last().map_or(0, |sample| sample.backlog);
    let raw = format!("{last} at the last look; a second's worth would be {rate}");
    measured.add(row.must(Must::AtMost(f64::from(rate)), None).is(most(|it| it.backlog), raw));
    let row = Row::new("sustained", "memory of relay and network together", "MB");
    let raw = format!("the relay {:.0}", most(|sample| sample.relay) / 1e6);
    let both = most(|sample| sample.relay + sample.ours) / 1e6;
    measured.add(row.must(Must::AtMost(MEMORY_MB_MAX), None).is(both, raw));
    ground.restart(&[], options.apart).await
}
