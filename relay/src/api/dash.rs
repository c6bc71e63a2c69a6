//! The page of operators, `/dash`, and the public `/status`: HTML made here, read without JavaScript.
//!
//! Comes in: requests of a browser. Goes out: whole pages, and fragments of them as server-sent
//! events, so that an open page stays current. Behind a login with the admin password; every form
//! carries a token of the session. Text from outside reaches a page only through the escaping of
//! [`maud`], and nothing inline is run: the policy of content allows files of this relay alone.
//!
//! Limits: an hour of numbers in memory, 16 KiB per form, 8 open event streams, 100 hosts per page.

mod account;
mod acts;
mod assets;
mod audit;
mod collections;
mod consumers;
mod diagnosis;
mod door;
mod filling;
mod history;
mod host;
mod hosts;
mod layout;
mod live;
mod login;
mod moderation;
mod overview;
mod public;
mod session;
mod settings;
mod spark;
mod steering;
mod words;

use axum::{
    Router, middleware,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};

pub(super) use history::History;
pub(super) use live::STREAMS_MAX;
pub(super) use session::Sessions;

use super::{ApiState, table::Table};

/// Where the page begins.
pub(super) const PATH: &str = "/dash";

/// The page: on the admin listener, like the admin API.
pub(super) fn routes(state: &ApiState) -> Router<ApiState> {
    let guard = middleware::from_fn_with_state(state.clone(), door::guard);
    Router::new()
        .route("/dash/login", get(login::page).post(login::enter))
        .route("/dash/style.css", get(assets::style))
        .route("/dash/live.js", get(assets::script))
        .route("/dash/icon.svg", get(assets::icon))
        .merge(table().router().route_layer(guard))
        .layer(middleware::from_fn(door::secure))
}

/// What is behind the login, listed.
pub(super) fn table() -> Table {
    Table::default()
        .get("/dash", overview::page)
        .get("/dash/", begin)
        .get("/dash/hosts", hosts::page)
        .post("/dash/hosts", acts::add_host)
        .get("/dash/host", host::page)
        .post("/dash/host", steering::steer)
        .get("/dash/account", account::page)
        .post("/dash/account", acts::on_account)
        .get("/dash/collections", collections::page)
        .post("/dash/collections", filling::fill)
        .get("/dash/consumers", consumers::page)
        .post("/dash/consumers", acts::on_consumer)
        .get("/dash/moderation", moderation::page)
        .post("/dash/moderation", acts::on_domain)
        .get("/dash/audit", audit::page)
        .get("/dash/settings", settings::page)
        .get("/dash/live", live::stream)
        .post("/dash/logout", login::leave)
}

/// What anyone may read of this relay.
pub(super) fn public_routes() -> Router<ApiState> {
    Router::new()
        .route("/status", get(public::status))
        .route("/status.json", get(public::json))
        .route("/status.css", get(assets::style))
        .route("/status.svg", get(assets::icon))
        .layer(middleware::from_fn(door::secure))
}

async fn begin() -> Response {
    Redirect::to(PATH).into_response()
}
