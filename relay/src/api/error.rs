//! Errors as clients see them: a status, a name to match on, a sentence (API-1).

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE, header::RETRY_AFTER};
use serde_json::json;

use crate::{
    actions::Refused,
    hosts::{CommandError, Refusal},
    store::StoreError,
};

/// One error answer. Names are the lexicon's, statuses those of the Go reference relay (A16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Error {
    pub(super) status: StatusCode,
    pub(super) name: &'static str,
    pub(super) message: String,
    retry_after: Option<u64>,
}

impl Error {
    pub(super) fn new(status: StatusCode, name: &'static str, message: impl Into<String>) -> Self {
        Self { status, name, message: message.into(), retry_after: None }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidRequest", message)
    }

    pub(super) fn repo_not_found(did: &str) -> Self {
        let message = format!("this relay has no repository {did}");
        Self::new(StatusCode::NOT_FOUND, "RepoNotFound", message)
    }

    pub(super) fn host_not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "HostNotFound", message)
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self {
            retry_after: Some(10),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
        }
    }

    pub(super) fn rate_limited(seconds: u64) -> Self {
        let message = format!("too many requests; try again in {seconds} s");
        Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded", message)
        }
    }

    /// For a method that this relay does not serve (API-1).
    pub(super) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "MethodNotImplemented", message)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.name, "message": self.message }).to_string();
        let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let mut response = (self.status, kind, body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<StoreError> for Error {
    /// The cause is for the operator's log, not for the client.
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "a request could not be answered");
        Self::unavailable("the database does not answer")
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid(why) => Self::invalid(why),
            Refused::Unknown { name, what } => Self::new(StatusCode::NOT_FOUND, name, what),
            Refused::Conflict { name, what } => Self::new(StatusCode::CONFLICT, name, what),
            Refused::Host(refusal) => refusal.into(),
            Refused::Store(error) => error.into(),
            Refused::Stopping => Self::unavailable("the relay is stopping"),
        }
    }
}

impl From<CommandError> for Error {
    fn from(error: CommandError) -> Self {
        Refused::from(error).into()
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::RateLimited(seconds) => Self::rate_limited(seconds),
            Refusal::Store(_) => {
                tracing::warn!(error = message, "a host could not be added");
                Self::unavailable("the database does not answer")
            }
            _ => {
                let status = StatusCode::from_u16(refusal.http_status());
                Self::new(status.unwrap_or(StatusCode::BAD_REQUEST), refusal.name(), message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spec 12, the row of requestCrawl.
    #[test]
    fn refusals_have_the_names_and_statuses_of_the_table() {
        let rows = [
            (Refusal::BadHostname("no".into()), 400, "InvalidRequest"),
            (Refusal::IsRelay, 400, "InvalidRequest"),
            (Refusal::Banned, 403, "HostBanned"),
            (Refusal::Unreachable("no".into()), 400, "HostNotFound"),
            (Refusal::RateLimited(7), 429, "RateLimitExceeded"),
            (Refusal::Store("secret".into()), 503, "ServiceUnavailable"),
        ];
        for (refusal, status, name) in rows {
            let error = Error::from(refusal);
            assert_eq!((error.status.as_u16(), error.name), (status, name));
            assert!(!error.message.contains("secret"), "an internal message left the house");
        }
        let answer = Error::rate_limited(7).into_response();
        assert_eq!(answer.headers()[RETRY_AFTER], "7");
    }
}
