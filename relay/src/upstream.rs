//! Subscriptions: one task per host that dials, reads, peeks, and hands over (UP-1…12).

use std::sync::Arc;

use crate::{clock::Clock, drops::Drops, hosts::Hosts, ingest::Ingest, net::Net, tasks::Tasks};

/// The running subscriptions.
#[derive(Debug, Clone)]
pub struct Upstream {}

impl Upstream {
    /// Connects to all hosts that are not banned, at most `handshakes_max` at once, and to those that
    /// [`Hosts::wake_ups`] names.
    pub fn start(
        _hosts: Hosts,
        _ingest: Ingest,
        _net: Net,
        _drops: Arc<Drops>,
        _clock: Clock,
        _tasks: &Tasks,
    ) -> Self {
        todo!()
    }
    /// Open sockets now.
    pub fn connected(&self) -> usize {
        todo!()
    }
    /// Stops reading all hosts (shutdown); what was read goes on.
    pub async fn stop(&self) {
        todo!()
    }
}
