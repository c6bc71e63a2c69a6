//! `GET /status`: what anyone may know of this relay, for people and for programs.
//!
//! No name of a host, no address, no path; the numbers are those that the public API gives anyway, or
//! that say how much the relay does.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, VARY},
};
use maud::{DOCTYPE, Markup, html};
use serde_json::{Value, json};

use super::{
    history::wide,
    layout::{self, nothing, tile},
    spark,
    words::{ago, pill, rate, several, span},
};
use crate::{
    api::{ApiState, Trouble, time_text},
    telemetry::grouped,
    units,
};

/// What is told.
struct Facts {
    well: bool,
    troubles: Vec<&'static str>,
    up_since_ms: u64,
    uptime_ms: u64,
    known: u64,
    connected: u64,
    per_second: f64,
    oldest: u64,
    head: u64,
    events: u64,
    begins_ms: Option<u64>,
    bytes: u64,
    consumers: u64,
}

impl Facts {
    async fn of(state: &ApiState) -> Self {
        let troubles = state.shared.health.check(state).await;
        let window = state.log.window();
        let uptime_ms = state.shared.started.elapsed().as_secs().saturating_mul(1_000);
        Self {
            well: troubles.is_empty(),
            troubles: troubles.iter().map(Trouble::words).collect(),
            up_since_ms: state.clock.now_ms().saturating_sub(uptime_ms),
            uptime_ms,
            known: wide(state.hosts.all().len()),
            connected: wide(state.upstream.connected()),
            per_second: state.shared.history.now(|one| one.head),
            oldest: window.oldest.0,
            head: window.head.0,
            events: window.head.0.saturating_add(1).saturating_sub(window.oldest.0),
            begins_ms: state.log.begins_us().map(|us| us / 1_000),
            bytes: state.log.disk_bytes(),
            consumers: wide(state.firehose.count()),
        }
    }
}

/// `GET /status`: HTML for those who ask for it, JSON for the others.
pub(super) async fn status(State(state): State<ApiState>, headers: HeaderMap) -> Response {
    let facts = Facts::of(&state).await;
    let mut response = if wants_html(&headers) {
        layout::answer(StatusCode::OK, &page(&state, &facts))
    } else {
        as_json(&state, &facts)
    };
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

/// `GET /status.json`.
pub(super) async fn json(State(state): State<ApiState>) -> Response {
    as_json(&state, &Facts::of(&state).await)
}

/// Browsers name HTML; programs take anything, or JSON.
fn wants_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/html"))
}

fn as_json(state: &ApiState, facts: &Facts) -> Response {
    let per_second: Value = format!("{:.1}", facts.per_second).parse::<f64>().ok().into();
    let body = json!({
        "software": state.software,
        "status": if facts.well { "ok" } else { "degraded" },
        "troubles": facts.troubles,
        "upSince": time_text(facts.up_since_ms),
        "hosts": { "known": facts.known, "connected": facts.connected },
        "eventsPerSecond": per_second,
        "consumers": facts.consumers,
        "window": {
            "oldest": facts.oldest,
            "head": facts.head,
            "events": facts.events,
            "bytes": facts.bytes,
            "begins": facts.begins_ms.map(time_text),
        },
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (StatusCode::OK, headers, body.to_string()).into_response()
}

fn page(state: &ApiState, facts: &Facts) -> Markup {
    let rates = state.shared.history.rates(|one| one.head);
    let now_ms = state.clock.now_ms();
    html! {
        (DOCTYPE)
        html lang="en" {
            head { (layout::head("Status of this relay", ("/status.css", "/status.svg"), &nothing())) }
            body {
                header.top { span.brand { "relay" span.dim {
                    (state.software.trim_start_matches("relay"))
                } } }
                main.narrow {
                    h1 { "Status of this relay" }
                    @if facts.well { p.well { (pill("ok", "well"))
                        span.dim { ", up for " (span(facts.uptime_ms)) } } }
                    @for trouble in &facts.troubles { p.notice.bad { (trouble) } }
                    section.tiles aria-label="Numbers" {
                        (tile("Events / s", &rate(facts.per_second), &html! { "verified and served" },
                            &spark::line(&rates, "events per second")))
                        (tile("Hosts", &grouped(facts.connected),
                            &html! { "of " (grouped(facts.known)) " connected" }, &nothing()))
                        (tile("Window", &grouped(facts.events), &html! {
                            "events, " (units::bytes(facts.bytes))
                            @if let Some(begins) = facts.begins_ms {
                                ", from " (ago(begins, now_ms))
                            }
                        }, &nothing()))
                        (tile("Consumers", &grouped(facts.consumers), &html! {
                            "newest event " (grouped(facts.head))
                        }, &nothing()))
                    }
                    p.dim {
                        "An atproto relay verifies what hosts publish and serves it as one stream. "
                        @if !state.contact.is_empty() { "Contact: " (state.contact) ". " }
                        "The same as " a href="/status.json" { "JSON" } "; "
                        (several(facts.known, "host")) " by name: "
                        a href="/xrpc/com.atproto.sync.listHosts" { "listHosts" } "."
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_a_page_and_programs_json() {
        let asked = |accept: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.extend(accept.map(|text| (ACCEPT, text.parse().unwrap())));
            wants_html(&headers)
        };
        assert!(asked(Some("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")));
        assert!(asked(Some("application/json, text/html;q=0.5")));
        assert!(!asked(Some("application/json")));
        assert!(!asked(Some("*/*")));
        assert!(!asked(None));
    }
}
