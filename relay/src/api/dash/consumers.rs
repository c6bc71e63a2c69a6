//! `GET /dash/consumers`: who reads the firehose, the furthest behind first.

use std::cmp::Reverse;

use axum::{Extension, extract::State, response::Response};
use maud::{Markup, html};

use super::{
    acts,
    layout::{self, Tab},
    session::Session,
    words::{ago, several},
};
use crate::{
    api::{ApiState, params::Params},
    firehose::ConsumerView,
    telemetry::grouped,
    units,
};

/// Consumers that are shown.
const SHOWN_MAX: usize = 500;

/// The handler.
pub(super) async fn page(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
    params: Params,
) -> Response {
    let content = html! {
        (acts::said(&params))
        div data-live="/dash/live?view=consumers" { (content(&state, &session)) }
    };
    layout::page(&state, (Tab::Consumers, &session), "Consumers", None, &content)
}

/// All of it, for the page and for its live updates.
pub(super) fn content(state: &ApiState, session: &Session) -> Markup {
    let head = state.log.window().head.0;
    let mut consumers = state.firehose.consumers();
    let count = u64::try_from(consumers.len()).unwrap_or(u64::MAX);
    consumers.sort_by_key(|one| (Reverse(head.saturating_sub(one.seq)), one.id));
    consumers.truncate(SHOWN_MAX);
    html! {
        div.heading { h1 { "Consumers" } span.dim { (several(count, "consumer")) " connected" } }
        @if consumers.is_empty() { p.empty { "Nobody reads the firehose now." } }
        @else {
            table.rows {
                thead { tr {
                    th { "Address" } th { "Program" } th.num { "Behind" } th.num.wide { "Events" }
                    th.num.wide { "Sent" } th.wide { "Since" }
                    th { span.visually-hidden { "Disconnect" } }
                } }
                tbody { @for one in &consumers { (row(state, session, one, head)) } }
            }
        }
    }
}

fn row(state: &ApiState, session: &Session, one: &ConsumerView, head: u64) -> Markup {
    html! {
        tr {
            th scope="row" { (one.address) " " span.dim { "#" (one.id) } }
            td.words { (one.user_agent) }
            td.num { (grouped(head.saturating_sub(one.seq))) }
            td.num.wide { (grouped(one.events)) }
            td.num.wide { (units::bytes(one.bytes)) }
            td.wide.nowrap { (ago(one.since_ms, state.clock.now_ms())) }
            td.num { (acts::button(session, "/dash/consumers", &[("id", &one.id.to_string())],
                "Disconnect")) }
        }
    }
}
