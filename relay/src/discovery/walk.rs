//! Reads the list of accounts of one host from where it was left, and has each claim checked (ACC-10).

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use relay_protocol::Did;
use tokio::time::Instant;
use url::form_urlencoded::byte_serialize;

use super::{
    groups::{Groups, Suffixes},
    page::Page,
    repos::{self, Claim, claim},
};
use crate::{
    accounts::probe::{Probed, Probes},
    clock::Clock,
    domain::UpstreamStatus,
    hosts::{Host, Hosts},
    identity::{Identities, IdentityError},
    ingest::{Ingest, Listed, Reconciled},
    net::Net,
    store::{Store, WalkRow},
};

/// Accounts of one page.
const PAGE: usize = 500;

/// Bytes of a page; an entry has about 200.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// Attempts for one page: 429 of an operator with many hosts is usual.
const ATTEMPTS: u32 = 8;

/// First pause between two attempts that failed without a word about when; doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// Pause between two pages of a walk that nobody waits for.
const BREATH: Duration = Duration::from_secs(2);

/// Lookups per second of all walks together: the others belong to the events.
const LOOKUPS_PER_SECOND: u32 = 20;

/// What all walks share.
#[derive(Debug, Clone)]
pub(super) struct Walker {
    pub(super) store: Store,
    pub(super) hosts: Hosts,
    pub(super) net: Net,
    pub(super) clock: Clock,
    pub(super) ingest: Ingest,
    pub(super) identities: Identities,
    pub(super) probes: Probes,
    pub(super) groups: Groups,
    /// When the next lookup may be.
    pub(super) next_lookup: Arc<Mutex<Option<Instant>>>,
}

impl Walker {
    /// Reads pages until the last, or until something is wrong, which is in the row then. What was read
    /// is in the store after each page.
    ///
    /// Cancel safety: the page that was not finished is read again.
    pub(super) async fn walk(
        &self,
        host: &Host,
        mut row: WalkRow,
        mut tell: impl FnMut(&WalkRow),
    ) -> WalkRow {
        row.last_error = None;
        let group = self.group(host).await;
        loop {
            row.last_error = self.step(host, &group, &mut row).await.err();
            if let Err(error) = self.store.save_walk(&row).await {
                row.last_error.get_or_insert(error.to_string());
            }
            tell(&row);
            if row.last_error.is_some() || row.finished_ms.is_some() {
                return row;
            }
            if !row.asked {
                tokio::time::sleep(BREATH).await;
            }
        }
    }

    /// Whose budget the calls of this host are of.
    pub(super) async fn group(&self, host: &Host) -> String {
        let names: Vec<String> =
            self.hosts.all().iter().map(|host| host.hostname().to_string()).collect();
        let suffixes = Suffixes::of(&names);
        let name = host.hostname().as_str();
        // A name that has no address now is a group of its own; its calls fail by themselves.
        let address = self.net.address(name.split(':').next().unwrap_or(name)).await.ok();
        suffixes.group(name, address)
    }

    /// One page.
    async fn step(&self, host: &Host, group: &str, row: &mut WalkRow) -> Result<(), String> {
        let page = self.page(host, group, row.next_page.as_deref()).await?;
        for claim in &page.entries {
            row.listed += 1;
            match self.judge(host, claim).await? {
                Judged::As(Reconciled::Added) => row.added += 1,
                Judged::As(Reconciled::Changed) => row.changed += 1,
                Judged::As(Reconciled::Same | Reconciled::Unsure) => {}
                Judged::Refused => row.refused += 1,
            }
            if repos::is_mostly_wrong(row.listed, row.refused) {
                return Err(format!(
                    "{} of the {} accounts that it lists are not its own",
                    row.refused, row.listed
                ));
            }
        }
        row.listed += page.strange;
        let most = repos::listed_max(host.account_limit(), host.account_count());
        if row.listed > most {
            return Err(format!("it lists more than {most} accounts"));
        }
        if page.next.is_some() && page.next == row.next_page {
            return Err("its list gives the same page again and again".to_owned());
        }
        if page.next.is_some() && page.entries.is_empty() {
            return Err("its list gives an empty page that is not the last".to_owned());
        }
        row.next_page = page.next;
        if row.next_page.is_none() {
            row.finished_ms = Some(self.clock.now_ms());
        }
        Ok(())
    }

    async fn page(
        &self,
        host: &Host,
        group: &str,
        cursor: Option<&str>,
    ) -> Result<Page<Claim>, String> {
        let cursor = cursor.map(|cursor| byte_serialize(cursor.as_bytes()).collect::<String>());
        let cursor = cursor.map_or(String::new(), |cursor| format!("&cursor={cursor}"));
        let method = format!("/xrpc/com.atproto.sync.listRepos?limit={PAGE}{cursor}");
        let url = format!("{}{method}", base_url(host));
        let mut pause = PAUSE;
        for _ in 0..ATTEMPTS {
            let turn = self.groups.turn(group).await;
            let why = match self.net.get(&url, PAGE_BYTES_MAX).await {
                Ok(answer) if answer.status == 200 => return Page::read(&answer.body, claim),
                Ok(answer) if answer.status == 429 => {
                    turn.pause(answer.retry_after);
                    continue;
                }
                Ok(answer) if answer.status < 500 => {
                    return Err(format!("listRepos answered {}", answer.status));
                }
                Ok(answer) => format!("listRepos answered {}", answer.status),
                Err(error) => error.to_string(),
            };
            drop(turn);
            tracing::debug!(host = %host.hostname(), why, "a page of accounts did not come");
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
        Err(format!("no page of listRepos in {ATTEMPTS} attempts"))
    }

    /// What becomes of a claim.
    async fn judge(&self, host: &Host, claim: &Claim) -> Result<Judged, String> {
        let Claim { did, status } = claim;
        let known = self.ingest.account(did).await.map_err(|error| error.to_string())?;
        let document = match known {
            Some(account) if account.host == host.id() => {
                if account.upstream == *status || !self.is_confirmed(host, did, status).await {
                    return Ok(Judged::As(Reconciled::Same));
                }
                None
            }
            None if *status == UpstreamStatus::Deleted => {
                return Ok(Judged::As(Reconciled::Same));
            }
            // New here, or of another host: only its document can say so.
            _ => {
                self.lookup_turn().await;
                match self.identities.fetch(did, false).await {
                    Ok(document) => {
                        let named = document.pds.as_ref().map(|pds| pds.host.as_str());
                        if named != Some(host.hostname().as_str()) {
                            return Ok(Judged::Refused);
                        }
                        Some(document)
                    }
                    Err(IdentityError::Unavailable(_)) => {
                        return Ok(Judged::As(Reconciled::Unsure));
                    }
                    Err(_) => return Ok(Judged::Refused),
                }
            }
        };
        let listed = Listed { host: host.id(), status: status.clone(), document };
        let reconciled = self.ingest.listed(did, listed).await;
        reconciled.map(Judged::As).map_err(|_stopped| "the relay is stopping".to_owned())
    }

    /// The list may be older than what the stream has said since.
    async fn is_confirmed(&self, host: &Host, did: &Did, status: &UpstreamStatus) -> bool {
        let probed = self.probes.ask(host.id(), &base_url(host), did).await;
        matches!(probed, Probed::Status(now) if now == *status)
    }

    /// Waits until one more lookup is within the rate of all lists together.
    pub(super) async fn lookup_turn(&self) {
        let at = {
            let mut next = self.next_lookup.lock();
            let at = next.unwrap_or_else(Instant::now).max(Instant::now());
            *next = Some(at + Duration::from_secs(1) / LOOKUPS_PER_SECOND);
            at
        };
        tokio::time::sleep_until(at).await;
    }
}

enum Judged {
    As(Reconciled),
    Refused,
}

fn base_url(host: &Host) -> String {
    let scheme = if host.hostname().is_secure() { "https" } else { "http" };
    format!("{scheme}://{}", host.hostname())
}
