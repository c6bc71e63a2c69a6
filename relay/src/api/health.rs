//! Whether the relay can do its work: the database answers, the log takes events (spec 12, OUT-5).

use std::time::Duration;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header::CACHE_CONTROL, header::CONTENT_TYPE};
use serde_json::json;
use tokio::{sync::Mutex, time::Instant};

use super::ApiState;
use crate::{eventlog::LogHealth, telemetry::metrics};

/// The database is asked at most this often, however many ask us.
const PING_EVERY: Duration = Duration::from_secs(1);
/// A database that needs longer is as good as gone.
const PING_MAX: Duration = Duration::from_secs(2);

/// Something that keeps the relay from its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The database does not answer; the words are for the operator.
    Database(String),
    /// The database answers and takes no writes; the words are for the operator.
    DatabaseWrites(String),
    /// OUT-5.
    DiskFull,
    /// DESIGN 10.5.
    AwaitingCheckpoint,
    /// DESIGN 10.10; the words are for the operator.
    LogDamaged(String),
    /// DESIGN 10.9; the words are for the operator.
    LogFailed(String),
    /// Shutting down.
    Stopping,
}

impl Trouble {
    /// What anyone may read; paths and addresses stay here.
    pub const fn words(&self) -> &'static str {
        match self {
            Self::Database(_) => "the database does not answer",
            Self::DatabaseWrites(_) => {
                "the database takes no writes: events are served, and replayed after a restart"
            }
            Self::DiskFull => "the disk is full: new events wait, the firehose is served",
            Self::AwaitingCheckpoint => {
                "the event log is full and waits for the database: new events wait, the firehose \
                 is served"
            }
            Self::LogDamaged(_) => "a part of the replay window is damaged and was skipped",
            Self::LogFailed(_) => "the event log cannot be written",
            Self::Stopping => "the relay is shutting down",
        }
    }

    /// The label in metrics.
    const fn label(&self) -> &'static str {
        match self {
            Self::Database(_) => "database",
            Self::DatabaseWrites(_) => "database_writes",
            Self::DiskFull => "disk_full",
            Self::AwaitingCheckpoint => "awaiting_checkpoint",
            Self::LogDamaged(_) => "log_damaged",
            Self::LogFailed(_) => "log_failed",
            Self::Stopping => "stopping",
        }
    }

    fn detail(&self) -> Option<&str> {
        match self {
            Self::Database(why)
            | Self::DatabaseWrites(why)
            | Self::LogDamaged(why)
            | Self::LogFailed(why) => Some(why),
            Self::DiskFull | Self::AwaitingCheckpoint | Self::Stopping => None,
        }
    }
}

/// The last answer of the database.
#[derive(Debug, Default)]
pub(super) struct Health {
    database: Mutex<Option<(Instant, Option<String>)>>,
}

impl Health {
    /// All troubles now; empty when the relay is well.
    pub(super) async fn check(&self, state: &ApiState) -> Vec<Trouble> {
        let database = self.database(state).await;
        let stopping = state.tasks.stopping().is_cancelled();
        let writes = state.store.write_trouble();
        let database = match database {
            Some(why) => Some(Trouble::Database(why)),
            None => writes.map(Trouble::DatabaseWrites),
        };
        troubles(stopping, &state.log.health().borrow(), database)
    }

    async fn database(&self, state: &ApiState) -> Option<String> {
        // Held over the ping, so that all who ask meanwhile share its answer.
        let mut last = self.database.lock().await;
        if let Some((asked, answer)) = &*last
            && asked.elapsed() < PING_EVERY
        {
            return answer.clone();
        }
        let answer = match tokio::time::timeout(PING_MAX, state.store.ping()).await {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(why.to_string()),
            Err(_late) => Some(format!("no answer within {} s", PING_MAX.as_secs())),
        };
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}

/// Shows in the metrics which troubles there are and which not.
pub(super) fn measure(troubles: &[Trouble]) {
    const LABELS: [&str; 7] = [
        "database",
        "database_writes",
        "disk_full",
        "awaiting_checkpoint",
        "log_damaged",
        "log_failed",
        "stopping",
    ];
    for label in LABELS {
        let is_so = troubles.iter().any(|trouble| trouble.label() == label);
        ::metrics::gauge!(metrics::API_TROUBLE, "reason" => label).set(u32::from(is_so));
    }
}

/// What is wrong, from what was found out.
fn troubles(stopping: bool, log: &LogHealth, database: Option<Trouble>) -> Vec<Trouble> {
    let log = match log {
        LogHealth::Writing => None,
        LogHealth::DiskFull => Some(Trouble::DiskFull),
        LogHealth::AwaitingCheckpoint => Some(Trouble::AwaitingCheckpoint),
        LogHealth::Damaged(what) => Some(Trouble::LogDamaged(what.clone())),
        LogHealth::Failed(what) => Some(Trouble::LogFailed(what.clone())),
    };
    let stopping = stopping.then_some(Trouble::Stopping);
    stopping.into_iter().chain(log).chain(database).collect()
}

/// `/_health`, `/xrpc/_health`: 200, or 503 with reasons that anyone may read.
pub(super) async fn public(State(state): State<ApiState>) -> Response {
    let troubles = state.shared.health.check(&state).await;
    answer(state.software, &troubles, |trouble| trouble.words().to_owned())
}

/// `/_health` of the metrics listener: the same with details.
pub(super) async fn detailed(State(state): State<ApiState>) -> Response {
    let troubles = state.shared.health.check(&state).await;
    answer(state.software, &troubles, in_detail)
}

/// A trouble with what only operators may read.
pub(super) fn in_detail(trouble: &Trouble) -> String {
    let words = trouble.words();
    trouble.detail().map_or_else(|| words.to_owned(), |detail| format!("{words}: {detail}"))
}

fn answer(software: &str, troubles: &[Trouble], tell: impl Fn(&Trouble) -> String) -> Response {
    let (status, body) = if troubles.is_empty() {
        (StatusCode::OK, json!({ "status": "ok", "version": software }))
    } else {
        let reasons: Vec<_> = troubles.iter().map(tell).collect();
        let body = json!({ "status": "degraded", "version": software, "reasons": reasons });
        (StatusCode::SERVICE_UNAVAILABLE, body)
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(troubles: &[Trouble], tell: impl Fn(&Trouble) -> String) -> (u16, String) {
        let response = answer("relay/1", troubles, tell);
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Spec 12, OUT-5, DESIGN 10.10: each trouble is a 503 with its reason; none is a 200.
    #[tokio::test]
    async fn every_trouble_is_told_and_paths_only_inside() {
        let secret = || "/var/lib/relay".to_owned();
        let rows = [
            (false, LogHealth::Writing, Some(Trouble::Database(secret()))),
            (false, LogHealth::Writing, Some(Trouble::DatabaseWrites(secret()))),
            (false, LogHealth::DiskFull, None),
            (false, LogHealth::AwaitingCheckpoint, None),
            (false, LogHealth::Damaged(secret()), None),
            (false, LogHealth::Failed(secret()), None),
            (true, LogHealth::Writing, None),
        ];
        for (stopping, log, database) in rows {
            let found = troubles(stopping, &log, database);
            assert_eq!(found.len(), 1, "{log:?}");
            let (status, body) = told(&found, |trouble| trouble.words().to_owned()).await;
            assert_eq!(status, 503);
            assert!(body.contains(found[0].words()), "{body}");
            assert!(!body.contains("/var"), "{body}");
            let (_, inside) = told(&found, in_detail).await;
            assert_eq!(inside.contains("/var"), found[0].detail().is_some(), "{inside}");
        }
        assert_eq!(troubles(false, &LogHealth::Writing, None), []);
        let well = told(&[], |_| String::new()).await;
        assert_eq!(well, (200, "{\"status\":\"ok\",\"version\":\"relay/1\"}".to_owned()));
    }

    #[test]
    fn several_troubles_are_all_told() {
        let gone = Trouble::Database("gone".to_owned());
        let found = troubles(true, &LogHealth::DiskFull, Some(gone));
        let all = [Trouble::Stopping, Trouble::DiskFull, Trouble::Database("gone".to_owned())];
        assert_eq!(found, all);
    }
}
