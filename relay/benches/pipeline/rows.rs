//! The rows, in the order in which they are measured.

mod collections;
mod database;
mod events;
mod limits;
mod projection;
mod proofs;
mod replay;
mod scale;
mod secure;
mod streams;

use anyhow::{Context as _, Result};

use crate::{
    ground::{Extent, Ground},
    options::Options,
    table::Row,
};

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
    if options.wants("proofs") {
        proofs::measure(measured)?;
    }
    if options.wants("projection") {
        Box::pin(projection::measure(options, measured)).await.context("from the log")?;
    }
    on_small_ground(options, measured).await.context("on the small network")?;
    if options.wants("invalid") {
        events::invalid(options, measured).await.context("with spoiled commits")?;
    }
    if options.wants("wss") {
        secure::cost(options, measured).await.context("over TLS")?;
    }
    if options.wants("limits") {
        limits::cost(measured).await.context("limits of a host")?;
    }
    if options.wants("database") {
        database::measure(options, measured).await.context("rows of the database")?;
    }
    if options.wants("collections") {
        collections::measure(options, measured).context("the index of collections")?;
        Box::pin(collections::lists(options, measured)).await.context("whole lists")?;
    }
    if options.wants("growth") {
        collections::growth(options, measured).context("the index of collections as it grows")?;
    }
    let wide = ["idle", "known", "memory", "restart", "sustained"];
    if wide.iter().any(|row| options.wants(row)) {
        Box::pin(scale::measure(options, measured)).await.context("on the wide network")?;
    }
    if options.wants("wssmemory") {
        Box::pin(secure::memory(options, measured)).await.context("memory over TLS")?;
    }
    Ok(())
}

/// A network and a relay beside it.
async fn make(options: &Options, extent: Extent) -> Result<Ground> {
    Ground::make(extent, (options.binary(), options.apart), &[]).await
}

/// The rows that share one small network and one log.
async fn on_small_ground(options: &Options, measured: &mut Measured) -> Result<()> {
    let rows = ["validated", "shards", "latency", "fanout", "live", "replay"];
    if !rows.iter().any(|row| options.wants(row)) {
        return Ok(());
    }
    let mut ground = Box::pin(make(options, options.size.extent)).await?;
    ground.introduce(options.size.warm_up).await?;
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
    ground.end().await
}
