//! `GET /dash/account?q=`: why an account's posts are not on the network.

use std::time::Duration;

use axum::{Extension, extract::State, response::Response};
use maud::{Markup, html};
use relay_protocol::{Did, Hostname};

use super::{
    acts, audit,
    diagnosis::{self, Known},
    host::{answer, examples},
    layout::{self, Tab},
    login::moved,
    session::Session,
    words::{ago, link, pill},
};
use crate::{
    api::{ApiState, error::Error, params::Params},
    domain::{Account, LocalStatus, effective},
    store::AuditFilter,
    telemetry::escape,
};

/// How long the page waits for the identity; the rest of the answer is worth more.
const IDENTITY_MAX: Duration = Duration::from_secs(5);
/// Rows of the audit log that are shown.
const AUDIT_MAX: u32 = 20;

/// The handler.
pub(super) async fn page(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
    params: Params,
) -> Response {
    let asked = params.text("q").unwrap_or_default().trim();
    if asked.is_empty() {
        let content = html! { h1 { "Why is it not on the network?" } (search("")) };
        return layout::page(&state, (Tab::Account, &session), "Why?", None, &content);
    }
    let Some(did) = did_in(asked) else { return other(&state, &session, asked) };
    match found(&state, &session, &did).await {
        Ok(answer) => {
            let content = html! {
                h1 { "Why is it not on the network?" }
                (search(asked))
                (acts::said(&params))
                (answer)
            };
            layout::page(&state, (Tab::Account, &session), did.as_str(), None, &content)
        }
        Err(error) => layout::failure(&state, Some(&session), &error),
    }
}

fn search(asked: &str) -> Markup {
    html! {
        form.filter method="get" action="/dash/account" role="search" {
            div.long {
                label for="q" { "DID, address of a post, or host" }
                input #q type="search" name="q" value=(asked) required maxlength="2048"
                    placeholder="did:plc:… or at://did:plc:…/app.bsky.feed.post/…" autocomplete="off"
                    spellcheck="false" autocapitalize="none";
            }
            button.primary type="submit" { "Look" }
        }
    }
}

/// The DID in what a person pasted: itself, an `at://` address, or a link with it in the path.
fn did_in(text: &str) -> Option<Did> {
    let begin = text.find("did:")?;
    let rest = text.get(begin..)?;
    let end = rest.find(['/', '?', '#', ' ', '"', '\'', ')']).unwrap_or(rest.len());
    Did::parse(rest.get(..end)?).ok()
}

/// What is no DID may be a host. A handle is for others to resolve: whoever owns its domain would decide
/// what this relay connects to and how long the page waits, and no event names an account by it.
fn other(state: &ApiState, session: &Session, asked: &str) -> Response {
    let name = Hostname::parse(asked, state.dev).ok();
    if let Some(name) = &name
        && state.hosts.by_name(name.as_str()).is_some()
    {
        return moved(&link("host", "name", name.as_str()));
    }
    let content = html! {
        h1 { "Why is it not on the network?" }
        (search(asked))
        ul.findings { li.warn {
            code { (escape(asked, 200)) }
            " holds no DID and is no host that this relay knows. A relay knows accounts by their DID \
             alone: the DID of a handle stands in its profile, or at "
            code { "https://HANDLE/.well-known/atproto-did" } "."
        } }
    };
    layout::page(state, (Tab::Account, session), "Why?", None, &content)
}

async fn found(state: &ApiState, session: &Session, did: &Did) -> Result<Markup, Error> {
    let account = state.ingest.account(did).await?;
    let local = match &account {
        Some(account) => account.local,
        None => decided(state, did).await?,
    };
    let (named, handle) = identity(state, did).await;
    let host = named.as_ref().ok().and_then(|name| state.hosts.view(name));
    let drops = state.drops.of_did(did.as_str());
    let lenient = state.drops.lenient_of_did(did.as_str());
    let known =
        Known { account: account.as_ref(), host: host.as_ref(), named, local, drops: &drops };
    let findings = diagnosis::of_account(&known, state.clock.now_ms());
    let filter = AuditFilter { subject: Some(did.as_str()), ..AuditFilter::default() };
    let audit = state.store.audit(filter, AUDIT_MAX).await?;
    Ok(html! {
        section.panel {
            div.title {
                h2.did { (did.as_str()) }
                @if let Some(handle) = handle { span.aside { "@" (handle) } }
            }
            (answer(&findings))
            @if let Some(account) = &account { (facts(state, account)) }
            (decisions(session, did, local))
        }
        @if !drops.is_empty() {
            section.panel {
                h2 { "Its last dropped events" }
                (examples(state, &drops, false))
            }
        }
        @if !lenient.is_empty() {
            section.panel {
                h2 { "Passed, and dropped by strict validation" }
                (examples(state, &lenient, false))
            }
        }
        @if !audit.is_empty() {
            section.panel {
                h2 { "What operators did" }
                (audit::table(&audit, state.clock.now_ms()))
            }
        }
    })
}

/// What an operator can do about it.
fn decisions(session: &Session, did: &Did, local: LocalStatus) -> Markup {
    let (to, did) = ("/dash/account", did.as_str());
    html! {
        div.actions {
            @if matches!(local, LocalStatus::Takendown | LocalStatus::Suspended) {
                (acts::button(session, to, &[("do", "restore"), ("did", did)], "Restore"))
            }
            (acts::button(session, to, &[("do", "refresh"), ("did", did)], "Refresh identity"))
            @if local != LocalStatus::Takendown {
                (acts::careful(session, to, &[("do", "takedown"), ("did", did)], ("Take down",
                    "Its commits stop, what it wrote is not replayed, and consumers are told.")))
            }
            @if local == LocalStatus::None {
                (acts::careful(session, to, &[("do", "suspend"), ("did", did)], ("Suspend",
                    "Its commits stop, and consumers are told; what it wrote is still replayed.")))
            }
        }
    }
}

/// A decision about an account that has no row.
async fn decided(state: &ApiState, did: &Did) -> Result<LocalStatus, Error> {
    let decisions = state.store.local_statuses(std::slice::from_ref(did)).await?;
    Ok(decisions.into_iter().next().map_or(LocalStatus::None, |(_, local)| local))
}

/// Name of the host in the DID document, or why there is none, and the handle that it claims.
async fn identity(state: &ApiState, did: &Did) -> (Result<String, String>, Option<String>) {
    let fetched = tokio::time::timeout(IDENTITY_MAX, state.identities.fetch(did, false)).await;
    match fetched {
        Ok(Ok(document)) => {
            let handle = document.handle.as_ref().map(|handle| handle.as_str().to_owned());
            let named = document
                .pds
                .as_ref()
                .map(|pds| pds.host.as_str().to_owned())
                .ok_or_else(|| "its DID document names no PDS".to_owned());
            (named, handle)
        }
        Ok(Err(why)) => (Err(why.to_string()), None),
        Err(_late) => (Err(format!("no answer within {} s", IDENTITY_MAX.as_secs())), None),
    }
}

/// What the relay holds of it.
fn facts(state: &ApiState, account: &Account) -> Markup {
    let told = effective(&account.upstream, account.local);
    let (tone, word) = match (told.active, told.status) {
        (true, None) => ("ok", "active"),
        (true, Some(status)) => ("warn", status),
        (false, status) => ("bad", status.unwrap_or("inactive")),
    };
    let host = state.hosts.get(account.host).map(|host| host.hostname().to_string());
    let now_ms = state.clock.now_ms();
    let checked_ms = account.identity_checked_ms;
    html! {
        dl.facts {
            div { dt { "Told to consumers" } dd { (pill(tone, word)) } }
            div { dt { "Host says" } dd { (account.upstream.as_text()) } }
            div { dt { "Decided here" } dd { (account.local.as_text()) } }
            div { dt { "Host" } dd { @if let Some(host) = &host {
                a href=(link("host", "name", host)) { (host) }
            } } }
            div { dt { "Rev" } dd { @match &account.repo {
                Some(repo) => code { (repo.rev.to_string()) },
                None => span.dim { "none yet" },
            } } }
            div { dt { "Last event of the host" } dd {
                @if let Some(last) = account.last { (last.host_seq.0) } @else { span.dim { "none" } }
            } }
            div { dt { "Identity checked" } dd {
                @if checked_ms > 0 { (ago(checked_ms, now_ms)) } @else { span.dim { "never" } }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What people have at hand when they ask: a DID, a post, a link.
    #[test]
    fn the_did_is_found_in_what_people_paste() {
        let did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
        for text in [
            did.to_owned(),
            format!("at://{did}/app.bsky.feed.post/3k"),
            format!("https://app.example/profile/{did}/post/3k?x=1"),
            format!("see ({did})"),
        ] {
            assert_eq!(did_in(&text).unwrap().as_str(), did, "{text}");
        }
        for text in ["alice.example.com", "did:", "did:plc:", "at://alice.example.com/x"] {
            assert!(did_in(text).is_none(), "{text}");
        }
    }
}
