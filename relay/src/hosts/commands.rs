//! What an operator, the policy file, a sibling or a rule of the relay changes about hosts.
//!
//! Every command is durable in the store when it answers, and recorded with who asked for it and why.
//! They are carried out one after the other, so that none undoes another. A command whose caller goes
//! away in the middle is carried out all the same.

use std::sync::Arc;

use super::{
    Host, HostView, Hosts,
    domains::OnCancel,
    life::ERROR_CHARS_MAX,
    limits::{ACCOUNTS_MAX, RATES_MAX},
    record::Draft,
    words,
};
use crate::{
    domain::{Actor, Epoch, HostChange, HostChangeKind, HostStatus, OwnLimits, Strictness},
    net::printable,
    store::{HostRow, StoreError},
};

/// Why a command about hosts was not carried out; `name()` is the XRPC error name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such host is known, or its name is none.
    #[error("no host `{0}` is known here")]
    UnknownHost(String),
    /// The text is no domain.
    #[error("{0}")]
    BadDomain(String),
    /// A limit or a time is out of its range.
    #[error("{0}")]
    BadValue(String),
    /// Banned, by itself or with its domain; what was asked for would do nothing.
    #[error("{0}")]
    Banned(String),
    /// The database; nothing was changed.
    #[error("{0}")]
    Store(String),
}

impl CommandError {
    /// The error name in an XRPC answer.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UnknownHost(_) => "HostNotFound",
            Self::BadDomain(_) | Self::BadValue(_) => "InvalidRequest",
            Self::Banned(_) => "HostBanned",
            Self::Store(_) => "ServiceUnavailable",
        }
    }

    /// The status of an XRPC answer.
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::UnknownHost(_) => 404,
            Self::BadDomain(_) | Self::BadValue(_) => 400,
            Self::Banned(_) => 409,
            Self::Store(_) => 503,
        }
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// What happens to one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Edit<T> {
    /// It stays.
    #[default]
    Keep,
    /// It is left to the rules that hold for all.
    Clear,
    /// It is set.
    Set(T),
}

impl<T> Edit<T> {
    fn apply(self, to: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *to = None,
            Self::Set(value) => *to = Some(value),
        }
    }
}

/// Which limits of a host change; `Default` changes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitsEdit {
    /// Live accounts, up to 1,000,000,000.
    pub accounts: Edit<u64>,
    /// Events per second, 1 to 1,000,000.
    pub per_second: Edit<u64>,
    /// Events per hour, 1 to 3,600,000,000.
    pub per_hour: Edit<u64>,
    /// Events per day, 1 to 86,400,000,000.
    pub per_day: Edit<u64>,
}

impl LimitsEdit {
    fn check(&self) -> Result<(), CommandError> {
        let rates = [self.per_second, self.per_hour, self.per_day];
        let spans = ["second", "hour", "day"];
        for ((edit, most), span) in rates.into_iter().zip(RATES_MAX).zip(spans) {
            if matches!(edit, Edit::Set(rate) if !(1..=most).contains(&rate)) {
                let why = format!("events per {span} are a number from 1 to {most}");
                return Err(CommandError::BadValue(why));
            }
        }
        if matches!(self.accounts, Edit::Set(accounts) if accounts > ACCOUNTS_MAX) {
            let why = format!("the accounts of a host are a number from 0 to {ACCOUNTS_MAX}");
            return Err(CommandError::BadValue(why));
        }
        Ok(())
    }

    fn apply(self, to: &mut OwnLimits) {
        self.accounts.apply(&mut to.accounts);
        self.per_second.apply(&mut to.per_second);
        self.per_hour.apply(&mut to.per_hour);
        self.per_day.apply(&mut to.per_day);
    }
}

/// Changes a row as a command wants it.
type Change<'a> = &'a (dyn Fn(&mut HostRow) + Send + Sync);

impl Hosts {
    /// Bans a host: its connection ends at once, and it is not read until [`Self::unban`].
    ///
    /// # Errors
    /// [`CommandError`]; nothing was changed then.
    pub async fn ban(
        &self,
        name: &str,
        actor: &Actor,
        reason: &str,
    ) -> Result<HostView, CommandError> {
        self.set_status(name, HostStatus::Banned, (actor, reason)).await
    }

    /// Ends the ban of a host and connects to it at once. A ban of its domain stays; the answer shows
    /// it.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was changed then.
    pub async fn unban(
        &self,
        name: &str,
        actor: &Actor,
        reason: &str,
    ) -> Result<HostView, CommandError> {
        let host = self.named(name)?;
        let now_ms = self.parts.clock.now_ms();
        let lift = |row: &mut HostRow| {
            if row.status == HostStatus::Banned {
                become_with(row, HostStatus::Active, "", now_ms);
            }
        };
        self.change(&host, HostChangeKind::Status, (actor, reason), &lift).await?;
        self.wake(&host);
        Ok(self.view_of(&host))
    }

    /// Ends the connection to a host, and makes none until somebody asks for the host again, by
    /// requestCrawl or by [`Self::reconnect`]. Its status is idle meanwhile.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was changed then.
    pub async fn disconnect(
        &self,
        name: &str,
        actor: &Actor,
        reason: &str,
    ) -> Result<HostView, CommandError> {
        let host = self.named(name)?;
        refuse_banned(&host)?;
        self.set_status(name, HostStatus::Idle, (actor, reason)).await
    }

    /// Connects to a host at once, whatever it waits for; an open connection is made anew.
    ///
    /// # Errors
    /// [`CommandError`], also when it is banned; nothing was changed then.
    pub async fn reconnect(
        &self,
        name: &str,
        actor: &Actor,
        reason: &str,
    ) -> Result<HostView, CommandError> {
        let host = self.named(name)?;
        refuse_banned(&host)?;
        let now_ms = self.parts.clock.now_ms();
        let asked = HostChange {
            at_ms: now_ms,
            kind: HostChangeKind::Connection,
            before: host.doing(now_ms),
            after: "connecting".to_owned(),
            reason: printable(reason, ERROR_CHARS_MAX),
            actor: actor.clone(),
        };
        host.life.lock().note(asked);
        let free = |row: &mut HostRow| {
            if row.status != HostStatus::Banned {
                become_with(row, HostStatus::Active, reason, now_ms);
            }
        };
        self.change(&host, HostChangeKind::Status, (actor, reason), &free).await?;
        host.end_attempt();
        self.wake(&host);
        Ok(self.view_of(&host))
    }

    /// Sets limits for one host alone, or leaves them to the rules again. They hold at once.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was changed then.
    pub async fn set_limits(
        &self,
        name: &str,
        edit: LimitsEdit,
        actor: &Actor,
        reason: &str,
    ) -> Result<HostView, CommandError> {
        edit.check()?;
        let host = self.named(name)?;
        let set = |row: &mut HostRow| edit.apply(&mut row.own_limits);
        self.change(&host, HostChangeKind::Limits, (actor, reason), &set).await?;
        host.pace.lock().forget_limits();
        // One that waits because it was over its limits may go on at once.
        self.wake_if_waiting(&host);
        Ok(self.view_of(&host))
    }

    /// Raises the limit of accounts that a host has by the settings, as for one that another relay
    /// reports as large; never lowers it, and a limit that was set for the host alone counts before it.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was changed then.
    pub async fn raise_account_limit(
        &self,
        name: &str,
        at_least: u64,
        actor: &Actor,
        reason: &str,
    ) -> Result<HostView, CommandError> {
        let host = self.named(name)?;
        let at_least = at_least.min(ACCOUNTS_MAX);
        let raise = |row: &mut HostRow| row.account_limit = row.account_limit.max(at_least);
        self.change(&host, HostChangeKind::Limits, (actor, reason), &raise).await?;
        Ok(self.view_of(&host))
    }

    /// Decides how strictly a host is validated. One that has ratcheted stays strict (DESIGN 10.14);
    /// the answer shows it.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was changed then.
    pub async fn set_strictness(
        &self,
        name: &str,
        strictness: Strictness,
        actor: &Actor,
        reason: &str,
    ) -> Result<HostView, CommandError> {
        if let Strictness::LenientUntil(until_ms) = strictness
            && until_ms <= self.parts.clock.now_ms()
        {
            let why = "the time until which a host is spared has passed".to_owned();
            return Err(CommandError::BadValue(why));
        }
        let host = self.named(name)?;
        let set = |row: &mut HostRow| row.strictness = strictness;
        self.change(&host, HostChangeKind::Strictness, (actor, reason), &set).await?;
        Ok(self.view_of(&host))
    }

    /// Sends no alerts about a host until a time, ms since 1970; 0 ends that, `u64::MAX` is for good.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was changed then.
    pub async fn silence_alerts(
        &self,
        name: &str,
        until_ms: u64,
        actor: &Actor,
        reason: &str,
    ) -> Result<HostView, CommandError> {
        let host = self.named(name)?;
        let set = |row: &mut HostRow| row.silenced_until_ms = until_ms;
        self.change(&host, HostChangeKind::Alerts, (actor, reason), &set).await?;
        Ok(self.view_of(&host))
    }

    /// Forgets the cursor of a host and reads it from its beginning, as after UP-6.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was changed then.
    pub async fn reset_cursor_by_name(
        &self,
        name: &str,
        actor: &Actor,
        reason: &str,
    ) -> Result<HostView, CommandError> {
        let host = self.named(name)?;
        self.begin_anew(&host, (actor, reason)).await?;
        host.end_attempt();
        self.wake_if_waiting(&host);
        Ok(self.view_of(&host))
    }

    /// A new epoch without a cursor; what was under way in the old one is judged all the same.
    pub(super) async fn begin_anew(
        &self,
        host: &Arc<Host>,
        why: (&Actor, &str),
    ) -> Result<Epoch, StoreError> {
        let now_ms = self.parts.clock.now_ms();
        let reset = |row: &mut HostRow| {
            row.epoch = Epoch(row.epoch.0.saturating_add(1));
            row.cursor = None;
            row.cursor_reset_ms = now_ms;
        };
        self.change(host, HostChangeKind::Cursor, why, &reset).await.map(|row| row.epoch)
    }

    /// What changed about a host, newest first, at most 100 changes.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn history(&self, name: &str) -> Result<Vec<HostChange>, CommandError> {
        let host = self.named(name)?;
        let mut history = self.parts.store.host_changes(host.id()).await?;
        // What happened in the last seconds is not in the store yet.
        let waiting: Vec<_> = host.life.lock().changes.iter().rev().cloned().collect();
        history.splice(0..0, waiting);
        history.truncate(usize::try_from(crate::domain::HOST_CHANGES_MAX).unwrap_or(usize::MAX));
        Ok(history)
    }

    /// The host of a name in any form that requestCrawl takes.
    fn named(&self, name: &str) -> Result<Arc<Host>, CommandError> {
        let unknown = || CommandError::UnknownHost(printable(name, ERROR_CHARS_MAX));
        // Also of development hosts, which may be in the store from another mode.
        let hostname =
            relay_protocol::Hostname::parse(name.trim(), true).map_err(|_invalid| unknown())?;
        self.by_name(hostname.as_str()).ok_or_else(unknown)
    }

    async fn set_status(
        &self,
        name: &str,
        status: HostStatus,
        why: (&Actor, &str),
    ) -> Result<HostView, CommandError> {
        let host = self.named(name)?;
        let now_ms = self.parts.clock.now_ms();
        let set = |row: &mut HostRow| become_with(row, status, why.1, now_ms);
        self.change(&host, HostChangeKind::Status, why, &set).await?;
        host.end_attempt();
        Ok(self.view_of(&host))
    }

    /// Carries out one command: in the store first, then in memory. Gives the row as it is then.
    pub(super) async fn change(
        &self,
        host: &Arc<Host>,
        kind: HostChangeKind,
        (actor, reason): (&Actor, &str),
        change: Change<'_>,
    ) -> Result<HostRow, StoreError> {
        let _writing = self.parts.writing.lock().await;
        let Draft { row: before, mut changes } = host.draft();
        let mut row = before.clone();
        change(&mut row);
        let (was, is) = (words::of(kind, &before), words::of(kind, &row));
        if was != is {
            changes.push(HostChange {
                at_ms: self.parts.clock.now_ms(),
                kind,
                before: was,
                after: is,
                reason: printable(reason, ERROR_CHARS_MAX),
                actor: actor.clone(),
            });
        }
        let mut draft = Draft { row, changes };
        let numbered = draft.numbered();
        let carried_out = OnCancel::new(|| {
            host.take_over(&before, &draft.row);
            host.give_back(draft.changes.clone());
        });
        let rows = std::slice::from_ref(&draft.row);
        let saved = self.parts.store.save_hosts_with(rows, &numbered).await;
        carried_out.not_needed();
        if let Err(error) = saved {
            // Those that were there before; it may be that the database has them all the same.
            let last = usize::from(was_changed(&before, kind, &draft.row));
            draft.changes.truncate(draft.changes.len() - last);
            host.give_back(draft.changes);
            return Err(error);
        }
        host.wrote(&draft.row);
        host.take_over(&before, &draft.row);
        Ok(draft.row)
    }

    fn wake_if_waiting(&self, host: &Host) {
        if !host.is_connected() {
            self.wake(host);
        }
    }

    fn view_of(&self, host: &Host) -> HostView {
        super::view(host, self.parts.clock.now_ms())
    }
}

fn was_changed(before: &HostRow, kind: HostChangeKind, after: &HostRow) -> bool {
    words::of(kind, before) != words::of(kind, after)
}

fn become_with(row: &mut HostRow, status: HostStatus, reason: &str, now_ms: u64) {
    if row.status != status {
        row.status = status;
        row.status_since_ms = now_ms;
    }
    let reason = printable(reason, ERROR_CHARS_MAX);
    row.status_reason = (!reason.is_empty()).then_some(reason);
}

fn refuse_banned(host: &Host) -> Result<(), CommandError> {
    let life = host.life.lock();
    if life.status() != HostStatus::Banned {
        return Ok(());
    }
    let why = match &life.domain_ban {
        Some(domain) => format!("the domain {domain} of the host is banned; end that ban first"),
        None => "the host is banned; end the ban first".to_owned(),
    };
    Err(CommandError::Banned(why))
}
