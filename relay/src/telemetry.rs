//! Logs and metrics. `metrics` is the one catalogue: a name exists only there.

pub mod metrics;

/// Form of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object per line.
    Json,
}
