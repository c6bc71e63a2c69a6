//! Sends messages: a bounded queue and a task per receiver, with retries.

use std::{sync::Arc, time::Duration};

use metrics::{counter, gauge};
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    AlertParts,
    ledger::Notice,
    words::{self, Speaker},
};
use crate::{
    config::Secret,
    net::{Answer, Net, NetError, printable},
    tasks::Tasks,
    telemetry::metrics as names,
};

/// Messages that may wait for one receiver.
const QUEUE_MAX: usize = 64;
/// A receiver that is away gets a message tried again for so long. Later it is old: what still is so
/// then is told again anyway.
const RETRY_FOR: Duration = Duration::from_hours(1);
/// Longest wait between two tries.
const RETRY_EVERY_MAX: Duration = Duration::from_mins(1);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Shown part of what Slack answers.
const ERROR_CHARS_MAX: usize = 100;

/// Where messages go.
#[derive(Debug, Clone)]
enum Way {
    Webhook(Secret),
    Slack { url: String, token: Secret, channel: String },
}

impl Way {
    const fn label(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Slack { .. } => "slack",
        }
    }
}

/// The near end of a queue.
#[derive(Debug)]
pub(super) struct Receiver {
    label: &'static str,
    queue: mpsc::Sender<Vec<Notice>>,
}

impl Receiver {
    /// Puts notices in the queue. One that is full takes no more: that is counted, and they are told
    /// again when they still are so.
    pub(super) fn send(&self, notices: &[Notice]) {
        for portion in words::portions(notices) {
            if self.queue.try_send(portion).is_err() {
                counter!(names::ALERTS_FAILED, "way" => self.label).increment(1);
                tracing::warn!(way = self.label, "an alert is lost: too many wait to be sent");
            }
        }
    }
}

/// Starts a task per receiver of the settings.
pub(super) fn start(parts: &AlertParts, tasks: &Tasks) -> Vec<Receiver> {
    let settings = &parts.settings;
    let webhook = settings.webhook.clone().map(Way::Webhook);
    let slack = settings.slack_token.clone().map(|token| Way::Slack {
        url: parts.options.slack_url.clone(),
        token,
        channel: settings.slack_channel.clone(),
    });
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let speaker = Arc::new(Speaker { machine, dashboard: settings.dashboard_url.clone() });
    let start = |way: Way| {
        let label = way.label();
        let (queue, messages) = mpsc::channel(QUEUE_MAX);
        gauge!(names::ALERTS_QUEUE_LIMIT, "way" => label).set(float(QUEUE_MAX));
        gauge!(names::ALERTS_QUEUE_DEPTH, "way" => label).set(0);
        let postman = Postman {
            way,
            speaker: Arc::clone(&speaker),
            net: parts.net.clone(),
            first_retry: parts.options.first_retry,
        };
        let stopping = tasks.stopping().clone();
        tasks.start(async move {
            stopping.run_until_cancelled(postman.run(messages)).await;
        });
        Receiver { label, queue }
    };
    webhook.into_iter().chain(slack).map(start).collect()
}

/// How a try ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Taken,
    /// May go well later.
    Later(String, Option<Duration>),
    /// Never will.
    Refused(String),
}

struct Postman {
    way: Way,
    speaker: Arc<Speaker>,
    net: Net,
    first_retry: Duration,
}

impl Postman {
    async fn run(self, mut messages: mpsc::Receiver<Vec<Notice>>) {
        let label = self.way.label();
        while let Some(notices) = messages.recv().await {
            gauge!(names::ALERTS_QUEUE_DEPTH, "way" => label).set(float(messages.len()));
            match self.deliver(&notices).await {
                Ok(()) => counter!(names::ALERTS_SENT, "way" => label).increment(1),
                Err(why) => {
                    counter!(names::ALERTS_FAILED, "way" => label).increment(1);
                    tracing::warn!(way = label, why, "an alert could not be sent");
                }
            }
        }
    }

    /// Tries until it is taken, refused, or old.
    async fn deliver(&self, notices: &[Notice]) -> Result<(), String> {
        let begun = Instant::now();
        let mut wait = self.first_retry;
        loop {
            let (why, asked) = match self.attempt(notices).await {
                Outcome::Taken => return Ok(()),
                Outcome::Refused(why) => return Err(why),
                Outcome::Later(why, asked) => (why, asked),
            };
            if begun.elapsed() >= RETRY_FOR {
                return Err(why);
            }
            tracing::debug!(way = self.way.label(), why, "an alert is sent again later");
            sleep(asked.unwrap_or(wait).min(RETRY_EVERY_MAX)).await;
            wait = wait.saturating_mul(2).min(RETRY_EVERY_MAX);
        }
    }

    async fn attempt(&self, notices: &[Notice]) -> Outcome {
        let answer = match &self.way {
            Way::Webhook(url) => {
                let body = words::webhook(notices, &self.speaker);
                self.net.post_configured(url.expose(), None, &body, ANSWER_BYTES_MAX).await
            }
            Way::Slack { url, token, channel } => {
                let body = words::slack(notices, &self.speaker, channel);
                self.net.post_configured(url, Some(token.expose()), &body, ANSWER_BYTES_MAX).await
            }
        };
        match &self.way {
            Way::Webhook(_) => by_status(answer),
            Way::Slack { .. } => by_word(answer),
        }
    }
}

fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn by_status(answer: Result<Answer, NetError>) -> Outcome {
    match answer {
        Ok(Answer { status: 200..=299, .. }) => Outcome::Taken,
        Ok(Answer { status: status @ (408 | 429 | 500..), retry_after, .. }) => {
            Outcome::Later(format!("it answered {status}"), retry_after)
        }
        Ok(Answer { status, .. }) => Outcome::Refused(format!("it answered {status}")),
        Err(error) => Outcome::Later(error.to_string(), None),
    }
}

/// Slack says 200 to nearly everything, and in the body whether it took it.
fn by_word(answer: Result<Answer, NetError>) -> Outcome {
    let body: Option<Value> =
        answer.as_ref().ok().and_then(|answer| serde_json::from_slice(&answer.body).ok());
    let outcome = by_status(answer);
    if outcome != Outcome::Taken {
        return outcome;
    }
    let said = |key: &str| body.as_ref().and_then(|body| body.get(key));
    if said("ok").and_then(Value::as_bool) == Some(true) {
        return Outcome::Taken;
    }
    let error = said("error").and_then(Value::as_str).unwrap_or("no answer that can be read");
    let why = format!("Slack answered {}", printable(error, ERROR_CHARS_MAX));
    match error {
        "ratelimited" | "rate_limited" | "internal_error" | "service_unavailable" => {
            Outcome::Later(why, None)
        }
        _ => Outcome::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let body = bytes::Bytes::copy_from_slice(body.as_bytes());
        Answer { status, retry_after: Some(Duration::from_secs(7)), server: None, body }
    }

    /// What may go well later is tried again, and what never will is not.
    #[test]
    fn answers_say_whether_a_further_try_makes_sense() {
        let seven = Some(Duration::from_secs(7));
        let later = |status: u16| Outcome::Later(format!("it answered {status}"), seven);
        assert_eq!(by_status(Ok(answer(204, ""))), Outcome::Taken);
        for status in [408, 429, 500, 503] {
            assert_eq!(by_status(Ok(answer(status, ""))), later(status));
        }
        assert_eq!(by_status(Ok(answer(404, ""))), Outcome::Refused("it answered 404".to_owned()));
        let gone = Err(NetError::Failed("gone".to_owned()));
        assert_eq!(by_status(gone), Outcome::Later("gone".to_owned(), None));
        assert_eq!(by_word(Ok(answer(200, "{\"ok\":true}"))), Outcome::Taken);
        assert_eq!(by_word(Ok(answer(502, "{\"ok\":true}"))), later(502));
        let refused = Outcome::Refused("Slack answered invalid_auth".to_owned());
        assert_eq!(by_word(Ok(answer(200, "{\"ok\":false,\"error\":\"invalid_auth\"}"))), refused);
        let busy = Outcome::Later("Slack answered ratelimited".to_owned(), None);
        assert_eq!(by_word(Ok(answer(200, "{\"ok\":false,\"error\":\"ratelimited\"}"))), busy);
        assert!(matches!(by_word(Ok(answer(200, "<html>"))), Outcome::Refused(_)));
    }
}
