//! What a person may say about a deployment, and how long everything waits for a host.

use std::{path::PathBuf, time::Duration};

/// How long a host may take to start after it was made.
pub(crate) const START_MAX: Duration = Duration::from_mins(10);

/// What a person may say.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// Whether nobody is asked before a provider makes or changes something.
    pub yes: bool,
    /// `SERVER/WORD`: erases and installs a rented server.
    pub reinstall: Option<String>,
    /// Name of the deployment: a host with another system gets NixOS, and loses what is on its disks.
    pub erase: Option<String>,
    /// The relay's program, instead of one that is built here.
    pub relay: Option<PathBuf>,
    /// Begin with the first step, also where an interrupted run could be gone on with.
    pub again: bool,
    /// How long to wait until the public name leads to the host.
    pub names_max: Duration,
    /// How long to wait until a consumer has received verified events.
    pub live_max: Duration,
}
