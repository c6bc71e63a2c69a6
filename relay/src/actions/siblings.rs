//! Other relays of the same operators: what is done here is done there (`RELAY_SIBLING_RELAYS`).
//!
//! What a sibling is to be told lies in the store until it has taken it, in the order in which it was
//! done; a sibling that is away gets it when it is back. Requests carry `Via`, by which relays know
//! that another one has passed them on already, so that none runs in circles.

use std::{sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    config::Secret,
    net::{Net, NetError, Post, printable},
    store::{Letter, Store, StoreError},
    tasks::Tasks,
    telemetry::metrics,
};

/// Wait after the first failure; it doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest wait between two tries. A sibling that comes back has what it missed within this time.
const RETRY_MAX: Duration = Duration::from_mins(1);
/// Letters that are read from the store at once.
const BATCH: u32 = 100;
/// Requests to crawl that may wait for one sibling; strangers make them, and a host asks again. What
/// operators did is always kept.
const CRAWLS_WAITING_MAX: u64 = 10_000;
/// Longest error text that is shown.
const ERROR_CHARS_MAX: usize = 300;
/// What relays write into `Via`.
const VIA: &str = "1.1 atproto-relay";

/// A request that siblings are to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forward {
    /// Path and query.
    pub(super) target: String,
    /// Body; null when it has none.
    pub(super) body: Value,
}

/// What siblings are told with.
#[derive(Debug, Clone)]
pub struct SiblingParts {
    /// Password of their admin API, which is that of ours.
    pub password: Option<Secret>,
    /// Store.
    pub store: Store,
    /// Network.
    pub net: Net,
    /// Clock.
    pub clock: Clock,
}

/// How far a sibling is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiblingView {
    /// Its address.
    pub sibling: String,
    /// Requests that it has not yet taken.
    pub waiting: u64,
    /// When the oldest of them was made, ms since 1970.
    pub oldest_ms: Option<u64>,
    /// Requests that it took since the start.
    pub delivered: u64,
    /// Requests that it will never take, because it answered that they are wrong.
    pub refused: u64,
    /// Why the last one failed; `None` since one succeeded.
    pub last_error: Option<String>,
}

/// The siblings; cheap to clone.
#[derive(Debug, Clone)]
pub struct Siblings {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    parts: SiblingParts,
    places: RwLock<Vec<Arc<Place>>>,
    tasks: Tasks,
}

#[derive(Debug)]
struct Place {
    sibling: String,
    /// Something was laid down for it.
    news: Notify,
    /// It is a sibling no more.
    dismissed: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: u64,
    oldest_ms: Option<u64>,
    delivered: u64,
    refused: u64,
    last_error: Option<String>,
}

impl Siblings {
    /// Starts one task per sibling, which begins with what a run before left.
    ///
    /// * `siblings` – addresses, without slash at the end
    pub fn start(parts: SiblingParts, siblings: &[String], tasks: &Tasks) -> Self {
        let (places, tasks) = (RwLock::default(), tasks.clone());
        let made = Self { inner: Arc::new(Inner { parts, places, tasks }) };
        made.set(siblings);
        made
    }

    /// These are the siblings from now on. What waits for others is kept until the next start, in case
    /// one comes back.
    pub(super) fn set(&self, siblings: &[String]) {
        let mut places = self.inner.places.write();
        places.retain(|place| {
            let stays = siblings.contains(&place.sibling);
            if !stays {
                place.dismissed.cancel();
            }
            stays
        });
        for sibling in siblings {
            if places.iter().any(|place| place.sibling == *sibling) {
                continue;
            }
            let place = Arc::new(Place {
                sibling: sibling.clone(),
                news: Notify::new(),
                dismissed: self.inner.tasks.stopping().child_token(),
                state: Mutex::default(),
            });
            places.push(Arc::clone(&place));
            let stopping = place.dismissed.clone();
            let postman = Postman { siblings: self.clone(), place };
            self.inner.tasks.start(async move {
                stopping.run_until_cancelled(postman.run()).await;
            });
        }
        drop(places);
        self.measure();
    }

    /// Their addresses.
    pub fn names(&self) -> Vec<String> {
        self.inner.places.read().iter().map(|place| place.sibling.clone()).collect()
    }

    /// Forgets what waits for relays that are no siblings any more: it would wait for ever.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_others(&self) -> Result<(), StoreError> {
        let letters = self.inner.parts.store.forget_letters_except(&self.names()).await?;
        if letters > 0 {
            tracing::warn!(
                letters,
                "requests for sibling relays that are no longer named were given up"
            );
        }
        Ok(())
    }

    /// One letter for each sibling.
    pub(super) fn letters(&self, forward: &Forward) -> Vec<Letter> {
        let body = if forward.body.is_null() { String::new() } else { forward.body.to_string() };
        let at_ms = self.inner.parts.clock.now_ms();
        let letter = |place: &Arc<Place>| Letter {
            id: 0,
            sibling: place.sibling.clone(),
            at_ms,
            target: forward.target.clone(),
            body: body.clone(),
        };
        self.inner.places.read().iter().map(letter).collect()
    }

    /// Lays down a request to crawl that a stranger made, unless too many wait.
    pub(super) async fn pass_on(&self, forward: &Forward) -> Result<(), StoreError> {
        let mut letters = self.letters(forward);
        letters.retain(|letter| {
            let places = self.inner.places.read();
            let place = places.iter().find(|place| place.sibling == letter.sibling);
            place.is_some_and(|place| place.state.lock().waiting < CRAWLS_WAITING_MAX)
        });
        if letters.is_empty() {
            return Ok(());
        }
        self.inner.parts.store.put_letters(&letters).await?;
        self.wake();
        Ok(())
    }

    /// Something was laid down.
    pub(super) fn wake(&self) {
        for place in self.inner.places.read().iter() {
            place.news.notify_one();
        }
    }

    /// How far each is behind.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn views(&self) -> Result<Vec<SiblingView>, StoreError> {
        let places = self.inner.places.read().clone();
        let mut views = Vec::with_capacity(places.len());
        for place in places {
            let (waiting, oldest_ms) =
                self.inner.parts.store.letters_waiting(&place.sibling).await?;
            let state = place.state.lock();
            views.push(SiblingView {
                sibling: place.sibling.clone(),
                waiting,
                oldest_ms,
                delivered: state.delivered,
                refused: state.refused,
                last_error: state.last_error.clone(),
            });
        }
        Ok(views)
    }

    fn measure(&self) {
        let (mut waiting, mut oldest_ms) = (0_u64, None::<u64>);
        for place in self.inner.places.read().iter() {
            let state = place.state.lock();
            waiting = waiting.saturating_add(state.waiting);
            oldest_ms = oldest_ms.into_iter().chain(state.oldest_ms).min();
        }
        let now_ms = self.inner.parts.clock.now_ms();
        let behind = oldest_ms.map_or(0, |oldest_ms| now_ms.saturating_sub(oldest_ms) / 1_000);
        let level = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        ::metrics::gauge!(metrics::ACTIONS_LETTERS_WAITING).set(level(waiting));
        ::metrics::gauge!(metrics::ACTIONS_LETTERS_OLDEST_SECONDS).set(level(behind));
    }
}

/// What became of a letter.
enum Fate {
    Taken,
    /// The sibling says that it is wrong: it always will be.
    Refused(String),
    /// Later.
    Failed(String),
}

/// Brings one sibling its letters.
struct Postman {
    siblings: Siblings,
    place: Arc<Place>,
}

impl Postman {
    async fn run(self) {
        let mut pause = RETRY_FIRST;
        loop {
            match self.round().await {
                Ok(true) => pause = RETRY_FIRST,
                Ok(false) => {
                    pause = RETRY_FIRST;
                    self.place.news.notified().await;
                }
                Err(why) => {
                    tracing::warn!(
                        sibling = self.place.sibling, error = why, again_in = ?pause,
                        "a sibling relay could not be told what was done here"
                    );
                    self.place.state.lock().last_error = Some(why);
                    self.note_waiting().await;
                    self.rest(pause).await;
                    pause = pause.saturating_mul(2).min(RETRY_MAX);
                }
            }
        }
    }

    /// News cut no wait short, but are counted meanwhile.
    async fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if left.is_zero() || timeout(left, self.place.news.notified()).await.is_err() {
                return;
            }
            self.note_waiting().await;
        }
    }

    /// Delivers what waits; gives whether there was something. An error says what the first letter
    /// that could not be delivered met.
    async fn round(&self) -> Result<bool, String> {
        self.note_waiting().await;
        let letters = self.siblings.inner.parts.store.letters(&self.place.sibling, BATCH).await;
        let letters = letters.map_err(|error| error.to_string())?;
        for letter in &letters {
            let (label, fate) = match self.send(letter).await {
                Fate::Failed(why) => {
                    ::metrics::counter!(metrics::ACTIONS_LETTERS, "outcome" => "failed")
                        .increment(1);
                    return Err(why);
                }
                Fate::Refused(why) => ("refused", Some(why)),
                Fate::Taken => ("delivered", None),
            };
            self.siblings
                .inner
                .parts
                .store
                .letter_done(letter.id)
                .await
                .map_err(|error| error.to_string())?;
            ::metrics::counter!(metrics::ACTIONS_LETTERS, "outcome" => label).increment(1);
            let mut state = self.place.state.lock();
            if let Some(why) = fate {
                tracing::warn!(
                    sibling = self.place.sibling,
                    target = letter.target,
                    body = letter.body,
                    answer = why,
                    "a sibling relay refuses what was done here"
                );
                state.refused = state.refused.saturating_add(1);
                state.last_error = Some(why);
            } else {
                state.delivered = state.delivered.saturating_add(1);
                state.last_error = None;
            }
        }
        if !letters.is_empty() {
            self.note_waiting().await;
        }
        Ok(!letters.is_empty())
    }

    async fn note_waiting(&self) {
        match self.siblings.inner.parts.store.letters_waiting(&self.place.sibling).await {
            Ok((waiting, oldest_ms)) => {
                let mut state = self.place.state.lock();
                (state.waiting, state.oldest_ms) = (waiting, oldest_ms);
            }
            Err(error) => tracing::debug!(%error, "letters could not be counted"),
        }
        self.siblings.measure();
    }

    async fn send(&self, letter: &Letter) -> Fate {
        let url = format!("{}{}", letter.sibling, letter.target);
        let post = Post {
            password: self.siblings.inner.parts.password.as_ref().map(Secret::expose),
            via: VIA,
            json: &letter.body,
        };
        match self.siblings.inner.parts.net.post_admin(&url, post).await {
            Ok(answer) => {
                let body = String::from_utf8_lossy(&answer.body);
                fate(answer.status, &body)
            }
            Err(NetError::Refused(why) | NetError::Failed(why)) => Fate::Failed(why),
        }
    }
}

/// What an answer means. A wrong password is mended by a person, and anything else that may pass by
/// itself is tried again; what makes no sense to the sibling never will.
fn fate(status: u16, body: &str) -> Fate {
    let words = || format!("{status} {}", printable(body.trim(), ERROR_CHARS_MAX));
    match status {
        200..=299 => Fate::Taken,
        401 | 403 | 407 | 408 | 421 | 425 | 429 => Fate::Failed(words()),
        400..=499 => Fate::Refused(words()),
        _ => Fate::Failed(words()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a person or time can mend is tried again, what never will be right is given up.
    #[test]
    fn answers_of_siblings_are_told_apart() {
        for (status, again) in [(401, true), (403, true), (429, true), (302, true), (503, true)] {
            assert_eq!(matches!(fate(status, ""), Fate::Failed(_)), again, "{status}");
        }
        for status in [400, 404, 405, 409, 413] {
            let Fate::Refused(why) = fate(status, "no\nsuch host") else { panic!("{status}") };
            assert_eq!(why, format!("{status} no\\nsuch host"));
        }
        assert!(matches!(fate(200, ""), Fate::Taken));
    }
}
