//! The catalogue of metrics; each is recorded by the room named in its prefix.

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
// identity

/// Lookups by `source` (`plc`, `web`) and `outcome` (`ok`, `not_found`, `tombstoned`, `invalid`,
/// `unavailable`, `no_turn`, `kept`: answered from the kept failures without a request).
pub const IDENTITY_REQUESTS: &str = "relay_identity_requests_total";
/// Seconds that a request to the PLC directory waited for its turn.
pub const IDENTITY_TURN_SECONDS: &str = "relay_identity_turn_seconds";
/// Lookups under way or waiting.
pub const IDENTITY_LOOKUPS_DEPTH: &str = "relay_identity_lookups_depth";
/// Most lookups that may wait.
pub const IDENTITY_LOOKUPS_LIMIT: &str = "relay_identity_lookups_limit";

// hosts

/// Known hosts by `status`.
pub const HOSTS_KNOWN: &str = "relay_hosts_known";
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
