//! What is written to the database, and whether that holds up anything.

use anyhow::Result;

use super::Measured;
use crate::{
    ground::{Extent, Ground},
    meter::float,
    options::Options,
    run::Play,
    table::{Must, Row},
};

/// Hosts of this network at most.
const HOSTS: u32 = 100;

/// Many accounts, a few of them much more active than the rest.
pub(super) async fn measure(options: &Options, measured: &mut Measured) -> Result<()> {
    let (accounts, rate, seconds) = options.size.database;
    let extent = Extent { hosts: HOSTS.min(accounts), accounts, ..options.size.wide.extent };
    let mut ground = Box::pin(Ground::make(extent, (options.binary(), options.apart), &[])).await?;
    ground.introduce(0).await?;
    // What is counted since the start is counted from here.
    ground.restart(&[], options.apart).await?;
    let events = u64::from(rate) * seconds;
    let run = Box::pin(ground.run(Play::At(rate, events))).await?;
    let rows = run.after.grown(&run.before, "relay_store_rows_written_total")?;
    let what = format!("rows written per event, Zipf over {accounts}, {rate} events/s");
    let row = Row::new("database", what, "");
    let raw = format!("{rows:.0} rows for {events} events in {seconds} s");
    measured.add(row.must(Must::AtMost(0.3), None).is(rows / float(events), raw));
    if let Some(longest) = run.after.maybe("relay_ingest_stall_ms_max") {
        let row = Row::new("database", "longest stall of ingest meanwhile", "ms");
        let stalls = run.after.maybe("relay_ingest_stall_seconds_count").unwrap_or(0.0);
        let raw = format!("{stalls:.0} of 1 ms and more, as the relay counts them");
        measured.add(row.must(Must::AtMost(20.0), None).is(longest, raw));
    }
    ground.end().await
}
