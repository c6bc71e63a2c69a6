//! A consumer that keeps all it has seen, and the proof with which tests end.

use anyhow::{Context, Result, ensure};
use relay::{clock::Clock, hosts::HostView, ingest::VerdictLine};
use relay_simnet::{
    Account, Consumer, Kind, Net, Pds, Received, Report, Sent, Start, clock::wall_micros,
};

use crate::support::Relay;

/// A consumer from the first event on.
pub(crate) struct Watch {
    consumer: Consumer,
    pub(crate) seen: Vec<Received>,
}

impl Watch {
    /// The next `count` events.
    pub(crate) async fn take(&mut self, count: usize) -> Result<&[Received]> {
        let from = self.seen.len();
        self.seen.extend(self.consumer.take(count).await?);
        Ok(self.since(from))
    }

    /// The events up to and with the commit or sync that was sent.
    pub(crate) async fn until(&mut self, sent: &Sent) -> Result<&[Received]> {
        let from = self.seen.len();
        let rev = Some(sent.rev.as_str());
        self.seen.extend(self.consumer.until(|event| event.rev.as_deref() == rev).await?);
        Ok(self.since(from))
    }

    /// All that came of one account, in words.
    pub(crate) fn of(&self, account: &Account) -> Vec<String> {
        let events = self.seen.iter().filter(|event| event.did == account.did());
        events.map(in_words).collect()
    }

    /// All events, for a person who asks why a test failed.
    fn story(&self) -> String {
        let lines = self.seen.iter().map(|event| {
            let rev = event.rev.as_deref().unwrap_or_default();
            format!("{} {} {} {rev}", event.seq, event.did, in_words(event))
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn since(&self, from: usize) -> &[Received] {
        self.seen.get(from..).unwrap_or_default()
    }

    async fn read_to(&mut self, head: u64) -> Result<()> {
        while u64::try_from(self.consumer.last_seq()).unwrap_or(0) < head {
            self.seen.push(self.consumer.next().await?);
        }
        Ok(())
    }
}

/// An event as the table of spec 9.3 names it: `account deactivated`, `identity alice.test`.
pub(crate) fn in_words(event: &Received) -> String {
    let (kind, rest) = match event.kind {
        Kind::Commit => ("commit", String::new()),
        Kind::Sync => ("sync", String::new()),
        Kind::Identity => ("identity", event.handle()),
        Kind::Account if event.active() && event.status().is_empty() => {
            ("account", "active".to_owned())
        }
        Kind::Account if event.active() => ("account active but", event.status()),
        Kind::Account => ("account", event.status()),
    };
    format!("{kind} {rest}").trim_end().to_owned()
}

/// A clock that stands at the time of the machine until the test moves it.
pub(crate) fn held_clock() -> Clock {
    Clock::manual(wall_micros())
}

pub(crate) fn advance(clock: &Clock, seconds: u64) {
    clock.advance_us(seconds * 1_000_000);
}

impl Relay {
    /// Joins a network with a clock that the test moves.
    pub(crate) async fn join_by(net: &Net, clock: &Clock) -> Result<Self> {
        let clock = clock.clone();
        Self::join_with(net, move |_, extras| extras.clock = clock.clone()).await
    }

    /// Joins a network and tells its verdict on each event.
    pub(crate) async fn join_telling(net: &Net) -> Result<Self> {
        Self::join_with(net, |_, extras| extras.verdicts = true).await
    }

    pub(crate) async fn watch(&self) -> Result<Watch> {
        Ok(Watch { consumer: self.consume(Start::After(0)).await?, seen: Vec::new() })
    }

    /// Lets the time pass until everything sent is judged: for what waits to be asked again.
    pub(crate) async fn settled_in_time(&self, net: &Net, clock: &Clock) -> Result<()> {
        let settled = || {
            clock.advance_us(100_000);
            self.is_settled(net)
        };
        self.until("every host seq is settled while time passes", settled).await
    }

    /// Waits until everything sent is judged; gives what is new to the consumer, in words.
    pub(crate) async fn news(&self, net: &Net, watch: &mut Watch) -> Result<Vec<String>> {
        let from = watch.seen.len();
        self.settled(net).await?;
        watch.read_to(self.running.log.window().head.0).await?;
        Ok(watch.since(from).iter().map(in_words).collect())
    }

    /// The end of a test: everything sent is judged; the oracle finds nothing lost, repeated,
    /// strange or out of order; every drop is counted under a reason that fits; every fault struck.
    pub(crate) async fn proved(&self, net: &Net, watch: &mut Watch) -> Result<Report> {
        self.news(net, watch).await?;
        let checked = net.oracle().check(&watch.seen).clean();
        let report = checked.with_context(|| watch.story())?;
        let drops = self.running.drops.totals();
        let drops = drops.into_iter().map(|(reason, count)| (reason.label(), count));
        let differences = net.oracle().compare_drops(drops);
        ensure!(differences.is_empty(), "the drops differ: {differences:#?}");
        let unfired = net.unfired_faults();
        ensure!(unfired.is_empty(), "faults that never struck: {unfired:?}");
        let failures = self.running.ingest.failures();
        ensure!(failures.is_empty(), "the relay failed on {failures:?}");
        Ok(report)
    }

    /// What the relay says of a host that it knows.
    pub(crate) fn view(&self, host: &Pds) -> HostView {
        self.running.hosts.view(&host.hostname()).unwrap()
    }

    /// The verdicts so far on events of an account, oldest first.
    pub(crate) fn verdicts(&mut self, account: &Account) -> Vec<VerdictLine> {
        let mut lines = Vec::new();
        if let Some(verdicts) = &mut self.running.verdicts {
            while let Ok(line) = verdicts.try_recv() {
                lines.push(line);
            }
        }
        lines.retain(|line| line.did.as_deref() == Some(account.did()));
        lines
    }
}
