//! The reference relay's names for our metrics, so that its dashboards and alerts work unchanged. Pure.
//!
//! One table: each row names a metric of the catalogue and how its series are read. A row adds nothing
//! that is not there already: values are those of the same scrape. Its labels by host, address and user
//! agent are left out: strangers choose those, and without end (SEC-4). Sums over them, which is what
//! dashboards show, stay right.

use super::metrics as ours;

/// A name of the reference relay.
#[derive(Debug, Clone, Copy)]
pub struct Alias {
    /// Its name.
    pub name: &'static str,
    /// Our metric.
    pub ours: &'static str,
    /// Only series of ours with this label and value.
    pub only: Option<(&'static str, &'static str)>,
    /// Labels that are kept, ours and its; series that differ in others are added up.
    pub labels: &'static [(&'static str, &'static str)],
    /// Its value is ours divided by this,
    pub divisor: f64,
    /// plus this.
    pub plus: f64,
}

const fn same(name: &'static str, ours: &'static str) -> Alias {
    Alias { name, ours, only: None, labels: &[], divisor: 1.0, plus: 0.0 }
}

const fn part(name: &'static str, ours: &'static str, only: (&'static str, &'static str)) -> Alias {
    Alias { only: Some(only), ..same(name, ours) }
}

const fn named(
    name: &'static str,
    ours: &'static str,
    labels: &'static [(&'static str, &'static str)],
) -> Alias {
    Alias { labels, ..same(name, ours) }
}

/// Every alias. What the reference counts and has no counterpart here is missing: its fetches of whole
/// repositories, sizes of HTTP bodies, and hits of its cache of identities, which live in the accounts.
pub static ALIASES: &[Alias] = &[
    same("events_received_counter", ours::UPSTREAM_FRAMES),
    part("repo_commits_received_counter", ours::UPSTREAM_FRAMES, ("kind", "commit")),
    part("repo_sync_received_counter", ours::UPSTREAM_FRAMES, ("kind", "sync")),
    part("events_warn_counter", ours::INGEST_DROPPED_TOTAL, ("reason", "account_inactive")),
    part(
        "validator_account_verify_warnings",
        ours::INGEST_DROPPED_TOTAL,
        ("reason", "bad_signature"),
    ),
    same("events_handle_duration", ours::INGEST_BATCH_SECONDS),
    same("events_sent_counter", ours::FIREHOSE_EVENTS),
    same("indigo_events_enqueued_for_broadcast_total", ours::FIREHOSE_EVENTS),
    same("indigo_events_broadcast_total", ours::FIREHOSE_EVENTS),
    same("indigo_repo_stream_events_received_total", ours::UPSTREAM_FRAMES),
    same("indigo_repo_stream_bytes_total", ours::UPSTREAM_BYTES),
    same("indigo_scheduler_work_items_added_total", ours::UPSTREAM_FRAMES),
    same("indigo_scheduler_work_items_processed_total", ours::INGEST_EVENTS_TOTAL),
    same("relay_connected_inbound", ours::UPSTREAM_CONNECTED),
    same("relay_new_users_discovered", ours::INGEST_NEW_ACCOUNTS_TOTAL),
    // Its gauge is the number of the next event.
    Alias { plus: 1.0, ..same("disk_persister_current_seq", ours::EVENTLOG_HEAD_SEQ) },
    same("disk_persister_garbage_collections_files_collected", ours::EVENTLOG_REMOVED_SEGMENTS),
    named("http_requests_total", ours::API_REQUESTS, &[("route", "path"), ("class", "code")]),
    named("http_request_duration_seconds", ours::API_REQUEST_SECONDS, &[("route", "path")]),
    named(
        "atproto_identity_resolve_did",
        ours::IDENTITY_REQUESTS,
        &[("source", "directory"), ("outcome", "status")],
    ),
    named(
        "atproto_identity_resolve_did_duration",
        ours::IDENTITY_REQUEST_SECONDS,
        &[("source", "directory")],
    ),
    same("atproto_directory_identity_cache_misses", ours::INGEST_LOOKUPS_TOTAL),
    same("process_resident_memory_bytes", ours::PROCESS_RESIDENT_BYTES),
    Alias { divisor: 1e3, ..same("process_cpu_seconds_total", ours::PROCESS_CPU_MS) },
    same("process_start_time_seconds", ours::PROCESS_STARTED),
    same("process_open_fds", ours::PROCESS_FILES_DEPTH),
    same("process_max_fds", ours::PROCESS_FILES_LIMIT),
];

/// One line of the text format.
struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

/// The series of all aliases in the text format, from that of ours.
pub(super) fn render(ours: &str) -> String {
    let samples: Vec<_> = ours.lines().filter_map(sample).collect();
    let mut text = String::new();
    for alias in ALIASES {
        let kind = kind_of(ours, alias.ours);
        text.extend([
            "# HELP ",
            alias.name,
            " The reference relay's name for ",
            alias.ours,
            "\n",
            "# TYPE ",
            alias.name,
            " ",
            kind,
            "\n",
        ]);
        let parts: &[&str] =
            if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        for part in parts {
            for (labels, value) in added_up(alias, part, &samples) {
                let value = value / alias.divisor + alias.plus;
                text.extend([alias.name, *part, &labels, " ", &value.to_string(), "\n"]);
            }
        }
    }
    text
}

/// What the metric is; a counter as long as nothing was recorded, as all but a few are.
fn kind_of<'a>(text: &'a str, metric: &str) -> &'a str {
    let line = text.lines().find_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        (name == metric).then_some(kind)
    });
    line.unwrap_or("counter")
}

/// The sums of our series with equal kept labels, in the order of ours: buckets must stay in order.
fn added_up(alias: &Alias, part: &str, samples: &[Sample<'_>]) -> Vec<(String, f64)> {
    let mut sums: Vec<(String, f64)> = Vec::new();
    for sample in samples.iter().filter(|sample| sample.name.strip_suffix(part) == Some(alias.ours))
    {
        let pairs: Vec<_> = pairs(sample.labels).collect();
        if alias.only.is_some_and(|only| !pairs.contains(&only)) {
            continue;
        }
        let kept = pairs.iter().filter_map(|(label, value)| {
            let renamed = alias.labels.iter().find(|(known, _)| known == label);
            let theirs = renamed.map(|(_, theirs)| *theirs).or((*label == "le").then_some("le"));
            Some(format!("{}=\"{value}\"", theirs?))
        });
        let kept = kept.collect::<Vec<_>>().join(",");
        let labels = if kept.is_empty() { kept } else { format!("{{{kept}}}") };
        match sums.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, sum)) => *sum += sample.value,
            None => sums.push((labels, sample.value)),
        }
    }
    // A counter that has counted nothing yet is zero, and a rate can be taken from the first event on.
    if sums.is_empty() && alias.labels.is_empty() && part.is_empty() {
        sums.push((String::new(), 0.0));
    }
    sums
}

fn sample(line: &str) -> Option<Sample<'_>> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    Some(Sample {
        name,
        labels: labels.strip_suffix('}').unwrap_or(labels),
        value: value.parse().ok()?,
    })
}

/// Labels and values. Ours are words of closed sets: none holds a quote or a comma.
fn pairs(labels: &str) -> impl Iterator<Item = (&str, &str)> {
    labels.split(',').filter_map(|pair| {
        let (label, value) = pair.split_once("=\"")?;
        Some((label, value.strip_suffix('"')?))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const OURS: &str = "\
# TYPE relay_upstream_frames_total counter
relay_upstream_frames_total{kind=\"commit\"} 40
relay_upstream_frames_total{kind=\"sync\"} 2

# TYPE relay_eventlog_head_seq gauge
relay_eventlog_head_seq 41
# TYPE relay_api_requests_total counter
relay_api_requests_total{route=\"/a\",class=\"2xx\"} 3
relay_api_requests_total{route=\"/a\",class=\"4xx\"} 1
# TYPE relay_identity_request_seconds histogram
relay_identity_request_seconds_bucket{source=\"plc\",le=\"0.1\"} 1
relay_identity_request_seconds_bucket{source=\"plc\",le=\"+Inf\"} 2
relay_identity_request_seconds_sum{source=\"plc\"} 0.5
relay_identity_request_seconds_count{source=\"plc\"} 2
# TYPE relay_process_cpu_milliseconds_total counter
relay_process_cpu_milliseconds_total 1500
";

    /// A dashboard of the reference relay shows the same numbers as ours.
    #[test]
    fn sums_parts_labels_and_distributions_come_out_under_the_other_name() {
        let text = render(OURS);
        for line in [
            "events_received_counter 42",
            "repo_commits_received_counter 40",
            "repo_sync_received_counter 2",
            "# TYPE events_received_counter counter",
            "disk_persister_current_seq 42",
            "# TYPE disk_persister_current_seq gauge",
            "http_requests_total{path=\"/a\",code=\"2xx\"} 3",
            "http_requests_total{path=\"/a\",code=\"4xx\"} 1",
            "# TYPE atproto_identity_resolve_did_duration histogram",
            "atproto_identity_resolve_did_duration_bucket{directory=\"plc\",le=\"0.1\"} 1",
            "atproto_identity_resolve_did_duration_bucket{directory=\"plc\",le=\"+Inf\"} 2",
            "atproto_identity_resolve_did_duration_sum{directory=\"plc\"} 0.5",
            "process_cpu_seconds_total 1.5",
            "relay_new_users_discovered 0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
    }

    /// Two rows of one name would be two metrics in one answer, which Prometheus refuses as a whole.
    #[test]
    fn every_alias_has_a_name_of_its_own_that_is_no_name_of_ours() {
        let catalogue: BTreeSet<_> = ours::catalogue().into_iter().map(|(name, _)| name).collect();
        let mut seen = BTreeSet::new();
        for alias in ALIASES {
            assert!(seen.insert(alias.name), "{}", alias.name);
            assert!(!catalogue.contains(alias.name), "{}", alias.name);
            assert!(catalogue.contains(alias.ours), "{} is not in the catalogue", alias.ours);
        }
    }
}
