//! What an event costs.

use anyhow::Result;

use super::Measured;
use crate::{
    ground::{Extent, Ground},
    meter::median,
    options::Options,
    run::{Play, Run},
    table::{Must, Row},
};

/// Bursts with each number of shards.
pub(super) const SHARD_BURSTS: u64 = 3;

/// Of 1,000 events, how many are commits with each fault.
const EACH_FAULT_PER_MILLE: u32 = 10;

/// One consumer, one shard, as fast as it goes.
pub(super) async fn validated(
    ground: &mut Ground,
    options: &Options,
    measured: &mut Measured,
) -> Result<()> {
    let (runs, events) = options.size.bursts;
    let runs = bursts(ground, runs, events).await?;
    let (cost, raw) = middle(&runs)?;
    let row = Row::new("validated", "CPU per validated event, all included", "V");
    measured.add(row.must(Must::AtMost(2.1), 1.6).is(cost, raw));
    Ok(())
}

/// The same with many events that have to be dropped, on a network of its own.
pub(super) async fn invalid(options: &Options, measured: &mut Measured) -> Result<()> {
    let (runs, events) = options.size.spoiled;
    let extent = Extent { each_fault_per_mille: EACH_FAULT_PER_MILLE, ..options.size.extent };
    let mut ground = Box::pin(super::make(options, extent)).await?;
    ground.introduce(options.size.warm_up).await?;
    let runs = bursts(&mut ground, runs, events).await?;
    let mut dropped = 0.0;
    for run in &runs {
        dropped += run.after.grown(&run.before, "relay_ingest_dropped_total")?;
    }
    let (cost, raw) = middle(&runs)?;
    let what = "the same, with 1 % of each kind of spoiled commit";
    let row = Row::new("invalid", what, "V").must(Must::AtMost(2.3), None);
    let all: f64 = runs.iter().map(|run| run.events).sum();
    let raw = format!(
        "{raw}; {:.0} % dropped; per event that passed {:.2} V",
        dropped / all * 100.0,
        cost * all / (all - dropped).max(1.0)
    );
    measured.add(row.is(cost, raw));
    ground.end().await
}

/// Two shards against one, the network on the same two cores.
pub(super) async fn shards(
    ground: &mut Ground,
    options: &Options,
    measured: &mut Measured,
) -> Result<()> {
    let burst = options.size.bursts.1;
    let warm_up = options.size.warm_up;
    ground.restart(&[("RELAY_SHARDS", "1")], options.shared).await?;
    ground.receive(Play::Fast(warm_up)).await?;
    let one = bursts(ground, SHARD_BURSTS, burst).await?;
    ground.restart(&[("RELAY_SHARDS", "2")], options.shared).await?;
    ground.receive(Play::Fast(warm_up)).await?;
    let two = bursts(ground, SHARD_BURSTS, burst).await?;

    let ((cost_one, raw_one), (cost_two, raw_two)) = (middle(&one)?, middle(&two)?);
    let row = Row::new("shards", "CPU per event, 2 shards against 1", "x");
    let raw = format!("2: {raw_two}; 1: {raw_one}");
    measured.add(row.must(Must::AtMost(1.1), None).is(cost_two / cost_one, raw));

    let busy = |run: &Run| {
        let [a, b] = run.after.cores.busy_since(&run.before.cores);
        a.min(b) * 100.0
    };
    let least = median(two.iter().map(busy).collect());
    let seconds: f64 = two.iter().map(|run| run.seconds).sum();
    let ours: f64 = two.iter().map(|run| run.after.ours - run.before.ours).sum();
    let relay: f64 = two.iter().map(|run| run.after.spent_since(&run.before)).sum();
    let raw = format!(
        "the less busy core; of both the relay has {:.0} %, the network and its check {:.0} %",
        relay / seconds * 50.0,
        ours / seconds * 50.0
    );
    let row = Row::new("shards", "both cores busy while frames are waiting", "%");
    measured.add(row.must(Must::AtLeast(90.0), None).is(least, raw));
    ground.restart(&[("RELAY_SHARDS", "auto")], options.apart).await
}

/// Bursts of so many events.
pub(super) async fn bursts(ground: &mut Ground, runs: u64, events: u64) -> Result<Vec<Run>> {
    let mut all = Vec::new();
    for _ in 0..runs {
        all.push(Box::pin(ground.run(Play::Fast(events))).await?);
    }
    Ok(all)
}

/// The middle cost, and the raw figures of the run that had it. The ratio has its own median: V and
/// CPU time are disturbed together.
pub(super) fn middle(runs: &[Run]) -> Result<(f64, String)> {
    let cost = median(runs.iter().map(Run::cost).collect());
    let run = runs.iter().find(|run| run.cost().total_cmp(&cost).is_eq());
    Ok((cost, run.map(Run::raw).transpose()?.unwrap_or_default()))
}
