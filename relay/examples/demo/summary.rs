//! What came of a run: sentences about what is wrong, and figures. Pure.

use std::{collections::BTreeMap, time::Duration};

use relay::telemetry::StatusFacts;
use relay_simnet::Report;

/// All that a summary is made of.
#[derive(Debug)]
pub(crate) struct Facts {
    /// From the first event to the end, without settling.
    pub(crate) elapsed: Duration,
    pub(crate) seed: u64,
    /// The oracle's comparison, frame by frame.
    pub(crate) report: Report,
    /// Where the relay's drop counters are not what the oracle expects.
    pub(crate) differences: Vec<String>,
    /// How often each fault was committed.
    pub(crate) struck: BTreeMap<String, u64>,
    /// Faults that wait for an event to strike.
    pub(crate) unfired: Vec<String>,
    /// What broke on the way.
    pub(crate) broken: Vec<String>,
    /// The relay's own figures.
    pub(crate) status: StatusFacts,
    pub(crate) rss_start: u64,
    pub(crate) rss_end: u64,
}

/// What a person is told at the end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// One sentence each; empty when all is well.
    pub(crate) problems: Vec<String>,
    /// What happened; the last line holds all figures.
    pub(crate) lines: Vec<String>,
}

impl Summary {
    /// Judges a run.
    pub(crate) fn of(facts: &Facts) -> Self {
        Self {
            problems: problems(facts),
            lines: vec![compared(facts), faults(facts), figures(facts)],
        }
    }

    /// Exit code: 1 when anything is wrong.
    pub(crate) fn code(&self) -> u8 {
        u8::from(!self.problems.is_empty())
    }
}

fn problems(facts: &Facts) -> Vec<String> {
    let Facts { report, status, .. } = facts;
    let mut problems = facts.broken.clone();
    let counts = [
        (report.lost, "had to come out of the relay and did not"),
        (report.duplicated, "came twice"),
        (report.strange, "came that no host sent like this, or that had to be dropped"),
        (report.disordered, "came out of order"),
        (report.unread, "of the hosts never went to the relay"),
    ];
    problems.extend(
        counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{} {what}", events(*count))),
    );
    problems.extend(report.findings.iter().cloned());
    if report.overflowed {
        problems.push("the oracle had to forget decisions before they were compared".to_owned());
    }
    if report.matched == 0 {
        problems.push("nothing was compared: no event came out of the relay".to_owned());
    }
    if report.seen != status.verified {
        problems.push(format!(
            "the relay says that it took in {} events, its consumer got {}",
            status.verified, report.seen
        ));
    }
    problems.extend(facts.differences.iter().cloned());
    let idle = facts.struck.iter().filter(|(_, count)| **count == 0);
    let idle: Vec<&str> = idle.map(|(fault, _)| fault.as_str()).collect();
    if !idle.is_empty() {
        problems.push(format!("set up, but did not happen in this time: {}", idle.join(", ")));
    }
    problems.extend(facts.unfired.iter().map(|fault| format!("a fault did not strike: {fault}")));
    problems
}

fn events(count: u64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

fn compared(facts: &Facts) -> String {
    let Report { seen, lost, duplicated, strange, disordered, .. } = &facts.report;
    format!(
        "compared one by one: {seen} frames; {lost} lost, {duplicated} twice, {strange} strange, {disordered} out of order (seed {})",
        facts.seed
    )
}

fn faults(facts: &Facts) -> String {
    let struck: Vec<String> =
        facts.struck.iter().map(|(fault, count)| format!("{fault} {count}")).collect();
    format!("faults of the hosts: {}", struck.join(", "))
}

/// The one line of figures.
fn figures(facts: &Facts) -> String {
    let StatusFacts { verified, dropped, consumers, .. } = &facts.status;
    let mut named: Vec<_> = dropped.iter().filter(|(_, count)| *count > 0).collect();
    named.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    let reasons: Vec<String> =
        named.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let sum: u64 = dropped.iter().map(|(_, count)| count).sum();
    let events = verified + sum;
    let millis = u64::try_from(facts.elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let tenths = millis / 100;
    format!(
        "{events} events in {}.{} s, {}/s | verified {verified} | dropped {sum} ({}) | consumers {consumers} | RSS {} MB at start, {} MB at end",
        tenths / 10,
        tenths % 10,
        events.saturating_mul(1000) / millis,
        reasons.join(", "),
        facts.rss_start / 1_000_000,
        facts.rss_end / 1_000_000,
    )
}

#[cfg(test)]
mod tests {
    use relay_simnet::{AccountOptions, Consumer, Fault, Net, Received, Start};

    use super::*;

    fn facts(report: Report) -> Facts {
        Facts {
            elapsed: Duration::from_millis(30_049),
            seed: 1,
            status: StatusFacts {
                verified: report.seen,
                dropped: vec![("stale", 3), ("legacy", 0), ("bad_signature", 7)],
                consumers: 1,
                ..StatusFacts::default()
            },
            report,
            differences: Vec::new(),
            struck: BTreeMap::from([("HighS".to_owned(), 7)]),
            unfired: Vec::new(),
            broken: Vec::new(),
            rss_start: 81_000_000,
            rss_end: 90_999_999,
        }
    }

    /// What a host sends, as a relay would see it, and the oracle of its network. The second of four
    /// posts has a signature that a relay must not pass.
    async fn sent(fault: Option<Fault>) -> (Net, Vec<Received>) {
        let net = Net::seeded(3).await.unwrap();
        let host = net.pds("alpha").await.unwrap();
        let quiet = AccountOptions { announced: false, ..AccountOptions::default() };
        let alice = host.account_with("alice", quiet).await.unwrap();
        let mut mirror =
            Consumer::connect_as_relay(&host.stream_url(), Start::After(0)).await.unwrap();
        for number in 0..4 {
            let account = match fault {
                Some(fault) if number == 1 => alice.with(fault),
                _ => alice.clone(),
            };
            account.post(&format!("post {number}")).await.unwrap();
        }
        let events = mirror.take(4).await.unwrap();
        (net, events)
    }

    /// The positive control: all frames as they were sent.
    #[tokio::test]
    async fn frames_as_they_were_sent_end_with_exit_code_0() {
        let (net, frames) = sent(None).await;

        let summary = Summary::of(&facts(net.oracle().check(&frames)));

        assert_eq!((summary.code(), summary.problems), (0, Vec::new()));
    }

    /// Issue 3, section 5: a lost frame is exit code 1 and a sentence.
    #[tokio::test]
    async fn a_missing_frame_ends_with_exit_code_1_and_is_named() {
        let (net, mut frames) = sent(None).await;
        frames.remove(2);

        let summary = Summary::of(&facts(net.oracle().check(&frames)));

        assert_eq!(summary.code(), 1);
        assert_eq!(summary.problems[0], "1 event had to come out of the relay and did not");
        assert!(summary.problems[1].contains("number 3 of host"), "{:?}", summary.problems);
    }

    /// Issue 3, section 5: a frame that had to be dropped is exit code 1 and a sentence.
    #[tokio::test]
    async fn a_frame_that_had_to_be_dropped_ends_with_exit_code_1() {
        let (net, frames) = sent(Some(Fault::HighS)).await;

        let summary = Summary::of(&facts(net.oracle().check(&frames)));

        assert_eq!(summary.code(), 1);
        assert!(summary.problems[1].contains("had to be dropped as bad_signature"));
    }

    /// Issue 3, section 5: a frame of another network is one that no host sent like this.
    #[tokio::test]
    async fn a_foreign_frame_ends_with_exit_code_1() {
        let (net, mut frames) = sent(None).await;
        let other = Net::seeded(4).await.unwrap();
        let host = other.pds("beta").await.unwrap();
        let bob = host.account("bob").await.unwrap();
        let mut mirror =
            Consumer::connect_as_relay(&host.stream_url(), Start::After(0)).await.unwrap();
        bob.post("from elsewhere").await.unwrap();
        let last_seq = frames.last().unwrap().seq;
        let foreign = mirror.until(|event| event.seq > last_seq).await.unwrap().pop().unwrap();
        frames.push(foreign);

        let summary = Summary::of(&facts(net.oracle().check(&frames)));

        assert_eq!(summary.code(), 1);
        assert!(summary.problems[1].contains("was never sent like this"), "{summary:?}");
    }

    /// Something wrong, and the sentence that names it.
    type Wrong = (&'static str, fn(&mut Facts));

    /// A fault that was set up and did not fire would make the run prove nothing; so would drops that
    /// nobody expects, a consumer that got less than the relay took in, and a run without events.
    #[tokio::test]
    async fn everything_else_that_is_wrong_ends_with_exit_code_1_too() {
        let (net, frames) = sent(None).await;
        let well = || facts(net.oracle().check(&frames));
        let wrong: [Wrong; 6] = [
            ("did not happen in this time: Cut", |f| {
                f.struck.insert("Cut".to_owned(), 0);
            }),
            ("a fault did not strike: x: HighS", |f| f.unfired.push("x: HighS".to_owned())),
            ("7 events were dropped as fork", |f| {
                f.differences.push("7 events were dropped as fork, expected 0 to 0".to_owned());
            }),
            ("its consumer got 4", |f| f.status.verified += 1),
            ("nothing was compared", |f| f.report.matched = 0),
            ("the load failed", |f| f.broken.push("the load failed: why".to_owned())),
        ];
        for (sentence, spoil) in wrong {
            let mut facts = well();
            spoil(&mut facts);
            let summary = Summary::of(&facts);
            assert_eq!((summary.code(), summary.problems.len()), (1, 1), "{summary:?}");
            assert!(summary.problems[0].contains(sentence), "{summary:?}");
        }
    }

    /// Issue 3, section 5: it ends with one line of figures.
    #[tokio::test]
    async fn the_last_line_holds_all_figures() {
        let (net, frames) = sent(None).await;

        let summary = Summary::of(&facts(net.oracle().check(&frames)));

        assert_eq!(
            summary.lines.last().unwrap(),
            "14 events in 30.0 s, 0/s | verified 4 | dropped 10 (bad_signature 7, stale 3) | \
             consumers 1 | RSS 81 MB at start, 90 MB at end"
        );
    }
}
