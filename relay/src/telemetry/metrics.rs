//! The catalogue of metrics; each is recorded by the room named in its prefix.
//!
//! A metric is one `pub const` here, its doc comment the help text that Prometheus shows. Names are
//! `relay_<room>_<noun>_<unit|total>`: `_total` counts, `_seconds` is a distribution, anything else
//! is a level. Labels come from closed sets only: no DID, host, address or user agent (SEC-4); what
//! there is per host is in the admin API. `relay/tests/tidy.rs` fails on one that nobody records.

use std::{sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

// eventlog

/// Events that became durable; with `_bytes_total` the mean size.
pub const EVENTLOG_APPENDED_EVENTS: &str = "relay_eventlog_appended_events_total";
/// Bytes of records that became durable.
pub const EVENTLOG_APPENDED_BYTES: &str = "relay_eventlog_appended_bytes_total";
/// Seconds from the first write of a batch to the end of its sync.
pub const EVENTLOG_SYNC_SECONDS: &str = "relay_eventlog_sync_seconds";
/// Events that shared one sync.
pub const EVENTLOG_BATCH_EVENTS: &str = "relay_eventlog_batch_events";
/// Bytes on their way to the disk; at `_limit` the shards wait.
pub const EVENTLOG_QUEUE_DEPTH: &str = "relay_eventlog_queue_bytes_depth";
/// Most bytes that may be on their way to the disk.
pub const EVENTLOG_QUEUE_LIMIT: &str = "relay_eventlog_queue_bytes_limit";
/// Newest durable seq.
pub const EVENTLOG_HEAD_SEQ: &str = "relay_eventlog_head_seq";
/// First seq that can be replayed.
pub const EVENTLOG_OLDEST_SEQ: &str = "relay_eventlog_oldest_seq";
/// Bytes that the log takes on the disk.
pub const EVENTLOG_DISK_BYTES: &str = "relay_eventlog_disk_bytes";
/// Age of the oldest event that can be replayed.
pub const EVENTLOG_WINDOW_SECONDS: &str = "relay_eventlog_window_seconds";
/// Age that the replay window may reach, by the settings.
pub const EVENTLOG_WINDOW_TARGET_SECONDS: &str = "relay_eventlog_window_target_seconds";
/// Bytes that the log may take on the disk.
pub const EVENTLOG_DISK_BYTES_MAX: &str = "relay_eventlog_disk_bytes_max";
/// Bytes that are free on the disk of the log.
pub const EVENTLOG_DISK_FREE_BYTES: &str = "relay_eventlog_disk_free_bytes";
/// Segments that were removed because of their age or for want of room.
pub const EVENTLOG_REMOVED_SEGMENTS: &str = "relay_eventlog_removed_segments_total";
/// Segments that were compressed.
pub const EVENTLOG_COMPRESSED_SEGMENTS: &str = "relay_eventlog_compressed_segments_total";
/// Bytes of the disk that this saved.
pub const EVENTLOG_COMPRESSION_SAVED_BYTES: &str = "relay_eventlog_compression_saved_bytes_total";
/// Blocks of compressed segments that were decompressed for consumers far behind the head.
pub const EVENTLOG_BLOCKS_DECOMPRESSED: &str = "relay_eventlog_blocks_decompressed_total";
/// Bytes of records from files that consumers behind the head share in memory.
pub const EVENTLOG_BLOCKS_DEPTH: &str = "relay_eventlog_blocks_bytes_depth";
/// Most bytes of such records.
pub const EVENTLOG_BLOCKS_LIMIT: &str = "relay_eventlog_blocks_bytes_limit";

// store

/// Rows of the database that were inserted or changed, by checkpoints for the most part.
pub const STORE_ROWS: &str = "relay_store_rows_written_total";
/// Seconds that the database took to make a transaction durable.
pub const STORE_COMMIT_SECONDS: &str = "relay_store_commit_seconds";

// checkpoint

/// Seconds that a checkpoint took, from the copy of the rows to the answer of the database.
pub const CHECKPOINT_SECONDS: &str = "relay_checkpoint_seconds";
/// Checkpoints that could not be written; each is tried again.
pub const CHECKPOINT_FAILED: &str = "relay_checkpoint_failed_total";

// identity

/// Lookups by `source` (`plc`, `web`) and `outcome` (`ok`, `not_found`, `tombstoned`, `invalid`,
/// `unavailable`, `no_turn`, `kept`: answered from the kept failures without a request).
pub const IDENTITY_REQUESTS: &str = "relay_identity_requests_total";
/// Seconds that a request to the PLC directory waited for its turn.
pub const IDENTITY_TURN_SECONDS: &str = "relay_identity_turn_seconds";
/// Seconds that a lookup took in all, by `source`.
pub const IDENTITY_REQUEST_SECONDS: &str = "relay_identity_request_seconds";
/// Lookups under way or waiting.
pub const IDENTITY_LOOKUPS_DEPTH: &str = "relay_identity_lookups_depth";
/// Most lookups that may wait.
pub const IDENTITY_LOOKUPS_LIMIT: &str = "relay_identity_lookups_limit";

// hosts

/// Known hosts by `status`.
pub const HOSTS_KNOWN: &str = "relay_hosts_known";
/// Hosts with four fifths of the accounts that they may have, or more.
pub const HOSTS_NEAR_LIMIT: &str = "relay_hosts_nearly_full";
/// Bytes of frames received and not yet durable or dropped, over all hosts.
pub const HOSTS_UNSETTLED_BYTES: &str = "relay_hosts_unsettled_bytes_depth";
/// Most unsettled bytes over all hosts; then no host is read.
pub const HOSTS_UNSETTLED_BYTES_LIMIT: &str = "relay_hosts_unsettled_bytes_limit";
/// Events received and not yet durable or dropped, over all hosts.
pub const HOSTS_UNSETTLED: &str = "relay_hosts_unsettled_depth";
/// Most unsettled events of one host.
pub const HOSTS_UNSETTLED_LIMIT: &str = "relay_hosts_unsettled_limit";
/// Requests to subscribe to a host by `outcome` (`known`, `added`, or why it was refused).
pub const HOSTS_ADMISSIONS: &str = "relay_hosts_admissions_total";
/// Hosts that their limits have kept behind for more than 12 hours; soon they delete what was not read.
pub const HOSTS_LOSING: &str = "relay_hosts_losing";
/// Accounts that are held because their host has more than it may.
pub const HOSTS_HELD_ACCOUNTS: &str = "relay_hosts_held_accounts";

// collections

/// Pairs of account and collection, by how they are known.
pub const COLLECTIONS_PAIRS: &str = "relay_collections_pairs";
/// Accounts by what is known of all their pairs together: `complete`, `uncertain`, `believed` when only
/// somebody else's list names them, `inactive` when nobody serves and lists them, `gone`.
pub const COLLECTIONS_ACCOUNTS: &str = "relay_collections_accounts";
/// Accounts that are not known as complete, by `reason`; all but `imported` and `inactive` are uncertain.
pub const COLLECTIONS_UNSURE: &str = "relay_collections_unsure_accounts";
/// 1 when the index takes nothing any more until a restart; `/admin/v1/alerts` says why.
pub const COLLECTIONS_STOPPED: &str = "relay_collections_stopped";
/// Collections that were ever seen.
pub const COLLECTIONS_NAMES: &str = "relay_collections_names";
/// Files that hold the pairs; a page looks into each.
pub const COLLECTIONS_SEGMENTS: &str = "relay_collections_segments";
/// Bytes of these files.
pub const COLLECTIONS_DISK_BYTES: &str = "relay_collections_disk_bytes";
/// Bytes of memory of the lists of what stands where in these files.
pub const COLLECTIONS_LISTS_BYTES: &str = "relay_collections_lists_bytes";
/// Bytes of the journal of batches that are not in them yet.
pub const COLLECTIONS_JOURNAL_BYTES: &str = "relay_collections_journal_bytes";
/// Bytes of memory of these batches; at `_limit` they become a file.
pub const COLLECTIONS_MEMORY_DEPTH: &str = "relay_collections_memory_bytes_depth";
/// Most bytes of memory of batches that are not in files yet.
pub const COLLECTIONS_MEMORY_LIMIT: &str = "relay_collections_memory_bytes_limit";
/// Files that were written from memory.
pub const COLLECTIONS_FLUSHES: &str = "relay_collections_flushes_total";
/// Times that several files became one.
pub const COLLECTIONS_COMPACTIONS: &str = "relay_collections_compactions_total";
/// Bytes of the files that came out of that.
pub const COLLECTIONS_COMPACTED_BYTES: &str = "relay_collections_compacted_bytes_total";

// upstream

/// Subscriptions opened.
pub const UPSTREAM_CONNECTS: &str = "relay_upstream_connects_total";
/// Subscriptions that ended or did not come about, by `reason`.
pub const UPSTREAM_DISCONNECTS: &str = "relay_upstream_disconnects_total";
/// Subscriptions open now.
pub const UPSTREAM_CONNECTED: &str = "relay_upstream_connected";
/// Handshakes under way.
pub const UPSTREAM_DIALS_DEPTH: &str = "relay_upstream_dials_depth";
/// Most handshakes at once.
pub const UPSTREAM_DIALS_LIMIT: &str = "relay_upstream_dials_limit";
/// Frames received from hosts, by `kind`.
pub const UPSTREAM_FRAMES: &str = "relay_upstream_frames_total";
/// Bytes of those frames.
pub const UPSTREAM_BYTES: &str = "relay_upstream_bytes_total";
/// `#info OutdatedCursor`: hosts that had already deleted what we asked for (UP-4).
pub const UPSTREAM_GAPS: &str = "relay_upstream_gaps_total";
/// Cursors reset because a host lost its sequence (UP-6).
pub const UPSTREAM_CURSOR_RESETS: &str = "relay_upstream_cursor_resets_total";

// ingest

/// Events judged since start, by `kind` and `outcome` (`passed`, `dropped`).
pub const INGEST_EVENTS_TOTAL: &str = "relay_ingest_events_total";
/// Events dropped, by `reason`; the sum is the `dropped` of the events total plus what upstream
/// dropped before it reached a shard.
pub const INGEST_DROPPED_TOTAL: &str = "relay_ingest_dropped_total";
/// Events that leniency let pass and strict validation would have dropped, by `reason`.
pub const INGEST_LENIENT_PASSED_TOTAL: &str = "relay_ingest_lenient_passed_total";
/// Valid commits that do not follow the state we hold (VAL-13).
pub const INGEST_DISCONTINUOUS_TOTAL: &str = "relay_ingest_discontinuous_total";
/// Commits that follow our state by prevData but not by since (VAL-18).
pub const INGEST_SINCE_MISMATCH_TOTAL: &str = "relay_ingest_since_mismatch_total";
/// Accounts that were seen for the first time.
pub const INGEST_NEW_ACCOUNTS_TOTAL: &str = "relay_ingest_new_accounts_total";
/// Seconds in which a worker judged the events that it took from its queue at once.
pub const INGEST_BATCH_SECONDS: &str = "relay_ingest_batch_seconds";
/// Seconds from the rev of a commit to its verdict, of commits that passed. An account's own clock
/// wrote the rev: look at many, not at one.
pub const INGEST_LAG_SECONDS: &str = "relay_ingest_lag_seconds";
/// Events on their way through the shards: queued, being judged, or parked.
pub const INGEST_QUEUE_DEPTH: &str = "relay_ingest_queue_depth";
/// Events that one host may have at one shard.
pub const INGEST_QUEUE_LIMIT: &str = "relay_ingest_queue_limit";
/// Events that wait without holding a place in their host's queue.
pub const INGEST_PARKED_DEPTH: &str = "relay_ingest_parked_depth";
/// Most events that may wait so, over all shards.
pub const INGEST_PARKED_LIMIT: &str = "relay_ingest_parked_limit";
/// Accounts in memory.
pub const INGEST_ACCOUNTS_DEPTH: &str = "relay_ingest_accounts_depth";
/// Most accounts that are kept in memory.
pub const INGEST_ACCOUNTS_LIMIT: &str = "relay_ingest_accounts_limit";
/// Changed accounts that no checkpoint has written yet.
pub const INGEST_DIRTY_DEPTH: &str = "relay_ingest_dirty_depth";
/// Most changed accounts that may wait so; then no host is read. Checkpoints begin far below.
pub const INGEST_DIRTY_LIMIT: &str = "relay_ingest_dirty_limit";
/// Seconds of 1 ms and more that frames waited while their shard did something else: checkpoints,
/// answers to lookups, the way into the log, other tasks.
pub const INGEST_STALL_SECONDS: &str = "relay_ingest_stall_seconds";
/// The longest of these, in milliseconds, since start.
pub const INGEST_STALL_MS_MAX: &str = "relay_ingest_stall_ms_max";
/// Accounts that were held because they sent too much, by `reason` (`rate`, `discontinuities`).
pub const INGEST_HELD_TOTAL: &str = "relay_ingest_held_total";
/// Identity lookups asked for, by `cause`.
pub const INGEST_LOOKUPS_TOTAL: &str = "relay_ingest_lookups_total";
/// Changes of key or host that were found and that no host announced, told by an `#identity` of our own.
pub const INGEST_IDENTITIES_TOLD_TOTAL: &str = "relay_ingest_identities_told_total";
/// Status probes, by `outcome`.
pub const INGEST_PROBES_TOTAL: &str = "relay_ingest_probes_total";
/// Panics caught while judging; each is a bug (I6).
pub const INGEST_PANICS_TOTAL: &str = "relay_ingest_panics_total";

// discovery

/// Operations of the PLC directory that were followed, by `outcome`: `same` as known, `asked` for anew,
/// of an `unknown` account, `unreadable`, or `skipped` because too many lookups were under way.
pub const DIRECTORY_OPERATIONS: &str = "relay_directory_operations_total";
/// Times that operations were missed because the directory no longer had them.
pub const DIRECTORY_GAPS: &str = "relay_directory_gaps_total";

// firehose

/// Consumers connected now.
pub const FIREHOSE_CONSUMERS: &str = "relay_firehose_consumers_depth";
/// Most consumers at once.
pub const FIREHOSE_CONSUMERS_LIMIT: &str = "relay_firehose_consumers_limit";
/// Consumers that were connected, by `start` (`live`, `cursor`, `outdated`, `future`).
pub const FIREHOSE_OPENED: &str = "relay_firehose_opened_total";
/// Consumers that went, by `reason`; opened minus closed is the number connected.
pub const FIREHOSE_CLOSED: &str = "relay_firehose_closed_total";
/// Requests for the firehose that were refused before the upgrade, by `reason`.
pub const FIREHOSE_REFUSED: &str = "relay_firehose_refused_total";
/// Events handed to sockets, over all consumers.
pub const FIREHOSE_EVENTS: &str = "relay_firehose_events_total";
/// Bytes that sockets took, over all consumers.
pub const FIREHOSE_BYTES: &str = "relay_firehose_bytes_total";
/// Events between the head and the consumer that is furthest behind.
pub const FIREHOSE_LAG_MAX: &str = "relay_firehose_lag_events_max";

// api

/// HTTP requests by `route` and `class` of the status (`2xx`, `3xx`, `4xx`, `5xx`, `101`).
pub const API_REQUESTS: &str = "relay_api_requests_total";
/// Seconds from the head of a request to the head of its answer, by `route`.
pub const API_REQUEST_SECONDS: &str = "relay_api_request_seconds";
/// HTTP connections open now, without those that became consumers.
pub const API_CONNECTIONS: &str = "relay_api_connections_depth";
/// Most HTTP connections at once on one listener.
pub const API_CONNECTIONS_LIMIT: &str = "relay_api_connections_limit";
/// Connections closed at once because there were too many.
pub const API_CONNECTIONS_REFUSED: &str = "relay_api_connections_refused_total";
/// Requests for the admin API without the right password, by `reason` (`missing`, `wrong`,
/// `slowed`: not even compared).
pub const API_ADMIN_REFUSED: &str = "relay_api_admin_refused_total";
/// What keeps the relay from its work, by `reason`, as health tells it: 1 now, 0 not.
pub const API_TROUBLE: &str = "relay_api_trouble";
/// What operators did, by `kind` and `outcome` (`done`, `refused`).
pub const ACTIONS: &str = "relay_actions_total";
/// Requests that sibling relays have not yet taken.
pub const ACTIONS_LETTERS_WAITING: &str = "relay_actions_letters_waiting";
/// Age of the oldest of them: how far a sibling is behind.
pub const ACTIONS_LETTERS_OLDEST_SECONDS: &str = "relay_actions_letters_oldest_age";
/// Requests to sibling relays, by `outcome` (`delivered`, `refused`: never again, `failed`: again later).
pub const ACTIONS_LETTERS: &str = "relay_actions_letters_total";

// discovery

/// Pages of lists of others, by `list` (`hosts`: of other relays, `accounts`: of hosts, `directory`: the
/// operations of the PLC directory) and `outcome` (`read`, `failed`).
pub const DISCOVERY_PAGES: &str = "relay_discovery_pages_total";
/// What such lists named and was not known before, by `list`: hosts, accounts, or candidates.
pub const DISCOVERY_FOUND: &str = "relay_discovery_found_total";
/// Lists that are being read now, by `list`.
pub const DISCOVERY_RUNNING: &str = "relay_discovery_running";
/// Hosts that DID documents name and that were not known.
pub const DISCOVERY_CANDIDATES_DEPTH: &str = "relay_discovery_candidates_depth";
/// Most of them that are kept; further ones are not.
pub const DISCOVERY_CANDIDATES_LIMIT: &str = "relay_discovery_candidates_limit";
// collections

/// Events of the log that the index of collections has not taken yet.
pub const COLLECTIONS_LAG_EVENTS: &str = "relay_collections_lag_events";
/// Age of the newest event that it has taken while others wait; 0 when none does.
pub const COLLECTIONS_LAG_SECONDS: &str = "relay_collections_lag_age";
/// Accounts that became unsure by what their stream did or did not show, by `reason`.
pub const COLLECTIONS_DOUBTS: &str = "relay_collections_doubts_total";
/// Times that the event log did not reach back to where the index was.
pub const COLLECTIONS_GAPS: &str = "relay_collections_gaps_total";
/// Names of collections that the index had no room for.
pub const COLLECTIONS_REFUSED: &str = "relay_collections_refused_names_total";

// alerts

/// Alerts that are open and not silenced, by `kind`; people were told of them, where anybody is.
pub const ALERTS_OPEN: &str = "relay_alerts_open";
/// Messages that a receiver took, by `way` (`webhook`, `slack`).
pub const ALERTS_SENT: &str = "relay_alerts_sent_total";
/// Messages that no receiver took, by `way`: it refused them, or was away for an hour.
pub const ALERTS_FAILED: &str = "relay_alerts_failed_total";
/// Messages that wait to be sent, by `way`.
pub const ALERTS_QUEUE_DEPTH: &str = "relay_alerts_queue_depth";
/// Most messages that may wait.
pub const ALERTS_QUEUE_LIMIT: &str = "relay_alerts_queue_limit";

// process

/// Always 1, with the `version` as label.
pub const BUILD_INFO: &str = "relay_build_info";
/// When the process began, in seconds since 1970.
pub const PROCESS_STARTED: &str = "relay_process_started_seconds";
/// Time of processors that the process took, in milliseconds.
pub const PROCESS_CPU_MS: &str = "relay_process_cpu_milliseconds_total";
/// Files and sockets that are open.
pub const PROCESS_FILES_DEPTH: &str = "relay_process_files_depth";
/// Most files and sockets that may be open.
pub const PROCESS_FILES_LIMIT: &str = "relay_process_files_limit";
/// Resident memory of the process.
pub const PROCESS_RESIDENT_BYTES: &str = "relay_process_resident_bytes";

/// Bytes of the heap in use; a leak shows here.
pub const PROCESS_HEAP_ALLOCATED_BYTES: &str = "relay_process_heap_allocated_bytes";
/// Bytes of heap pages that hold anything in use.
pub const PROCESS_HEAP_ACTIVE_BYTES: &str = "relay_process_heap_active_bytes";
/// Bytes of heap pages that are kept in memory.
pub const PROCESS_HEAP_RESIDENT_BYTES: &str = "relay_process_heap_resident_bytes";
/// Kept heap pages in percent of what is in use; above 150 for hours, memory is fragmented.
pub const PROCESS_HEAP_FRAGMENTATION: &str = "relay_process_heap_fragmentation_percent";

/// Upper bounds of the buckets of any other distribution.
const COUNT_BUCKETS: [f64; 8] = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 10_000.0];
/// Upper bounds of the buckets of every `_seconds` metric: 1 ms to 30 s.
const SECONDS_BUCKETS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// How often single values are summed up: some thousand of them by then.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// This file: the doc comments above are the help texts, written once.
const CATALOGUE: &str = include_str!("metrics.rs");

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the recorder of the process, once, and gives every metric its help text. Call it before
/// the first metric is recorded; what was recorded before is lost.
pub fn describe() {
    recorder();
}

/// Sums up what was recorded of distributions, now and then, until dropped. Otherwise the library keeps
/// every single value until somebody asks: gigabytes in a relay that nobody scrapes (I5).
pub async fn keep_up() {
    let mut ticks = tokio::time::interval(UPKEEP_EVERY);
    loop {
        ticks.tick().await;
        if let Some(handle) = recorder() {
            handle.run_upkeep();
        }
    }
}

/// All metrics in the text format of Prometheus.
pub fn render() -> String {
    let Some(handle) = recorder() else {
        return "# another recorder was installed in this process\n".to_owned();
    };
    handle.run_upkeep();
    let mut text = handle.render();
    let theirs = super::aliases::render(&text);
    text.push_str(&theirs);
    text
}

fn recorder() -> Option<&'static PrometheusHandle> {
    RECORDER
        .get_or_init(|| {
            let handle = PrometheusBuilder::new()
                .set_buckets(&COUNT_BUCKETS)
                .ok()?
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
                .ok()?
                .install_recorder()
                .ok()?;
            for (name, help) in catalogue() {
                if name.ends_with("_total") {
                    metrics::describe_counter!(name, help);
                } else if name.ends_with("_seconds") {
                    metrics::describe_histogram!(name, help);
                } else {
                    metrics::describe_gauge!(name, help);
                }
            }
            Some(handle)
        })
        .as_ref()
}

/// Name and help text of every metric, in the order of this file.
pub fn catalogue() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut help: Vec<&str> = Vec::new();
    for line in CATALOGUE.lines() {
        if let Some(text) = line.strip_prefix("/// ") {
            help.push(text);
        } else if line.starts_with("pub const ") {
            // A long name may have made the line break after `=`; then the next line holds it.
            found.push((quoted(line), help.join(" ")));
            help.clear();
        } else {
            if let Some((name, _)) = found.last_mut()
                && name.is_empty()
            {
                *name = quoted(line);
            }
            help.clear();
        }
    }
    found
}

fn quoted(line: &str) -> String {
    line.split('"').nth(1).unwrap_or_default().to_owned()
}

/// Resident memory of this process in bytes; 0 where the system does not tell.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok());
    kibibytes.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_metric_has_a_name_of_the_house_and_a_help_text() {
        let all = catalogue();
        let written = CATALOGUE.lines().filter(|line| line.starts_with("pub const ")).count();
        assert_eq!(all.len(), written);
        assert!(all.iter().any(|(name, _)| name == FIREHOSE_CONSUMERS));
        for (name, help) in &all {
            assert!(name.starts_with("relay_"), "{name}");
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(name.chars().all(plain), "{name}");
            assert!(help.len() > 10, "{name} has no help text");
        }
        let names: BTreeSet<_> = all.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), all.len(), "a name is used twice");
    }

    #[test]
    fn a_recorded_metric_is_rendered_with_its_help_text() {
        describe();
        metrics::counter!(FIREHOSE_REFUSED, "reason" => "test").increment(3);
        metrics::histogram!(API_REQUEST_SECONDS, "route" => "test").record(0.02);

        let text = render();

        assert!(text.contains("# TYPE relay_firehose_refused_total counter"), "{text}");
        assert!(text.contains("relay_firehose_refused_total{reason=\"test\"} 3"), "{text}");
        assert!(text.contains("# HELP relay_firehose_refused_total Requests for"), "{text}");
        assert!(
            text.contains("relay_api_request_seconds_bucket{route=\"test\",le=\"0.03\"} 1"),
            "{text}"
        );
    }

    #[test]
    fn resident_memory_is_read_from_the_system() {
        assert!(resident_bytes() > 1_000_000);
    }
}
