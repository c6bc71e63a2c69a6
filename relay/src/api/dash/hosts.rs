//! `GET /dash/hosts`: all hosts, searched, filtered, sorted, in pages.

use std::{cmp::Reverse, collections::HashMap};

use axum::{Extension, extract::State, response::Response};
use maud::{Markup, html};
use url::form_urlencoded;

use super::{
    layout::{self, Tab},
    session::Session,
    words::{brief, count, health, link, several},
};
use crate::{
    api::{ApiState, params::Params},
    domain::{DropReason, HostId, HostStatus},
    hosts::HostView,
    telemetry::grouped,
};

/// Hosts on one page.
const PAGE: usize = 100;

/// Orders of the list and the headings that choose them.
const ORDERS: [(Order, &str, &str); 5] = [
    (Order::Name, "name", "Host"),
    (Order::Accounts, "accounts", "Accounts"),
    (Order::Events, "events", "Events"),
    (Order::Dropped, "dropped", "Dropped"),
    (Order::Error, "error", "Last error"),
];

/// By what the list is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Name,
    Accounts,
    Events,
    Dropped,
    Error,
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Wish {
    text: String,
    status: Option<HostStatus>,
    reason: Option<DropReason>,
    order: Option<Order>,
    page: usize,
}

impl Wish {
    /// Anything that is not understood is as if it were not there.
    pub(super) fn read(params: &Params) -> Self {
        let text = params.text("q").unwrap_or_default().trim().to_ascii_lowercase();
        let order = params.text("sort").and_then(|text| {
            ORDERS.iter().find_map(|(order, name, _)| (*name == text).then_some(*order))
        });
        Self {
            text: text.chars().take(253).collect(),
            status: params.text("status").and_then(HostStatus::from_text),
            reason: params.text("reason").and_then(|text| {
                DropReason::ALL.iter().copied().find(|reason| reason.label() == text)
            }),
            order,
            page: params.text("page").and_then(|text| text.parse().ok()).unwrap_or(1).max(1),
        }
    }

    /// The same wish as a query.
    fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !self.text.is_empty() {
            query.append_pair("q", &self.text);
        }
        if let Some(status) = self.status {
            query.append_pair("status", status.as_text());
        }
        if let Some(reason) = self.reason {
            query.append_pair("reason", reason.label());
        }
        let order = ORDERS.iter().find(|(order, _, _)| Some(*order) == self.order);
        if let Some((_, name, _)) = order {
            query.append_pair("sort", name);
        }
        if self.page > 1 {
            query.append_pair("page", &self.page.to_string());
        }
        query.finish()
    }

    fn path(&self) -> String {
        format!("/dash/hosts?{}", self.query())
    }
}

/// The handler.
pub(super) async fn page(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
    params: Params,
) -> Response {
    let wish = Wish::read(&params);
    let live = format!("/dash/live?view=hosts&{}", wish.query());
    let content = html! {
        div.heading { h1 { "Hosts" } (add(&session)) }
        (filter(&wish))
        div data-live=(live) { (list(&state, &wish)) }
    };
    layout::page(&state, (Tab::Hosts, &session), "Hosts", None, &content)
}

/// The form that adds one.
fn add(session: &Session) -> Markup {
    html! {
        details.add {
            summary { "Add a host" }
            form.inline method="post" action="/dash/hosts" {
                (layout::token(session))
                div.long {
                    label for="hostname" { "Host name" }
                    input #hostname type="text" name="hostname" required maxlength="260"
                        placeholder="pds.example.com" autocomplete="off" spellcheck="false"
                        autocapitalize="none";
                }
                button.primary type="submit" { "Add" }
            }
        }
    }
}

/// The form that chooses.
fn filter(wish: &Wish) -> Markup {
    html! {
        form.filter method="get" action="/dash/hosts" role="search" {
            div {
                label for="q" { "Name" }
                input #q type="search" name="q" value=(wish.text) placeholder="part of a name"
                    maxlength="253" autocomplete="off" spellcheck="false";
            }
            div {
                label for="status" { "Status" }
                select #status name="status" {
                    option value="" { "any" }
                    @for status in HostStatus::ALL {
                        option value=(status.as_text()) selected[wish.status == Some(status)] {
                            (status.as_text())
                        }
                    }
                }
            }
            div {
                label for="reason" { "Dropped for" }
                select #reason name="reason" {
                    option value="" { "any reason, or nothing" }
                    @for reason in DropReason::ALL {
                        option value=(reason.label()) selected[wish.reason == Some(*reason)] {
                            (reason.label())
                        }
                    }
                }
            }
            @if let Some((_, name, _)) = ORDERS.iter().find(|(one, _, _)| Some(*one) == wish.order) {
                input type="hidden" name="sort" value=(name);
            }
            button type="submit" { "Show" }
        }
    }
}

/// The table, for the page and for its live updates.
pub(super) fn list(state: &ApiState, wish: &Wish) -> Markup {
    let dropped = state.drops.by_host(wish.reason);
    let drops = |view: &HostView| dropped.get(&view.id).copied().unwrap_or_default();
    let mut views = state.hosts.list(HostId(0), usize::MAX);
    let known = views.len();
    views.retain(|view| {
        view.hostname.contains(&wish.text)
            && wish.status.is_none_or(|status| view.status == status)
            && (wish.reason.is_none() || drops(view) > 0)
    });
    match wish.order {
        None | Some(Order::Name) => views.sort_by(|a, b| a.hostname.cmp(&b.hostname)),
        Some(Order::Accounts) => views.sort_by_key(|view| Reverse(view.account_count)),
        Some(Order::Events) => views.sort_by_key(|view| Reverse(view.events)),
        Some(Order::Dropped) => views.sort_by_key(|view| Reverse(drops(view))),
        Some(Order::Error) => views.sort_by_key(|view| Reverse(view.last_error_ms)),
    }
    let pages = views.len().div_ceil(PAGE).max(1);
    let number = wish.page.min(pages);
    let shown: Vec<_> = views.iter().skip((number - 1).saturating_mul(PAGE)).take(PAGE).collect();
    html! {
        p.dim.sum {
            @if views.len() == known { (several(u64::try_from(known).unwrap_or(0), "host")) }
            @else { (count(views.len())) " of " (several(u64::try_from(known).unwrap_or(0), "host")) }
        }
        @if shown.is_empty() { p.empty { "No host is like that." } }
        @else {
            table.rows.hosts {
                thead { tr {
                    (heading(wish, Order::Name, ""))
                    th { "Status" }
                    (heading(wish, Order::Accounts, "num wide"))
                    (heading(wish, Order::Events, "num wide"))
                    (heading(wish, Order::Dropped, "num"))
                    th.wide { "Now" }
                    (heading(wish, Order::Error, "wide"))
                } }
                tbody { @for view in shown { (row(view, &dropped)) } }
            }
            (pager(wish, number, pages))
        }
    }
}

fn heading(wish: &Wish, order: Order, class: &str) -> Markup {
    let chosen = wish.order.unwrap_or(Order::Name) == order;
    let path = Wish { order: Some(order), page: 1, ..wish.clone() }.path();
    let name = ORDERS.iter().find(|(one, _, _)| *one == order).map_or("", |(_, _, name)| name);
    let direction = if order == Order::Name { "ascending" } else { "descending" };
    html! {
        th class=(class) aria-sort=[chosen.then_some(direction)] { a href=(path) { (name) } }
    }
}

fn row(view: &HostView, dropped: &HashMap<HostId, u64>) -> Markup {
    let drops = dropped.get(&view.id).copied().unwrap_or_default();
    html! {
        tr {
            th scope="row" { a href=(link("host", "name", &view.hostname)) { (view.hostname) } }
            td { (health(view)) }
            td.num.wide { (grouped(view.account_count)) }
            td.num.wide { (grouped(view.events)) }
            td.num { (grouped(drops)) }
            td.wide.nowrap { (view.doing) }
            td.wide.words { (brief(view.last_error.as_deref().unwrap_or_default())) }
        }
    }
}

fn pager(wish: &Wish, number: usize, pages: usize) -> Markup {
    let to = |page: usize| Wish { page, ..wish.clone() }.path();
    html! {
        @if pages > 1 {
            nav.pager aria-label="Pages of the list" {
                @if number > 1 { a href=(to(number - 1)) rel="prev" { "Previous" } }
                span { "Page " (number) " of " (pages) }
                @if number < pages { a href=(to(number + 1)) rel="next" { "Next" } }
            }
        }
    }
}
