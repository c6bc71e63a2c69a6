//! The same over TLS. Only hosts have it: consumers reach a relay through a proxy that takes TLS off.

use anyhow::Result;

use super::{Measured, events::bursts, make, scale};
use crate::{
    ground::Extent,
    meter::median,
    options::Options,
    run::Run,
    table::{Must, Row},
};

/// Bursts of either kind.
const BURSTS: u64 = 3;

/// What an event costs more.
pub(super) async fn cost(options: &Options, measured: &mut Measured) -> Result<()> {
    let mut costs = Vec::new();
    let mut raw = String::new();
    for tls in [false, true] {
        let extent = Extent { tls, ..options.size.extent };
        let mut ground = Box::pin(make(options, extent)).await?;
        ground.introduce(options.size.warm_up).await?;
        let runs = bursts(&mut ground, BURSTS, options.size.bursts.1).await?;
        costs.push(median(runs.iter().map(Run::cost).collect()));
        raw = runs.last().map(Run::raw).transpose()?.unwrap_or_default();
        ground.end().await?;
    }
    let (plain, secure) = (costs.first().copied(), costs.last().copied());
    let (plain, secure) = (plain.unwrap_or(f64::NAN), secure.unwrap_or(f64::NAN));
    let row = Row::new("wss", "CPU per validated event, hosts over wss", "V");
    measured.add(row.is(secure, format!("{plain:.2} V over ws; {raw}")));
    Ok(())
}

/// What many hosts over TLS take.
pub(super) async fn memory(options: &Options, measured: &mut Measured) -> Result<()> {
    let extent = Extent { tls: true, ..options.size.wide.extent };
    let mut ground = Box::pin(make(options, extent)).await?;
    let (percent, raw) = scale::idle_percent(&ground, options).await?;
    measured.add(Row::new("wssmemory", "idle, hosts over wss", "%").is(percent, raw));
    ground.reconnect().await?;
    ground.introduce(0).await?;
    let found = scale::memory_after(&mut ground, options).await?;
    let row = Row::new("wssmemory", format!("{}, over wss", found.what), "MB");
    let raw = format!("{}; second half {}", found.raw, found.growth_raw);
    measured.add(row.must(Must::AtMost(900.0), None).is(found.megabytes, raw));
    ground.end().await
}
