//! What the process and its metrics say at one moment.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};

/// Depths whose limit holds for each host at each worker, while the depth is that of all.
const PER_HOST: [&str; 2] = ["relay_ingest_queue", "relay_hosts_unsettled"];

/// One look.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sample {
    /// Since the start.
    pub(crate) hours: f64,
    pub(crate) resident: f64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
    /// Depth and limit by the name they share.
    pub(crate) queues: BTreeMap<String, (f64, f64)>,
    /// What the allocator says, if it does.
    pub(crate) heap: BTreeMap<String, f64>,
}

impl Sample {
    /// Looks at a process and at the text of its metrics.
    pub(crate) fn take(hours: f64, pid: u32, metrics: &str) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse::<u32>().ok()).with_context(|| format!("no {name}"))
        };
        let values = levels(metrics);
        Ok(Self {
            hours,
            resident: f64::from(number("VmRSS:")?) * 1_024.0,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64,
            threads: u64::from(number("Threads:")?),
            queues: queues(&values),
            heap: values.into_iter().filter(|(name, _)| is_of_heap(name)).collect(),
        })
    }

    /// Queues that hold more than they may.
    ///
    /// * `shares` – hosts times workers, for limits that are those of one host
    pub(crate) fn overfull(&self, shares: f64) -> Vec<String> {
        let limit_of = |name: &str, limit: f64| {
            if PER_HOST.contains(&name) { limit * shares } else { limit }
        };
        let above =
            self.queues.iter().filter(|(name, (depth, limit))| *depth > limit_of(name, *limit));
        above.map(|(name, (depth, limit))| format!("{name}: {depth} of {limit}")).collect()
    }
}

fn is_of_heap(name: &str) -> bool {
    name.contains("heap") || name.contains("alloc")
}

/// Metrics without labels.
fn levels(metrics: &str) -> BTreeMap<String, f64> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#') && !line.contains('{'));
    lines
        .filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect()
}

/// Pairs of `…_depth` and `…_limit`.
fn queues(levels: &BTreeMap<String, f64>) -> BTreeMap<String, (f64, f64)> {
    let depths =
        levels.iter().filter_map(|(name, depth)| Some((name.strip_suffix("_depth")?, *depth)));
    depths
        .filter_map(|(name, depth)| {
            let limit = levels.get(&format!("{name}_limit"))?;
            Some((name.to_owned(), (depth, *limit)))
        })
        .collect()
}

/// The counts of a metric by the value of its only label, such as drops by reason.
pub(crate) fn by_label(metrics: &str, name: &str) -> BTreeMap<String, u64> {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
    lines
        .filter_map(|line| {
            let (label, count) = line.split_once("} ")?;
            let (_, value) = label.split_once("=\"")?;
            Some((value.trim_end_matches('"').to_owned(), count.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP relay_x_depth Things\nrelay_x_depth 5\nrelay_x_limit 4\n\
        relay_ingest_queue_depth 50\nrelay_ingest_queue_limit 10\nrelay_lonely_depth 3\n\
        relay_heap_bytes 7\nrelay_ingest_dropped_total{reason=\"stale\"} 3\n";

    /// I5: a depth above its limit is named; limits of one host count for as many as there are.
    #[test]
    fn a_queue_above_its_limit_is_named() {
        let sample = Sample::take(0.0, std::process::id(), TEXT).unwrap();
        assert_eq!(sample.overfull(6.0), ["relay_x: 5 of 4"]);
        assert_eq!(sample.overfull(4.0).len(), 2);
        assert!(sample.resident > 1e6 && sample.descriptors > 2 && sample.threads > 0);
        assert_eq!(sample.heap, BTreeMap::from([("relay_heap_bytes".to_owned(), 7.0)]));
    }

    #[test]
    fn counts_are_read_by_label() {
        let drops = by_label(TEXT, "relay_ingest_dropped_total");
        assert_eq!(drops, BTreeMap::from([("stale".to_owned(), 3)]));
    }
}
