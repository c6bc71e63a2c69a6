//! `GET /dash/collections?prefix=&did=`: who has records of which kind, and how well that is known.

use axum::{Extension, extract::State, response::Response};
use maud::{Markup, html};
use tokio::task::spawn_blocking;

use super::{
    acts, filling,
    layout::{self, Tab},
    session::Session,
    words::{link, pill},
};
use crate::{
    api::{ApiState, error::Error, params::Params},
    collections::index::{Collection, Counts, Doubt, Index, PairState, Whole},
    telemetry::grouped,
};

/// Collections that are shown, those with the most accounts first.
const SHOWN_MAX: usize = 100;
/// Collections that are looked through for them.
const LOOKED_MAX: usize = 50_000;
/// Collections that are read at once.
const STEP: usize = 1_000;
/// Collections of one account that are shown.
const OF_ACCOUNT_MAX: usize = 500;

/// The handler.
pub(super) async fn page(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
    params: Params,
) -> Response {
    let prefix = params.text("prefix").unwrap_or_default().trim();
    let asked = params.text("did").unwrap_or_default().trim();
    let found = async {
        let of_account = if asked.is_empty() { None } else { Some(account(&state, asked).await?) };
        let top = top(&state, prefix).await?;
        Ok::<_, Error>((of_account, table(&state, prefix, &top)))
    };
    let (of_account, table) = match found.await {
        Ok(found) => found,
        Err(error) => return layout::failure(&state, Some(&session), &error),
    };
    let content = html! {
        div.heading { h1 { "Collections" } }
        (acts::said(&params))
        (search(prefix, asked))
        @if let Some(of_account) = of_account { (of_account) }
        (table)
        div data-live="/dash/live?view=collections" { (content(&state)) }
        (filling::forms(&session))
    };
    layout::page(&state, (Tab::Collections, &session), "Collections", None, &content)
}

/// What changes by itself, for the page and for its live updates.
pub(super) fn content(state: &ApiState) -> Markup {
    html! {
        @if let Some(why) = state.backfill.index().stopped() { (stopped(&why)) }
        (totals(state.backfill.counts()))
        (filling::progress(state))
    }
}

/// The lists grow old, and somebody has to act.
fn stopped(why: &str) -> Markup {
    html! {
        section.panel role="alert" {
            h2 { (pill("bad", "not kept up")) " The lists grow old" }
            p { (why) }
            p { "Restart the relay; if this comes again, remove the directory of the index: it is then \
                 filled anew." }
        }
    }
}

fn totals(counts: Counts) -> Markup {
    let pairs = counts.proven.saturating_add(counts.believed);
    let accounts = |accounts: u64| {
        html! {
            (grouped(accounts)) " " span.dim { (share(accounts, counts.listable())) }
        }
    };
    let reasons =
        counts.by_doubt().filter(|(doubt, accounts)| doubt.is_uncertain() && *accounts > 0);
    html! {
        section.panel {
            h2 { "What is known" }
            dl.facts {
                div { dt { "Collections" } dd { (grouped(counts.collections)) } }
                div { dt { "Accounts that are certain" } dd { (grouped(counts.complete)) } }
                div { dt { "Uncertain" } dd { (accounts(counts.uncertain())) } }
                @for (doubt, unsure) in reasons {
                    div { dt { (because(doubt)) } dd { (grouped(unsure)) } }
                }
                div { dt { "Accounts only believed" } dd {
                    (accounts(counts.doubted(Doubt::Imported)))
                } }
                div { dt { "Inactive" } dd { (grouped(counts.doubted(Doubt::Inactive))) } }
                div { dt { "Entries" } dd { (grouped(pairs)) } }
                div { dt { "Entries only believed" } dd {
                    (grouped(counts.believed)) " " span.dim { (share(counts.believed, pairs)) }
                } }
            }
            p.dim { "An entry is an account with records in a collection. It is proven by the account's \
                     own commits or by its host, or believed because another relay says so; an account \
                     is uncertain until its host was asked. Accounts that are not active are not listed, \
                     and are asked about when they return." }
        }
    }
}

/// Why accounts are uncertain, in two or three words.
const fn because(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::OlderRecords => "… of older records",
        Doubt::Discontinuity => "… of a broken chain",
        Doubt::Sync => "… of a new state",
        Doubt::Lenient => "… of commits without proof",
        Doubt::LogLost => "… of lost events",
        Doubt::Moved => "… of a move",
        Doubt::NoRoom => "… of too many names",
        Doubt::Imported | Doubt::Inactive => "… of other reasons",
    }
}

/// A part in percent, with two digits behind the point.
fn share(part: u64, whole: u64) -> String {
    let hundredths = u128::from(part) * 10_000 / u128::from(whole.max(1));
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

fn search(prefix: &str, asked: &str) -> Markup {
    html! {
        form.filter method="get" action="/dash/collections" role="search" {
            div.long {
                label for="prefix" { "Name begins with" }
                input #prefix type="search" name="prefix" value=(prefix) maxlength="317"
                    placeholder="app.bsky." autocomplete="off" spellcheck="false"
                    autocapitalize="none";
            }
            div.long {
                label for="did" { "Account (DID)" }
                input #did type="search" name="did" value=(asked) maxlength="2048"
                    placeholder="did:plc:…" autocomplete="off" spellcheck="false"
                    autocapitalize="none";
            }
            button type="submit" { "Show" }
        }
    }
}

/// The collections with the most accounts.
struct Top {
    shown: Vec<Collection>,
    looked: usize,
    /// There are more than were looked through.
    more: bool,
}

async fn top(state: &ApiState, prefix: &str) -> Result<Top, Error> {
    let (index, prefix) = (state.backfill.index().clone(), prefix.to_owned());
    let found = spawn_blocking(move || most(&index, &prefix)).await;
    found.map_err(|_stopped| Error::unavailable("the relay is stopping"))
}

fn most(index: &Index, prefix: &str) -> Top {
    let mut top = Top { shown: Vec::new(), looked: 0, more: false };
    let mut after: Option<String> = None;
    loop {
        let found = index.collections(prefix, after.as_deref(), STEP);
        let is_last = found.len() < STEP;
        top.looked += found.len();
        after = found.last().map(|last| last.nsid.as_ref().to_owned());
        top.shown.extend(found);
        top.shown.sort_by(|one, other| {
            let order = other.count.rows().cmp(&one.count.rows());
            order.then_with(|| one.nsid.cmp(&other.nsid))
        });
        top.shown.truncate(SHOWN_MAX);
        top.more = !is_last && top.looked >= LOOKED_MAX;
        if is_last || top.more {
            return top;
        }
    }
}

fn table(state: &ApiState, prefix: &str, top: &Top) -> Markup {
    let looked = u64::try_from(top.looked).unwrap_or(u64::MAX);
    html! {
        section.panel {
            div.title { h2 { "Collections with the most accounts" } span.aside {
                @if top.more { "of the first " (grouped(looked)) " by name" }
                @else { "of " (grouped(looked)) }
            } }
            @if top.shown.is_empty() {
                p.empty {
                    @if prefix.is_empty() { "No record was seen yet." }
                    @else { "No collection begins with that." }
                }
            } @else {
                table.rows {
                    thead { tr {
                        th { "Collection" } th.num { "Accounts" } th.num.wide { "In a day" }
                        th.num.wide { "In a week" } th.num.wide { "Only believed" }
                    } }
                    tbody { @for one in &top.shown { (row(state, one)) } }
                }
            }
        }
    }
}

fn row(state: &ApiState, one: &Collection) -> Markup {
    let rows = one.count.rows();
    let growth = |days| grew(state.backfill.growth(&one.nsid, rows, days));
    html! {
        tr {
            th.words scope="row" { code { (one.nsid) } }
            td.num { (grouped(rows)) }
            td.num.wide { (growth(1)) }
            td.num.wide { (growth(7)) }
            td.num.wide { (grouped(one.count.believed)) }
        }
    }
}

/// With its sign; nothing is said of what is not known.
fn grew(by: Option<i64>) -> Markup {
    html! {
        @match by {
            None => span.dim { "not known yet" },
            Some(0) => "0",
            Some(by) if by > 0 => { "+" (grouped(by.unsigned_abs())) },
            Some(by) => { "−" (grouped(by.unsigned_abs())) },
        }
    }
}

/// What one account has.
async fn account(state: &ApiState, asked: &str) -> Result<Markup, Error> {
    let did = acts::account(asked)?;
    let known = state.ingest.account(&did).await?;
    let found = match known {
        None => None,
        Some(known) => {
            let index = state.backfill.index().clone();
            let read = spawn_blocking(move || of_account(&index, known.number)).await;
            let read = read.map_err(|_stopped| Error::unavailable("the relay is stopping"))?;
            Some(read?)
        }
    };
    Ok(html! {
        section.panel {
            div.title {
                h2.did { (did.as_str()) }
                span.aside { a href=(link("account", "q", did.as_str())) { "Why?" } }
            }
            @match found {
                None => p { "This relay has never seen an event of this account." },
                Some((whole, collections)) => {
                    p { (certainty(whole)) }
                    @if !collections.is_empty() {
                        table.rows {
                            thead { tr { th { "Collection" } th { "Known" } } }
                            tbody { @for (nsid, pair) in collections.iter().take(OF_ACCOUNT_MAX) { tr {
                                th.words scope="row" { code { (nsid) } }
                                td { (how(*pair)) }
                            } } }
                        }
                        @if collections.len() > OF_ACCOUNT_MAX {
                            p.dim { "It has " (collections.len()) " in all." }
                        }
                    }
                }
            }
        }
    })
}

type OfAccount = (Whole, Vec<(String, PairState)>);

fn of_account(index: &Index, account: crate::domain::AccountNo) -> Result<OfAccount, Error> {
    let (whole, pairs) = index.of_account(account).map_err(|error| {
        tracing::error!(%error, "the index of collections could not be read");
        Error::unavailable("the index of collections does not answer")
    })?;
    let named = |(number, pair)| Some((index.nsid(number)?.as_ref().to_owned(), pair));
    let mut collections: Vec<_> = pairs.into_iter().filter_map(named).collect();
    collections.sort();
    Ok((whole, collections))
}

const fn how(pair: PairState) -> &'static str {
    match pair {
        PairState::Proven => "proven",
        PairState::Believed => "believed: another relay says so",
    }
}

/// What a person reads of an account as a whole.
const fn certainty(whole: Whole) -> &'static str {
    match whole {
        Whole::Unmarked => "Nothing was said about it as a whole yet.",
        Whole::Complete => "This is all that it has.",
        Whole::Gone => "It was deleted, and has nothing.",
        Whole::Unsure(Doubt::OlderRecords) => {
            "It had records before this relay first saw it: more may be there. Its host will be asked."
        }
        Whole::Unsure(Doubt::Discontinuity) => {
            "A commit did not follow the one before: some may be missing or gone. Its host will be asked."
        }
        Whole::Unsure(Doubt::Sync) => {
            "Its whole state was replaced: some may be missing or gone. Its host will be asked."
        }
        Whole::Unsure(Doubt::Lenient) => {
            "A commit was passed that proves nothing: some may be missing or gone. Its host will be asked."
        }
        Whole::Unsure(Doubt::LogLost) => {
            "The event log did not reach back far enough: some may be missing or gone. Its host will be \
             asked."
        }
        Whole::Unsure(Doubt::Imported) => {
            "Only another relay's list names it: its host will be asked."
        }
        Whole::Unsure(Doubt::Inactive) => {
            "It is not active, and not listed: its host will be asked when it returns."
        }
        Whole::Unsure(Doubt::Moved) => {
            "It came to another host, and what the one before said last may be missing. Its host will be \
             asked."
        }
        Whole::Unsure(Doubt::NoRoom) => {
            "There was no room for the name of a collection that it uses."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_two_digits_and_nothing_is_no_part_of_nothing() {
        for (part, whole, text) in [
            (0, 0, "0.00 %"),
            (1, 3, "33.33 %"),
            (3, 3, "100.00 %"),
            (1, 20_000, "0.00 %"),
            (u64::MAX, u64::MAX, "100.00 %"),
        ] {
            assert_eq!(share(part, whole), text);
        }
    }
}
