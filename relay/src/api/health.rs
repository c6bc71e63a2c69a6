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
use crate::eventlog::LogHealth;

/// The database is asked at most this often, however many ask us.
const PING_EVERY: Duration = Duration::from_secs(1);
/// A database that needs longer is as good as gone.
const PING_MAX: Duration = Duration::from_secs(2);

/// Something that keeps the relay from its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The database does not answer; the words are for the operator.
    Database(String),
    /// OUT-5.
    DiskFull,
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
            Self::DiskFull => "the disk is full: new events wait, the firehose is served",
            Self::LogDamaged(_) => "a part of the replay window is damaged and was skipped",
            Self::LogFailed(_) => "the event log cannot be written",
            Self::Stopping => "the relay is shutting down",
        }
    }

    fn detail(&self) -> Option<&str> {
        match self {
            Self::Database(why) | Self::LogDamaged(why) | Self::LogFailed(why) => Some(why),
            Self::DiskFull | Self::Stopping => None,
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
        let mut troubles = Vec::new();
        if state.tasks.stopping().is_cancelled() {
            troubles.push(Trouble::Stopping);
        }
        match &*state.log.health().borrow() {
            LogHealth::Writing => {}
            LogHealth::DiskFull => troubles.push(Trouble::DiskFull),
            LogHealth::Damaged(what) => troubles.push(Trouble::LogDamaged(what.clone())),
            LogHealth::Failed(what) => troubles.push(Trouble::LogFailed(what.clone())),
        }
        troubles.extend(self.database(state).await.map(Trouble::Database));
        troubles
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

/// `/_health`, `/xrpc/_health`: 200, or 503 with reasons that anyone may read.
pub(super) async fn public(State(state): State<ApiState>) -> Response {
    let troubles = state.shared.health.check(&state).await;
    let reasons: Vec<_> = troubles.iter().map(Trouble::words).collect();
    answer(&state, &reasons.into_iter().map(str::to_owned).collect::<Vec<_>>())
}

/// `/_health` of the metrics listener: the same with details.
pub(super) async fn detailed(State(state): State<ApiState>) -> Response {
    let troubles = state.shared.health.check(&state).await;
    let reasons: Vec<_> = troubles
        .iter()
        .map(|trouble| match trouble.detail() {
            Some(detail) => format!("{}: {detail}", trouble.words()),
            None => trouble.words().to_owned(),
        })
        .collect();
    answer(&state, &reasons)
}

fn answer(state: &ApiState, reasons: &[String]) -> Response {
    let well = reasons.is_empty();
    let mut body = json!({
        "status": if well { "ok" } else { "degraded" },
        "version": state.software,
    });
    if !well && let Some(fields) = body.as_object_mut() {
        fields.insert("reasons".to_owned(), json!(reasons));
    }
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, body.to_string()).into_response()
}
