//! What operators do and read, behind a password (API-6, DESIGN 10.15).
//!
//! Handlers read the request and write the answer. What changes something is an
//! [`Action`](crate::actions::Action), which leaves a row in the audit log.

mod accounts;
mod asked;
mod audit;
mod consumers;
mod discovery;
mod gate;
mod hosts;
mod status;
mod subs;
mod takedowns;
mod why;

use axum::{Router, middleware};

pub(super) use gate::{Gate, Outside};

use super::{ApiState, table::Table};

/// All routes, each behind the gate. Paths without `v1` are those of the Go reference relay.
pub(super) fn routes(state: &ApiState) -> Router<ApiState> {
    let guard = middleware::from_fn_with_state(state.clone(), gate::guard);
    table().router().route_layer(guard)
}

/// The same, listed.
pub(super) fn table() -> Table {
    let table = Table::default()
        .get("/admin/v1/status", status::status)
        .get("/admin/v1/why", why::why)
        .get("/admin/v1/audit", audit::list)
        .get("/admin/v1/hosts", hosts::list)
        .post("/admin/v1/hosts", hosts::add_batch)
        .get("/admin/v1/accounts", accounts::show)
        .post("/admin/v1/accounts/takeDown", accounts::take_down)
        .post("/admin/v1/accounts/suspend", accounts::suspend)
        .post("/admin/v1/accounts/restore", accounts::restore)
        .post("/admin/v1/accounts/refreshIdentity", accounts::refresh_identity)
        .get("/admin/v1/consumers", consumers::list)
        .post("/admin/v1/consumers/disconnect", consumers::disconnect)
        .get("/admin/v1/pull", discovery::pulls)
        .post("/admin/v1/pull", discovery::pull)
        .post("/admin/v1/scanDirectory", discovery::scan)
        .get("/admin/v1/candidates", discovery::candidates)
        .get("/admin/v1/resync", discovery::walks)
        .post("/admin/v1/resync", discovery::resync);
    like_reference(table)
}

fn like_reference(table: Table) -> Table {
    table
        .post("/admin/pds/requestCrawl", hosts::add_one)
        .get("/admin/pds/list", hosts::list_like_reference)
        .get("/admin/subs/getUpstreamConns", hosts::connected)
        .get("/admin/subs/getEnabled", subs::enabled)
        .post("/admin/subs/setEnabled", subs::set_enabled)
        .get("/admin/repo/takedowns", takedowns::list)
        .post("/admin/repo/takeDown", takedowns::take_down)
        .post("/admin/repo/reverseTakedown", takedowns::reverse)
        .get("/admin/consumers/list", consumers::list_like_reference)
}
