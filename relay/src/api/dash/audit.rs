//! `GET /dash/audit`: who did what, when, and how it was before and after.

use axum::{Extension, extract::State, response::Response};
use maud::{Markup, html};

use super::{
    layout::{self, Tab},
    session::Session,
    words::{ago, link},
};
use crate::{
    api::{ApiState, error::Error, params::Params},
    store::{AuditEntry, AuditFilter},
};

/// Rows on one page.
const PAGE: u32 = 100;

/// The handler.
pub(super) async fn page(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
    params: Params,
) -> Response {
    let subject = params.text("subject");
    let before = params.text("before").and_then(|text| text.parse().ok());
    let filter = AuditFilter { before, subject, ..AuditFilter::default() };
    let rows = match state.store.audit(filter, PAGE).await {
        Ok(rows) => rows,
        Err(error) => return layout::failure(&state, Some(&session), &Error::from(error)),
    };
    let content = html! {
        div.heading {
            h1 { "Audit log" }
            span.dim { "all that operators, the policy file and siblings did" }
        }
        form.filter method="get" action="/dash/audit" role="search" {
            div.long {
                label for="subject" { "About" }
                input #subject type="search" name="subject" value=[subject] maxlength="300"
                    placeholder="a DID, a host, a domain" autocomplete="off" spellcheck="false";
            }
            button type="submit" { "Show" }
        }
        (table(&rows, state.clock.now_ms()))
        @if let Some(last) = rows.last().filter(|_| rows.len() >= PAGE as usize) {
            nav.pager aria-label="Pages of the log" {
                a href=(older(last.id, subject)) rel="next" { "Older" }
            }
        }
    };
    layout::page(&state, (Tab::Audit, &session), "Audit log", None, &content)
}

fn older(before: u64, subject: Option<&str>) -> String {
    let address = link("audit", "before", &before.to_string());
    match subject {
        Some(subject) => {
            let more = link("audit", "subject", subject);
            let query = more.split_once('?').map_or("", |(_, query)| query);
            format!("{address}&{query}")
        }
        None => address,
    }
}

/// The rows, also for the pages of single accounts and hosts.
pub(super) fn table(rows: &[AuditEntry], now_ms: u64) -> Markup {
    html! {
        @if rows.is_empty() { p.empty { "Nothing was done yet." } }
        @else {
            table.rows.audit {
                thead { tr {
                    th { "When" } th { "What" } th { "To" } th.wide { "By" } th { "Outcome" }
                } }
                tbody { @for row in rows { (entry(row, now_ms)) } }
            }
        }
    }
}

fn entry(row: &AuditEntry, now_ms: u64) -> Markup {
    html! {
        tr {
            td.nowrap { (ago(row.at_ms, now_ms)) }
            td { code { (row.action) } }
            td.words { (subject(&row.subject)) }
            td.wide.words { (row.actor)
                @if !row.client.is_empty() { " " span.dim { (row.client) } } }
            td.words {
                @if row.outcome == "done" { (change(row)) }
                @else if row.outcome == "begun" {
                    span.warn { "begun, and never ended: the relay stopped meanwhile" }
                } @else { span.bad { (row.outcome) } }
            }
        }
    }
}

/// A subject with the page that tells more of it.
fn subject(text: &str) -> Markup {
    html! {
        @if text.starts_with("did:") { a.did href=(link("account", "q", text)) { (text) } }
        @else { (text) }
    }
}

/// Before and after, as they were written down.
fn change(row: &AuditEntry) -> Markup {
    html! {
        @if !row.before.is_empty() { code.was { (row.before) } " → " }
        @if row.after.is_empty() { "done" } @else { code { (row.after) } }
    }
}
