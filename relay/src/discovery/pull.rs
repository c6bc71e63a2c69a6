//! Reads the list of hosts of one relay from where it was left (HOST-13).

use url::form_urlencoded;

use super::{asking::Asking, listing::Page};
use crate::{
    clock::Clock,
    hosts::Hosts,
    net::Net,
    store::{PullRow, Store},
};

/// Hosts of one page; what the method allows at most.
const PAGE: usize = 1_000;

/// A thousand entries of the longest names have a third of these bytes.
const ASKING: Asking = Asking { whose: "it", bytes_max: 2 << 20, attempts: 4 };

/// Hosts handed over at once: one transaction each.
const BATCH: usize = 200;

/// Entries of one list. The network has some thousands of hosts; more is somebody's game.
const LISTED_MAX: u64 = 200_000;

/// Pages of one run, also of empty ones.
const PAGES_MAX: u32 = 10_000;

/// What a run works with; without the daemon too.
#[derive(Debug, Clone)]
pub struct Place {
    /// Keeps how far it is.
    pub store: Store,
    /// Takes the hosts.
    pub hosts: Hosts,
    /// Asks.
    pub net: Net,
    /// Clock.
    pub clock: Clock,
}

/// Reads pages until the last, or until something is wrong, which is in the row then. What was read is
/// in the store after each page.
///
/// * `tell` – is given the row after each page
///
/// Cancel safety: hosts of a page that was not finished are known at the next run.
pub async fn pull(place: &Place, mut row: PullRow, mut tell: impl FnMut(&PullRow)) -> PullRow {
    row.last_error = None;
    for _ in 0..PAGES_MAX {
        row.last_error = step(place, &mut row).await.err();
        if let Err(error) = place.store.save_pull(&row).await {
            // What was read stays known; the pages since the last that was kept are read again.
            row.last_error.get_or_insert(error.to_string());
        }
        tell(&row);
        if row.last_error.is_some() || row.finished_ms.is_some() {
            return row;
        }
    }
    row.last_error = Some(format!("it gave {PAGES_MAX} pages, and no end"));
    row
}

/// One page.
async fn step(place: &Place, row: &mut PullRow) -> Result<(), String> {
    let page = Page::read(&ASKING.page(&place.net, &url(row)).await?)?;
    row.listed += page.listed();
    row.passed_over += page.passed_over;
    row.refused += page.refused;
    for batch in page.wanted.chunks(BATCH) {
        take(&place.hosts, batch, row).await?;
    }
    if row.listed > LISTED_MAX {
        return Err(format!("its list has more than {LISTED_MAX} hosts"));
    }
    if page.next.is_some() && page.next == row.next_page {
        return Err("its list gives the same page again and again".to_owned());
    }
    row.next_page = page.next;
    if row.next_page.is_none() {
        row.finished_ms = Some(place.clock.now_ms());
    }
    Ok(())
}

/// Adds the hosts that were never seen; those that are known are left as they are.
async fn take(hosts: &Hosts, batch: &[(String, u64)], row: &mut PullRow) -> Result<(), String> {
    let is_known = |name: &str| hosts.by_name(name.trim()).is_some();
    let new: Vec<(&str, u64)> = batch
        .iter()
        .filter(|(name, _)| !is_known(name))
        .map(|(name, room)| (name.as_str(), *room))
        .collect();
    row.known += (batch.len() - new.len()) as u64;
    for added in hosts.add_many_for(&new).await {
        match added {
            Ok(_) => row.added += 1,
            Err(crate::hosts::Refusal::Store(why)) => return Err(why),
            Err(_) => row.refused += 1,
        }
    }
    Ok(())
}

fn url(row: &PullRow) -> String {
    let scheme = if row.secure { "https" } else { "http" };
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &PAGE.to_string());
    if let Some(cursor) = &row.next_page {
        query.append_pair("cursor", cursor);
    }
    format!("{scheme}://{}/xrpc/com.atproto.sync.listHosts?{}", row.source, query.finish())
}
