//! What all pages have around their content.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::session::Session;
use crate::api::{ApiState, error::Error};

/// Style and icon of the page.
const FILES: (&str, &str) = ("/dash/style.css", "/dash/icon.svg");

/// The pages that have a place in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Hosts,
    Account,
    Collections,
    Consumers,
    Moderation,
    Audit,
    Settings,
}

impl Tab {
    const ALL: [Self; 8] = [
        Self::Overview,
        Self::Hosts,
        Self::Account,
        Self::Collections,
        Self::Consumers,
        Self::Moderation,
        Self::Audit,
        Self::Settings,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Hosts => "Hosts",
            Self::Account => "Why?",
            Self::Collections => "Collections",
            Self::Consumers => "Consumers",
            Self::Moderation => "Moderation",
            Self::Audit => "Audit log",
            Self::Settings => "Settings",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Overview => "/dash",
            Self::Hosts => "/dash/hosts",
            Self::Account => "/dash/account",
            Self::Collections => "/dash/collections",
            Self::Consumers => "/dash/consumers",
            Self::Moderation => "/dash/moderation",
            Self::Audit => "/dash/audit",
            Self::Settings => "/dash/settings",
        }
    }
}

/// A page of the dashboard.
///
/// * `tab` – where it stands in the navigation, and whose session it is
/// * `live` – where events with a new version of the content come from
pub(super) fn page(
    state: &ApiState,
    (tab, session): (Tab, &Session),
    title: &str,
    live: Option<&str>,
    content: &Markup,
) -> Response {
    let main = html! {
        @if let Some(from) = live { div data-live=(from) { (content) } }
        @else { (content) }
    };
    answer(StatusCode::OK, &document(state, Some((Some(tab), session)), title, &main))
}

/// A page without navigation.
pub(super) fn bare(
    state: &ApiState,
    status: StatusCode,
    title: &str,
    content: &Markup,
) -> Response {
    answer(status, &document(state, None, title, content))
}

/// A page that says what went wrong.
pub(super) fn failure(state: &ApiState, session: Option<&Session>, error: &Error) -> Response {
    let content = html! {
        section.panel.login {
            h1 { "That did not work" }
            p.notice.bad role="alert" { (error.message) }
            p { "Go back in your browser, or to the " a href="/dash" { "overview" } "." }
        }
    };
    let around = session.map(|session| (None, session));
    answer(error.status, &document(state, around, "That did not work", &content))
}

/// HTML with a status.
pub(super) fn answer(status: StatusCode, page: &Markup) -> Response {
    let kind = [(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))];
    (status, kind, page.0.clone()).into_response()
}

/// The head that all pages share, also the public one.
pub(super) fn head(title: &str, (style, icon): (&str, &str), more: &Markup) -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="color-scheme" content="light dark";
        title { (title) }
        link rel="stylesheet" href=(style);
        link rel="icon" type="image/svg+xml" href=(icon);
        (more)
    }
}

fn document(
    state: &ApiState,
    around: Option<(Option<Tab>, &Session)>,
    title: &str,
    main: &Markup,
) -> Markup {
    let more = html! {
        script src="/dash/live.js" defer {}
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head { (head(&format!("{title} · relay"), FILES, &more)) }
            body {
                a.skip href="#main" { "To the content" }
                header.top {
                    span.brand { "relay" span.dim { (state.software.trim_start_matches("relay")) } }
                    @if let Some((tab, session)) = around {
                        (navigation(tab))
                        (leave(session))
                    }
                }
                main #main tabindex="-1" { (main) }
            }
        }
    }
}

fn navigation(tab: Option<Tab>) -> Markup {
    html! {
        nav aria-label="Pages" {
            @for one in Tab::ALL {
                @if Some(one) == tab {
                    a href=(one.path()) aria-current="page" { (one.name()) }
                } @else {
                    a href=(one.path()) { (one.name()) }
                }
            }
        }
    }
}

fn leave(session: &Session) -> Markup {
    html! {
        div.end {
            span #live hidden {}
            form method="post" action="/dash/logout" {
                (token(session))
                button.quiet type="submit" { "Log out" }
            }
        }
    }
}

/// What every form of a session must bring.
pub(super) fn token(session: &Session) -> Markup {
    html! { input type="hidden" name="token" value=(session.token); }
}

/// A number with a name, a line below it, and a picture.
pub(super) fn tile(name: &str, number: &str, below: &Markup, picture: &Markup) -> Markup {
    html! {
        div.tile {
            span.name { (name) }
            strong.number { (number) }
            span.below { (below) }
            (picture)
        }
    }
}

/// Nothing, where markup is asked for.
pub(super) fn nothing() -> Markup {
    PreEscaped(String::new())
}
