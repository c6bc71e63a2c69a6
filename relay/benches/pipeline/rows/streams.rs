//! What consumers get, and when.

use anyhow::{Result, ensure};

use super::Measured;
use crate::{
    ground::Ground,
    meter::{Look, float},
    options::Options,
    run::Play,
    sinks::{Reads, Sinks},
    table::{Must, Row},
};

/// Consumers that replay while another one is live.
const REPLAYING: usize = 8;

/// From a host to a consumer.
pub(super) async fn latency(
    ground: &mut Ground,
    options: &Options,
    measured: &mut Measured,
) -> Result<()> {
    let (rate, events) = options.size.timed;
    let run = Box::pin(ground.run(Play::At(rate, events))).await?;
    let raw = format!(
        "p95 {:.1}, longest {:.1}; an event costs {:.2} V at this rate: {}",
        run.delay(95),
        run.delay(100),
        run.cost(),
        run.raw()?
    );
    let what = |percent: u32| format!("host to consumer at {rate} events/s, fsync on, p{percent}");
    let row = Row::new("latency", what(50), "ms").must(Must::AtMost(8.0), None);
    measured.add(row.is(run.delay(50), raw));
    let row = Row::new("latency", what(99), "ms").must(Must::AtMost(30.0), None);
    measured.add(row.is(run.delay(99), format!("of {} events", run.delays.len())));
    Ok(())
}

/// Many live consumers. One of them compares everything, the others count.
pub(super) async fn fanout(
    ground: &mut Ground,
    options: &Options,
    measured: &mut Measured,
) -> Result<()> {
    let (count, rate, events) = options.size.fanout;
    let alone = Box::pin(ground.run(Play::At(rate, events))).await?;
    let sinks = Sinks::open(&ground.relay.url(), count, Reads::Live, 0).await?;
    let before = Look::before(&ground.relay).await?;
    let run = Box::pin(ground.run(Play::At(rate, events))).await?;
    let logged = run.after.grown(&before, "relay_eventlog_appended_events_total")?;
    // The run ends with the one that compares; the others may still be reading.
    sinks.reach(whole(logged)?).await?;
    let after = Look::after(&ground.relay).await?;
    let tallies = sinks.close()?;
    for tally in &tallies {
        let got = float(tally.frames());
        ensure!(got.total_cmp(&logged).is_eq(), "a consumer got {got} frames of {logged}");
    }
    let frames = logged * float(count as u64 + 1);
    let micros = after.spent_since(&before) * 1e6;
    let marginal = (micros / logged - alone.cpu_us()) / float(count as u64);
    let seconds = after.at.duration_since(before.at).as_secs_f64();
    let raw = format!(
        "{:.2} us, V {:.1} us; {:.0} events/s; of it {marginal:.2} us for one more consumer; \
         relay {:.0} % of its core",
        micros / frames,
        run.v_us,
        run.rate(),
        after.spent_since(&before) / seconds * 100.0
    );
    let what = format!("CPU per delivered frame, {count} consumers at {rate} events/s");
    let row = Row::new("fanout", what, "V").must(Must::AtMost(0.08), 0.05);
    measured.add(row.is(micros / frames / run.v_us, raw));
    Ok(())
}

fn whole(count: f64) -> Result<u64> {
    Ok(format!("{count:.0}").parse()?)
}

/// One live consumer while others replay as fast as they can.
pub(super) async fn live(
    ground: &mut Ground,
    options: &Options,
    measured: &mut Measured,
) -> Result<()> {
    let (rate, events) = options.size.live;
    let head = ground.head().await?;
    let sinks = Sinks::open(&ground.relay.url(), REPLAYING, Reads::Again(head), 10).await?;
    let before = Look::before(&ground.relay).await?;
    let read = |sinks: &Sinks| sinks.tallies().iter().map(|tally| tally.bytes()).sum::<u64>();
    let bytes = read(&sinks);
    let run = Box::pin(ground.run(Play::At(rate, events))).await?;
    let bytes = read(&sinks) - bytes;
    let seconds = before.at.elapsed().as_secs_f64();
    sinks.close()?;
    let raw = format!(
        "p50 {:.1}, longest {:.1}; {:.0} MB/s replayed meanwhile",
        run.delay(50),
        run.delay(100),
        float(bytes) / 1e6 / seconds
    );
    let what = format!("p99 of a live consumer at {rate} events/s, {REPLAYING} others replay");
    let row = Row::new("live", what, "ms").must(Must::AtMost(50.0), None);
    measured.add(row.is(run.delay(99), raw));
    Ok(())
}
