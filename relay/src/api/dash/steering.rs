//! The part of a host's page that changes something: limits, strictness, bans, its connection.

use axum::{Extension, extract::State, response::Response};
use maud::{Markup, html};

use super::{
    acts::{button, careful, ended},
    door::Form,
    layout,
    session::Session,
    words::{ago, link},
};
use crate::{
    actions::{Action, By, Steer},
    api::{ApiState, error::Error, params::Params},
    domain::{HostChange, HostStatus, Strictness},
    hosts::{Edit, HostView, LimitsEdit},
    telemetry::grouped,
    units::Day,
};

/// Where the forms go.
const TO: &str = "/dash/host";
/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;
/// Changes that are shown.
const CHANGES_MAX: usize = 30;

/// `POST /dash/host`: does what the form says.
pub(super) async fn steer(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
    Extension(form): Extension<Form>,
    by: By,
) -> Response {
    let ran = async {
        let name = form.required("name")?.to_owned();
        let back = link("host", "name", &name);
        let (steer, word) = wanted(&form)?;
        let action = Action::Steer(name, steer);
        state.actions.run(by.because(form.text("note")), action).await?;
        Ok(format!("{back}&done={word}"))
    };
    ended(ran.await, &state, &session)
}

fn wanted(form: &Params) -> Result<(Steer, &'static str), Error> {
    Ok(match form.required("do")? {
        "ban" => (Steer::Ban, "banned"),
        "unban" => (Steer::Unban, "unbanned"),
        "reconnect" => (Steer::Reconnect, "reconnected"),
        "reset" => (Steer::ResetCursor, "reset"),
        "limits" => (Steer::Limits(limits_of(form)?), "limited"),
        "strictness" => (Steer::Strictness(strictness_of(form)?), "steered"),
        _ => return Err(Error::invalid("there is no such action on a host")),
    })
}

/// An empty field leaves the limit to the rules that hold for all hosts.
fn limits_of(form: &Params) -> Result<LimitsEdit, Error> {
    let edit = |name: &str, what: &str| match form.text(name).map(str::trim) {
        None | Some("") => Ok(Edit::Clear),
        Some(text) => {
            let digits: String = text.chars().filter(|c| !matches!(c, ',' | ' ')).collect();
            let number = digits.parse().map(Edit::Set);
            number.map_err(|_no| Error::invalid(format!("the limit of {what} is a whole number")))
        }
    };
    Ok(LimitsEdit {
        accounts: edit("accounts", "accounts")?,
        per_second: edit("per_second", "events per second")?,
        per_hour: edit("per_hour", "events per hour")?,
        per_day: edit("per_day", "events per day")?,
    })
}

fn strictness_of(form: &Params) -> Result<Strictness, Error> {
    match (form.required("strictness")?, form.text("until")) {
        ("default", _) => Ok(Strictness::Default),
        ("strict", _) => Ok(Strictness::Strict),
        ("lenient", None) => Ok(Strictness::LenientUntil(u64::MAX)),
        ("lenient", Some(day)) => {
            let day = Day::parse(day.trim());
            let day = day.ok_or_else(|| Error::invalid("the day is written like 2027-01-31"))?;
            // The day itself is spared too.
            Ok(Strictness::LenientUntil(day.begin_ms().saturating_add(DAY_MS)))
        }
        _ => Err(Error::invalid("validation is default, strict or lenient")),
    }
}

/// All forms about a host, and what was changed about it.
pub(super) async fn section(
    state: &ApiState,
    session: &Session,
    view: &HostView,
) -> Result<Markup, Error> {
    let changes = state.hosts.history(&view.hostname).await?;
    Ok(html! {
        section.panel {
            h2 { "Do something" }
            (buttons(session, view))
        }
        div.columns {
            (limits(session, view))
            (strictness(session, view))
        }
        (history(&changes, state.clock.now_ms()))
    })
}

fn buttons(session: &Session, view: &HostView) -> Markup {
    let name = view.hostname.as_str();
    let with = |what| [("do", what), ("name", name)];
    html! {
        div.actions {
            @if view.status == HostStatus::Banned {
                (button(session, TO, &with("unban"), "Unban"))
            } @else {
                (button(session, TO, &with("reconnect"), "Reconnect now"))
                (careful(session, TO, &with("ban"), ("Ban",
                    "Its connection ends at once, and it is not read until you unban it. What it \
                     sent before stays.")))
            }
            (careful(session, TO, &with("reset"), ("Reset cursor",
                "This relay forgets how far it had read, and reads what the host still has. What \
                 came before is told apart and dropped as stale.")))
        }
    }
}

fn limits(session: &Session, view: &HostView) -> Markup {
    let (now, own) = (view.limits, view.own_limits);
    let [second, hour, day] = view.usage.percent();
    let accounts = view.account_count.saturating_mul(100) / now.accounts.max(1);
    let accounts = u32::try_from(accounts).unwrap_or(u32::MAX);
    let rows = [
        ("accounts", "Accounts", (now.accounts, accounts), own.accounts),
        ("per_second", "Events per second", (now.per_second, second), own.per_second),
        ("per_hour", "Events per hour", (now.per_hour, hour), own.per_hour),
        ("per_day", "Events per day", (now.per_day, day), own.per_day),
    ];
    html! {
        section.panel {
            div.title { h2 { "Limits" } span.aside {
                @if view.trusted { "trusted domain" }
                @else if view.growth > 0 { "grown by " (view.growth) " % with good behaviour" }
            } }
            form method="post" action=(TO) {
                (layout::token(session))
                input type="hidden" name="do" value="limits";
                input type="hidden" name="name" value=(view.hostname);
                table.rows.limits {
                    thead { tr {
                        th { "Limit" } th.num { "In effect" } th.num { "Used" } th { "For this host alone" }
                    } }
                    tbody { @for (field, title, (in_effect, used), own) in rows { tr {
                        th scope="row" { label for=(field) { (title) } }
                        td.num { (grouped(in_effect)) }
                        td.num { (used) " %" }
                        td { input id=(field) type="text" inputmode="numeric" name=(field)
                            value=[own] placeholder="by the rules" autocomplete="off"
                            maxlength="20"; }
                    } } }
                }
                div.inline {
                    div.long {
                        label for="limits-note" { "Why (for the audit log)" }
                        input #limits-note type="text" name="note" maxlength="500" autocomplete="off";
                    }
                    button.primary type="submit" { "Set limits" }
                }
            }
        }
    }
}

fn strictness(session: &Session, view: &HostView) -> Markup {
    let chosen = view.strictness.as_text();
    html! {
        section.panel {
            div.title { h2 { "Validation" } span.aside {
                @if view.ratcheted { "strict for good: it proved that it can" }
                @else if view.strict { "strict now" }
                @else { "lenient now" }
            } }
            p.dim { "A lenient host is spared where strict validation would drop: what that is stands \
                     above, and for all hosts in " code { "relay hosts readiness" } "." }
            form.inline method="post" action=(TO) {
                (layout::token(session))
                input type="hidden" name="do" value="strictness";
                input type="hidden" name="name" value=(view.hostname);
                div {
                    label for="strictness" { "Validate it" }
                    select #strictness name="strictness" {
                        @for (word, words) in [("default", "as the settings say"),
                            ("strict", "strictly"), ("lenient", "leniently")] {
                            option value=(word) selected[word == chosen] { (words) }
                        }
                    }
                }
                div {
                    label for="until" { "Leniently until (UTC)" }
                    input #until type="date" name="until";
                }
                div {
                    label for="strictness-note" { "Why" }
                    input #strictness-note type="text" name="note" maxlength="500" autocomplete="off";
                }
                button type="submit" { "Set validation" }
            }
        }
    }
}

fn history(changes: &[HostChange], now_ms: u64) -> Markup {
    html! {
        section.panel {
            h2 { "What changed" }
            @if changes.is_empty() { p.dim { "Nothing yet." } }
            @else {
                table.rows {
                    thead { tr {
                        th { "When" } th { "What" } th { "How" } th { "Why" } th.wide { "By" }
                    } }
                    tbody { @for change in changes.iter().take(CHANGES_MAX) { tr {
                        td.nowrap { (ago(change.at_ms, now_ms)) }
                        td { (change.kind.as_text()) }
                        td.words {
                            @if !change.before.is_empty() { span.dim { (change.before) } " → " }
                            (change.after)
                        }
                        td.words { (change.reason) }
                        td.wide.words { (change.actor.to_string()) }
                    } } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Params {
        Params::read(Some(text))
    }

    /// What a person leaves empty is left to the rules; what is no number is told.
    #[test]
    fn limits_are_numbers_or_left_to_the_rules() {
        let edit = limits_of(&form("accounts=12%2C000&per_second=+50+&per_hour=")).unwrap();
        assert_eq!(edit.accounts, Edit::Set(12_000));
        assert_eq!((edit.per_second, edit.per_hour), (Edit::Set(50), Edit::Clear));
        assert_eq!(edit.per_day, Edit::Clear);
        for wrong in
            ["accounts=many", "per_day=-1", "per_hour=1.5", "accounts=99999999999999999999"]
        {
            assert_eq!(limits_of(&form(wrong)).unwrap_err().status, 400, "{wrong}");
        }
    }

    #[test]
    fn leniency_ends_with_its_day() {
        let read = |text: &str| strictness_of(&form(text));
        assert_eq!(read("strictness=default").unwrap(), Strictness::Default);
        assert_eq!(read("strictness=strict&until=").unwrap(), Strictness::Strict);
        assert_eq!(read("strictness=lenient").unwrap(), Strictness::LenientUntil(u64::MAX));
        let until = read("strictness=lenient&until=1970-01-02").unwrap();
        assert_eq!(until, Strictness::LenientUntil(2 * DAY_MS));
        for wrong in ["", "strictness=no", "strictness=lenient&until=tomorrow"] {
            assert_eq!(read(wrong).unwrap_err().status, 400, "{wrong}");
        }
    }
}
