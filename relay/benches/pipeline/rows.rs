//! The rows, in the order in which they are measured.

mod events;
mod replay;
mod streams;

use anyhow::{Context as _, Result};

use crate::{ground::Ground, options::Options, table::Row};

/// What was measured so far.
#[derive(Debug, Default)]
pub(crate) struct Measured(Vec<Row>);

impl Measured {
    /// Adds a row, and shows it to who waits.
    pub(crate) fn add(&mut self, row: Row) {
        row.announce();
        self.0.push(row);
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.0
    }
}

/// Measures what is wanted.
pub(crate) async fn measure(options: &Options, measured: &mut Measured) -> Result<()> {
    on_small_ground(options, measured).await.context("on the small network")?;
    Ok(())
}

/// The rows that share one small network and one log.
async fn on_small_ground(options: &Options, measured: &mut Measured) -> Result<()> {
    let (bursts, burst) = options.size.bursts;
    let plan = [
        ("validated", bursts * burst),
        ("shards", 2 * (options.size.warm_up + events::SHARD_BURSTS * burst)),
        ("latency", options.size.timed.1),
        ("fanout", options.size.fanout.2 * 2),
        ("live", options.size.live.1),
        ("replay", options.size.fill + replay::TO_SEAL),
    ];
    let events: u64 = plan.iter().map(|(row, events)| options.if_wanted(row, *events)).sum();
    let (runs, spoiled) = options.size.spoiled;
    let spoiled = options.if_wanted("invalid", runs * spoiled);
    if events + spoiled == 0 {
        return Ok(());
    }
    let mut ground = Box::pin(Ground::make(
        options.size.network,
        (options.size.warm_up, events),
        (spoiled, events::spoiled_per_mille(), events::SPOILS),
        (Some(options.binary()), options.apart),
    ))
    .await?;
    if options.wants("validated") {
        events::validated(&mut ground, options, measured).await?;
    }
    if options.wants("shards") {
        events::shards(&mut ground, options, measured).await?;
    }
    if options.wants("latency") {
        streams::latency(&mut ground, options, measured).await?;
    }
    if options.wants("fanout") {
        streams::fanout(&mut ground, options, measured).await?;
    }
    if options.wants("live") {
        streams::live(&mut ground, options, measured).await?;
    }
    if options.wants("replay") {
        replay::measure(&mut ground, options, measured).await?;
    }
    if options.wants("invalid") {
        events::invalid(&mut ground, options, measured).await?;
    }
    ground.end().await
}
