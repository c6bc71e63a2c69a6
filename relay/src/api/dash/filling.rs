//! How the index of collections is filled: what is under way, and the forms that begin it.

use axum::{Extension, extract::State, response::Response};
use maud::{Markup, html};
use relay_protocol::Did;

use super::{
    acts::{account, button, ended},
    door::Form,
    layout,
    session::Session,
    words::{ago, link, pill, several},
};
use crate::{
    actions::{Action, By, Fill},
    api::{ApiState, error::Error, params::Params},
    backfill::{HostAsked, ImportView},
    telemetry::{escape, grouped},
};

/// Where the forms go.
const TO: &str = "/dash/collections";
/// Hosts that are shown: those with the longest lines.
const HOSTS_MAX: usize = 20;
/// Accounts that a form may name.
const DIDS_MAX: usize = 500;

/// How far everything is.
pub(super) fn progress(state: &ApiState) -> Markup {
    let (counts, resolving) = (state.backfill.counts(), state.backfill.resolving());
    let minutes = counts.to_ask().checked_div(resolving.per_minute);
    let mut hosts = state.backfill.hosts_asked();
    // Those of which nothing is left to say would hide the others.
    hosts.retain(|asked| asked.waiting > 0 || asked.told.failed > 0);
    hosts.sort_by_key(|asked| std::cmp::Reverse((asked.waiting, asked.told.failed)));
    hosts.truncate(HOSTS_MAX);
    let imports = state.backfill.imports();
    html! {
        section.panel {
            div.title { h2 { "Backfill" } span.aside {
                @if resolving.running { "asks hosts about uncertain accounts" }
                @else { "begins some time after a start" }
            } }
            dl.facts {
                div { dt { "In line" } dd { (grouped(resolving.waiting)) } }
                div { dt { "Resolved since the start" } dd { (grouped(resolving.resolved)) } }
                div { dt { "In the last minute" } dd { (grouped(resolving.per_minute)) } }
                div { dt { "Left" } dd {
                    @match (counts.to_ask(), minutes) {
                        (0, _) => "nothing",
                        (_, Some(minutes)) => { "about " (several(minutes.max(1), "minute")) },
                        (_, None) => span.dim { "not known yet" },
                    }
                } }
            }
            @if !imports.is_empty() { (lists(state, &imports)) }
            @if !hosts.is_empty() { (asked(state, &hosts)) }
        }
    }
}

fn lists(state: &ApiState, imports: &[ImportView]) -> Markup {
    let now_ms = state.clock.now_ms();
    html! {
        h3 { "Lists of other relays" }
        table.rows {
            thead { tr {
                th { "From" } th { "State" } th.num { "Collections" } th.num.wide { "Entries" }
                th.wide { "Since" } th.wide { "Last error" }
            } }
            tbody { @for import in imports { @let row = &import.row; tr {
                th.words scope="row" { (row.source) }
                td { (state_of(import)) }
                td.num { (row.done) " of " (row.collections) }
                td.num.wide { (grouped(row.pairs)) }
                td.wide.nowrap { (ago(row.started_ms, now_ms)) }
                td.wide.words { (escape(row.last_error.as_deref().unwrap_or_default(), 200)) }
            } } }
        }
    }
}

fn state_of(import: &ImportView) -> Markup {
    match (import.running, import.row.finished_ms) {
        (true, _) => pill("ok", "running"),
        (false, Some(_)) => pill("ok", "finished"),
        (false, None) => pill("warn", "stopped"),
    }
}

fn asked(state: &ApiState, hosts: &[HostAsked]) -> Markup {
    html! {
        h3 { "Hosts with accounts in line, or that told nothing of some" }
        table.rows {
            thead { tr {
                th { "Host" } th.num { "In line" } th.num { "Resolved" } th.num.wide { "Failed" }
                th.wide { "Last error" }
            } }
            tbody { @for asked in hosts {
                @if let Some(host) = state.hosts.get(asked.host) { @let name = host.hostname().to_string(); tr {
                    th scope="row" { a href=(link("host", "name", &name)) { (name) } }
                    td.num { (asked.waiting) }
                    td.num { (grouped(asked.told.resolved)) }
                    td.num.wide { (grouped(asked.told.failed)) }
                    td.wide.words { (escape(asked.told.last_error.as_deref().unwrap_or_default(), 200)) }
                } }
            } }
        }
    }
}

/// What an operator can begin.
pub(super) fn forms(session: &Session) -> Markup {
    html! {
        section.panel {
            h2 { "Fill it" }
            (button(session, TO, &[("do", "resolve")], "Ask the hosts of all uncertain accounts"))
            form.inline method="post" action=(TO) {
                (layout::token(session))
                input type="hidden" name="do" value="import";
                div.long {
                    label for="from" { "Read the lists of another relay" }
                    input #from type="text" name="from" required maxlength="253" autocomplete="off"
                        spellcheck="false" placeholder="relay.example.com";
                }
                div.long {
                    label for="nsid" { "Only this collection" }
                    input #nsid type="text" name="collection" maxlength="317" autocomplete="off"
                        spellcheck="false" placeholder="all that are known";
                }
                button type="submit" { "Read" }
            }
            form.inline method="post" action=(TO) {
                (layout::token(session))
                input type="hidden" name="do" value="ask";
                div.long {
                    label for="dids" { "Ask the hosts of these accounts" }
                    input #dids type="text" name="dids" required maxlength="12000" autocomplete="off"
                        spellcheck="false" placeholder="did:plc:… did:plc:…";
                }
                button type="submit" { "Ask" }
            }
        }
    }
}

/// `POST /dash/collections`: begins what the form says.
pub(super) async fn fill(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
    Extension(form): Extension<Form>,
    by: By,
) -> Response {
    let ran = async {
        let (fill, word) = wanted(&form)?;
        state.actions.run(by.because(form.text("note")), Action::FillCollections(fill)).await?;
        Ok(format!("{TO}?done={word}"))
    };
    ended(ran.await, &state, &session)
}

fn wanted(form: &Params) -> Result<(Fill, &'static str), Error> {
    Ok(match form.required("do")? {
        "resolve" => (Fill::default(), "resolving"),
        "import" => {
            let from = vec![form.required("from")?.trim().to_owned()];
            let collections = form.text("collection").map(|text| text.trim().to_owned());
            (
                Fill { from, collections: collections.into_iter().collect(), ..Fill::default() },
                "importing",
            )
        }
        "ask" => {
            let named = form.required("dids")?.split([' ', ',', '\n', '\t']);
            let named: Vec<&str> = named.filter(|text| !text.is_empty()).collect();
            if named.is_empty() || named.len() > DIDS_MAX {
                return Err(Error::invalid(format!("name 1 to {DIDS_MAX} accounts by their DIDs")));
            }
            let dids: Result<Vec<Did>, Error> = named.into_iter().map(account).collect();
            (Fill { dids: dids?, ..Fill::default() }, "asking")
        }
        _ => return Err(Error::invalid("there is no such way to fill the index")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Fill, &'static str), Error> {
        wanted(&Params::read(Some(text)))
    }

    /// A person pastes DIDs with blanks or commas between them; what is none of them is named.
    #[test]
    fn accounts_are_read_as_people_paste_them() {
        let one = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
        let (fill, word) = read(&format!("do=ask&dids={one}%2C+did:web:a.example.com++")).unwrap();
        let dids: Vec<&str> = fill.dids.iter().map(Did::as_str).collect();
        assert_eq!((dids, word), (vec![one, "did:web:a.example.com"], "asking"));
        let (fill, _) = read("do=import&from=+relay.example.com&collection=").unwrap();
        assert_eq!(fill.from, ["relay.example.com"]);
        assert!(fill.collections.is_empty() && fill.dids.is_empty());
        let (fill, _) = read("do=resolve").unwrap();
        assert!(fill.from.is_empty() && fill.dids.is_empty());
        for wrong in ["", "do=empty", "do=ask", "do=ask&dids=+", "do=ask&dids=alice", "do=import"] {
            assert_eq!(read(wrong).unwrap_err().status, 400, "{wrong}");
        }
    }
}
