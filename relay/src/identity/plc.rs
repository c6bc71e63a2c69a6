//! The PLC directory: one budget for all, documents and tombstones (PLC-*, RES-1, RES-6, ACC-13).

use std::time::Duration;

use bytes::Bytes;
use metrics::histogram;
use parking_lot::Mutex;
use relay_protocol::Did;
use serde::Deserialize;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::{
    DOCUMENT_BYTES_MAX, IdentityError, TURN_MAX, Trouble, no_answer, rate::Rate, unavailable,
};
use crate::{
    net::{Answer, Net, printable},
    telemetry::metrics as names,
};

/// Pause after a 429 that does not say how long.
const PAUSE_DEFAULT: Duration = Duration::from_secs(5);

/// Longest pause that the directory is granted: a wrong header must not blind the relay for long.
const PAUSE_MAX: Duration = Duration::from_mins(5);

/// Kept part of an answer's message.
const MESSAGE_CHARS_MAX: usize = 200;

/// The directory.
#[derive(Debug)]
pub(super) struct Plc {
    url: String,
    net: Net,
    rate: Mutex<Rate>,
    in_flight: Semaphore,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
struct Operation {
    r#type: String,
}

impl Plc {
    /// * `in_flight_max` – requests under way at once; zero counts as one
    pub(super) fn new(url: String, per_second: u32, in_flight_max: usize, net: Net) -> Self {
        // A burst of one second's worth, as the directory sees no difference within a second.
        let rate = Mutex::new(Rate::new(per_second, per_second, Instant::now()));
        Self { url, net, rate, in_flight: Semaphore::new(in_flight_max.max(1)) }
    }

    /// The document of a DID as JSON.
    pub(super) async fn fetch(&self, did: &Did) -> Result<Bytes, Trouble> {
        let answer = self.get(&format!("{}/{did}", self.url)).await?;
        match answer.status {
            200 if is_json(&answer.body) => Ok(answer.body),
            // A page in front of the directory, or half an answer, says nothing of the identity.
            200 => Err(unavailable("the directory's answer is not JSON".to_owned()).into()),
            404 | 410 => Err(self.missing(did, &answer).await?.into()),
            other => Err(unavailable(format!("the directory answered {other}")).into()),
        }
    }

    /// Why there is no document: the log of a tombstoned DID ends with a tombstone, whatever the
    /// directory answered before (404 and 410 both occur).
    async fn missing(&self, did: &Did, answer: &Answer) -> Result<IdentityError, Trouble> {
        let last = self.get(&format!("{}/{did}/log/last", self.url)).await?;
        match last.status {
            200 => match serde_json::from_slice::<Operation>(&last.body) {
                Ok(operation) if operation.r#type == "plc_tombstone" => {
                    Ok(IdentityError::Tombstoned)
                }
                // Registered, yet without a document: the directory's word stands (RES-2).
                Ok(_) => Ok(not_found(answer)),
                Err(error) => {
                    Err(unavailable(format!("the last operation is not readable: {error}")).into())
                }
            },
            404 | 410 => Ok(not_found(answer)),
            other => Err(unavailable(format!("the directory answered {other}")).into()),
        }
    }

    /// One request within the budget.
    async fn get(&self, url: &str) -> Result<Answer, Trouble> {
        let asked = Instant::now();
        let _place = timeout(TURN_MAX, self.turn()).await.unwrap_or_else(|_elapsed| {
            Err(Trouble::no_turn("too many requests to the directory are under way"))
        })?;
        histogram!(names::IDENTITY_TURN_SECONDS).record(asked.elapsed().as_secs_f64());
        let answer = self.net.get_configured(url, DOCUMENT_BYTES_MAX).await.map_err(no_answer)?;
        if answer.status == 429 {
            let pause = answer.retry_after.unwrap_or(PAUSE_DEFAULT).min(PAUSE_MAX);
            self.rate.lock().pause(Instant::now(), pause);
            let why = format!("the directory asks to wait {} s", pause.as_secs());
            return Err(Trouble::no_turn(why));
        }
        Ok(answer)
    }

    async fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Trouble> {
        let wait = self.rate.lock().take(Instant::now(), TURN_MAX);
        let wait =
            wait.ok_or_else(|| Trouble::no_turn("the budget of the directory is used up"))?;
        sleep(wait).await;
        let place = self.in_flight.acquire().await;
        place.map_err(|closed| Trouble::no_turn(closed.to_string()))
    }
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

fn not_found(answer: &Answer) -> IdentityError {
    let message = serde_json::from_slice::<Message>(&answer.body)
        .map_or_else(|_| format!("status {}", answer.status), |body| body.message);
    IdentityError::NotFound(printable(&message, MESSAGE_CHARS_MAX))
}
