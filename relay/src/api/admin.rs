//! What operators do and read, behind a password (API-6, DESIGN 10.15).
//!
//! Handlers read the request and write the answer. What changes something is an
//! [`Action`](crate::actions::Action), which leaves a row in the audit log.

mod accounts;
mod alerts;
mod asked;
mod audit;
mod collections;
mod consumers;
mod discovery;
mod domains;
mod found;
mod gate;
mod hosts;
mod openapi;
mod pds;
mod policy;
mod settings;
mod siblings;
mod status;
mod steer;
mod subs;
mod takedowns;
mod why;

use axum::{Router, middleware};

pub(super) use asked::is_relayed;
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
        .get("/admin/v1/hosts/history", hosts::history)
        .post("/admin/v1/hosts/ban", steer::ban)
        .post("/admin/v1/hosts/unban", steer::unban)
        .post("/admin/v1/hosts/disconnect", steer::disconnect)
        .post("/admin/v1/hosts/reconnect", steer::reconnect)
        .post("/admin/v1/hosts/resetCursor", steer::reset_cursor)
        .post("/admin/v1/hosts/limits", steer::limits)
        .post("/admin/v1/hosts/strictness", steer::strictness)
        .post("/admin/v1/hosts/silence", steer::silence)
        .get("/admin/v1/accounts", accounts::show)
        .post("/admin/v1/accounts/takeDown", accounts::take_down)
        .post("/admin/v1/accounts/suspend", accounts::suspend)
        .post("/admin/v1/accounts/restore", accounts::restore)
        .post("/admin/v1/accounts/refreshIdentity", accounts::refresh_identity)
        .get("/admin/v1/domains", domains::list)
        .post("/admin/v1/domains/ban", domains::ban)
        .post("/admin/v1/domains/unban", domains::unban)
        .get("/admin/v1/alerts", alerts::list)
        .get("/admin/v1/siblings", siblings::list)
        .get("/admin/v1/settings", settings::list)
        .get("/admin/v1/policy", policy::show)
        .post("/admin/v1/policy/diff", policy::diff)
        .post("/admin/v1/policy/reload", policy::reload)
        .get("/admin/v1/openapi.json", openapi::show)
        .get("/admin/v1/consumers", consumers::list)
        .post("/admin/v1/consumers/disconnect", consumers::disconnect)
        .get("/admin/v1/pull", discovery::pulls)
        .post("/admin/v1/pull", discovery::pull)
        .post("/admin/v1/scanDirectory", discovery::scan)
        .get("/admin/v1/candidates", discovery::candidates)
        .get("/admin/v1/readiness", discovery::readiness)
        .get("/admin/v1/resync", discovery::walks)
        .post("/admin/v1/resync", discovery::resync)
        .get("/admin/v1/collections", collections::list)
        .get("/admin/v1/collections/account", collections::account)
        .get("/admin/v1/collections/backfill", collections::status)
        .post("/admin/v1/collections/backfill", collections::fill)
        .get("/admin/v1/collections/verify", collections::verified)
        .post("/admin/v1/collections/verify", collections::verify)
        .get("/admin/v1/collections/dump", collections::dump)
        .post("/admin/v1/collections/dump", collections::take_dump)
        .get("/admin/v1/collections/dump/taken", collections::dump_place);
    like_reference(table)
}

fn like_reference(table: Table) -> Table {
    table
        .post("/admin/pds/requestCrawl", pds::request_crawl)
        .get("/admin/crawlStatus", pds::crawl_status)
        .get("/admin/pds/list", pds::list)
        .post("/admin/pds/changeLimits", pds::change_limits)
        .post("/admin/pds/block", pds::block)
        .post("/admin/pds/unblock", pds::unblock)
        .get("/admin/subs/getUpstreamConns", subs::connected)
        .post("/admin/subs/killUpstream", subs::kill)
        .get("/admin/subs/getEnabled", subs::enabled)
        .post("/admin/subs/setEnabled", subs::set_enabled)
        .get("/admin/subs/perDayLimit", subs::per_day_limit)
        .post("/admin/subs/setPerDayLimit", subs::set_per_day_limit)
        .get("/admin/subs/listDomainBans", subs::domain_bans)
        .post("/admin/subs/banDomain", subs::ban_domain)
        .post("/admin/subs/unbanDomain", subs::unban_domain)
        .get("/admin/repo/takedowns", takedowns::list)
        .post("/admin/repo/takeDown", takedowns::take_down)
        .post("/admin/repo/reverseTakedown", takedowns::reverse)
        .get("/admin/consumers/list", consumers::list_like_reference)
        .post("/admin/alerts/accountLimitSent", subs::alert_sent)
}
