//! What a host is told to do: answers to requests, and tricks.

use super::{Limiter, Pds, Shared};
use crate::{Adversary, StreamTrick, adversary::PathAnswer, server::lock};
use anyhow::{Context, Result};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

/// Longest wait for the relay's answer to a request to be crawled.
const CRAWL_MAX: Duration = Duration::from_secs(30);

/// How a host answers the next requests for its stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Upgrade {
    /// With the stream.
    #[default]
    Accept,
    /// With a status instead of 101.
    Status {
        /// Such as 429 or 502.
        status: u16,
        /// `Retry-After` in seconds.
        retry_after: Option<u64>,
        /// Whether the body is a page of HTML instead of JSON.
        html: bool,
    },
    /// With a redirect to this address (UP-12).
    Redirect(String),
    /// With the stream, after so long.
    Late(Duration),
    /// Not at all: the handshake never ends.
    Silence,
    /// One byte per second, for ever.
    Dribble,
    /// Header lines, for ever, as fast as they are read.
    EndlessHead,
    /// With the stream, which begins with the error `FutureCursor` and ends, whatever the cursor is.
    FutureCursor,
}

impl Upgrade {
    /// A status with a JSON body.
    pub const fn status(status: u16) -> Self {
        Self::Status { status, retry_after: None, html: false }
    }
}

#[derive(Debug)]
pub(super) struct Script {
    /// Answers to the next requests, and the adversary whose they are.
    pub(super) upgrades: VecDeque<(Upgrade, Option<Adversary>)>,
    pub(super) upgrade: Upgrade,
    /// What subscribers get next.
    pub(super) tricks: VecDeque<StreamTrick>,
    pub(super) server_header: String,
    /// Unsent events above which a subscriber is told that it is too slow (UP-5).
    pub(super) lag_max: Option<u64>,
    /// Answers by the end of the path, and the adversary whose they are.
    pub(super) paths: BTreeMap<String, (PathAnswer, Option<Adversary>)>,
    /// Answers that are kept back, by the end of the path; they go out when this is gone.
    pub(super) held: Option<(String, watch::Sender<()>)>,
    /// The budget of `listRepos`.
    pub(super) limiter: Option<Limiter>,
    /// Entries of a page of `listRepos` at most.
    pub(super) page_max: Option<usize>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            upgrades: VecDeque::new(),
            upgrade: Upgrade::Accept,
            tricks: VecDeque::new(),
            server_header: "simulated-pds/1".to_owned(),
            lag_max: None,
            paths: BTreeMap::new(),
            held: None,
            limiter: None,
            page_max: None,
        }
    }
}

impl Shared {
    /// * `counts` – whether a relay asks, which then has met the adversary
    pub(super) fn next_upgrade(&self, counts: bool) -> Upgrade {
        let mut script = lock(&self.script);
        let next = script.upgrades.pop_front();
        let (upgrade, adversary) = next.unwrap_or_else(|| (script.upgrade.clone(), None));
        drop(script);
        if let Some(adversary) = adversary.filter(|_| counts) {
            self.ledger().struck(adversary);
        }
        upgrade
    }

    pub(super) fn scripted(&self, path: &str) -> Option<PathAnswer> {
        let script = lock(&self.script);
        let found = script.paths.iter().find(|(end, _)| path.ends_with(*end));
        let (answer, adversary) = found.map(|(_, answer)| answer.clone())?;
        drop(script);
        if let Some(adversary) = adversary {
            self.ledger().struck(adversary);
        }
        Some(answer)
    }
}

impl Shared {
    /// Returns when an answer may go out that was made already.
    pub(super) async fn hold_back(&self, path: &str) {
        let held = {
            let script = lock(&self.script);
            let held = script.held.as_ref().filter(|(end, _)| path.ends_with(end.as_str()));
            held.map(|(_, until)| until.subscribe())
        };
        if let Some(mut held) = held {
            while held.changed().await.is_ok() {}
        }
    }
}

impl Pds {
    /// Answers the next request for the stream like this, and only that one.
    pub fn answer_next(&self, upgrade: Upgrade) {
        lock(&self.shared.script).upgrades.push_back((upgrade, None));
    }

    /// The same as the trick of an adversary; it counts as struck when a relay gets the answer.
    pub(crate) fn answer_next_as(&self, upgrade: Upgrade, adversary: Adversary) {
        lock(&self.shared.script).upgrades.push_back((upgrade, Some(adversary)));
    }

    /// Plays a trick on the relay that is subscribed, or the next one, once it has all events.
    pub fn play(&self, trick: StreamTrick) {
        lock(&self.shared.script).tricks.push_back(trick);
        self.shared.notify();
    }

    /// Behaves from now on: tricks and answers that have not come to it are forgotten.
    pub fn behave(&self) {
        let mut script = lock(&self.shared.script);
        script.upgrades.clear();
        script.upgrade = Upgrade::Accept;
        script.tricks.clear();
        script.paths.clear();
    }

    /// Answers all requests for the stream like this.
    pub fn answer_all(&self, upgrade: Upgrade) {
        lock(&self.shared.script).upgrade = upgrade;
    }

    /// Answers requests whose path ends like this with a status; `None` undoes it.
    pub fn answer_path(&self, end_of_path: &str, status: Option<u16>) {
        let mut script = lock(&self.shared.script);
        let end_of_path = end_of_path.to_owned();
        match status {
            Some(status) => {
                drop(script.paths.insert(end_of_path, (PathAnswer::Status(status), None)));
            }
            None => drop(script.paths.remove(&end_of_path)),
        }
    }

    /// Answers requests whose path ends like this with 200 and this body.
    pub fn answer_path_with(&self, end_of_path: &str, body: &str) {
        let answer = (PathAnswer::Body(body.to_owned()), None);
        lock(&self.shared.script).paths.insert(end_of_path.to_owned(), answer);
    }

    /// Makes answers to requests whose path ends like this, and keeps them back until
    /// [`Self::release`].
    pub fn hold(&self, end_of_path: &str) {
        lock(&self.shared.script).held = Some((end_of_path.to_owned(), watch::channel(()).0));
    }

    /// Answers that are kept back now.
    pub fn held(&self) -> usize {
        let script = lock(&self.shared.script);
        script.held.as_ref().map_or(0, |(_, until)| until.receiver_count())
    }

    /// Lets go what is kept back, as it was made.
    pub fn release(&self) {
        lock(&self.shared.script).held = None;
    }

    /// Answers requests for its description as this adversary does.
    pub(crate) fn describe_as(&self, answer: PathAnswer, adversary: Adversary) {
        let mut script = lock(&self.shared.script);
        script.paths.insert("describeServer".to_owned(), (answer, Some(adversary)));
    }

    /// The `Server` header of every answer, for loop detection (UP-11).
    pub fn set_server_header(&self, value: &str) {
        value.clone_into(&mut lock(&self.shared.script).server_header);
    }

    /// Tells a subscriber that it is too slow when it lags by more than this (UP-5).
    pub fn set_lag_max(&self, events: Option<u64>) {
        lock(&self.shared.script).lag_max = events;
    }

    /// Asks a relay at `http://host:port` to crawl this host; gives the status of its answer.
    pub async fn request_crawl(&self, relay: &str) -> Result<u16> {
        self.request_crawl_of(relay, &self.hostname()).await
    }

    /// The same with any name in place of the host's own.
    pub async fn request_crawl_of(&self, relay: &str, hostname: &str) -> Result<u16> {
        let body = serde_json::json!({ "hostname": hostname }).to_string();
        let authority = relay.trim_start_matches("http://");
        let request = format!(
            "POST /xrpc/com.atproto.sync.requestCrawl HTTP/1.1\r\nHost: {authority}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let answered = tokio::time::timeout(CRAWL_MAX, async {
            let mut stream = TcpStream::connect(authority).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.take(64 << 10).read_to_end(&mut answer).await?;
            std::io::Result::Ok(answer)
        });
        let answer = answered.await.context("no answer to a request to be crawled")??;
        let head = String::from_utf8_lossy(answer.get(..12).unwrap_or_default()).into_owned();
        let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
        status.with_context(|| format!("not an answer to a request to be crawled: {head:?}"))
    }
}
