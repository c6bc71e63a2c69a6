//! `GET /dash/settings`: what is in effect, and where it came from. Secrets are not in it (I8).

use axum::{Extension, extract::State, response::Response};
use maud::{Markup, html};

use super::{
    layout::{self, Tab},
    session::Session,
};
use crate::{
    api::ApiState,
    config::{Effective, SETTINGS},
};

/// The handler.
pub(super) async fn page(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
) -> Response {
    let mut sections: Vec<&str> = Vec::new();
    for setting in SETTINGS {
        if !sections.contains(&setting.section) {
            sections.push(setting.section);
        }
    }
    let content = html! {
        div.heading {
            h1 { "Settings in effect" }
            span.dim { "changed by the environment, a file or flags, and a restart" }
        }
        @for section in sections { (one(&state, section)) }
    };
    layout::page(&state, (Tab::Settings, &session), "Settings", None, &content)
}

fn one(state: &ApiState, section: &str) -> Markup {
    let rows = SETTINGS.iter().filter(|setting| setting.section == section);
    html! {
        section.panel {
            h2 { (section) }
            table.rows.settings {
                thead { tr { th { "Setting" } th { "Value" } th.wide { "From" } } }
                tbody { @for setting in rows {
                    @if let Some(effective) = state.settings.iter().find(|one| one.key == setting.key) {
                        (row(effective, setting.doc))
                    }
                } }
            }
        }
    }
}

fn row(effective: &Effective, doc: &str) -> Markup {
    let is_default = effective.origin == "default";
    html! {
        tr {
            th scope="row" { code title=(doc) { (effective.key) } }
            td.words.dim[is_default] {
                @if effective.value.is_empty() { span.dim { "not set" } }
                @else { (effective.value) }
            }
            td.wide.words.dim[is_default] { (effective.origin) }
        }
    }
}
