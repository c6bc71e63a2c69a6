//! What the index of collections costs per event: the log of a relay is followed once more, by the
//! same code, in this process and with nothing beside it.

use std::time::Duration;

use anyhow::{Result, ensure};
use relay::{
    clock::Clock,
    collections::{
        Projection,
        index::{self, Batch, Index},
    },
    domain::Seq,
    eventlog::{self, LogOptions},
    store::Store,
    tasks::Tasks,
};

use super::{Measured, make};
use crate::{
    meter::{CpuTime, float},
    options::Options,
    run::Play,
    table::{Must, Row},
};

/// Events per second that the share of a core is told for.
const RATE: f64 = 1_000.0;

/// Reading the log, undoing every commit once more, and filling the index.
pub(super) async fn measure(options: &Options, measured: &mut Measured) -> Result<()> {
    let mut ground = Box::pin(make(options, options.size.extent)).await?;
    ground.introduce(options.size.warm_up).await?;
    ground.receive(Play::Fast(options.size.bursts.1)).await?;
    ground.relay.stop().await?;
    ground.quiet().await?;
    let data = ground.relay.data();
    let store =
        Store::open(&format!("sqlite://{}", data.join("relay.sqlite").display()), 1).await?;
    let log = LogOptions {
        dir: data.join("persist"),
        instance_id: store.instance_id().await?,
        replay_window: Duration::from_hours(72),
        bytes_max: None,
        initial_seq: Seq(1),
        known_seq: Seq(0),
        segment_bytes: 256 << 20,
        sync_interval: Duration::from_millis(4),
        recent_bytes: 1 << 20,
        compression: 1,
    };
    let (appender, reader) = eventlog::open(log, Clock::system(), Box::new(|_durable| ()))?;
    let head = reader.window().head;
    let place = tempfile::tempdir()?;
    let index = Index::open(place.path(), index::Options { memory_bytes: 256 << 20 })?;
    index.apply(&Batch { position: Some(Seq(0)), ..Batch::default() })?;

    let before = CpuTime::of(std::process::id())?.all;
    let tasks = Tasks::default();
    let clock = Clock::system();
    tasks.start(Projection { index: index.clone(), reader, store, clock }.run(tasks.child()));
    while index.position() < Some(head) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let spent = CpuTime::of(std::process::id())?.all - before;
    tasks.stop().await;
    appender.close().await;
    let counts = index.counts();
    ensure!(counts.proven > 0 && counts.complete + counts.unsure > 0, "nothing was indexed");
    let each_us = spent * 1e6 / float(head.0);
    let row = Row::new("projection", "index of collections, of a core at 1,000 events/s", "%");
    let raw = format!(
        "{each_us:.1} us per event, {head} events, {} pairs of {} accounts",
        counts.proven,
        counts.complete + counts.unsure
    );
    measured.add(row.must(Must::AtMost(3.0), None).is(each_us * RATE / 1e4, raw));
    Ok(())
}
