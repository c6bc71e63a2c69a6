//! `GET /dash/moderation`: what was decided about accounts and domains, and the forms that decide.

use axum::{Extension, extract::State, response::Response};
use maud::{Markup, html};

use super::{
    acts,
    layout::{self, Tab},
    session::Session,
    words::{ago, link},
};
use crate::{
    api::{ApiState, error::Error, params::Params},
    domain::{DomainBan, LocalStatus},
};

/// Accounts that are shown at once.
const PAGE: u32 = 200;

/// The handler.
pub(super) async fn page(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
    params: Params,
) -> Response {
    let after = params.text("after").unwrap_or_default();
    let found = async {
        let down = state.store.decided(LocalStatus::Takendown, after, PAGE).await?;
        let suspended = state.store.decided(LocalStatus::Suspended, "", PAGE).await?;
        Ok::<_, Error>((down, suspended))
    };
    let (down, suspended) = match found.await {
        Ok(found) => found,
        Err(error) => return layout::failure(&state, Some(&session), &error),
    };
    let next =
        down.last().filter(|_| down.len() >= PAGE as usize).map(|(_, cursor)| cursor.clone());
    let dids = |found: Vec<(relay_protocol::Did, String)>| -> Vec<String> {
        found.into_iter().map(|(did, _)| did.to_string()).collect()
    };
    let content = html! {
        div.heading { h1 { "Moderation" } }
        (acts::said(&params))
        (take_down(&session))
        (accounts(&session, "Accounts taken down here", &dids(down)))
        @if let Some(next) = next {
            nav.pager aria-label="Pages of the list" {
                a href=(link("moderation", "after", &next)) rel="next" { "More" }
            }
        }
        @if !suspended.is_empty() {
            (accounts(&session, "Accounts suspended here", &dids(suspended)))
        }
        (ban_domain(&session))
        (domains(&session, &state.hosts.domain_bans(), state.clock.now_ms()))
    };
    layout::page(&state, (Tab::Moderation, &session), "Moderation", None, &content)
}

fn take_down(session: &Session) -> Markup {
    html! {
        section.panel {
            h2 { "Take an account down" }
            p.dim { "Its commits stop, what it wrote is not replayed, and consumers are told. It also \
                     holds for an account that this relay has never seen." }
            form.inline method="post" action="/dash/account" {
                (layout::token(session))
                input type="hidden" name="do" value="takedown";
                div.long {
                    label for="did" { "DID" }
                    input #did type="text" name="did" required maxlength="2048" autocomplete="off"
                        spellcheck="false" placeholder="did:plc:…";
                }
                div.long {
                    label for="note" { "Why (for the audit log)" }
                    input #note type="text" name="note" maxlength="500" autocomplete="off";
                }
                button.danger type="submit" { "Take down" }
            }
        }
    }
}

fn accounts(session: &Session, title: &str, dids: &[String]) -> Markup {
    html! {
        section.panel {
            h2 { (title) }
            @if dids.is_empty() { p.dim { "None." } }
            @else {
                table.rows {
                    thead { tr { th { "Account" } th { span.visually-hidden { "End it" } } } }
                    tbody { @for did in dids { tr {
                        th scope="row" { a.did href=(link("account", "q", did)) { (did) } }
                        td.num { (acts::button(session, "/dash/account",
                            &[("do", "restore"), ("did", did)], "Restore")) }
                    } } }
                }
            }
        }
    }
}

fn ban_domain(session: &Session) -> Markup {
    html! {
        section.panel {
            h2 { "Ban a domain" }
            p.dim { "The domain and everything below it: connections end at once, and no host of it \
                     is admitted until you end the ban." }
            form.inline method="post" action="/dash/moderation" {
                (layout::token(session))
                input type="hidden" name="do" value="ban";
                div.long {
                    label for="domain" { "Domain" }
                    input #domain type="text" name="domain" required maxlength="253"
                        autocomplete="off" spellcheck="false" placeholder="spam.example.com";
                }
                div.long {
                    label for="domain-note" { "Why (kept with the ban)" }
                    input #domain-note type="text" name="note" maxlength="500" autocomplete="off";
                }
                button.danger type="submit" { "Ban domain" }
            }
        }
    }
}

fn domains(session: &Session, bans: &[DomainBan], now_ms: u64) -> Markup {
    html! {
        section.panel {
            h2 { "Banned domains" }
            @if bans.is_empty() { p.dim { "None." } }
            @else {
                table.rows {
                    thead { tr {
                        th { "Domain" } th { "Since" } th { "Why" } th.wide { "By" }
                        th { span.visually-hidden { "End it" } }
                    } }
                    tbody { @for ban in bans { tr {
                        th scope="row" { (ban.domain) }
                        td.nowrap { (ago(ban.at_ms, now_ms)) }
                        td.words { (ban.note) }
                        td.wide.words { (ban.actor.to_string()) }
                        td.num { (acts::button(session, "/dash/moderation",
                            &[("do", "unban"), ("domain", &ban.domain)], "Unban")) }
                    } } }
                }
            }
        }
    }
}
