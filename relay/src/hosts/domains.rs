//! Domains that are banned or trusted, and what that does to their hosts (HOST-3, HOST-6).

use std::collections::BTreeMap;

use super::{CommandError, Hosts, bans, life::ERROR_CHARS_MAX, limits::pattern_covers};
use crate::{
    domain::{Actor, DomainBan},
    net::printable,
};

/// Stands in the place of a banned domain where only listed hosts are read.
const NOT_ALLOWED: &str = "*";
const NOT_ALLOWED_WORDS: &str = "only hosts on the allow-list of the policy file are read";

/// A domain in the form in which bans are kept.
///
/// # Errors
/// What is wrong with it, in words.
pub fn normal_domain(domain: &str) -> Result<String, String> {
    bans::normalised(domain)
}

/// The same for a pattern: `pds.example.com` is one host, `*.example.com` all below a domain, and
/// `localhost:2583` a host of a development machine.
///
/// # Errors
/// What is wrong with it, in words.
pub fn normal_pattern(pattern: &str) -> Result<String, String> {
    let pattern = pattern.trim();
    if pattern.starts_with("localhost:") {
        return Ok(pattern.to_owned());
    }
    let domain = bans::normalised(pattern)?;
    Ok(if pattern.starts_with('*') { format!("*.{domain}") } else { domain })
}

impl Hosts {
    /// Bans a domain and everything below it: connections end at once, and none of its hosts is
    /// admitted. Of a domain that is banned already the note is replaced, unless it is the policy file
    /// that asks and a person had banned it.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was changed then.
    pub async fn ban_domain(
        &self,
        domain: &str,
        actor: &Actor,
        note: &str,
    ) -> Result<DomainBan, CommandError> {
        let domain = bans::normalised(domain).map_err(CommandError::BadDomain)?;
        let at_ms = self.parts.clock.now_ms();
        let note = printable(note, ERROR_CHARS_MAX);
        let mut ban = DomainBan { domain, at_ms, actor: actor.clone(), note };
        let _writing = self.parts.writing.lock().await;
        if let Some(before) = self.parts.bans.read().get(&ban.domain) {
            if *actor == Actor::Policy && before.actor != Actor::Policy {
                return Ok(before.clone());
            }
            ban.at_ms = before.at_ms;
        }
        let known = |bans: &mut BTreeMap<_, _>| bans.insert(ban.domain.clone(), ban.clone());
        let kept = OnCancel::new(|| drop(known(&mut self.parts.bans.write())));
        let saved = self.parts.store.ban_domain(&ban).await;
        kept.not_needed();
        saved?;
        known(&mut self.parts.bans.write());
        self.review_bans((actor, &ban.note));
        Ok(ban)
    }

    /// Ends the ban of a domain and connects to its hosts at once, unless another ban covers them.
    /// Gives whether there was such a ban.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was changed then.
    pub async fn unban_domain(
        &self,
        domain: &str,
        actor: &Actor,
        note: &str,
    ) -> Result<bool, CommandError> {
        let domain = bans::normalised(domain).map_err(CommandError::BadDomain)?;
        let _writing = self.parts.writing.lock().await;
        let kept = OnCancel::new(|| drop(self.parts.bans.write().remove(&domain)));
        let gone = self.parts.store.unban_domain(&domain).await;
        kept.not_needed();
        let was_there = gone?;
        self.parts.bans.write().remove(&domain);
        self.review_bans((actor, note));
        Ok(was_there)
    }

    /// All bans of domains, in the order of their names.
    pub fn domain_bans(&self) -> Vec<DomainBan> {
        self.parts.bans.read().values().cloned().collect()
    }

    /// The ban that covers a host name or a domain, if any.
    pub fn domain_ban_of(&self, name: &str) -> Option<DomainBan> {
        let ban = bans::covering(&self.parts.bans.read(), name).cloned();
        ban.or_else(|| self.shut_out(name))
    }

    /// A host that is not on the list, where only those of a list are read.
    fn shut_out(&self, name: &str) -> Option<DomainBan> {
        let allowed = self.parts.allowed.read();
        let is_listed =
            |patterns: &Vec<String>| patterns.iter().any(|pattern| pattern_covers(pattern, name));
        let shut_out = allowed.as_ref().is_some_and(|patterns| !is_listed(patterns));
        shut_out.then(|| DomainBan {
            domain: NOT_ALLOWED.to_owned(),
            at_ms: 0,
            actor: Actor::Policy,
            note: NOT_ALLOWED_WORDS.to_owned(),
        })
    }

    /// The hosts and domains that are read, in the form of trusted domains; `None` when all are.
    pub fn allowed(&self) -> Option<Vec<String>> {
        self.parts.allowed.read().clone()
    }

    /// Reads only these from now on, or all again; at once, also for connections that are open. Not
    /// kept: the policy file says it again.
    ///
    /// # Errors
    /// [`CommandError::BadDomain`]; nothing was changed then.
    pub async fn set_allowed(&self, allowed: Option<Vec<String>>) -> Result<(), CommandError> {
        let normal = |patterns: Vec<String>| {
            let patterns = patterns.iter().map(|pattern| normal_pattern(pattern));
            patterns.collect::<Result<Vec<_>, _>>().map_err(CommandError::BadDomain)
        };
        let allowed = allowed.map(normal).transpose()?;
        let _writing = self.parts.writing.lock().await;
        *self.parts.allowed.write() = allowed;
        self.review_bans((&Actor::Policy, NOT_ALLOWED_WORDS));
        Ok(())
    }

    /// Which domains are trusted from now on (HOST-6), as `pds.example.com` for one host or
    /// `*.example.com` for all below a domain. Not kept: the settings and the policy file say it again.
    ///
    /// # Errors
    /// [`CommandError::BadDomain`]; nothing was changed then.
    pub fn set_trusted_domains(&self, patterns: &[String]) -> Result<(), CommandError> {
        let patterns = patterns.iter().map(|pattern| normal_pattern(pattern));
        let patterns = patterns.collect::<Result<Vec<_>, _>>().map_err(CommandError::BadDomain)?;
        *self.parts.shared.trusted.write() = patterns;
        Ok(())
    }

    /// Domains that are trusted now.
    pub fn trusted_domains(&self) -> Vec<String> {
        self.parts.shared.trusted.read().clone()
    }

    /// Ends connections to hosts that a ban covers now, and wakes those that none covers any more.
    fn review_bans(&self, (actor, note): (&Actor, &str)) {
        let now_ms = self.parts.clock.now_ms();
        for host in self.all() {
            let ban = self.domain_ban_of(host.hostname().as_str()).map(|ban| ban.domain);
            if host.set_domain_ban(ban, (actor, note), now_ms) {
                host.end_attempt();
                self.wake(&host);
            }
        }
    }
}

/// Does something when it is dropped before it is not needed: when the caller of a command went away
/// while the database was at work.
pub(super) struct OnCancel<F: FnMut()>(Option<F>);

impl<F: FnMut()> OnCancel<F> {
    pub(super) fn new(deed: F) -> Self {
        Self(Some(deed))
    }

    pub(super) fn not_needed(mut self) {
        self.0 = None;
    }
}

impl<F: FnMut()> Drop for OnCancel<F> {
    fn drop(&mut self) {
        if let Some(deed) = &mut self.0 {
            deed();
        }
    }
}
