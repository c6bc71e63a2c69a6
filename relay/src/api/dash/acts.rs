//! What the forms of the page do: each is an [`Action`], which leaves a row in the audit log.

use axum::{Extension, extract::State, response::Response};
use maud::{Markup, html};
use relay_protocol::Did;

use super::{door::Form, layout, login::moved, session::Session, words::link};
use crate::{
    actions::{Action, By},
    api::{ApiState, error::Error, params::Params},
    telemetry::escape,
};

/// What is said after an action, by a word in the address: nothing else of it reaches the page.
const SAID: [(&str, &str); 17] = [
    ("takendown", "The account was taken down, and consumers were told."),
    ("suspended", "The account was suspended, and consumers were told."),
    ("restored", "What was decided about the account is ended, and consumers were told."),
    ("refreshed", "Its DID document is fetched again; load this page anew in a moment."),
    ("added", "The host is known now, and is dialled at once."),
    ("banned", "The host is banned: its connection ended, and it is not read."),
    ("unbanned", "The ban is ended, and the host is read again."),
    ("reconnected", "The host is dialled now."),
    ("reset", "The cursor is forgotten; the host is read from what it still has."),
    ("limited", "The limits are set, and hold from now on."),
    ("steered", "Its validation is set, and holds from now on."),
    ("domain-banned", "The domain is banned: no host of it is read."),
    ("domain-unbanned", "The ban of the domain is ended; its hosts are read again."),
    ("resolving", "The hosts of all uncertain accounts are asked now."),
    ("importing", "The lists of that relay are read; how far it is stands below."),
    ("asking", "The hosts of these accounts are asked before all others."),
    ("disconnected", "The consumer was disconnected. It may connect again."),
];

/// The sentence about what was just done, if anything was.
pub(super) fn said(params: &Params) -> Markup {
    let done = params.text("done").unwrap_or_default();
    let words = SAID.iter().find_map(|(word, words)| (*word == done).then_some(*words));
    html! { @if let Some(words) = words { p.notice.ok role="status" { (words) } } }
}

/// The answer to a form: the page that shows what it did, or why it did nothing.
///
/// * `ran` – where that page is
pub(super) fn ended(ran: Result<String, Error>, state: &ApiState, session: &Session) -> Response {
    match ran {
        Ok(to) => moved(&to),
        Err(error) => layout::failure(state, Some(session), &error),
    }
}

/// `POST /dash/hosts`: adds one.
pub(super) async fn add_host(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
    Extension(form): Extension<Form>,
    by: By,
) -> Response {
    let name = form.text("hostname").unwrap_or_default().trim().to_owned();
    let to = |host: &str| format!("{}&done=added", link("host", "name", host));
    let ran = async {
        let done = state.actions.run(by, Action::AddHost(name)).await?;
        let host = done.answer.get("hostname").and_then(serde_json::Value::as_str);
        Ok(to(host.unwrap_or_default()))
    };
    ended(ran.await, &state, &session)
}

/// `POST /dash/account`: takes down, suspends, restores, asks for the identity.
pub(super) async fn on_account(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
    Extension(form): Extension<Form>,
    by: By,
) -> Response {
    let ran = async {
        let did = account(form.required("did")?)?;
        let back = link("account", "q", did.as_str());
        let (action, word) = match form.required("do")? {
            "takedown" => (Action::TakeDown(did), "takendown"),
            "suspend" => (Action::Suspend(did), "suspended"),
            "restore" => (Action::Restore(did), "restored"),
            "refresh" => (Action::RefreshIdentity(did), "refreshed"),
            _ => return Err(Error::invalid("there is no such action on an account")),
        };
        state.actions.run(by.because(form.text("note")), action).await?;
        Ok(format!("{back}&done={word}"))
    };
    ended(ran.await, &state, &session)
}

/// The account that a person named.
pub(super) fn account(text: &str) -> Result<Did, Error> {
    Did::parse(text.trim())
        .map_err(|why| Error::invalid(format!("did {} is not valid: {why}", escape(text, 80))))
}

/// `POST /dash/consumers`: disconnects one.
pub(super) async fn on_consumer(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
    Extension(form): Extension<Form>,
    by: By,
) -> Response {
    let ran = async {
        let id = form.required("id")?.parse();
        let id = id.map_err(|_no| Error::invalid("the id of a consumer is a number"))?;
        state.actions.run(by, Action::DisconnectConsumer(id)).await?;
        Ok("/dash/consumers?done=disconnected".to_owned())
    };
    ended(ran.await, &state, &session)
}

/// `POST /dash/moderation`: bans a domain, or ends that.
pub(super) async fn on_domain(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
    Extension(form): Extension<Form>,
    by: By,
) -> Response {
    let ran = async {
        let domain = form.required("domain")?.trim().to_owned();
        let (action, word) = match form.required("do")? {
            "ban" => (Action::BanDomain(domain), "domain-banned"),
            "unban" => (Action::UnbanDomain(domain), "domain-unbanned"),
            _ => return Err(Error::invalid("there is no such action on a domain")),
        };
        state.actions.run(by.because(form.text("note")), action).await?;
        Ok(format!("/dash/moderation?done={word}"))
    };
    ended(ran.await, &state, &session)
}

/// A form behind a line that opens it: what it does stands there before it is sent.
///
/// * `hidden` – names and values that say what is to be done
/// * `does` – what the button says, and what happens then
pub(super) fn careful(
    session: &Session,
    to: &str,
    hidden: &[(&str, &str)],
    (title, does): (&str, &str),
) -> Markup {
    html! {
        details.careful {
            summary { (title) "…" }
            form.inline method="post" action=(to) {
                (layout::token(session))
                @for (name, value) in hidden { input type="hidden" name=(name) value=(value); }
                p.dim { (does) }
                div {
                    label { "Why (for the audit log)"
                        input type="text" name="note" maxlength="500" autocomplete="off";
                    }
                }
                button.danger type="submit" { (title) }
            }
        }
    }
}

/// A form of one button.
pub(super) fn button(session: &Session, to: &str, hidden: &[(&str, &str)], title: &str) -> Markup {
    html! {
        form method="post" action=(to) {
            (layout::token(session))
            @for (name, value) in hidden { input type="hidden" name=(name) value=(value); }
            button type="submit" { (title) }
        }
    }
}
