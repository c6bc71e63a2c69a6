//! A relay under live traffic, and a consumer that never looks away.

use std::{
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use parking_lot::Mutex;
use relay_simnet::{Consumer, Load, LoadOptions, Net, Report, Start};
use tokio::{
    sync::{OwnedMutexGuard, watch},
    task::JoinSet,
    time::Instant,
};

use crate::{
    process::{RelayProcess, Setup},
    seen::Seen,
};

/// The load looks this often whether it is to stop.
const LOAD_SPAN: Duration = Duration::from_millis(250);
/// Longest pause of the stream; a relay may be killed some times in a row, or have no disk.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long the last events may take when everything runs again.
const CATCH_UP: Duration = Duration::from_mins(1);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Tests of this program take turns: each wants the machine for itself.
pub(crate) static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The load in a task of its own.
pub(crate) struct Sending {
    stopping: Arc<AtomicBool>,
    /// Held by the load while it sends, and by whom wants it to pause.
    going: Arc<tokio::sync::Mutex<()>>,
    task: JoinSet<Result<Pace>>,
}

impl Sending {
    pub(crate) fn start(mut load: Load, rate: u32) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let going = Arc::new(tokio::sync::Mutex::new(()));
        let (stop, go) = (Arc::clone(&stopping), Arc::clone(&going));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let begin = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                let _going = go.lock().await;
                load.run(rate, LOAD_SPAN).await?;
            }
            Ok(Pace { events: load.sent(), time: begin.elapsed() })
        });
        Self { stopping, going, task }
    }

    pub(crate) async fn stop(&mut self) -> Result<Pace> {
        self.stopping.store(true, Ordering::Relaxed);
        self.task.join_next().await.context("the load")??
    }
}

/// Events in a time.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) events: u64,
    pub(crate) time: Duration,
}

impl Pace {
    pub(crate) fn check(self, who: &str, least: f64) -> Result<()> {
        let seconds = self.time.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let rate = self.events as f64 / seconds;
        println!("{who}: {} events in {seconds:.1} s, {rate:.0} per second", self.events);
        ensure!(rate >= least, "{who} only {rate:.0} events per second: this proves too little");
        Ok(())
    }
}

/// A consumer in a task of its own, which reconnects with its cursor whenever the relay is gone.
pub(crate) struct Follower {
    pub(crate) seen: Arc<Mutex<Seen>>,
    count: watch::Receiver<usize>,
    task: JoinSet<Result<()>>,
}

impl Follower {
    fn start(consumer: Consumer, seen: Seen) -> Self {
        let mut consumer = consumer.reconnecting().patient(PATIENCE);
        let seen = Arc::new(Mutex::new(seen));
        let (say, count) = watch::channel(0);
        let (shared, mut task) = (Arc::clone(&seen), JoinSet::new());
        task.spawn(async move {
            loop {
                let event = consumer.next().await?;
                shared.lock().take(&event)?;
                say.send_modify(|count| *count += 1);
            }
        });
        Self { seen, count, task }
    }

    /// Waits until so many more events have come.
    async fn events(&mut self, events: usize) -> Result<()> {
        let wanted = *self.count.borrow() + events;
        let (mut count, task) = (self.count.clone(), &mut self.task);
        let come = async move {
            tokio::select! {
                biased;
                ended = task.join_next() => ended.context("the consumer's task")??,
                reached = count.wait_for(|count| *count >= wanted) => {
                    reached?;
                    Ok(())
                }
            }
        };
        let come = tokio::time::timeout(PATIENCE, come).await;
        come.unwrap_or_else(|_late| bail!("fewer than {events} events in {PATIENCE:?}"))
    }

    /// Fails when the consumer has.
    fn check(&mut self) -> Result<()> {
        self.task.try_join_next().unwrap_or(Ok(Ok(())))?
    }

    /// Seq of the newest event that came.
    pub(crate) fn last_seq(&self) -> u64 {
        self.seen.lock().head()
    }

    fn total(&self) -> usize {
        *self.count.borrow()
    }
}

/// All that a test of crashes has.
pub(crate) struct Rig {
    pub(crate) net: Net,
    pub(crate) relay: RelayProcess,
    pub(crate) follower: Follower,
    sending: Sending,
}

impl Rig {
    pub(crate) async fn start(
        seed: u64,
        (rate, options): (u32, LoadOptions),
        setup: Setup<'_>,
    ) -> Result<Self> {
        let net = Net::seeded(seed).await?;
        let load = Load::prepare(&net, options).await?;
        let relay = RelayProcess::start(&net, setup).await?;
        relay.crawl(&net).await?;
        let consumer = Consumer::connect(&relay.url(), Start::After(0)).await?;
        let follower = Follower::start(consumer, Seen::new(net.oracle().checker()));
        Ok(Self { sending: Sending::start(load, rate), net, relay, follower })
    }

    /// Waits until so many more events have come, or the relay has ended: then it says how.
    pub(crate) async fn follow(&mut self, events: usize) -> Result<Option<ExitStatus>> {
        let Self { relay, follower, .. } = self;
        let ended = async {
            loop {
                if let Some(status) = relay.how_ended()? {
                    return Ok(status);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let followed = tokio::select! {
            followed = follower.events(events) => followed.map(|()| None),
            status = ended => status.map(Some),
        };
        match followed {
            Ok(ended) => Ok(ended),
            Err(error) => Err(error.context(situation(&self.net, &self.relay).await)),
        }
    }

    /// Stops the traffic until the guard is dropped; returns when the relay has judged everything.
    pub(crate) async fn pause(&self) -> Result<OwnedMutexGuard<()>> {
        let paused = self.hold().await;
        self.relay.reach(&self.net).await?;
        Ok(paused)
    }

    /// Stops the traffic until the guard is dropped.
    pub(crate) async fn hold(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.sending.going).lock_owned().await
    }

    /// Stops the traffic; everything that must come has to come once.
    pub(crate) async fn settle(&mut self) -> Result<Report> {
        self.sending.stop().await?.check("the hosts sent", 0.0)?;
        self.relay.reach(&self.net).await.context("at the end")?;
        let begin = Instant::now();
        loop {
            let missing = self.follower.seen.lock().checker.outstanding();
            if missing == 0 {
                break;
            }
            let ended = self.relay.how_ended()?;
            let failed = self.follower.check().err();
            if ended.is_some() || failed.is_some() || begin.elapsed() > CATCH_UP {
                let situation = situation(&self.net, &self.relay).await;
                let report = self.follower.seen.lock().checker.report();
                bail!("{missing} missing, {ended:?}, {failed:?}:\n{report}\n{situation}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.follower.task.abort_all();
        let total = self.follower.total();
        let report = self.follower.seen.lock().checker.report();
        let again = self.net.oracle().redelivered();
        println!("{report}\n{total} events came, {again} were sent again by their hosts");
        ensure!(!self.relay.log().contains("panicked"), "a panic:\n{}", self.relay.log());
        report.clean()
    }
}

/// For a failure: what everyone is doing.
pub(crate) async fn situation(net: &Net, relay: &RelayProcess) -> String {
    let owed: Vec<_> = net
        .hosts()
        .iter()
        .map(|host| format!("{} owes {}", host.hostname(), host.undelivered()))
        .collect();
    format!("{}\n{}", owed.join(", "), relay.situation().await)
}
