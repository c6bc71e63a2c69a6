//! `GET /dash/host?name=`: all about one host, and why its events were dropped.

use axum::{Extension, extract::State, response::Response};
use maud::{Markup, html};
use relay_protocol::Hostname;

use super::{
    acts,
    diagnosis::{self, Finding},
    layout::{self, Tab},
    session::Session,
    steering,
    words::{ago, health, link},
};
use crate::{
    api::{ApiState, error::Error, params::Params},
    domain::{DropReason, EventKind},
    drops::Dropped,
    hosts::HostView,
    telemetry::{escape, grouped},
    units,
};

/// The handler.
pub(super) async fn page(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
    params: Params,
) -> Response {
    let view = match asked(&state, &params) {
        Ok(view) => view,
        Err(error) => return layout::failure(&state, Some(&session), &error),
    };
    let live = format!("/dash/live?view=host&{}", query(&view));
    let forms = match steering::section(&state, &session, &view).await {
        Ok(forms) => forms,
        Err(error) => return layout::failure(&state, Some(&session), &error),
    };
    let content = html! {
        (acts::said(&params))
        div data-live=(live) { (content(&state, &view)) }
        (forms)
    };
    layout::page(&state, (Tab::Hosts, &session), &view.hostname, None, &content)
}

fn query(view: &HostView) -> String {
    let address = link("host", "name", &view.hostname);
    address.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default()
}

/// The host that is named.
pub(super) fn asked(state: &ApiState, params: &Params) -> Result<HostView, Error> {
    let text = params.required("name")?;
    let name = Hostname::parse(text, state.dev)
        .map_err(|why| Error::invalid(format!("host {} is not valid: {why}", escape(text, 80))))?;
    let unknown = || Error::host_not_found(format!("this relay does not know {name}"));
    state.hosts.view(name.as_str()).ok_or_else(unknown)
}

/// What changes by itself, for the page and for its live updates.
pub(super) fn content(state: &ApiState, view: &HostView) -> Markup {
    let findings =
        diagnosis::of_host(view, &state.drops.host_totals(view.id), state.clock.now_ms());
    html! {
        div.heading {
            h1.name { (view.hostname) }
            (health(view))
            span.dim { (view.doing) }
        }
        (answer(&findings))
        (facts(state, view))
        (drops(state, view))
    }
}

/// The findings, the most important first.
pub(super) fn answer(findings: &[Finding]) -> Markup {
    html! {
        ul.findings { @for finding in findings {
            li class=(finding.tone) {
                (finding.words)
                @if !finding.detail.is_empty() { " " span.detail { (finding.detail) } }
            }
        } }
    }
}

fn facts(state: &ApiState, view: &HostView) -> Markup {
    let now_ms = state.clock.now_ms();
    let strictness = if view.strict { "strict" } else { "lenient" };
    html! {
        section.panel {
            h2 { "What it does" }
            dl.facts {
                div { dt { "Events" } dd { (grouped(view.events)) } }
                div { dt { "Received" } dd { (units::bytes(view.bytes)) } }
                div { dt { "Being judged" } dd { (super::words::count(view.unsettled)) } }
                div { dt { "Accounts" } dd {
                    (grouped(view.account_count)) span.dim { " of " (grouped(view.account_limit)) }
                } }
                div { dt { "Cursor" } dd {
                    @match view.seq { Some(seq) => (seq.0), None => span.dim { "none" } }
                } }
                div { dt { "Validation" } dd { (strictness) } }
            }
            @if let Some(error) = &view.last_error {
                p { "Last error"
                    @if let Some(at_ms) = view.last_error_ms { ", " (ago(at_ms, now_ms)) }
                    ": " span.words { (error) } }
            }
            @if let Some(gap_ms) = view.gap_ms {
                p { "It had deleted what this relay asked for " (ago(gap_ms, now_ms))
                    ": events in between are lost to everyone who reads it." }
            }
        }
    }
}

fn drops(state: &ApiState, view: &HostView) -> Markup {
    let lenient = state.drops.lenient_host_totals(view.id);
    html! {
        (ledger(state, "Dropped events", &state.drops.host_totals(view.id),
            &state.drops.of_host(view.id)))
        @if lenient.iter().any(|(_, count)| *count > 0) {
            (ledger(state, "Passed, and dropped by strict validation", &lenient,
                &state.drops.lenient_of_host(view.id)))
        }
    }
}

/// Counts by reason in words, and the last examples.
fn ledger(
    state: &ApiState,
    title: &str,
    totals: &[(DropReason, u64)],
    examples: &[Dropped],
) -> Markup {
    let mut happened: Vec<_> = totals.iter().filter(|(_, count)| *count > 0).collect();
    happened.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    html! {
        section.panel {
            div.title { h2 { (title) } span.aside { "since the start" } }
            @if happened.is_empty() { p.dim { "None." } }
            @else {
                table.rows {
                    thead { tr { th { "Reason" } th.num { "Count" } th { "What it means" } } }
                    tbody { @for (reason, count) in happened { tr {
                        th scope="row" { code { (reason.label()) } }
                        td.num { (grouped(*count)) }
                        td.words { (reason.words()) }
                    } } }
                }
                h3 { "The last ones" }
                (self::examples(state, examples, true))
            }
        }
    }
}

/// Single events, newest first; with their accounts where these differ.
pub(super) fn examples(state: &ApiState, examples: &[Dropped], with_account: bool) -> Markup {
    let now_ms = state.clock.now_ms();
    html! {
        table.rows.examples {
            thead { tr {
                th { "When" } th { "Reason" } th.wide { "Event" }
                @if with_account { th { "Account" } }
                th { "What was wrong" }
            } }
            tbody { @for one in examples { tr {
                td.nowrap { (ago(one.at_ms, now_ms)) }
                td { code { (one.reason.label()) } }
                td.wide.nowrap {
                    (one.kind.map_or("unreadable", EventKind::name))
                    @if let Some(seq) = one.host_seq { " " span.dim { (seq.0) } }
                }
                @if with_account { td.account { @if let Some(did) = &one.did {
                    a.did href=(link("account", "q", did)) { (did) }
                } @else { span.dim { "not known" } } } }
                td.words { (detail(one)) }
            } } }
        }
    }
}

fn detail(one: &Dropped) -> &str {
    if one.detail.is_empty() { one.reason.words() } else { &one.detail }
}
