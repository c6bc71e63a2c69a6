//! Alerts to people, from the relay itself: a host near its account limit, a trusted host that is lost,
//! a relay that hears nothing, a replay window that shrank, an index of collections that stopped.
//!
//! Comes in: what hosts, subscriptions and the log tell when they are asked, every few seconds. Goes
//! out: messages to a webhook and to Slack, once when something begins, again while it lasts, and once
//! when it is over. What is open outlives a restart in a small file. Nothing of this is on the way of an
//! event: the queue to each receiver is bounded, and what it does not take is counted and said.

mod board;
mod finding;
mod ledger;
mod post;
mod watch;
mod words;

use std::{path::PathBuf, time::Duration};

use metrics::gauge;
use tokio::time::MissedTickBehavior;

use self::{
    ledger::{Kept, Ledger, Notice},
    post::Receiver,
    watch::Watch,
};
use crate::{
    clock::Clock, collections::index::Index, config::AlertSettings, eventlog::Reader, hosts::Hosts,
    net::Net, tasks::Tasks, telemetry::metrics as names, upstream::Upstream,
};

pub use self::{
    board::{AlertView, Alerts},
    finding::Kind,
};

/// The file in the data directory that says which alerts are open.
const FILE: &str = "alerts.json";

/// How alerts are looked for and sent; the settings say where and when.
#[derive(Debug, Clone)]
pub struct AlertOptions {
    /// Time between two looks.
    pub look_every: Duration,
    /// Where Slack takes messages.
    pub slack_url: String,
    /// Wait after the first failure of a receiver; doubles with each further one.
    pub first_retry: Duration,
    /// Connected hosts from which on silence is no chance.
    pub deaf_hosts_min: usize,
}

impl Default for AlertOptions {
    fn default() -> Self {
        Self {
            look_every: Duration::from_secs(15),
            slack_url: "https://slack.com/api/chat.postMessage".to_owned(),
            first_retry: Duration::from_secs(1),
            deaf_hosts_min: 50,
        }
    }
}

/// What alerts are made from.
#[derive(Debug)]
pub struct AlertParts {
    /// Whose accounts are counted, and who is connected.
    pub hosts: Hosts,
    /// How many are connected.
    pub upstream: Upstream,
    /// How far back it reaches.
    pub log: Reader,
    /// How far back it should reach.
    pub replay_window: Duration,
    /// Whether it is kept up.
    pub collections: Index,
    /// Sends.
    pub net: Net,
    /// All policy time.
    pub clock: Clock,
    /// Where the file is kept.
    pub data_dir: PathBuf,
    /// Where alerts go, and when.
    pub settings: AlertSettings,
    /// How.
    pub options: AlertOptions,
}

/// Looks for what people should know, until the tasks stop. When nobody is to be told it only stands
/// where it can be read.
pub fn start(parts: AlertParts, tasks: &Tasks) -> Alerts {
    let receivers = post::start(&parts, tasks);
    let alerts = Alerts::default();
    let (stopping, board) = (tasks.stopping().clone(), alerts.clone());
    tasks.start(async move {
        stopping.run_until_cancelled(look(parts, receivers, board)).await;
    });
    alerts
}

async fn look(parts: AlertParts, receivers: Vec<Receiver>, board: Alerts) {
    // Without receivers there is nothing to be told twice.
    let kept = (!receivers.is_empty()).then(|| Kept::new(parts.data_dir.join(FILE)));
    let mut ledger = match &kept {
        Some(kept) => kept.read().await,
        None => Ledger::default(),
    };
    let mut watch = Watch::default();
    let mut ticks = tokio::time::interval(parts.options.look_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let repeat_ms = millis(parts.settings.repeat);
    loop {
        ticks.tick().await;
        let found = watch.look(&parts);
        let (notices, changed) = ledger.judge(found, parts.clock.now_ms(), repeat_ms);
        show(&ledger);
        board.set(ledger.views(), parts.clock.now_ms());
        let Some(kept) = &kept else { continue };
        if changed {
            // First kept: a crash in between costs a message, not a message per restart.
            kept.write(&ledger).await;
        }
        tell(&notices, &receivers);
    }
}

fn tell(notices: &[Notice], receivers: &[Receiver]) {
    for notice in notices {
        tracing::warn!(
            kind = notice.kind.label(),
            state = notice.state.label(),
            "alert: {}",
            notice.words
        );
    }
    for receiver in receivers {
        receiver.send(notices);
    }
}

fn show(ledger: &Ledger) {
    for kind in Kind::ALL {
        let open = u32::try_from(ledger.count(*kind)).unwrap_or(u32::MAX);
        gauge!(names::ALERTS_OPEN, "kind" => kind.label()).set(open);
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
