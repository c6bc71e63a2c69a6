//! What came of a run: sentences about what is wrong, and figures. Pure.

use relay_simnet::Report;

use super::{samples::Sample, trend::Trend};

/// Findings that are told in full.
const TOLD: usize = 20;
/// Descriptors by which the last tenth of a run may be above the first: connections come and go.
const DESCRIPTORS_MORE: u64 = 10;

/// All that a summary is made of.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) samples: Vec<Sample>,
    /// The comparison of each consumer, and how often it came back.
    pub(crate) reports: Vec<(Report, u64)>,
    /// Names of the accounts, so that a finding says more than a DID.
    pub(crate) names: Vec<(String, String)>,
    /// Consumers that joined late.
    pub(crate) late: u64,
    /// Where the relay's drop counters are not what the oracle expects.
    pub(crate) differences: Vec<String>,
    pub(crate) unfired: Vec<String>,
    pub(crate) misled: Vec<String>,
    /// How often the relay met an adversary.
    pub(crate) strikes: u64,
    /// Hosts times workers.
    pub(crate) shares: f64,
    /// All that the relay logged.
    pub(crate) log: String,
    /// Whether it says that it caught one of its own panics.
    pub(crate) panics: bool,
}

/// What a person is told at the end.
#[derive(Debug)]
pub(crate) struct Summary {
    /// One sentence each; empty when all is well.
    pub(crate) problems: Vec<String>,
    pub(crate) lines: Vec<String>,
}

impl Sample {
    /// One line of figures.
    pub(crate) fn line(&self) -> String {
        let heap: Vec<String> = self
            .heap
            .iter()
            .map(|(name, value)| {
                format!(", {} {:.1} MB", name.trim_start_matches("relay_"), value / 1e6)
            })
            .collect();
        format!(
            "{:.1} min: RSS {:.1} MB{}, {} descriptors, {} threads",
            self.hours * 60.0,
            self.resident / 1e6,
            heap.concat(),
            self.descriptors,
            self.threads
        )
    }
}

impl Summary {
    /// Judges a run.
    pub(crate) fn of(facts: &Facts) -> Self {
        let half = facts.samples.len() / 2;
        let second = facts.samples.get(half..).unwrap_or_default();
        let pairs: Vec<_> = second.iter().map(|one| (one.hours, one.resident)).collect();
        let trend = Trend::of(&pairs);
        let mut problems = problems(facts);
        problems.extend(grown(trend));
        problems.extend(descriptors(&facts.samples));
        Self { problems, lines: lines(facts, trend) }
    }
}

fn grown(trend: Option<Trend>) -> Option<String> {
    let trend = trend.filter(|trend| trend.grows() == Some(true))?;
    Some(format!("resident memory grows: {}", words(trend)))
}

fn words(trend: Trend) -> String {
    format!(
        "{:+.2} MB per hour, ± {:.2}, of {:.1} MB, over {:.0} minutes",
        trend.slope / 1e6,
        trend.doubt / 1e6,
        trend.mean / 1e6,
        trend.hours * 60.0
    )
}

/// Whether more descriptors are open in the last tenth than in the first, not counting the start.
fn descriptors(samples: &[Sample]) -> Option<String> {
    let part = (samples.len() / 10).max(1);
    let least = |samples: &[Sample]| samples.iter().map(|one| one.descriptors).min();
    let before = least(samples.get(part..)?.get(..part)?)?;
    let after = least(samples.get(samples.len().checked_sub(part)?..)?)?;
    let more = before + before / 20 + DESCRIPTORS_MORE;
    (after > more)
        .then(|| format!("descriptors grow: {before} were open at first, {after} at the end"))
}

fn problems(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    for (report, _) in &facts.reports {
        if !report.is_clean() || report.matched == 0 {
            let told = facts.names.iter().fold(report.to_string(), |told, (did, name)| {
                told.replace(did, &format!("{name} ({did})"))
            });
            problems.push(format!("a consumer was not given what it had to be: {told}"));
        }
    }
    problems.extend(facts.differences.iter().cloned());
    problems.extend(facts.unfired.iter().map(|one| format!("the relay never met: {one}")));
    problems.extend(facts.misled.iter().cloned());
    let mut overfull: Vec<String> =
        facts.samples.iter().flat_map(|one| one.overfull(facts.shares)).collect();
    overfull.truncate(TOLD);
    problems.extend(overfull.into_iter().map(|queue| format!("above its limit: {queue}")));
    let is_bad = |line: &&str| line.contains("panicked") || line.contains("\"level\":\"ERROR\"");
    let bad = facts.log.lines().filter(is_bad).take(TOLD);
    problems.extend(bad.map(|line| format!("the relay logged: {line}")));
    if facts.panics {
        problems.push("the relay caught a panic of its own".to_owned());
    }
    problems
}

fn lines(facts: &Facts, trend: Option<Trend>) -> Vec<String> {
    let mut lines = Vec::new();
    for (report, back) in &facts.reports {
        lines.push(format!("consumer that came back {back} times: {report}"));
    }
    let judged = match trend {
        Some(trend) if trend.grows().is_some() => words(trend),
        Some(trend) => format!("{}: too short to judge", words(trend)),
        None => "too few samples".to_owned(),
    };
    lines.push(format!("{} late consumers, {} strikes of adversaries", facts.late, facts.strikes));
    lines.push(format!("resident memory in the second half: {judged}"));
    if let (Some(first), Some(last)) = (facts.samples.first(), facts.samples.last()) {
        lines.push(format!("first: {}", first.line()));
        lines.push(format!("last: {}", last.line()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn facts(samples: Vec<Sample>) -> Facts {
        Facts {
            samples,
            reports: Vec::new(),
            names: Vec::new(),
            late: 3,
            differences: Vec::new(),
            unfired: Vec::new(),
            misled: Vec::new(),
            strikes: 9,
            shares: 1.0,
            log: String::new(),
            panics: false,
        }
    }

    /// An hour of samples that stay as they are but for what a test changes.
    fn hour(change: impl Fn(f64, &mut Sample)) -> Vec<Sample> {
        let sample = |at: u32| {
            let hours = f64::from(at) / 360.0;
            let mut one =
                Sample { hours, resident: 200e6, descriptors: 80, threads: 9, ..Sample::default() };
            change(hours, &mut one);
            one
        };
        (0..360).map(sample).collect()
    }

    /// The positive control, and everything that fails a run with the word that names it.
    #[test]
    fn everything_that_is_wrong_is_a_problem_of_its_own() {
        assert_eq!(Summary::of(&facts(hour(|_, _| {}))).problems, [""; 0]);
        let full = |_, one: &mut Sample| {
            one.queues = BTreeMap::from([("relay_x".to_owned(), (5.0, 4.0))]);
        };
        let rows: [(Facts, &str); 8] = [
            (facts(hour(|hours, one| one.resident += 20e6 * hours)), "memory grows: +20.00 MB"),
            (
                facts(hour(|hours, one| one.descriptors += u64::from(hours > 0.5) * 40)),
                "80 were open",
            ),
            (facts(hour(full)), "above its limit: relay_x: 5 of 4"),
            (Facts { panics: true, ..facts(Vec::new()) }, "caught a panic"),
            (Facts { log: "thread x panicked at".to_owned(), ..facts(Vec::new()) }, "panicked at"),
            (Facts { unfired: vec!["event HighS".to_owned()], ..facts(Vec::new()) }, "never met"),
            (Facts { misled: vec!["followed".to_owned()], ..facts(Vec::new()) }, "followed"),
            (Facts { differences: vec!["7 events".to_owned()], ..facts(Vec::new()) }, "7 events"),
        ];
        for (facts, word) in rows {
            let problems = Summary::of(&facts).problems;
            assert!(
                problems.first().is_some_and(|told| told.contains(word)),
                "{word}: {problems:?}"
            );
        }
    }
}
