//! Follows the operations of the PLC directory, so that the identity of an account is fresh before the
//! first event comes that needs it (RES-7, PLC-2).
//!
//! An operation is a hint and never more: it may be nullified later, and a replica may lie. Where it
//! differs from what is known, the document is fetched as for any other doubt. In: the stream
//! `/export/stream`, or pages of `/export` where there is none. Out: hints to `ingest`, one after the other,
//! so that a directory that is slow to answer slows the reading down. The place is kept in the store.

use std::time::Duration;

use metrics::counter;
use relay_protocol::{Did, Hostname, VerifyingKey};
use serde_json::Value;

use crate::{
    clock::Clock,
    ingest::{Hint, Hinted, Ingest},
    net::{DialError, Net},
    store::Store,
    telemetry::metrics::{DIRECTORY_GAPS, DIRECTORY_OPERATIONS},
    units::time_text,
};

/// Operations of one page; what the method allows at most.
const PAGE: usize = 1_000;
/// Bytes of a page.
const PAGE_BYTES_MAX: usize = 16 << 20;
/// Pause between two pages when the last one was read.
const POLL_EVERY: Duration = Duration::from_secs(10);
/// Pause between two full pages.
const PAGE_EVERY: Duration = Duration::from_secs(1);
/// How long pages are read before the stream is tried again.
const POLL_FOR_MS: u64 = 3_600_000;
/// Pauses after a failure: the first, doubled up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// How often the place is kept at most.
const SAVE_EVERY_MS: u64 = 5_000;
/// Pause while as many lookups are under way as may be.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// How often a hint is tried; then the account's next event or the age of its identity must do.
const TRIES: u32 = 300;

/// What following works with.
#[derive(Debug, Clone)]
pub(super) struct Follower {
    pub(super) store: Store,
    pub(super) net: Net,
    pub(super) ingest: Ingest,
    pub(super) clock: Clock,
    /// The directory, without slash at the end.
    pub(super) url: String,
    pub(super) dev: bool,
}

/// Where reading goes on: a number of the directory, or a time where it gives none.
type Place = Option<String>;

/// How a stream ended.
#[derive(Debug)]
enum End {
    /// There is none.
    NoStream,
    /// What was missed cannot be read any more.
    Gap(String),
    /// Anything else.
    Lost(String),
}

impl Follower {
    /// Goes on until it is dropped.
    pub(super) async fn run(self) {
        let mut pause = PAUSES.0;
        let mut place = loop {
            match self.store.directory_place().await {
                Ok(place) => break place,
                Err(error) => tracing::warn!(%error, "the place in the directory cannot be read"),
            }
            self.clock.sleep(PAUSES.1).await;
        };
        loop {
            let before = place.clone();
            let end = match self.stream(&mut place).await {
                End::NoStream => self.poll(&mut place).await,
                end => end,
            };
            self.save(&place).await;
            match end {
                End::NoStream => continue,
                End::Gap(why) => {
                    counter!(DIRECTORY_GAPS).increment(1);
                    tracing::warn!(%why, "operations of the directory were missed; identities are confirmed by age");
                    place = None;
                }
                End::Lost(why) => {
                    tracing::debug!(%why, "the directory is not followed for a moment");
                }
            }
            if place != before {
                pause = PAUSES.0;
            }
            self.clock.sleep(pause).await;
            pause = pause.saturating_mul(2).min(PAUSES.1);
        }
    }

    /// Reads the stream from a place on.
    async fn stream(&self, place: &mut Place) -> End {
        let base = self.url.replacen("http", "ws", 1);
        let number =
            place.as_deref().filter(|place| place.bytes().all(|byte| byte.is_ascii_digit()));
        let query = number.map_or_else(String::new, |number| format!("?cursor={number}"));
        let mut stream =
            match self.net.dial_configured(&format!("{base}/export/stream{query}")).await {
                Ok(stream) => stream,
                Err(DialError::Http { status: 400..=499, words, .. }) => {
                    tracing::debug!(%words, "the directory has no stream; its export is read");
                    return End::NoStream;
                }
                Err(error) => return End::Lost(error.to_string()),
            };
        let mut saved_ms = self.clock.steady_ms();
        loop {
            let text = match stream.next().await {
                Ok(text) => text,
                Err(why) if why.contains("OutdatedCursor") || why.contains("FutureCursor") => {
                    return End::Gap(why);
                }
                Err(why) => return End::Lost(why),
            };
            let Ok(operation) = serde_json::from_str::<Value>(text.as_str()) else {
                return End::Lost("a message of the stream is not JSON".to_owned());
            };
            self.take(&operation, place).await;
            let now_ms = self.clock.steady_ms();
            if now_ms.saturating_sub(saved_ms) >= SAVE_EVERY_MS {
                saved_ms = now_ms;
                self.save(place).await;
            }
        }
    }

    /// Reads pages for an hour.
    async fn poll(&self, place: &mut Place) -> End {
        let until_ms = self.clock.steady_ms().saturating_add(POLL_FOR_MS);
        while self.clock.steady_ms() < until_ms {
            let after = place.get_or_insert_with(|| time_text(self.clock.now_ms())).clone();
            let url = format!("{}/export?count={PAGE}&after={after}", self.url);
            let body = match self.net.get_configured(&url, PAGE_BYTES_MAX).await {
                Ok(answer) if answer.status == 200 => answer.body,
                Ok(answer) => return End::Lost(format!("its export answered {}", answer.status)),
                Err(error) => return End::Lost(error.to_string()),
            };
            let mut count = 0_usize;
            for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let Ok(operation) = serde_json::from_slice::<Value>(line) else {
                    return End::Lost("a line of its export is not JSON".to_owned());
                };
                self.take(&operation, place).await;
                count += 1;
            }
            self.save(place).await;
            self.clock.sleep(if count < PAGE { POLL_EVERY } else { PAGE_EVERY }).await;
        }
        End::NoStream
    }

    /// Hands one operation on; the place is behind it then.
    async fn take(&self, operation: &Value, place: &mut Place) {
        let outcome = match read(operation, self.dev) {
            Some((did, hint)) => self.hint(&did, hint).await,
            None => "unreadable",
        };
        counter!(DIRECTORY_OPERATIONS, "outcome" => outcome).increment(1);
        if let Some(seq) = operation.get("seq").and_then(Value::as_u64) {
            *place = Some(seq.to_string());
        } else if let Some(time) = operation.get("createdAt").and_then(Value::as_str) {
            *place = time_of(time).or(place.take());
        }
    }

    async fn hint(&self, did: &Did, hint: Hint) -> &'static str {
        for _ in 0..TRIES {
            match self.ingest.hinted(did, hint.clone()).await {
                Ok(Hinted::Unknown) | Err(_) => return "unknown",
                Ok(Hinted::Same) => return "same",
                Ok(Hinted::Asked) => return "asked",
                Ok(Hinted::Busy) => self.clock.sleep(BUSY_PAUSE).await,
            }
        }
        "skipped"
    }

    async fn save(&self, place: &Place) {
        if let Err(error) = self.store.set_directory_place(place.as_deref()).await {
            tracing::warn!(%error, "the place in the directory is not kept; a restart reads some anew");
        }
    }
}

/// A time as it may stand in a query.
fn time_of(text: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b':' | b'.');
    (text.len() <= 40 && text.bytes().all(fits)).then(|| text.to_owned())
}

/// What an operation says of key and host, in the form of today or in that of the first operations.
fn read(operation: &Value, dev: bool) -> Option<(Did, Hint)> {
    let did = Did::parse(operation.get("did")?.as_str()?).ok()?;
    let operation = operation.get("operation")?;
    let text = |of: &Value, names: &[&str]| {
        let found = names.iter().try_fold(of, |value, name| value.get(name))?;
        found.as_str().map(ToOwned::to_owned)
    };
    let gone = text(operation, &["type"]).as_deref() == Some("plc_tombstone");
    let key = text(operation, &["verificationMethods", "atproto"])
        .or_else(|| text(operation, &["signingKey"]))
        .and_then(|key| VerifyingKey::from_multikey(key.strip_prefix("did:key:")?).ok());
    let host = text(operation, &["services", "atproto_pds", "endpoint"])
        .or_else(|| text(operation, &["service"]))
        .and_then(|endpoint| Hostname::parse(&endpoint, dev).ok());
    let key = key.as_ref().map(VerifyingKey::to_bytes);
    Some((did, Hint { key, host: host.map(|host| host.as_str().into()), gone }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo";
    const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

    /// PLC-1: all forms of an operation are read, and one that cannot be is no hint.
    #[test]
    fn operations_of_all_forms_are_read() {
        let key = format!("did:key:{KEY}");
        let today = json!({"did": DID, "operation": {
            "type": "plc_operation",
            "verificationMethods": {"atproto": key},
            "services": {"atproto_pds": {"endpoint": "https://a.example.com"}},
        }});
        let first = json!({"did": DID, "operation": {
            "type": "create", "signingKey": key, "service": "https://a.example.com",
        }});
        for operation in [today, first] {
            let (did, hint) = read(&operation, false).unwrap();
            assert_eq!(did.as_str(), DID);
            let bytes = VerifyingKey::from_multikey(KEY).unwrap().to_bytes();
            let host = Some("a.example.com".into());
            assert_eq!(hint, Hint { key: Some(bytes), host, gone: false });
        }
        let ended = json!({"did": DID, "operation": {"type": "plc_tombstone"}});
        assert_eq!(read(&ended, false).unwrap().1, Hint { key: None, host: None, gone: true });
        for broken in [json!({}), json!({"did": 7, "operation": {}}), json!({"did": DID})] {
            assert_eq!(read(&broken, false), None);
        }
    }

    /// SEC-10: what the directory calls a time goes into an address only when it looks like one.
    #[test]
    fn only_a_time_becomes_a_place() {
        assert!(time_of("2026-01-01T00:00:00.000Z").is_some());
        assert_eq!(time_of("2026&count=1"), None);
        assert_eq!(time_of(&"1".repeat(41)), None);
    }
}
