//! The accounts that wait to be asked about at one host. Pure.

use std::collections::{BTreeSet, VecDeque};

use relay_protocol::Did;

use crate::domain::AccountNo;

/// Accounts in line at one host; the others are found again.
const LENGTH_MAX: usize = 500;

/// Accounts that operators put in front, at one host.
const FIRST_MAX: usize = 100_000;

/// Longest text of an error that is kept, in characters.
const ERROR_CHARS_MAX: usize = 300;

/// An account in line.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) account: AccountNo,
    pub(super) did: Did,
    /// A person waits: it is asked about without a pause.
    pub(super) hurry: bool,
}

/// What a host was asked since the start of the process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// Questions.
    pub asked: u64,
    /// Accounts that are certain now.
    pub resolved: u64,
    /// Accounts of which it told nothing.
    pub failed: u64,
    /// It is left alone until then, by the steady clock; 0 = it is not.
    pub rests_until_ms: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

impl Told {
    pub(super) fn note(&mut self, why: &str) {
        self.last_error = Some(why.chars().take(ERROR_CHARS_MAX).collect());
    }
}

/// The line of one host.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: VecDeque<Waiting>,
    /// The same, so that nobody stands in it twice; also the one that is being asked about.
    inside: BTreeSet<AccountNo>,
    being_asked: Option<AccountNo>,
    /// Whose budget its questions were of last.
    pub(super) group: Option<String>,
    /// Somebody asks this host.
    pub(super) running: bool,
    /// It rests because it failed, not because it asked for it.
    gave_up: bool,
    pub(super) told: Told,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Gives whether it stands in the line now and did not before.
    pub(super) fn push(&mut self, waiting: Waiting) -> bool {
        if self.waiting.len() >= LENGTH_MAX || !self.inside.insert(waiting.account) {
            return false;
        }
        self.waiting.push_back(waiting);
        true
    }

    /// The same, in front of all others.
    pub(super) fn push_first(&mut self, waiting: Waiting) -> bool {
        if self.being_asked == Some(waiting.account) {
            // It comes back, or is wanted once more.
            self.being_asked = None;
            self.inside.remove(&waiting.account);
        }
        if self.waiting.len() >= FIRST_MAX {
            return false;
        }
        if self.inside.insert(waiting.account) {
            self.waiting.push_front(waiting);
            return true;
        }
        let place = self.waiting.iter().position(|other| other.account == waiting.account);
        if place.and_then(|place| self.waiting.remove(place)).is_some() {
            self.waiting.push_front(waiting);
        }
        false
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        if let Some(before) = self.being_asked.take() {
            self.inside.remove(&before);
        }
        let next = self.waiting.pop_front()?;
        self.being_asked = Some(next.account);
        Some(next)
    }

    /// Whether somebody should begin to ask this host.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        !self.running && !self.waiting.is_empty() && self.told.rests_until_ms <= now_ms
    }

    /// A person waits for all who stand in it.
    pub(super) fn hurry(&mut self) {
        self.waiting.iter_mut().for_each(|waiting| waiting.hurry = true);
    }

    /// It is left alone until then.
    pub(super) fn rest(&mut self, until_ms: u64) {
        self.told.rests_until_ms = until_ms;
    }

    /// The same, because it failed several times in a row.
    pub(super) fn give_up(&mut self, until_ms: u64) {
        self.rest(until_ms);
        self.gave_up = true;
    }

    /// Whether it is left alone because it failed.
    pub(super) fn is_given_up(&self, now_ms: u64) -> bool {
        self.gave_up && self.told.rests_until_ms > now_ms
    }

    /// It is left alone no longer.
    pub(super) fn wake(&mut self) {
        self.told.rests_until_ms = 0;
        self.gave_up = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(account: u64) -> Waiting {
        let did = Did::parse(&format!("did:web:a{account}.example.com")).unwrap();
        Waiting { account: AccountNo(account), did, hurry: false }
    }

    fn next(line: &mut Line) -> Option<u64> {
        line.pop().map(|waiting| waiting.account.0)
    }

    /// Nobody stands in the line twice, and whom an operator names comes first.
    #[test]
    fn a_line_has_everyone_once_and_operators_first() {
        let mut line = Line::default();
        assert!(line.push(waiting(1)) && line.push(waiting(2)) && !line.push(waiting(1)));
        assert!(line.push_first(waiting(3)));
        assert!(!line.push_first(waiting(2)), "it stood in the line");
        assert_eq!(next(&mut line), Some(2));
        assert!(!line.push(waiting(2)), "it is being asked about");
        assert!(line.push_first(waiting(2)), "it was put back");
        assert_eq!(
            (next(&mut line), next(&mut line), next(&mut line)),
            (Some(2), Some(3), Some(1))
        );
        assert_eq!(next(&mut line), None);
        assert!(line.push(waiting(1)), "it may come again");
    }

    #[test]
    fn a_line_is_bounded_and_rests() {
        let mut line = Line::default();
        for account in 0..LENGTH_MAX {
            assert!(line.push(waiting(account as u64)));
        }
        assert!(!line.push(waiting(999_999)));
        assert!(line.is_due(0));
        line.rest(10);
        assert!(!line.is_due(9) && line.is_due(10) && !line.is_given_up(9));
        line.give_up(20);
        assert!(!line.is_due(19) && line.is_given_up(19) && !line.is_given_up(20));
        line.wake();
        assert!(line.is_due(19) && !line.is_given_up(19));
        line.running = true;
        assert!(!line.is_due(11), "it is being asked");
    }
}
