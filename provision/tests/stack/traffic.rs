//! Live traffic: accounts that write without a pause, and a consumer that reads with its cursor.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use provision::stack::{Firehose, Stack};
use serde_json::Value;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// Longest that traffic may stand still after a fault.
const PATIENCE: Duration = Duration::from_mins(4);
/// Pace of each account: enough to have events at every moment, little enough for a busy machine.
const WRITE_EVERY: Duration = Duration::from_millis(40);
/// Pause before somebody tries again who got no answer.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Events that show that traffic flows.
const FLOW: usize = 15;
/// The accounts that write.
const WRITERS: [&str; 3] = ["carol", "dave", "erin"];

/// The events that the foreign consumer has said, as soon as they are as wanted.
pub(crate) async fn foreign_events(
    stack: &Stack,
    wanted: impl Fn(&[Value]) -> bool,
) -> Result<Vec<Value>> {
    let began = Instant::now();
    loop {
        let log = stack.containers().log_lines("consumer", "all").await?;
        let events: Vec<_> =
            log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if wanted(&events) {
            return Ok(events);
        }
        ensure!(began.elapsed() < PATIENCE, "the foreign consumer lacks events: {log}");
        sleep(AGAIN_AFTER).await;
    }
}

/// A commit by its account and revision.
type Key = (String, String);

/// What writers and consumer have met so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Felt {
    /// Records that the PDS took.
    pub(crate) written: usize,
    /// Commits that came out.
    pub(crate) heard: usize,
    /// Times that each writer got no answer of the PDS.
    pub(crate) unanswered: [usize; WRITERS.len()],
    /// Times that the consumer was not let in.
    pub(crate) shut_out: usize,
}

/// What came out, in order.
#[derive(Debug, Default)]
struct Heard {
    commits: Vec<(u64, Key)>,
    reconnections: usize,
}

/// What traffic came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Records that the PDS took.
    pub(crate) written: usize,
    /// Commits that came out.
    pub(crate) heard: usize,
    /// Times that the consumer had to connect again.
    pub(crate) reconnections: usize,
}

/// Traffic that goes on until [`Traffic::end`].
#[derive(Debug)]
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    writers: JoinSet<Result<Vec<Key>>>,
    reader: JoinSet<Result<Heard>>,
    felt: watch::Receiver<Felt>,
    wanted: watch::Sender<Option<BTreeSet<Key>>>,
}

impl Traffic {
    /// Starts writers and a consumer; returns once events flow.
    pub(crate) async fn start(stack: &Arc<Stack>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, felt) = watch::channel(Felt::default());
        let (wanted, wants) = watch::channel(None);
        let (mut writers, mut reader) = (JoinSet::new(), JoinSet::new());
        // From the live edge, before anybody writes: what is counted is new.
        let firehose = Box::pin(stack.firehose(None)).await?;
        let tell = Arc::new(tell);
        reader.spawn(read(Arc::clone(stack), firehose, Arc::clone(&tell), wants));
        for number in 0..WRITERS.len() {
            let (stack, tell, stop) = (Arc::clone(stack), Arc::clone(&tell), Arc::clone(&stop));
            writers.spawn(write(stack, number, tell, stop));
        }
        let mut traffic = Self { stop, writers, reader, felt, wanted };
        traffic.flows().await?;
        Ok(traffic)
    }

    /// Waits until some more events came out; gives the seconds that it took.
    pub(crate) async fn flows(&mut self) -> Result<f64> {
        let began = Instant::now();
        self.until("traffic to flow", |before, now| now.heard >= before.heard + FLOW).await?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// Waits until what was met holds; `holds` gets what it is when the waiting begins, and now.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        holds: impl Fn(&Felt, &Felt) -> bool,
    ) -> Result<()> {
        let before = self.felt.borrow().clone();
        let reached = timeout(PATIENCE, self.felt.wait_for(|now| holds(&before, now))).await;
        let reached = reached.map(|ended| ended.map(drop));
        reached
            .with_context(|| format!("waited for {what}; {before:?}, {:?}", self.felt.borrow()))?
            .context("the consumer ended")
    }

    /// Ends the writers, waits for all that they wrote, and checks: nothing lost, nothing twice, no
    /// number given twice or out of order.
    pub(crate) async fn end(mut self) -> Result<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        let mut written = BTreeSet::new();
        while let Some(ended) = self.writers.join_next().await {
            written.extend(ended??);
        }
        self.wanted.send(Some(written.clone())).ok().context("the consumer ended")?;
        let heard = timeout(PATIENCE, self.reader.join_next()).await;
        let heard =
            heard.context("not all that was written came out")?.context("no consumer")???;
        let mut times: HashMap<&Key, usize> = HashMap::new();
        let mut before = 0;
        for (seq, key) in &heard.commits {
            ensure!(*seq > before, "number {seq} came after {before}");
            before = *seq;
            *times.entry(key).or_default() += 1;
        }
        let twice: Vec<_> = times.iter().filter(|(_, count)| **count > 1).collect();
        ensure!(twice.is_empty(), "came more than once: {twice:?}");
        let lost: Vec<_> = written.iter().filter(|key| !times.contains_key(key)).collect();
        ensure!(lost.is_empty(), "lost: {lost:?}");
        ensure!(written.len() > FLOW, "only {} records were written", written.len());
        let (heard, reconnections) = (heard.commits.len(), heard.reconnections);
        Ok(Outcome { written: written.len(), heard, reconnections })
    }
}

/// One account that writes; what the PDS did not confirm is no promise.
async fn write(
    stack: Arc<Stack>,
    number: usize,
    told: Arc<watch::Sender<Felt>>,
    stop: Arc<AtomicBool>,
) -> Result<Vec<Key>> {
    let mut written = Vec::new();
    // The PDS may still be on its way back from the fault before.
    let account = loop {
        if let Ok(account) = stack.account(WRITERS[number]).await {
            break account;
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(written);
        }
        told.send_modify(|felt| felt.unanswered[number] += 1);
        sleep(AGAIN_AFTER).await;
    };
    while !stop.load(Ordering::Relaxed) {
        if let Ok(record) = stack.post(&account, "traffic").await {
            written.push((account.did.clone(), record.rev));
            told.send_modify(|felt| felt.written += 1);
            sleep(WRITE_EVERY).await;
        } else {
            told.send_modify(|felt| felt.unanswered[number] += 1);
            sleep(AGAIN_AFTER).await;
        }
    }
    Ok(written)
}

/// Reads on, connects again with its cursor whenever the stream ends, and ends itself when it has all
/// that is wanted.
async fn read(
    stack: Arc<Stack>,
    mut firehose: Firehose,
    told: Arc<watch::Sender<Felt>>,
    wants: watch::Receiver<Option<BTreeSet<Key>>>,
) -> Result<Heard> {
    let mut heard = Heard::default();
    let mut seen = BTreeSet::new();
    loop {
        loop {
            if wants.borrow().as_ref().is_some_and(|wanted| wanted.is_subset(&seen)) {
                return Ok(heard);
            }
            let commit = match timeout(Duration::from_secs(1), firehose.next_commit()).await {
                Err(_silence) => continue,
                Ok(Err(_broken)) => break,
                Ok(Ok(commit)) => commit,
            };
            seen.insert((commit.did.clone(), commit.rev.clone()));
            heard.commits.push((commit.seq, (commit.did, commit.rev)));
            told.send_modify(|felt| felt.heard += 1);
        }
        heard.reconnections += 1;
        let cursor = heard.commits.last().context("cut before the first event")?.0;
        firehose = loop {
            if let Ok(firehose) = Box::pin(stack.firehose(Some(cursor))).await {
                break firehose;
            }
            told.send_modify(|felt| felt.shut_out += 1);
            sleep(AGAIN_AFTER).await;
        };
    }
}
