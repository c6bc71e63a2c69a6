//! A live view of a firehose: what `provision watch` shows.
//!
//! In: a [`Feed`]. Out: a line per event that passes the filter, as text or JSON, and now and then how
//! many there are. Holds one frame at a time; a terminal that is slow makes a slow consumer, which the
//! relay's replay window covers.

mod filter;
mod show;
mod verify;

use std::time::Duration;

use anyhow::{Context as _, Result};
use relay_protocol::{Envelope, FrameKind, Message};
use serde_json::Value;
use tokio::{select, time::Instant};

use crate::{
    feed::{Address, Arrival, Feed},
    told::{Tell, Told, harmless},
};

pub use filter::Filter;
pub use show::{Form, Shown};
pub use verify::{Checked, Verifier};

/// Hosts that one answer of `listHosts` can name.
const HOSTS_PER_PAGE: usize = 1_000;
/// How long the question after the hosts may take; the events do not wait for longer.
const ASK_MAX: Duration = Duration::from_secs(5);

/// What to show.
#[derive(Debug)]
pub struct Options {
    /// Where the firehose is.
    pub address: Address,
    /// After which seq to start; `None` is now.
    pub cursor: Option<u64>,
    /// What to leave out.
    pub filter: Filter,
    /// How a line looks.
    pub form: Form,
    /// Checks commits, if wanted.
    pub verifier: Option<Verifier>,
    /// End after so many lines.
    pub lines_max: Option<u64>,
    /// End after this time.
    pub time_max: Option<Duration>,
    /// How often the rate is told.
    pub rate_every: Option<Duration>,
}

/// What was seen when it ends.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Events, also those that were not shown.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lines shown.
    pub lines: u64,
    /// Events and frames that are wrong; without verification, only those that do not decode.
    pub wrong: u64,
    /// Where to go on.
    pub cursor: Option<u64>,
}

/// Shows a firehose until `stop` is done, a limit is reached or nobody reads any more.
///
/// # Errors
/// When there is no stream, or none any more: see [`Feed::next`].
pub async fn run(
    mut options: Options,
    tell: &mut Tell<'_>,
    stop: impl Future<Output = ()>,
) -> Result<Summary> {
    let mut feed = Feed::new(options.address.clone(), options.cursor);
    let began = Instant::now();
    let mut seen = Summary { cursor: options.cursor, ..Summary::default() };
    let mut rate = Rate::new(began, options.rate_every);
    let end = options.time_max.map(|time| began + time);
    tokio::pin!(stop);
    loop {
        let arrival = select! {
            () = &mut stop => break,
            () = until(end) => break,
            () = until(rate.next) => {
                tell(Told::Note(rate.line(&seen)));
                continue;
            }
            arrival = feed.next() => arrival?,
        };
        let goes_on = match arrival {
            Arrival::Connected { server } => {
                let hosts = hosts(&options.address).await;
                tell(Told::Note(connected(&options.address, &server, hosts)))
            }
            Arrival::Lost { why, pause } => {
                let from = feed.cursor().map_or("now".to_owned(), |seq| format!("seq {seq}"));
                let again = pause.as_secs_f32();
                let why = harmless(&why, 300);
                tell(Told::Note(format!("lost: {why}; again in {again:.1} s from {from}")))
            }
            Arrival::Frame(frame) => frame_came(&frame, &mut options, &mut seen, tell).await,
        };
        seen.cursor = feed.cursor();
        if !goes_on || options.lines_max.is_some_and(|max| seen.lines >= max) {
            break;
        }
    }
    feed.close().await;
    tell(Told::Note(farewell(&seen, began.elapsed())));
    Ok(seen)
}

/// Waits for that moment, for ever if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn frame_came(
    frame: &[u8],
    options: &mut Options,
    seen: &mut Summary,
    tell: &mut Tell<'_>,
) -> bool {
    let decoded = Envelope::peek(frame)
        .and_then(|envelope| Message::decode(frame).map(|message| (envelope.kind, message)));
    let (kind, message) = match decoded {
        Ok(decoded) => decoded,
        Err(invalid) => {
            seen.wrong += 1;
            let bytes = frame.len();
            return tell(Told::Note(format!("a frame of {bytes} bytes is wrong: {invalid}")));
        }
    };
    match (kind, &message) {
        (_, Message::Info(name, text)) | (FrameKind::Error, Message::Error(name, text)) => {
            let text = format!("{name}: {}", text.unwrap_or_default());
            return tell(Told::Note(format!("the other side says {}", harmless(&text, 300))));
        }
        (_, Message::Ignored | Message::Error(..)) => return true,
        _ => {}
    }
    seen.events += 1;
    seen.bytes += u64::try_from(frame.len()).unwrap_or(u64::MAX);
    let Some(mut shown) = Shown::of(&message, frame.len()) else { return true };
    if !options.filter.lets_pass(&mut shown) {
        return true;
    }
    if let Some(verifier) = &mut options.verifier {
        let checked = verifier.check(&message).await;
        seen.wrong += u64::from(matches!(checked, Checked::Wrong(_)));
        shown.verified = Some(checked);
    }
    seen.lines += 1;
    tell(Told::Result(shown.line(options.form)))
}

/// How many hosts the relay knows: `None` when it does not say, as a PDS does not.
async fn hosts(address: &Address) -> Option<usize> {
    let path = format!("/xrpc/com.atproto.sync.listHosts?limit={HOSTS_PER_PAGE}");
    let asking = async {
        let client = crate::feed::client().ok()?;
        let answer = client.get(address.http(&path)).send().await.ok()?;
        let body: Value = answer.error_for_status().ok()?.json().await.ok()?;
        Some(body.get("hosts")?.as_array()?.len())
    };
    tokio::time::timeout(ASK_MAX, asking).await.ok().flatten()
}

fn connected(address: &Address, server: &str, hosts: Option<usize>) -> String {
    let hosts = match hosts {
        None => String::new(),
        Some(1) => ", 1 host".to_owned(),
        Some(HOSTS_PER_PAGE) => format!(", {HOSTS_PER_PAGE} hosts or more"),
        Some(count) => format!(", {count} hosts"),
    };
    let server = if server.is_empty() { "no name given" } else { server };
    format!("connected{hosts} ({}, {})", address.name(), harmless(server, 80))
}

fn farewell(seen: &Summary, took: Duration) -> String {
    let at = match seen.cursor {
        Some(cursor) => format!("; go on with --cursor {cursor}"),
        None => String::new(),
    };
    let (events, lines, wrong) = (seen.events, seen.lines, seen.wrong);
    format!("{events} events in {:.1} s, {lines} shown, {wrong} wrong{at}", took.as_secs_f64())
}

/// Tells how fast events come.
#[derive(Debug)]
struct Rate {
    every: Option<Duration>,
    next: Option<Instant>,
    last: (Instant, u64, u64),
}

impl Rate {
    fn new(now: Instant, every: Option<Duration>) -> Self {
        Self { every, next: every.map(|every| now + every), last: (now, 0, 0) }
    }

    /// Events and bytes per second since the last line.
    #[expect(clippy::cast_precision_loss, reason = "a rate is for a person")]
    fn line(&mut self, seen: &Summary) -> String {
        let now = Instant::now();
        let (since, events, bytes) = self.last;
        let took = now.duration_since(since).as_secs_f64().max(0.001);
        let rate = (seen.events - events) as f64 / took;
        let megabits = (seen.bytes - bytes) as f64 * 8.0 / 1e6 / took;
        self.last = (now, seen.events, seen.bytes);
        self.next = self.every.map(|every| now + every);
        let at = seen.cursor.map_or("no event yet".to_owned(), |seq| format!("at seq {seq}"));
        format!("{rate:.1} events/s, {megabits:.2} Mbit/s, {at}")
    }
}

/// A program that reads lines wants to know when one of its own settings is wrong, at once.
///
/// # Errors
/// When the text is no duration such as `2m` or `30s`.
pub fn span(text: &str) -> Result<Duration> {
    humantime::parse_duration(text)
        .with_context(|| format!("`{text}` is no time; write it as `30s`, `2m` or `1h`"))
}
