//! What operators do and read, behind a password (API-6, DESIGN 10.15).

mod consumers;
mod gate;
mod hosts;
mod status;
mod why;

use axum::{
    Router, middleware,
    routing::{get, post},
};

pub(super) use gate::Gate;

use super::ApiState;

/// All routes, each behind the gate. Paths without `v1` are those of the Go reference relay.
pub(super) fn routes(state: &ApiState) -> Router<ApiState> {
    Router::new()
        .route("/admin/v1/status", get(status::status))
        .route("/admin/v1/why", get(why::why))
        .route("/admin/v1/hosts", get(hosts::list).post(hosts::add_batch))
        .route("/admin/pds/requestCrawl", post(hosts::add_one))
        .route("/admin/pds/list", get(hosts::list_like_reference))
        .route("/admin/subs/getUpstreamConns", get(hosts::connected))
        .route("/admin/consumers/list", get(consumers::list))
        .route_layer(middleware::from_fn_with_state(state.clone(), gate::guard))
}
