//! Consumers of the firehose: each is a reader with a place in the log (WS-*, CUR-*, DESIGN 10.12).

use std::net::IpAddr;

use crate::{eventlog::Reader, tasks::Tasks};

/// Serves consumers; cheap to clone.
#[derive(Debug, Clone)]
pub struct Firehose {}

/// A consumer as the API shows it.
#[derive(Debug, Clone)]
pub struct ConsumerView {
    /// Number since start.
    pub id: u64,
    /// Address.
    pub address: IpAddr,
    /// `User-Agent`, escaped and cut to 200 characters.
    pub user_agent: String,
    /// Last seq sent.
    pub seq: u64,
    /// Events sent.
    pub events: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Since when, ms since 1970.
    pub since_ms: u64,
}

impl Firehose {
    /// Starts with no consumers.
    pub fn new(_reader: Reader, _clock: crate::clock::Clock, _tasks: &Tasks) -> Self {
        todo!()
    }
    /// The route `/xrpc/com.atproto.sync.subscribeRepos` (WS-1, 2, 10; CUR-7 before the upgrade).
    pub fn router(&self) -> axum::Router {
        todo!()
    }
    /// All consumers.
    pub fn consumers(&self) -> Vec<ConsumerView> {
        todo!()
    }
    /// Sends everything up to the head, closes all with 1001 and waits (OUT-7).
    pub async fn close(&self) {
        todo!()
    }
}
