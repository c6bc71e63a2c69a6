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

/// Accounts of a list that are shown at once.
const PAGE: u32 = 100;

/// A page of the accounts about which something was decided.
struct Decided {
    title: &'static str,
    /// Name of the parameter that says where its page begins, also the name of its place.
    after: &'static str,
    dids: Vec<String>,
    /// Where the next page begins; `None` on the last.
    next: Option<String>,
    is_first: bool,
}

impl Decided {
    async fn read(
        state: &ApiState,
        params: &Params,
        (local, after, title): (LocalStatus, &'static str, &'static str),
    ) -> Result<Self, Error> {
        let begin = params.text(after).unwrap_or_default();
        // One more than is shown says whether there are more.
        let mut found = state.store.decided(local, begin, PAGE + 1).await?;
        let more = found.len() > PAGE as usize;
        found.truncate(PAGE as usize);
        let next = found.last().filter(|_| more).map(|(_, cursor)| cursor.clone());
        let dids = found.into_iter().map(|(did, _)| did.to_string()).collect();
        Ok(Self { title, after, dids, next, is_first: begin.is_empty() })
    }
}

/// The handler.
pub(super) async fn page(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
    params: Params,
) -> Response {
    let found = async {
        let down = (LocalStatus::Takendown, "after", "Accounts taken down here");
        let suspended = (LocalStatus::Suspended, "suspended", "Accounts suspended here");
        let down = Decided::read(&state, &params, down).await?;
        Ok::<_, Error>((down, Decided::read(&state, &params, suspended).await?))
    };
    let (down, suspended) = match found.await {
        Ok(found) => found,
        Err(error) => return layout::failure(&state, Some(&session), &error),
    };
    let content = html! {
        div.heading { h1 { "Moderation" } }
        (acts::said(&params))
        (take_down(&session))
        (accounts(&session, &down))
        @if !(suspended.dids.is_empty() && suspended.is_first) { (accounts(&session, &suspended)) }
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

fn accounts(session: &Session, list: &Decided) -> Markup {
    html! {
        section.panel id=(list.after) {
            h2 { (list.title) }
            @if list.dids.is_empty() { p.dim { "None." } }
            @else {
                table.rows {
                    thead { tr { th { "Account" } th { span.visually-hidden { "End it" } } } }
                    tbody { @for did in &list.dids { tr {
                        th scope="row" { a.did href=(link("account", "q", did)) { (did) } }
                        td.num { (acts::button(session, "/dash/account",
                            &[("do", "restore"), ("did", did)], "Restore")) }
                    } } }
                }
            }
            @if list.next.is_some() || !list.is_first {
                nav.pager aria-label=(format!("Pages of: {}", list.title)) {
                    @if !list.is_first { a href="/dash/moderation" { "First" } }
                    @if let Some(next) = &list.next {
                        a href=(format!("{}#{}", link("moderation", list.after, next), list.after))
                            rel="next" { "More" }
                    }
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
