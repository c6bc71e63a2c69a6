//! `com.atproto.sync.listHosts`: hosts that were ever connected, oldest first (HOST-11).

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::{
    json,
    page::{Rows, Source, page},
};
use crate::{
    api::{ApiState, error::Error, params::Params},
    domain::HostId,
    hosts::{HostView, Hosts},
};

const LIMIT_USUAL: usize = 200;
const LIMIT_MAX: usize = 1000;

/// A host on the wire; also the answer of getHostStatus.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostOnWire {
    hostname: String,
    /// Our durable cursor at the host; may lag (HOST-11).
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    account_count: u64,
    status: &'static str,
}

impl From<HostView> for HostOnWire {
    fn from(host: HostView) -> Self {
        Self {
            hostname: host.hostname,
            seq: host.seq.map(|seq| seq.0),
            account_count: host.account_count,
            status: host.status.as_text(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    hosts: Vec<HostOnWire>,
}

impl Source for Hosts {
    type Item = HostOnWire;

    async fn fetch(&self, after: u64, count: usize) -> Result<Rows<HostOnWire>, Error> {
        // No host has a higher number than fits.
        let Ok(after) = u32::try_from(after) else {
            return Ok(Rows { rows: Vec::new(), more: false });
        };
        let views = self.list(HostId(after), count);
        let more = views.len() >= count;
        let rows = views
            .into_iter()
            .map(|host| {
                // A relay that is read as a source has no accounts of its own (HOST-13).
                let is_source = self.get(host.id).is_some_and(|host| host.is_source());
                let is_shown = host.ever_connected && !is_source;
                (u64::from(host.id.0), is_shown.then(|| host.into()))
            })
            .collect();
        Ok(Rows { rows, more })
    }
}

/// The handler.
pub(super) async fn list_hosts(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Error> {
    let limit = params.limit(LIMIT_USUAL, LIMIT_MAX)?;
    let (hosts, cursor) = page(&state.hosts, params.cursor()?, limit).await?;
    json(&Answer { cursor, hosts })
}
