//! Which alerts are open, and what is to be said about them; what of it outlives a restart.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    board::AlertView,
    finding::{Finding, Kind},
};

/// What a message says of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Began,
    Lasts,
    Over,
}

impl State {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::Lasts => "lasts",
            Self::Over => "over",
        }
    }
}

/// Something to tell people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) kind: Kind,
    pub(super) state: State,
    pub(super) host: Option<String>,
    pub(super) words: String,
    /// When it began, ms since 1970.
    pub(super) since_ms: u64,
}

/// An alert that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    kind: Kind,
    host: Option<String>,
    words: String,
    since_ms: u64,
    /// When it was told last.
    told_ms: u64,
}

/// All alerts that are open.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    open: BTreeMap<(Kind, Option<String>), Open>,
    /// What is so and nobody is told of; found anew at each look.
    silenced: Vec<Finding>,
}

impl Ledger {
    /// Compares what is so now with what was known: what is to be told, and whether anything changed
    /// that has to be kept.
    pub(super) fn judge(
        &mut self,
        found: Vec<Finding>,
        now_ms: u64,
        repeat_ms: u64,
    ) -> (Vec<Notice>, bool) {
        let mut notices = Vec::new();
        self.silenced.clear();
        let mut still = BTreeMap::new();
        let mut changed = false;
        for finding in found {
            let before = self.open.remove(&(finding.kind, finding.host.clone()));
            if finding.silenced {
                // Who was told not to hear of it does not hear of its end either.
                changed |= before.is_some();
                self.silenced.push(finding);
                continue;
            }
            let Finding { kind, host, words, .. } = finding;
            let state = match &before {
                None => Some(State::Began),
                Some(open) if now_ms.saturating_sub(open.told_ms) >= repeat_ms => {
                    Some(State::Lasts)
                }
                Some(_) => None,
            };
            let since_ms = before.as_ref().map_or(now_ms, |open| open.since_ms);
            let told_ms =
                if state.is_some() { now_ms } else { before.map_or(0, |open| open.told_ms) };
            if let Some(state) = state {
                changed = true;
                let (host, words) = (host.clone(), words.clone());
                notices.push(Notice { kind, state, host, words, since_ms });
            }
            still.insert((kind, host.clone()), Open { kind, host, words, since_ms, told_ms });
        }
        for ((kind, host), Open { words, since_ms, .. }) in std::mem::replace(&mut self.open, still)
        {
            changed = true;
            notices.push(Notice { kind, state: State::Over, host, words, since_ms });
        }
        (notices, changed)
    }

    /// All that is so, the silenced last.
    pub(super) fn views(&self) -> Vec<AlertView> {
        let open = self.open.values().map(|open| AlertView {
            kind: open.kind,
            host: open.host.clone(),
            words: open.words.clone(),
            since_ms: Some(open.since_ms),
            silenced: false,
        });
        let silenced = self.silenced.iter().map(|finding| AlertView {
            kind: finding.kind,
            host: finding.host.clone(),
            words: finding.words.clone(),
            since_ms: None,
            silenced: true,
        });
        open.chain(silenced).collect()
    }

    /// Open alerts of a kind.
    pub(super) fn count(&self, kind: Kind) -> usize {
        self.open.keys().filter(|(open, _)| *open == kind).count()
    }

    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(&self.open.values().collect::<Vec<_>>())
    }

    fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let open: Vec<Open> = serde_json::from_slice(bytes)?;
        let open = open.into_iter().map(|open| ((open.kind, open.host.clone()), open)).collect();
        Ok(Self { open, silenced: Vec::new() })
    }
}

/// The file that the ledger outlives a restart in. It is worth little: without it people are told once
/// more, so that no fault of it is worse than a line in the log.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
}

impl Kept {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) async fn read(&self) -> Ledger {
        let bytes = match tokio::fs::read(&self.path).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ledger::default(),
            Err(error) => {
                self.complain(&error);
                return Ledger::default();
            }
        };
        Ledger::from_json(&bytes).unwrap_or_else(|error| {
            self.complain(&error);
            Ledger::default()
        })
    }

    pub(super) async fn write(&self, ledger: &Ledger) {
        let beside = self.path.with_extension("json.new");
        let written = async {
            tokio::fs::write(&beside, ledger.to_json()?).await?;
            tokio::fs::rename(&beside, &self.path).await
        };
        if let Err(error) = written.await {
            self.complain(&error);
        }
    }

    fn complain(&self, error: &dyn std::fmt::Display) {
        tracing::warn!(
            path = %self.path.display(), %error,
            "which alerts are open is not kept: they are told again after a restart"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn finding(host: &str) -> Finding {
        Finding {
            kind: Kind::AccountLimit,
            host: Some(host.to_owned()),
            words: format!("{host} is full"),
            silenced: false,
        }
    }

    fn states(ledger: &mut Ledger, found: Vec<Finding>, now_ms: u64) -> Vec<(State, String)> {
        let (notices, _) = ledger.judge(found, now_ms, 6 * HOUR);
        notices.into_iter().map(|notice| (notice.state, notice.words)).collect()
    }

    /// People hear of something when it begins, every six hours while it lasts, and once when it is over.
    #[test]
    fn an_alert_begins_lasts_and_is_over() {
        let mut ledger = Ledger::default();
        let full = || vec![finding("a.example.com")];
        let words = "a.example.com is full".to_owned();
        assert_eq!(states(&mut ledger, full(), 0), [(State::Began, words.clone())]);
        assert_eq!(states(&mut ledger, full(), 6 * HOUR - 1), []);
        assert_eq!(states(&mut ledger, full(), 6 * HOUR), [(State::Lasts, words.clone())]);
        assert_eq!(states(&mut ledger, full(), 7 * HOUR), []);
        assert_eq!(ledger.count(Kind::AccountLimit), 1);
        assert_eq!(states(&mut ledger, Vec::new(), 8 * HOUR), [(State::Over, words.clone())]);
        assert_eq!(states(&mut ledger, Vec::new(), 9 * HOUR), []);
        assert_eq!(states(&mut ledger, full(), 10 * HOUR), [(State::Began, words)]);
    }

    /// A silenced host is not spoken of, and when the silence ends it is news again.
    #[test]
    fn silence_ends_an_alert_without_a_word() {
        let mut ledger = Ledger::default();
        assert_eq!(states(&mut ledger, vec![finding("a")], 0).len(), 1);
        let silenced = || vec![Finding { silenced: true, ..finding("a") }];
        assert_eq!(states(&mut ledger, silenced(), HOUR), []);
        let views = ledger.views();
        assert!(matches!(&*views, [one] if one.silenced && one.since_ms.is_none()), "{views:?}");
        assert_eq!(states(&mut ledger, silenced(), 20 * HOUR), []);
        assert_eq!(states(&mut ledger, Vec::new(), 21 * HOUR), []);
        assert_eq!(states(&mut ledger, vec![finding("a")], 22 * HOUR)[0].0, State::Began);
        let views = ledger.views();
        assert!(matches!(&*views, [one] if one.since_ms == Some(22 * HOUR)), "{views:?}");
    }

    /// Hosts and kinds are told apart.
    #[test]
    fn each_host_and_each_kind_has_an_alert_of_its_own() {
        let mut ledger = Ledger::default();
        let deaf = Finding { kind: Kind::Deaf, host: None, ..finding("deaf") };
        let both = vec![finding("a"), finding("b"), deaf];
        assert_eq!(states(&mut ledger, both, 0).len(), 3);
        let left = states(&mut ledger, vec![finding("b")], 1);
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left.iter().all(|(state, _)| *state == State::Over), "{left:?}");
    }

    /// A restart tells nothing anew, and a file that somebody spoilt costs a message at most.
    #[tokio::test]
    async fn what_is_open_outlives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path().join("alerts.json"));
        assert_eq!(kept.read().await, Ledger::default());
        let mut ledger = Ledger::default();
        assert_eq!(states(&mut ledger, vec![finding("a")], 5).len(), 1);
        kept.write(&ledger).await;
        let mut again = kept.read().await;
        assert_eq!(again, ledger);
        assert_eq!(states(&mut again, vec![finding("a")], HOUR), []);
        std::fs::write(dir.path().join("alerts.json"), "[{").unwrap();
        assert_eq!(kept.read().await, Ledger::default());
    }
}
