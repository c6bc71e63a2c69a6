//! Several relays side by side: what each of them gives of what all of them give together.
//!
//! One task reads each relay; one place matches what they bring ([`tally`]). Before the measured time
//! and after it the streams are read for as long as a relay may be behind, so that its edges count for
//! nobody. At the end the misses are explained ([`explain`]) and the report is made ([`report`]).
//!
//! Limits: [`tally::RELAYS_MAX`] relays; 4,096 sightings wait, then the streams are not read.

mod delays;
pub mod explain;
pub mod lists;
pub mod page;
pub mod report;
pub mod tally;

use std::time::Duration;

use anyhow::{Result, ensure};
use relay_protocol::Message;
use tokio::{
    select,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    feed::{Address, Arrival, Feed},
    told::{Tell, Told, Unit, harmless},
};
use report::Source;
use tally::{RELAYS_MAX, Revision, Sighting, Tally};

/// Sightings that wait to be matched.
const WAITING_MAX: usize = 4_096;
/// How long all relays together have to open their streams.
const OPENING_MAX: Duration = Duration::from_secs(30);
/// How often is told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What to compare.
#[derive(Debug)]
pub struct Options {
    /// The relays; the first one is judged.
    pub relays: Vec<Address>,
    /// How long is measured.
    pub span: Duration,
    /// How much later than the first a relay may give an event.
    pub settle: Duration,
}

/// What was found, before it is explained.
#[derive(Debug)]
pub struct Found {
    /// The relays and how their streams were.
    pub sources: Vec<Source>,
    /// What they gave.
    pub tally: Tally,
    /// The time that was measured.
    pub span: Duration,
}

/// What a reading task brings.
enum Brought {
    Opened(String),
    Lost,
    Gone(String),
    Seen(Sighting),
}

/// Reads all relays for the time; `stop` ends it before, with what there is by then.
///
/// # Errors
/// When there are not at least two relays whose streams open.
pub async fn run(
    options: &Options,
    tell: &mut Tell<'_>,
    stop: impl Future<Output = ()>,
) -> Result<Found> {
    let count = options.relays.len();
    ensure!(count >= 2, "name at least two relays to compare");
    ensure!(count <= RELAYS_MAX, "at most {RELAYS_MAX} relays at once, not {count}");
    let started = Instant::now();
    let (bring, brought) = mpsc::channel(WAITING_MAX);
    // Dropped at the end, which ends the tasks.
    let mut reading = JoinSet::new();
    for (place, address) in options.relays.iter().enumerate() {
        let (feed, bring) = (Feed::new(address.clone(), None), bring.clone());
        reading.spawn(read(feed, place, started, bring));
    }
    drop(bring);
    let mut run = Run {
        sources: options.relays.iter().map(Source::new).collect(),
        tally: Tally::new(count, millis(options.settle)),
        brought,
        started,
    };
    tokio::pin!(stop);
    select! {
        () = &mut stop => {}
        opened = run.open() => opened?,
    }
    let from = Instant::now() + options.settle;
    let to = from + options.span;
    run.tally.measure(millis(from - started), millis(to - started));
    let names: Vec<_> = run.sources.iter().map(|source| source.name.as_str()).collect();
    tell(Told::Note(format!("reading {}", names.join(", "))));
    let measuring = async {
        run.drain(from, tell).await;
        tell(Told::Note(format!("measuring for {:?}", options.span)));
        run.drain(to + options.settle, tell).await;
    };
    let was_stopped = select! {
        () = &mut stop => true,
        () = measuring => false,
    };
    let mut span = options.span;
    if was_stopped {
        let cut = Instant::now().clamp(from, to);
        span = cut - from;
        run.tally.measure(millis(from - started), millis(cut - started));
        run.drain(cut + options.settle, tell).await;
    }
    run.tally.settle(u64::MAX);
    Ok(Found { sources: run.sources, tally: run.tally, span })
}

struct Run {
    sources: Vec<Source>,
    tally: Tally,
    brought: mpsc::Receiver<(usize, Brought)>,
    started: Instant,
}

impl Run {
    /// Waits until every stream is open or given up.
    async fn open(&mut self) -> Result<()> {
        let end = self.started + OPENING_MAX;
        while self.sources.iter().any(Source::is_undecided) {
            let Some((place, brought)) = self.next(end).await else { break };
            self.take(place, brought);
        }
        let open = self.sources.iter().filter(|source| source.is_open()).count();
        let troubles: Vec<_> =
            self.sources.iter().filter_map(|source| source.trouble.clone()).collect();
        ensure!(
            open >= 2,
            "{open} of {} relays give a stream, so there is nothing to compare: {}",
            self.sources.len(),
            troubles.join("; ")
        );
        Ok(())
    }

    /// Takes in what comes until then.
    async fn drain(&mut self, end: Instant, tell: &mut Tell<'_>) {
        let began = Instant::now();
        let total = end.saturating_duration_since(began).as_secs();
        let mut told = began;
        while let Some((place, brought)) = self.next(end).await {
            self.take(place, brought);
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                let counts: Vec<_> =
                    self.tally.relays().iter().map(|relay| relay.events.to_string()).collect();
                let what = format!("events: {}", counts.join(", "));
                let done = began.elapsed().as_secs().min(total);
                tell(Told::Progress { what, done, total, unit: Unit::Seconds });
            }
        }
    }

    /// What a task brings before the moment; `None` when it has come or all tasks are gone.
    async fn next(&mut self, end: Instant) -> Option<(usize, Brought)> {
        let brought = select! {
            biased;
            () = sleep_until(end) => return None,
            brought = self.brought.recv() => brought,
        };
        if brought.is_none() {
            // Whoever waits for a moment gets it, also when nobody speaks any more.
            sleep_until(end).await;
        }
        brought
    }

    fn take(&mut self, place: usize, brought: Brought) {
        let Some(source) = self.sources.get_mut(place) else { return };
        match brought {
            Brought::Opened(server) => source.opened(&harmless(&server, 80)),
            Brought::Lost => source.reconnections += 1,
            Brought::Gone(why) => source.trouble = Some(harmless(&why, 300)),
            Brought::Seen(sighting) => self.tally.see(sighting),
        }
    }
}

/// Reads one relay until nobody listens or it gives no stream.
async fn read(
    mut feed: Feed,
    relay: usize,
    started: Instant,
    bring: mpsc::Sender<(usize, Brought)>,
) {
    loop {
        let brought = match feed.next().await {
            Ok(Arrival::Connected { server }) => Brought::Opened(server),
            Ok(Arrival::Lost { .. }) => Brought::Lost,
            Ok(Arrival::Frame(frame)) => {
                let at_ms = millis(started.elapsed());
                match sighting(&frame, relay, at_ms) {
                    Some(sighting) => Brought::Seen(sighting),
                    None => continue,
                }
            }
            Err(error) => {
                let why = format!("{error:#}");
                // Fails when nobody listens any more: then the comparison is over.
                return drop(bring.send((relay, Brought::Gone(why))).await);
            }
        };
        if bring.send((relay, brought)).await.is_err() {
            return;
        }
    }
}

fn sighting(frame: &[u8], relay: usize, at_ms: u64) -> Option<Sighting> {
    let (did, rev) = match Message::decode(frame).ok()? {
        Message::Commit(commit) => (commit.repo, Some(("commit", commit.rev.to_string()))),
        Message::Sync(sync) => (sync.did, Some(("sync", sync.rev.to_string()))),
        Message::Identity(identity) => (identity.did, None),
        Message::Account(account) => (account.did, None),
        Message::Info(..) | Message::Error(..) | Message::Ignored => return None,
    };
    let rev = rev.map(|(kind, rev)| Revision { kind, rev });
    Some(Sighting { relay, at_ms, did: did.to_owned(), rev })
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
