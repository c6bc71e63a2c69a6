//! Logs and metrics. `metrics` is the one catalogue: a name exists only there.

pub mod metrics;
