//! `com.atproto.sync.getHostStatus`.

use axum::{extract::State, response::Response};
use relay_protocol::Hostname;

use super::{json, list_hosts::HostOnWire};
use crate::{
    api::{ApiState, error::Error, params::Params},
    telemetry::escape,
};

/// The handler. The name is normalised like everywhere else (HOST-2).
pub(super) async fn get_host_status(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Error> {
    let text = params.required("hostname")?;
    let name = Hostname::parse(text, state.dev).map_err(|why| {
        Error::invalid(format!("hostname {} is not valid: {why}", escape(text, 80)))
    })?;
    let host = state
        .hosts
        .view(name.as_str())
        .ok_or_else(|| Error::host_not_found(format!("this relay does not know {name}")))?;
    json(&HostOnWire::from(host))
}
