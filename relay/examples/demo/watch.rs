//! `demo watch URL`: the firehose in lines, with nothing else to install.

use std::time::Duration;

use anyhow::Result;
use relay_simnet::{Consumer, Item, Kind, Received, Start};

use crate::{options::Watch, out};

/// Operations that are named; the others are counted.
const OPS_SHOWN: usize = 3;
/// A quiet relay is no reason to go.
const PATIENCE: Duration = Duration::from_hours(365 * 24);

/// Prints until the relay ends the stream or enough was seen; gives the exit code.
pub(crate) async fn run(watch: &Watch) -> Result<u8> {
    let start = watch.cursor.map_or(Start::Live, Start::After);
    let mut consumer = Consumer::connect(&watch.url, start).await?.patient(PATIENCE);
    let mut left = watch.take.unwrap_or(u64::MAX);
    while left > 0 {
        match consumer.next_item().await? {
            Item::Event(event) => {
                out::line(&line(&event)?);
                left -= 1;
            }
            Item::Info { name, message } => out::line(&format!("info {name}: {message}")),
            Item::Error { error, message } => anyhow::bail!("the relay says {error}: {message}"),
            Item::Other(frame) => out::line(&format!("a frame of {} bytes", frame.len())),
            Item::Closed { code, reason } => {
                let code =
                    code.map_or_else(|| "without a code".to_owned(), |code| code.to_string());
                out::error(&format!("the relay closed the stream ({code}): {reason}"));
                break;
            }
        }
    }
    Ok(0)
}

/// `seq 7 #commit did:plc:… rev 3k… create app.bsky.feed.like/3k…`
fn line(event: &Received) -> Result<String> {
    let rev = event.rev.as_ref().map(|rev| format!(" rev {rev}")).unwrap_or_default();
    let words = match event.kind {
        Kind::Commit => {
            let ops = event.ops()?;
            let shown = ops.iter().take(OPS_SHOWN).map(|op| format!("{} {}", op.action, op.path));
            let mut words: Vec<String> = shown.collect();
            if ops.len() > OPS_SHOWN {
                words.push(format!("{} more", ops.len() - OPS_SHOWN));
            }
            words.join(", ")
        }
        Kind::Sync => String::new(),
        Kind::Identity => format!("handle {}", event.handle()),
        Kind::Account if event.active() => "active".to_owned(),
        Kind::Account => format!("not active, {}", event.status()),
    };
    let text = format!("seq {} {} {}{rev} {words}", event.seq, event.kind.name(), event.did);
    Ok(text.trim_end().escape_debug().to_string())
}
