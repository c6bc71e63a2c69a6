//! What the index of collections is filled from.

use relay_protocol::{Did, Hostname, Nsid};
use serde_json::json;

use super::{
    Actions, Done, Refused,
    action::{several, subject},
};
use crate::telemetry::escape;

/// Accounts in one request.
const DIDS_MAX: usize = 1_000;

/// Collections in one request.
const COLLECTIONS_MAX: usize = 100_000;

/// Relays in one request.
const SOURCES_MAX: usize = 20;

/// Where from, and for whom; all of it empty: every uncertain account, from its host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fill {
    /// These accounts, from their hosts.
    pub dids: Vec<Did>,
    /// From the lists of these relays.
    pub from: Vec<String>,
    /// Of these lists only those of these collections; empty for all that are known. Without a relay:
    /// from all relays whose lists were read to the end before.
    pub collections: Vec<String>,
}

impl Fill {
    pub(super) fn subject(&self) -> String {
        let names = |names: Vec<String>, count| several(&names, count);
        match (self.from.first(), self.dids.first()) {
            (Some(_), _) => {
                let first = self.from.iter().take(3).map(|name| subject(name)).collect();
                names(first, self.from.len())
            }
            (None, Some(_)) => {
                let first = self.dids.iter().take(3).map(ToString::to_string).collect();
                names(first, self.dids.len())
            }
            (None, None) => "hosts".to_owned(),
        }
    }
}

pub(super) async fn fill(actions: &Actions, fill: &Fill) -> Result<Done, Refused> {
    let parts = actions.parts();
    let Fill { dids, from, collections } = fill;
    for (what, count, most) in [
        ("dids", dids.len(), DIDS_MAX),
        ("from", from.len(), SOURCES_MAX),
        ("collections", collections.len(), COLLECTIONS_MAX),
    ] {
        if count > most {
            return Err(Refused::Invalid(format!("{what} must name {most} at most, not {count}")));
        }
    }
    let from = if from.is_empty() && !collections.is_empty() {
        read_before(actions)?
    } else {
        from.clone()
    };
    let sources: Result<Vec<_>, _> = from
        .iter()
        .map(|text| {
            Hostname::parse(text.trim(), parts.dev).map_err(|why| {
                Refused::Invalid(format!("{} is no relay: {why}", escape(text, 100)))
            })
        })
        .collect();
    let named: Result<Vec<_>, _> = collections
        .iter()
        .map(|text| {
            Nsid::parse(text.trim()).map_err(|why| {
                Refused::Invalid(format!("{} is no collection: {why}", escape(text, 100)))
            })
        })
        .collect();
    let (sources, named) = (sources?, named?);
    let mut started = Vec::new();
    for source in &sources {
        if parts.backfill.import(source, &named).await.map_err(Refused::Invalid)? {
            started.push(source.as_str());
        }
    }
    let mut unknown = Vec::new();
    if !dids.is_empty() {
        unknown = parts.backfill.ask(dids).await.map_err(unavailable)?;
    } else if sources.is_empty() {
        parts.backfill.hurry().await.map_err(unavailable)?;
    }
    let unknown: Vec<&str> = unknown.iter().map(Did::as_str).collect();
    let after = json!({
        "dids": dids.len(),
        "from": sources.iter().map(Hostname::as_str).collect::<Vec<_>>(),
        "collections": named.len(),
        "started": started,
    });
    Ok(Done { after, answer: json!({ "unknown": unknown }), ..Done::default() })
}

/// Where lists were read to the end: a collection that is named alone is read from there again.
fn read_before(actions: &Actions) -> Result<Vec<String>, Refused> {
    let imports = actions.parts().backfill.imports().into_iter().map(|import| import.row);
    let finished = imports.filter(|row| row.finished_ms.is_some()).map(|row| {
        let scheme = if row.secure { "https" } else { "http" };
        format!("{scheme}://{}", row.source)
    });
    let from: Vec<String> = finished.take(SOURCES_MAX).collect();
    if from.is_empty() {
        return Err(Refused::Invalid(
            "collections are named, but no relay to read their lists from, and none was read to the end \
             before: name one (--from RELAY). Hosts are asked about accounts (--dids FILE), not about \
             collections"
                .to_owned(),
        ));
    }
    Ok(from)
}

pub(super) fn verify(actions: &Actions, sample: u64) -> Result<Done, Refused> {
    let started = actions.parts().backfill.verify(sample).map_err(Refused::Invalid)?;
    Ok(Done { after: json!({ "sample": sample, "started": started }), ..Done::default() })
}

fn unavailable(why: String) -> Refused {
    Refused::Store(crate::store::StoreError::Unavailable(why))
}
