//! The admin API of the running relay, as a command asks it.

use std::{net::Ipv4Addr, path::Path, time::Duration};

use serde_json::Value;

use crate::{
    config::{Config, Reach, Secret},
    net::printable,
};

/// How long the relay may take for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Longest part of an answer that is shown.
const SHOWN_CHARS_MAX: usize = 300;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// Nobody listens there.
    NotRunning(String),
    /// It answers, but not that.
    Refused(String),
}

impl From<NoAnswer> for String {
    fn from(why: NoAnswer) -> Self {
        match why {
            NoAnswer::NotRunning(why) | NoAnswer::Refused(why) => why,
        }
    }
}

/// The way in.
#[derive(Debug)]
pub(super) struct Admin {
    base: String,
    password: Secret,
    client: reqwest::Client,
}

impl Admin {
    /// Of the relay that runs with these settings, unless a person says another address.
    pub(super) fn of(config: &Config, reach: &Reach) -> Result<Self, String> {
        let mut near = config.admin_bind;
        if near.ip().is_unspecified() {
            near.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let base = reach.admin.clone().unwrap_or_else(|| format!("http://{near}"));
        let file = reach.password_file.as_deref().map(Path::new);
        let password = config.known_admin_password(file).map_err(|why| why.to_string())?;
        crate::net::install_crypto();
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(ANSWER_MAX)
            .build()
            .map_err(|error| format!("the HTTP client cannot be built: {error}"))?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), password, client })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, NoAnswer> {
        self.ask(self.client.get(format!("{}{path}", self.base))).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, NoAnswer> {
        self.ask(self.client.post(format!("{}{path}", self.base)).json(body)).await
    }

    /// The same for what takes longer than an answer may take else.
    pub(super) async fn post_within(
        &self,
        (path, most): (&str, Duration),
        body: &Value,
    ) -> Result<Value, NoAnswer> {
        self.ask(self.client.post(format!("{}{path}", self.base)).timeout(most).json(body)).await
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Value, NoAnswer> {
        let base = &self.base;
        let request = request.basic_auth("admin", Some(self.password.expose()));
        let answer = request.send().await.map_err(|error| {
            let why = format!(
                "no relay answers at {base}: start it, or say with --admin where its admin API is"
            );
            if error.is_connect() {
                NoAnswer::NotRunning(why)
            } else {
                NoAnswer::Refused(format!("the relay at {base} gives no answer: {error}"))
            }
        })?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(|error| {
            NoAnswer::Refused(format!("the answer of {base} broke off: {error}"))
        })?;
        let json: Option<Value> = serde_json::from_str(&text).ok();
        match (status, json) {
            (200..=299, Some(json)) => Ok(json),
            (401, _) => Err(NoAnswer::Refused(format!(
                "the relay at {base} does not take this password: set RELAY_ADMIN_PASSWORD, or say \
                 with --password-file where it is"
            ))),
            (_, json) => {
                let said = json.as_ref().and_then(|json| json.get("message")?.as_str());
                let said = printable(said.unwrap_or(&text), SHOWN_CHARS_MAX);
                Err(NoAnswer::Refused(format!("the relay at {base} answered {status}: {said}")))
            }
        }
    }
}
