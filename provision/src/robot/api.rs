//! The Robot web service: requests, what it refuses, and which requests are worth a second try.

use std::{net::IpAddr, time::Duration};

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::{Confirmed, Server};

/// Where the service is.
const SERVICE: &str = "https://robot-ws.your-server.de";
/// How long an answer may take, unless it is said; a restart is slow.
const ANSWER_MAX: Duration = Duration::from_mins(1);
/// Tries of a request that does no harm when it is made twice.
const TRIES: u32 = 4;
/// Longest wait that a limit of requests is worth; an hour is for a person to decide.
const PATIENCE: Duration = Duration::from_mins(2);

/// Why Robot did not do it.
#[derive(Debug, thiserror::Error)]
pub enum RobotError {
    /// User or password are wrong.
    #[error(
        "Robot does not know this user with this password; set ROBOT_USER and ROBOT_PASSWORD to those of \
         \"Web service and app settings\" in Robot. Three wrong attempts block this address for ten minutes"
    )]
    Unauthorized,
    /// Too many requests.
    #[error(
        "Robot takes no more requests for now{}; run this again in {} s, it goes on where it was",
        .max.map(|max| format!(" (at most {max} of this kind)")).unwrap_or_default(),
        .wait.as_secs()
    )]
    RateLimited {
        /// Requests that are permitted in that time, if it says.
        max: Option<u64>,
        /// After how long it takes requests again.
        wait: Duration,
    },
    /// It says no.
    #[error("{what}: Robot refuses with {code} ({message}){}", hint(.code))]
    Refused {
        /// What was asked for.
        what: String,
        /// Its word for it, such as `SERVER_NOT_FOUND`.
        code: String,
        /// Its sentence.
        message: String,
    },
    /// It did not answer, or not in time: what was asked for may have happened.
    #[error("{what}: Robot did not answer ({why}); run this again, it goes on where it was")]
    Away {
        /// What was asked for.
        what: String,
        /// Why, for people.
        why: String,
    },
    /// It answers something else than it documents.
    #[error("{what}: Robot's answer is not understood: {why}")]
    Odd {
        /// What was asked for.
        what: String,
        /// Why.
        why: String,
    },
}

/// What to do about a refusal.
fn hint(code: &str) -> &'static str {
    match code {
        "SERVER_NOT_FOUND" => "; `provision robot list` shows the numbers of your servers",
        "RESET_MANUAL_ACTIVE" => "; somebody at Hetzner is at work there, wait until they are done",
        "RESET_NOT_AVAILABLE" | "BOOT_NOT_AVAILABLE" => {
            "; this server cannot be restarted from here, ask Hetzner's support"
        }
        "BOOT_ALREADY_ENABLED" | "BOOT_BLOCKED" => {
            "; another boot configuration is active, take it away in Robot"
        }
        "FIREWALL_IN_PROCESS" => "; the last change is not done, run this again in a minute",
        "KEY_ALREADY_EXISTS" => "; the key is there under another name",
        _ => "",
    }
}

/// A connection to the service.
#[derive(Debug, Clone)]
pub struct Robot {
    client: reqwest::Client,
    service: String,
    user: String,
    password: String,
    pause: Duration,
}

/// What a request does when it is made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Twice {
    Harmless,
    Never,
}

/// The rescue system of a server.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Rescue {
    #[serde(default)]
    pub(super) active: bool,
    #[serde(default)]
    host_key: Vec<Value>,
    #[serde(default)]
    authorized_key: Vec<Value>,
}

impl Rescue {
    /// Fingerprints of the keys by which the rescue system shows that it is the one.
    pub(super) fn host_keys(&self) -> Vec<String> {
        fingerprints(&self.host_key)
    }

    /// Whether this key may log in.
    pub(super) fn lets_in(&self, fingerprint: &str) -> bool {
        fingerprints(&self.authorized_key).iter().any(|one| one == fingerprint)
    }
}

/// A list has its keys as `{"key": {"fingerprint": …}}`.
fn fingerprints(keys: &[Value]) -> Vec<String> {
    let of = |key: &Value| {
        let key = key.get("key").unwrap_or(key);
        key.get("fingerprint").or(Some(key)).and_then(Value::as_str).map(ToOwned::to_owned)
    };
    keys.iter().filter_map(of).collect()
}

impl Robot {
    /// * `service` – another address than Hetzner's, for a test
    /// * `pause` – between two tries; it doubles
    ///
    /// # Errors
    /// When there can be no TLS on this machine.
    pub fn new(
        service: Option<&str>,
        user: &str,
        password: &str,
        pause: Duration,
    ) -> Result<Self, RobotError> {
        Ok(Self {
            client: client(ANSWER_MAX)?,
            service: service.unwrap_or(SERVICE).trim_end_matches('/').to_owned(),
            user: user.to_owned(),
            password: password.to_owned(),
            pause,
        })
    }

    /// Gives up on an answer sooner.
    ///
    /// # Errors
    /// As [`Robot::new`].
    pub fn with_patience(mut self, answer_max: Duration) -> Result<Self, RobotError> {
        self.client = client(answer_max)?;
        Ok(self)
    }

    /// All servers of the account.
    ///
    /// # Errors
    /// [`RobotError`]; so for all requests.
    pub async fn servers(&self) -> Result<Vec<Server>, RobotError> {
        let what = "list the servers";
        let all = self.ask(what, Method::GET, "/server", &[]).await?;
        let all = all.as_array().cloned().unwrap_or_default();
        all.iter().map(|one| part(what, one, "server")).collect()
    }

    /// One server.
    ///
    /// # Errors
    /// See [`Robot::servers`].
    pub async fn server(&self, number: u64) -> Result<Server, RobotError> {
        let what = format!("look at server {number}");
        part(
            &what,
            &self.ask(&what, Method::GET, &format!("/server/{number}"), &[]).await?,
            "server",
        )
    }

    /// Makes a public key known, unless it is; gives its fingerprint.
    pub(super) async fn key(&self, name: &str, data: &str) -> Result<String, RobotError> {
        let what = "make the ssh key known";
        let body = |data: &str| data.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        let known = async || -> Result<Option<String>, RobotError> {
            let all = match self.ask(what, Method::GET, "/key", &[]).await {
                Err(RobotError::Refused { code, .. }) if code == "NOT_FOUND" => Value::Null,
                other => other?,
            };
            let same = |key: &&Value| {
                let theirs = key.pointer("/key/data").and_then(Value::as_str).unwrap_or_default();
                body(theirs) == body(data)
            };
            let found = all.as_array().and_then(|all| all.iter().find(same)).cloned();
            Ok(found.and_then(|key| fingerprints(&[key]).pop()))
        };
        if let Some(fingerprint) = known().await? {
            return Ok(fingerprint);
        }
        let form = [("name", name.to_owned()), ("data", data.trim().to_owned())];
        match self.ask(what, Method::POST, "/key", &form).await {
            Ok(made) => fingerprints(&[made]).pop().ok_or_else(|| odd(what, "no fingerprint")),
            // The answer to an earlier try was lost.
            Err(RobotError::Refused { code, .. }) if code == "KEY_ALREADY_EXISTS" => {
                known().await?.ok_or_else(|| odd(what, "the key is there, and is not"))
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn rescue(&self, number: u64) -> Result<Rescue, RobotError> {
        let what = format!("look at the rescue system of server {number}");
        let path = format!("/boot/{number}/rescue");
        part(&what, &self.ask(&what, Method::GET, &path, &[]).await?, "rescue")
    }

    /// The next start will be into the rescue system, in which this key may log in.
    pub(super) async fn prepared_rescue(
        &self,
        server: Confirmed,
        fingerprint: &str,
    ) -> Result<Rescue, RobotError> {
        let number = server.number();
        let what = format!("prepare the rescue system of server {number}");
        let path = format!("/boot/{number}/rescue");
        let now = self.rescue(number).await?;
        if now.active && now.lets_in(fingerprint) {
            return Ok(now);
        }
        if now.active {
            // It was prepared with other keys.
            self.ask(&what, Method::DELETE, &path, &[]).await?;
        }
        let form = [("os", "linux".to_owned()), ("authorized_key[]", fingerprint.to_owned())];
        match self.ask(&what, Method::POST, &path, &form).await {
            Ok(answer) => part(&what, &answer, "rescue"),
            // The answer to an earlier try may have been lost.
            Err(error) => match self.rescue(number).await {
                Ok(now) if now.active && now.lets_in(fingerprint) => Ok(now),
                _ => Err(error),
            },
        }
    }

    /// Restarts a server by its reset button, once: a second press would interrupt what the first began.
    ///
    /// # Errors
    /// See [`Robot::servers`]; [`RobotError::Away`] when it may have happened.
    pub async fn reset(&self, server: Confirmed) -> Result<(), RobotError> {
        let number = server.number();
        let what = format!("restart server {number}");
        let form = [("type", "hw".to_owned())];
        let request = (Method::POST, format!("/reset/{number}"));
        self.ask_as(&what, request, &form, Twice::Never).await.map(drop)
    }

    /// Lets an address lead back to a name; tells whether something was changed.
    ///
    /// # Errors
    /// See [`Robot::servers`].
    pub async fn point_back(&self, address: IpAddr, name: &str) -> Result<bool, RobotError> {
        let what = format!("set the name of {address}");
        let path = format!("/rdns/{address}");
        let now = match self.ask(&what, Method::GET, &path, &[]).await {
            Err(RobotError::Refused { code, .. }) if code == "RDNS_NOT_FOUND" => Value::Null,
            other => other?,
        };
        if now.pointer("/rdns/ptr").and_then(Value::as_str) == Some(name) {
            return Ok(false);
        }
        self.ask(&what, Method::POST, &path, &[("ptr", name.to_owned())]).await?;
        Ok(true)
    }

    pub(super) async fn ask(
        &self,
        what: &str,
        method: Method,
        path: &str,
        form: &[(&str, String)],
    ) -> Result<Value, RobotError> {
        self.ask_as(what, (method, path.to_owned()), form, Twice::Harmless).await
    }

    async fn ask_as(
        &self,
        what: &str,
        (method, path): (Method, String),
        form: &[(&str, String)],
        twice: Twice,
    ) -> Result<Value, RobotError> {
        let mut pause = self.pause;
        for attempt in 1.. {
            let error = match self.once(what, method.clone(), &path, form).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let is_last = attempt >= TRIES;
            match &error {
                // Refused before anything was done, so that nothing is done twice.
                RobotError::RateLimited { wait, .. } if !is_last && *wait <= PATIENCE => {
                    tokio::time::sleep(*wait).await;
                }
                RobotError::Away { .. } if !is_last && twice == Twice::Harmless => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                _ => return Err(error),
            }
        }
        Err(odd(what, "tried for ever"))
    }

    async fn once(
        &self,
        what: &str,
        method: Method,
        path: &str,
        form: &[(&str, String)],
    ) -> Result<Value, RobotError> {
        let url = format!("{}{path}", self.service);
        let mut request =
            self.client.request(method, url).basic_auth(&self.user, Some(&self.password));
        if !form.is_empty() {
            let pairs = form.iter().map(|(name, value)| (name, value));
            let body: String =
                url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            request =
                request.header("content-type", "application/x-www-form-urlencoded").body(body);
        }
        let answer = request.send().await.map_err(|error| away(what, &error))?;
        let status = answer.status();
        let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let body = answer.text().await.map_err(|error| away(what, &error))?;
        if status.is_success() {
            let read = serde_json::from_str(if body.trim().is_empty() { "null" } else { &body });
            return read.map_err(|error| odd(what, &error.to_string()));
        }
        Err(refusal(what, status, retry_after, &body))
    }
}

fn client(answer_max: Duration) -> Result<reqwest::Client, RobotError> {
    let builder = reqwest::Client::builder().timeout(answer_max);
    let built = builder.redirect(reqwest::redirect::Policy::none()).build();
    built.map_err(|error| away("prepare requests", &error))
}

/// Why it said no.
fn refusal(
    what: &str,
    status: StatusCode,
    retry_after: Option<Duration>,
    body: &str,
) -> RobotError {
    let error: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| {
        error.pointer(&format!("/error/{name}")).and_then(Value::as_str).unwrap_or_default()
    };
    let number = |name: &str| error.pointer(&format!("/error/{name}")).and_then(Value::as_u64);
    let is_limit = text("code") == "RATE_LIMIT_EXCEEDED" || number("max_request").is_some();
    match status {
        StatusCode::UNAUTHORIZED => RobotError::Unauthorized,
        status if is_limit || status == StatusCode::TOO_MANY_REQUESTS => RobotError::RateLimited {
            max: number("max_request"),
            wait: retry_after
                .or(number("interval").map(Duration::from_secs))
                .unwrap_or(Duration::from_hours(1)),
        },
        status if status.is_server_error() && text("code").is_empty() => {
            RobotError::Away { what: what.to_owned(), why: status.to_string() }
        }
        status => RobotError::Refused {
            what: what.to_owned(),
            code: if text("code").is_empty() {
                status.to_string()
            } else {
                text("code").to_owned()
            },
            message: crate::told::harmless(&detail(&error, text("message")), 300),
        },
    }
}

/// Its sentence, and the parameters that it found missing or wrong.
fn detail(error: &Value, message: &str) -> String {
    let list = |name: &str| {
        let all = error.pointer(&format!("/error/{name}")).and_then(Value::as_array);
        let all: Vec<&str> = all.into_iter().flatten().filter_map(Value::as_str).collect();
        if all.is_empty() { String::new() } else { format!(", {name}: {}", all.join(", ")) }
    };
    format!("{message}{}{}", list("missing"), list("invalid"))
}

fn part<T: serde::de::DeserializeOwned>(
    what: &str,
    answer: &Value,
    name: &str,
) -> Result<T, RobotError> {
    let part =
        answer.get(name).cloned().ok_or_else(|| odd(what, &format!("there is no `{name}`")))?;
    serde_json::from_value(part).map_err(|error| odd(what, &error.to_string()))
}

fn away(what: &str, error: &reqwest::Error) -> RobotError {
    let why = if error.is_timeout() { "no answer in time".to_owned() } else { error.to_string() };
    RobotError::Away { what: what.to_owned(), why }
}

fn odd(what: &str, why: &str) -> RobotError {
    RobotError::Odd { what: what.to_owned(), why: why.to_owned() }
}
