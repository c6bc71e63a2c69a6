//! did:web: a small budget per host, so that nobody uses this relay to knock at others (SEC-3, RES-6).

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;
use relay_protocol::Did;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::{
    DOCUMENT_BYTES_MAX, IdentityError, TURN_MAX, Trouble, no_answer, rate::Rate, unavailable,
};
use crate::net::Net;

/// Requests per second to one host, and how many at once at first.
const HOST_RATE: u32 = 2;
const HOST_BURST: u32 = 10;

/// Requests to one host under way at once.
const HOST_IN_FLIGHT_MAX: usize = 2;

/// Hosts whose budget is remembered.
const HOSTS_MAX: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// Pause after a 429 that does not say how long, and the longest one granted.
const PAUSE_DEFAULT: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_mins(10);

#[derive(Debug)]
struct Budget {
    rate: Mutex<Rate>,
    in_flight: Semaphore,
}

/// The hosts of did:web documents.
#[derive(Debug)]
pub(super) struct Web {
    net: Net,
    budgets: Mutex<LruCache<String, Arc<Budget>>>,
    in_flight: Semaphore,
}

impl Web {
    /// * `in_flight_max` – requests to all hosts under way at once, apart from those to the PLC
    ///   directory; zero counts as one
    pub(super) fn new(in_flight_max: usize, net: Net) -> Self {
        let budgets = Mutex::new(LruCache::new(HOSTS_MAX));
        Self { net, budgets, in_flight: Semaphore::new(in_flight_max.max(1)) }
    }

    /// The document of a DID as JSON.
    pub(super) async fn fetch(&self, did: &Did) -> Result<Bytes, Trouble> {
        let host = did
            .web_host()
            .ok_or_else(|| IdentityError::Invalid("the DID names no host".to_owned()))?;
        let budget = self.budget(&host);
        let _places = timeout(TURN_MAX, self.turn(&budget)).await.unwrap_or_else(|_elapsed| {
            Err(Trouble::no_turn("too many requests to this host are under way"))
        })?;
        let answer =
            self.net.get(&document_url(&host), DOCUMENT_BYTES_MAX).await.map_err(no_answer)?;
        match answer.status {
            200 => Ok(answer.body),
            404 | 410 => {
                let why = format!("{host} answered {}", answer.status);
                Err(IdentityError::NotFound(why).into())
            }
            429 => {
                let pause = answer.retry_after.unwrap_or(PAUSE_DEFAULT).min(PAUSE_MAX);
                budget.rate.lock().pause(Instant::now(), pause);
                let why = format!("{host} asks to wait {} s", pause.as_secs());
                Err(Trouble::no_turn(why))
            }
            other => Err(unavailable(format!("{host} answered {other}")).into()),
        }
    }

    fn budget(&self, host: &str) -> Arc<Budget> {
        let mut budgets = self.budgets.lock();
        let new = || {
            Arc::new(Budget {
                rate: Mutex::new(Rate::new(HOST_RATE, HOST_BURST, Instant::now())),
                in_flight: Semaphore::new(HOST_IN_FLIGHT_MAX),
            })
        };
        Arc::clone(budgets.get_or_insert_ref(host, new))
    }

    async fn turn<'a>(
        &'a self,
        budget: &'a Budget,
    ) -> Result<[tokio::sync::SemaphorePermit<'a>; 2], Trouble> {
        let wait = budget.rate.lock().take(Instant::now(), TURN_MAX);
        let wait = wait.ok_or_else(|| Trouble::no_turn("the budget of this host is used up"))?;
        sleep(wait).await;
        // The host's own place first: who waits for a slow host takes no place from the others.
        let closed = |closed: tokio::sync::AcquireError| Trouble::no_turn(closed.to_string());
        let of_host = budget.in_flight.acquire().await.map_err(closed)?;
        let of_all = self.in_flight.acquire().await.map_err(closed)?;
        Ok([of_host, of_all])
    }
}

/// Where a did:web document lies (RES-1); `localhost:<port>`, which only development mode lets
/// through, speaks plain http.
fn document_url(host: &str) -> String {
    let name = host.split(':').next().unwrap_or_default();
    let scheme = if name == "localhost" { "http" } else { "https" };
    format!("{scheme}://{host}/.well-known/did.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RES-1.
    #[test]
    fn documents_lie_at_the_well_known_place() {
        let rows = [
            ("example.com", "https://example.com/.well-known/did.json"),
            ("localhost:2583", "http://localhost:2583/.well-known/did.json"),
            ("localhost.example.com", "https://localhost.example.com/.well-known/did.json"),
        ];
        for (host, url) in rows {
            assert_eq!(document_url(host), url);
        }
    }
}
