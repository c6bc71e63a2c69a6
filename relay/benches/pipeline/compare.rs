//! One consumer whose every event is compared while others are handed over.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use relay_simnet::{Consumer, Item, Received, Start, scale::Checker};
use tokio::time::{Instant, timeout};

/// Silence after which it is worth to ask whether everything has come.
const LULL: Duration = Duration::from_millis(5);
/// Longest silence while events are missing.
const PATIENCE: Duration = Duration::from_mins(1);

/// Compares what comes until `playing` is done and nothing is missing. Gives when each event came,
/// by its digest, if that is wanted.
pub(crate) async fn compare(
    consumer: &mut Consumer,
    checker: &mut Checker,
    playing: impl Future<Output = Result<u64>>,
    timed: bool,
) -> Result<Vec<(u128, Instant)>> {
    let mut playing = Box::pin(playing);
    let mut arrived = Vec::new();
    let (mut all_sent, mut heard) = (false, Instant::now());
    loop {
        let item = tokio::select! {
            played = &mut playing, if !all_sent => {
                played?;
                all_sent = true;
                continue;
            }
            item = timeout(LULL, consumer.next_item()) => item,
        };
        match item {
            Ok(item) => {
                heard = Instant::now();
                let event = event(item?)?;
                arrived.extend(timed.then(|| (event.digest(), heard)));
                checker.observe(&event);
            }
            Err(_lull) if all_sent && checker.outstanding() == 0 => return Ok(arrived),
            Err(_lull) => {
                ensure!(heard.elapsed() < PATIENCE, "events are missing\n{}", checker.report());
            }
        }
    }
}

fn event(item: Item) -> Result<Received> {
    match item {
        Item::Event(event) => Ok(event),
        other => bail!("not an event: {other:?}"),
    }
}

/// Connects a consumer again after the last event that it got: one that is not read for long is
/// closed.
///
/// * `last` – seq of its last event, which may have come over an earlier connection
pub(crate) async fn again(consumer: &mut Consumer, url: &str, last: &mut u64) -> Result<()> {
    *last = u64::try_from(consumer.last_seq()).unwrap_or(0).max(*last);
    *consumer = Consumer::connect(url, Start::After(*last)).await?;
    Ok(())
}
