//! Hosts found by what an operator looks for: filter, order, page.

use std::cmp::Ordering;

use crate::{
    api::{ApiState, error::Error, params::Params},
    domain::{DropReason, HostId, HostStatus},
    hosts::HostView,
    telemetry::escape,
};

/// How hosts are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Id,
    Hostname,
    Status,
    Accounts,
    Events,
    Unsettled,
}

const SORTS: [(&str, Sort); 6] = [
    ("id", Sort::Id),
    ("hostname", Sort::Hostname),
    ("status", Sort::Status),
    ("accounts", Sort::Accounts),
    ("events", Sort::Events),
    ("unsettled", Sort::Unsettled),
];

/// What is looked for.
#[derive(Debug, Clone)]
pub(in crate::api) struct Query {
    status: Option<HostStatus>,
    /// A reason for which events of the host were dropped since the start.
    reason: Option<DropReason>,
    /// A part of name, last error, or reason of its status; in small letters.
    text: Option<String>,
    sort: Sort,
    descending: bool,
    /// Of the order by number: the last one shown. Of another: how many were shown.
    after: u64,
}

/// One page.
#[derive(Debug)]
pub(in crate::api) struct Found {
    pub(in crate::api) views: Vec<HostView>,
    /// All that fit, on all pages.
    pub(in crate::api) total: usize,
    /// Cursor of the next page; `None` on the last.
    pub(in crate::api) next: Option<String>,
}

impl Query {
    /// Reads the parameters `status`, `reason`, `text`, `sort`, `order` and `cursor`.
    pub(in crate::api) fn read(params: &Params) -> Result<Self, Error> {
        let status = params.text("status").map(|text| {
            HostStatus::from_text(text).ok_or_else(|| {
                let known: Vec<_> = HostStatus::ALL.iter().map(|status| status.as_text()).collect();
                not_one_of("status", text, &known)
            })
        });
        let reason = params.text("reason").map(|text| {
            let found = DropReason::ALL.iter().find(|reason| reason.label() == text).copied();
            let known = || DropReason::ALL.iter().map(|reason| reason.label()).collect::<Vec<_>>();
            found.ok_or_else(|| not_one_of("reason", text, &known()))
        });
        let sort = params.text("sort").unwrap_or("id");
        let known = SORTS.iter().find(|(name, _)| *name == sort).map(|(_, sort)| *sort);
        let descending = match params.text("order") {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(other) => return Err(not_one_of("order", other, &["asc", "desc"])),
        };
        Ok(Self {
            status: status.transpose()?,
            reason: reason.transpose()?,
            text: params.text("text").map(str::to_lowercase),
            sort: known.ok_or_else(|| not_one_of("sort", sort, &SORTS.map(|(name, _)| name)))?,
            descending,
            after: params.cursor()?,
        })
    }

    /// Looks at all hosts; some thousands are in memory.
    pub(in crate::api) fn run(&self, state: &ApiState, limit: usize) -> Found {
        let mut views = state.hosts.list(HostId(0), usize::MAX);
        views.retain(|host| self.fits(host) && self.has_dropped(state, host.id));
        self.page(views, limit)
    }

    fn page(&self, mut views: Vec<HostView>, limit: usize) -> Found {
        let total = views.len();
        views.sort_by(|one, other| {
            let order = self.order(one, other).then_with(|| one.id.cmp(&other.id));
            if self.descending { order.reverse() } else { order }
        });
        // By number a page goes on behind the last one shown, whatever was added since.
        let skipped = match (self.sort, self.after) {
            (_, 0) => 0,
            (Sort::Id, after) => views.partition_point(|host| {
                let id = u64::from(host.id.0);
                if self.descending { id >= after } else { id <= after }
            }),
            (_, shown) => usize::try_from(shown).unwrap_or(usize::MAX).min(total),
        };
        views.drain(..skipped);
        let more = views.len() > limit;
        views.truncate(limit);
        let next = match self.sort {
            Sort::Id => views.last().map(|host| host.id.0.to_string()),
            _ => Some(skipped.saturating_add(limit).to_string()),
        };
        Found { views, total, next: next.filter(|_| more) }
    }

    fn fits(&self, host: &HostView) -> bool {
        let has = |text: &str, part: &str| text.to_lowercase().contains(part);
        self.status.is_none_or(|status| host.status == status)
            && self.text.as_deref().is_none_or(|part| {
                let more = [&host.last_error, &host.status_reason];
                has(&host.hostname, part) || more.into_iter().flatten().any(|text| has(text, part))
            })
    }

    fn has_dropped(&self, state: &ApiState, host: HostId) -> bool {
        self.reason.is_none_or(|reason| {
            let totals = state.drops.host_totals(host);
            totals.iter().any(|(found, count)| *found == reason && *count > 0)
        })
    }

    fn order(&self, one: &HostView, other: &HostView) -> Ordering {
        match self.sort {
            Sort::Id => Ordering::Equal,
            Sort::Hostname => one.hostname.cmp(&other.hostname),
            Sort::Status => one.status.as_text().cmp(other.status.as_text()),
            Sort::Accounts => one.account_count.cmp(&other.account_count),
            Sort::Events => one.events.cmp(&other.events),
            Sort::Unsettled => one.unsettled.cmp(&other.unsettled),
        }
    }
}

fn not_one_of(name: &str, text: &str, known: &[&str]) -> Error {
    let (text, known) = (escape(text, 80), known.join(", "));
    Error::invalid(format!("{name} is one of {known}, not {text}"))
}
