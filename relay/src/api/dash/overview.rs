//! `GET /dash`: the relay at one glance.

use std::cmp::Reverse;

use axum::{Extension, extract::State, response::Response};
use maud::{Markup, html};

use super::{
    history::Sample,
    layout::{self, Tab, tile},
    session::Session,
    spark,
    words::{ago, brief, count, link, percent, pill, rate, several, span, tone},
};
use crate::{
    api::{ApiState, health::in_detail},
    domain::{DropReason, HostId, HostStatus},
    hosts::HostView,
    telemetry::grouped,
    units,
};

/// Hosts that are shown because something happened there lately.
const TROUBLED_MAX: usize = 8;

/// The handler.
pub(super) async fn page(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
) -> Response {
    let content = content(&state).await;
    let live = Some("/dash/live?view=overview");
    layout::page(&state, (Tab::Overview, &session), "Overview", live, &content)
}

/// All of it, for the page and for its live updates.
pub(super) async fn content(state: &ApiState) -> Markup {
    let troubles = state.shared.health.check(state).await;
    let views = state.hosts.list(HostId(0), usize::MAX);
    let uptime_ms = state.shared.started.elapsed().as_secs().saturating_mul(1_000);
    html! {
        h1.visually-hidden { "Overview" }
        @if troubles.is_empty() {
            p.well { (pill("ok", "well")) span.dim { ", up for " (span(uptime_ms)) } }
        } @else {
            @for trouble in &troubles { p.notice.bad { (in_detail(trouble)) } }
        }
        (flow(state))
        div.columns {
            (by_status(&views))
            (by_reason(state))
        }
        (troubled(state, views))
    }
}

/// What comes in, what goes out, what is kept.
fn flow(state: &ApiState) -> Markup {
    let history = &state.shared.history;
    let window = state.log.window();
    let (disk, disk_max) = (state.log.disk_bytes(), state.log.bytes_max());
    let events = (window.head.0.saturating_add(1)).saturating_sub(window.oldest.0);
    let begins = state.log.begins_us().map(|us| us / 1_000);
    let behind = history.levels(|one| one.behind);
    let slowest = behind.last().copied().unwrap_or_default();
    let now_ms = state.clock.now_ms();
    html! {
        section.tiles aria-label="Events" {
            (tile("Events in / s", &rate(history.now(|one| one.received)),
                &html! { (rate(history.now(|one| one.head))) " into the log" },
                &spark::line(&history.rates(|one| one.received), "events in per second")))
            (tile("Events out / s", &rate(history.now(|one| one.sent)),
                &html! { a href="/dash/consumers" {
                    (several(u64::try_from(state.firehose.count()).unwrap_or(0), "consumer"))
                } },
                &spark::line(&history.rates(|one| one.sent), "events out per second")))
            (tile("Dropped / s", &rate(history.now(Sample::dropped_total)),
                &html! { (grouped(total(state))) " since the start" },
                &spark::line(&history.rates(Sample::dropped_total), "dropped per second")))
            (tile("Lag, events", &rate(slowest),
                &html! { "slowest consumer; " (count(state.ingest.depth())) " being judged" },
                &spark::line(&behind, "events behind")))
            (tile("Hosts connected", &count(state.upstream.connected()),
                &html! { "of " (count(state.hosts.all().len())) " known" },
                &spark::line(&history.levels(|one| one.connected), "hosts connected")))
            (tile("Window on disk", &units::bytes(disk),
                &html! {
                    (grouped(events)) " events"
                    @if let Some(begins) = begins { ", from " (ago(begins, now_ms)) }
                    "; " (percent(disk, disk_max)) " % of " (units::bytes(disk_max))
                },
                &spark::bar(percent(disk, disk_max), "ok")))
        }
    }
}

fn total(state: &ApiState) -> u64 {
    state.drops.totals().iter().map(|(_, count)| *count).fold(0, u64::saturating_add)
}

fn by_status(views: &[HostView]) -> Markup {
    let known = u64::try_from(views.len()).unwrap_or(u64::MAX);
    let connected = views.iter().filter(|view| view.connected).count();
    html! {
        section.panel {
            div.title { h2 { a href="/dash/hosts" { "Hosts" } } span.aside {
                (count(connected)) " of " (count(views.len())) " connected"
            } }
            table {
                thead.visually-hidden { tr { th { "Status" } th { "Hosts" } th { "Share" } } }
                tbody {
                    @for status in HostStatus::ALL {
                        @let of_it = views.iter().filter(|view| view.status == status).count();
                        @let share = percent(u64::try_from(of_it).unwrap_or(0), known);
                        @let tone = if of_it == 0 { "dim" } else { tone(status) };
                        tr {
                            th scope="row" {
                                a href=(link("hosts", "status", status.as_text())) {
                                    (pill(tone, status.as_text()))
                                }
                            }
                            td.num { (count(of_it)) }
                            td.wide-bar { (spark::bar(share, tone)) }
                        }
                    }
                }
            }
        }
    }
}

/// The reasons that happened, the most frequent first.
fn by_reason(state: &ApiState) -> Markup {
    let mut totals: Vec<_> =
        state.drops.totals().into_iter().filter(|(_, count)| *count > 0).collect();
    totals.sort_by_key(|(_, count)| Reverse(*count));
    html! {
        section.panel {
            div.title {
                h2 { "Dropped events" }
                span.aside { "since the start, and the last hour" }
            }
            @if totals.is_empty() { p.dim { "None: every event that came was passed on." } }
            @else {
                table {
                    thead.visually-hidden { tr {
                        th { "Reason" } th { "Count" } th { "Last hour" }
                    } }
                    tbody { @for (reason, count) in totals { (reason_row(state, reason, count)) } }
                }
            }
        }
    }
}

fn reason_row(state: &ApiState, reason: DropReason, count: u64) -> Markup {
    let place = reason.index();
    let rates =
        state.shared.history.rates(|one| one.dropped.get(place).copied().unwrap_or_default());
    html! {
        tr {
            th scope="row" {
                a href=(link("hosts", "reason", reason.label())) title=(reason.words()) {
                    (reason.label())
                }
            }
            td.num { (grouped(count)) }
            td.wide-bar { (spark::line(&rates, reason.label())) }
        }
    }
}

/// Hosts whose last error is the newest.
fn troubled(state: &ApiState, views: Vec<HostView>) -> Markup {
    let now_ms = state.clock.now_ms();
    let mut troubled: Vec<_> = views
        .into_iter()
        .filter_map(|view| Some((view.last_error_ms?, view)))
        .filter(|(_, view)| view.last_error.is_some())
        .collect();
    troubled.sort_by_key(|(at_ms, _)| Reverse(*at_ms));
    troubled.truncate(TROUBLED_MAX);
    html! {
        @if !troubled.is_empty() {
            section.panel {
                h2 { "Last trouble with hosts" }
                table.rows {
                    thead { tr { th { "Host" } th { "When" } th { "What" } } }
                    tbody { @for (at_ms, view) in troubled { tr {
                        th scope="row" {
                            a href=(link("host", "name", &view.hostname)) { (view.hostname) }
                        }
                        td.nowrap { (ago(at_ms, now_ms)) }
                        td.words { (brief(view.last_error.as_deref().unwrap_or_default())) }
                    } } }
                }
            }
        }
    }
}
