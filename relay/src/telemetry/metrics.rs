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
