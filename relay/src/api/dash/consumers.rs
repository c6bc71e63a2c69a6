//! `GET /dash/consumers`: who reads the firehose, the furthest behind first.

use std::cmp::Reverse;

use axum::{Extension, extract::State, response::Response};
use maud::{Markup, html};

use super::{
    acts,
    layout::{self, Tab},
    session::Session,
    words::{ago, link, several},
};
use crate::{
    api::{ApiState, params::Params},
    firehose::ConsumerView,
    telemetry::grouped,
    units,
};

/// Consumers of a page.
const PAGE: usize = 200;

/// The handler.
pub(super) async fn page(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
    params: Params,
) -> Response {
    let content = html! {
        (acts::said(&params))
        div data-live=(format!("/dash/live?view=consumers&from={}", from(&params))) {
            (content(&state, &session, &params))
        }
    };
    layout::page(&state, (Tab::Consumers, &session), "Consumers", None, &content)
}

/// How many are on the pages before.
fn from(params: &Params) -> usize {
    params.text("from").and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// All of it, for the page and for its live updates.
pub(super) fn content(state: &ApiState, session: &Session, params: &Params) -> Markup {
    let head = state.log.window().head.0;
    let mut consumers = state.firehose.consumers();
    let count = u64::try_from(consumers.len()).unwrap_or(u64::MAX);
    consumers.sort_by_key(|one| (Reverse(head.saturating_sub(one.seq)), one.id));
    let before = from(params).min(consumers.len());
    consumers.drain(..before);
    let next = (consumers.len() > PAGE).then_some(before + PAGE);
    consumers.truncate(PAGE);
    html! {
        div.heading { h1 { "Consumers" } span.dim { (several(count, "consumer")) " connected" } }
        @if consumers.is_empty() && before == 0 { p.empty { "Nobody reads the firehose now." } }
        @else {
            table.rows {
                thead { tr {
                    th { "Address" } th { "Program" } th.num { "Behind" } th.num.wide { "Events" }
                    th.num.wide { "Sent" } th.wide { "Since" }
                    th { span.visually-hidden { "Disconnect" } }
                } }
                tbody { @for one in &consumers { (row(state, session, one, head)) } }
            }
            @if before > 0 || next.is_some() {
                nav.pager aria-label="Pages of the list" {
                    @if before > 0 { a href="/dash/consumers" { "First" } }
                    @if let Some(next) = next {
                        a href=(link("consumers", "from", &next.to_string())) rel="next" { "More" }
                    }
                }
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
