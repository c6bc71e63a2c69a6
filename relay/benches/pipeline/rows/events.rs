//! What an event costs.

use anyhow::Result;
use relay_simnet::Fault;

use super::Measured;
use crate::{
    ground::{Ground, Play, Run},
    meter::{CpuTime, float, median},
    options::Options,
    table::{Must, Row},
};

/// Bursts with each number of shards.
pub(super) const SHARD_BURSTS: u64 = 3;

/// Everything that a commit can do wrong at any time, and that a relay has to drop. (What is wrong
/// with the clock is left out: frames are made minutes before they are sent.)
pub(super) const SPOILS: &[Fault] = &[
    Fault::WrongKey,
    Fault::RetiredKey,
    Fault::HighS,
    Fault::DerSignature,
    Fault::FlippedSignature,
    Fault::WrongVersion,
    Fault::NoPrevKey,
    Fault::DidMismatch,
    Fault::RevMismatch,
    Fault::CommitCidMismatch,
    Fault::EqualRev,
    Fault::StaleRev,
    Fault::WrongPrevData,
    Fault::NoPrevData,
    Fault::MissingNode,
    Fault::CorruptNode,
    Fault::OmittedOp,
    Fault::DuplicatePath,
    Fault::UnknownAction,
    Fault::BadPath,
    Fault::MissingCommitBlock,
    Fault::TruncatedCar,
    Fault::MissingField,
    Fault::WrongFieldType,
];

/// One event in a hundred for each of them.
pub(super) fn spoiled_per_mille() -> u32 {
    u32::try_from(SPOILS.len() * 10).unwrap_or(u32::MAX)
}

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

/// The same with many events that have to be dropped.
pub(super) async fn invalid(
    ground: &mut Ground,
    options: &Options,
    measured: &mut Measured,
) -> Result<()> {
    let (runs, events) = options.size.spoiled;
    let mut all = Vec::new();
    let mut dropped = 0.0;
    for run in bursts(ground, runs, events).await? {
        dropped += run.after.grown(&run.before, "relay_ingest_dropped_total")?;
        all.push(run);
    }
    let (cost, raw) = middle(&all)?;
    let what = format!("the same, 1 % invalid of each of {} kinds", SPOILS.len());
    let row = Row::new("invalid", what, "V").must(Must::AtMost(2.3), None);
    let per_passed = cost * float(runs * events) / (float(runs * events) - dropped).max(1.0);
    let raw = format!("{raw}; {dropped:.0} dropped; per event that passed {per_passed:.2} V");
    measured.add(row.is(cost, raw));
    Ok(())
}

/// Two shards against one, the network on the same two cores.
pub(super) async fn shards(
    ground: &mut Ground,
    options: &Options,
    measured: &mut Measured,
) -> Result<()> {
    let burst = options.size.bursts.1;
    let warm_up = options.size.warm_up;
    ground.restart(&[("RELAY_SHARDS", "1")], options.shared, warm_up).await?;
    let one = bursts(ground, SHARD_BURSTS, burst).await?;
    ground.restart(&[("RELAY_SHARDS", "2")], options.shared, warm_up).await?;
    let ours = CpuTime::of(std::process::id())?.all;
    let two = bursts(ground, SHARD_BURSTS, burst).await?;
    let ours = CpuTime::of(std::process::id())?.all - ours;

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
    let relay: f64 = two.iter().map(|run| run.after.spent_since(&run.before)).sum();
    let raw = format!(
        "the less busy core; of both the relay has {:.0} %, the network and its check {:.0} %",
        relay / seconds * 50.0,
        ours / seconds * 50.0
    );
    let row = Row::new("shards", "both cores busy while frames are waiting", "%");
    measured.add(row.must(Must::AtLeast(90.0), None).is(least, raw));
    ground.restart(&[("RELAY_SHARDS", "auto")], options.apart, 0).await
}

async fn bursts(ground: &mut Ground, runs: u64, events: u64) -> Result<Vec<Run>> {
    let mut all = Vec::new();
    for _ in 0..runs {
        all.push(Box::pin(ground.run(Play::Fast(events))).await?);
    }
    Ok(all)
}

/// The middle cost, and the raw figures of the run that had it. The ratio has its own median: V and
/// CPU time are disturbed together.
fn middle(runs: &[Run]) -> Result<(f64, String)> {
    let cost = median(runs.iter().map(Run::cost).collect());
    let run = runs.iter().find(|run| run.cost().total_cmp(&cost).is_eq());
    Ok((cost, run.map(Run::raw).transpose()?.unwrap_or_default()))
}
