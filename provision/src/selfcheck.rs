//! Whether a relay keeps what it promises.
//!
//! Most hosts of the network are connected, and hardly an event is missing of what another relay gives. Where
//! that is not so, the reasons are counted, as the relay says them.

mod judge;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

pub use self::judge::{Events, Hosts, Judged, Verdict};
use crate::{
    compare::{
        self, Options,
        explain::{Explained, Witness},
        report::Report,
    },
    feed::Address,
    moment,
    roster::{self, Target},
    told::{Tell, Told},
};

/// Accounts whose missing events are asked about.
const LOOKUPS: usize = 300;

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Promise {
    /// Hosts that are connected.
    pub hosts: u64,
    /// How many percent fewer are still enough; hosts come and go.
    pub tolerance_percent: f64,
    /// How many percent of the other relay's events may be missing.
    pub missing_percent: f64,
}

impl Promise {
    /// About 2,800 hosts, and at most 2 % fewer events than the other relay: the real network.
    pub const NETWORK: Self = Self { hosts: 2_800, tolerance_percent: 5.0, missing_percent: 2.0 };
}

/// What to look at.
#[derive(Debug)]
pub struct Asked {
    /// The relay that is judged.
    pub ours: Address,
    /// Another one, which reads the same network.
    pub theirs: Address,
    /// The admin API of the first.
    pub target: Target,
    /// How long both are listened to.
    pub span: Duration,
    /// How much later than the other one a relay may give an event.
    pub settle: Duration,
    /// What is promised.
    pub promise: Promise,
}

/// Listens to both, asks for the reasons of what is missing, and judges.
///
/// # Errors
/// When the relay does not answer, or one of the streams does not open: then nothing can be said.
pub async fn run(
    asked: &Asked,
    tell: &mut Tell<'_>,
    stop: impl Future<Output = ()>,
) -> Result<Judged> {
    let at = moment::day_and_time(moment::now_ms());
    let relays = vec![asked.ours.clone(), asked.theirs.clone()];
    let options = Options { relays, span: asked.span, settle: asked.settle };
    let found = compare::run(&options, tell, stop).await?;
    tell(Told::Doing("asking why events are missing".to_owned()));
    let Target { admin, password, .. } = &asked.target;
    let witness = Witness::Admin { url: admin.clone(), password: password.clone() };
    let explained = Explained::ask(&found, &witness, LOOKUPS, at.clone()).await?;
    let report = Report::new(&found, &explained, at.clone());
    tell(Told::Doing("asking for the hosts of both".to_owned()));
    let hosts = asked.target.hosts().await.context("ask the relay for its hosts")?;
    let theirs = roster::statuses(&asked.theirs).await;
    let (theirs, unknown) = match theirs {
        Ok(theirs) => (theirs, None),
        // Without the list of the other one, its own numbers can still be judged.
        Err(error) => (BTreeMap::new(), Some(format!("{error:#}"))),
    };
    let hosts = Hosts::of(&hosts, &theirs, unknown, &asked.promise);
    Ok(Judged::new(at, asked.promise, hosts, Events::of(&report)))
}
