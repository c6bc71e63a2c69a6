//! Asks the host of an account which collections it has: by `describeRepo`, or by reading the repository
//! itself where a host has no such method.

mod export;
mod methods;

use std::{sync::Arc, time::Duration};

use relay_protocol::{DataCid, Did, Rev};
use tokio::sync::Semaphore;

pub use self::methods::Method;
use self::{
    export::Export,
    methods::{Methods, is_missing},
};
use super::answers;
use crate::{
    clock::Clock,
    discovery::{Discovery, Turn},
    domain::{Account, HostId},
    hosts::Host,
    net::{Answer, Net, NetError},
};

/// Bytes of an answer: a DID document and ten thousand names.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Repositories that are read at once, over all hosts: each may need some 130 MB and a fast line.
const DOWNLOADS_MAX: usize = 2;

/// What a host said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Exactly these.
    Has(Has),
    /// It asks to come later; when, if it said so.
    Later(Option<Duration>),
    /// Too many repositories are being read; it was not asked for this one.
    Busy,
    /// It has no such account now, or will not tell. Says what.
    Nothing(String),
    /// It could not be asked. Says why.
    Unreachable(String),
}

/// What an account has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Has {
    pub(super) collections: Vec<String>,
    /// The commit with which it has them; `None` when the host did not show it.
    pub(super) head: Option<(Rev, DataCid)>,
}

/// How a host is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct How<'a> {
    /// Whose budget it is.
    pub(super) group: &'a str,
    /// A person waits.
    pub(super) hurry: bool,
    /// Waits until there is room for another repository, instead of giving [`Said::Busy`].
    pub(super) patient: bool,
}

/// Asks within the turns of the host's operator; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    pub(super) discovery: Discovery,
    net: Net,
    clock: Clock,
    /// Between two questions to hosts of one operator that nobody waits for.
    breath: Duration,
    methods: Arc<Methods>,
    downloads: Arc<Semaphore>,
}

impl Asking {
    /// * `questions` – to hosts of one operator that nobody waits for, per second
    pub(super) fn new((net, discovery): (Net, Discovery), clock: Clock, questions: u32) -> Self {
        let downloads = Arc::new(Semaphore::new(DOWNLOADS_MAX));
        // Without any, nobody waits for none.
        let breath = Duration::from_secs(1) / questions.max(1);
        Self { discovery, net, clock, breath, methods: Arc::default(), downloads }
    }

    /// By which method a host is asked next.
    pub(super) fn method(&self, host: HostId) -> Method {
        self.methods.of(host, self.clock.steady_ms())
    }

    /// Whether a question to this host would be asked now, as far as other downloads go.
    pub(super) fn has_room(&self, host: HostId) -> bool {
        self.downloads.available_permits() > 0 || self.method(host) == Method::DescribeRepo
    }

    /// Asks once.
    ///
    /// * `account` – as it is known now: what its host says must not be older
    ///
    /// Cancel safety: the question is given up, nothing else.
    pub(super) async fn ask(&self, host: &Host, account: &Account, how: How<'_>) -> Said {
        let mut missing = None;
        if self.method(host.id()) == Method::DescribeRepo {
            match self.describe(host, account, how).await {
                Ok(said) => return said,
                Err(why) => {
                    self.methods.note_missing(host.id(), self.clock.steady_ms());
                    missing = Some(why);
                }
            }
        }
        match self.export(host, account, how).await {
            Ok(said) => said,
            Err(why) => {
                self.methods.forget(host.id());
                let why = missing.into_iter().chain([why]).collect::<Vec<_>>();
                Said::Unreachable(why.join(", "))
            }
        }
    }

    /// The error says that there is no such method.
    async fn describe(&self, host: &Host, account: &Account, how: How<'_>) -> Result<Said, String> {
        let turn = self.discovery.turn(how.group).await;
        let url = url(host, "com.atproto.repo.describeRepo?repo", account);
        let said = read(self.net.get(&url, BODY_BYTES_MAX).await, &account.did);
        self.rest(turn, said.as_ref().ok(), how.hurry).await;
        said
    }

    /// The same.
    async fn export(&self, host: &Host, account: &Account, how: How<'_>) -> Result<Said, String> {
        let turn = self.discovery.turn(how.group).await;
        let room = if how.patient {
            self.downloads.acquire().await.ok()
        } else {
            self.downloads.try_acquire().ok()
        };
        let Some(_room) = room else { return Ok(Said::Busy) };
        let url = url(host, "com.atproto.sync.getRepo?did", account);
        let said = Export { net: &self.net, account }.read(&url).await;
        self.rest(turn, said.as_ref().ok(), how.hurry).await;
        said
    }

    /// The others of the group wait as long.
    async fn rest(&self, turn: Turn, said: Option<&Said>, hurry: bool) {
        if let Some(Said::Later(after)) = said {
            return turn.pause(*after);
        }
        if !hurry {
            self.clock.sleep(self.breath).await;
        }
        drop(turn);
    }
}

fn url(host: &Host, method: &str, account: &Account) -> String {
    let scheme = if host.hostname().is_secure() { "https" } else { "http" };
    // `%` is the only character of a DID that a query does not take as it is.
    let did = account.did.as_str().replace('%', "%25");
    format!("{scheme}://{}/xrpc/{method}={did}", host.hostname())
}

fn read(answered: Result<Answer, NetError>, did: &Did) -> Result<Said, String> {
    let answer = match answered {
        Ok(answer) => answer,
        Err(error) => return Ok(Said::Unreachable(error.to_string())),
    };
    if answer.status != 200 {
        return refused("describeRepo", &answer);
    }
    Ok(match answers::described(&answer.body, did) {
        Ok(collections) => Said::Has(Has { collections, head: None }),
        Err(why) => Said::Nothing(format!("describeRepo: {why}")),
    })
}

/// What an answer means that is not 200. The error says that there is no such method.
fn refused(method: &str, answer: &Answer) -> Result<Said, String> {
    let (status, name) = (answer.status, answers::error_name(&answer.body));
    let why = format!("{method} answered {status} {name}").trim_end().to_owned();
    if is_missing(answer) {
        return Err(why);
    }
    Ok(match status {
        429 => Said::Later(answer.retry_after),
        500.. => Said::Unreachable(why),
        _ => Said::Nothing(why),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let body = bytes::Bytes::copy_from_slice(body.as_bytes());
        Answer { status, retry_after: Some(Duration::from_secs(7)), server: None, body }
    }

    /// An answer that is none never empties what is known of an account.
    #[test]
    fn only_a_whole_answer_says_what_an_account_has() {
        let did = Did::parse("did:web:example.com").unwrap();
        let read = |answered| read(answered, &did);
        let whole = r#"{"did":"did:web:example.com","collections":["a.example.one"]}"#;
        let has = Has { collections: vec!["a.example.one".to_owned()], head: None };
        assert_eq!(read(Ok(answer(200, whole))), Ok(Said::Has(has)));
        assert_eq!(read(Ok(answer(429, ""))), Ok(Said::Later(Some(Duration::from_secs(7)))));
        for (status, body) in [(200, "{}"), (400, r#"{"error":"RepoNotFound"}"#), (403, "")] {
            assert!(matches!(read(Ok(answer(status, body))), Ok(Said::Nothing(_))), "{status}");
        }
        for status in [500, 502, 503] {
            let said = read(Ok(answer(status, "")));
            assert!(matches!(said, Ok(Said::Unreachable(_))), "{status}");
        }
        for status in [404, 501] {
            assert_eq!(
                read(Ok(answer(status, ""))),
                Err(format!("describeRepo answered {status}"))
            );
        }
        let failed = Err(NetError::Failed("no".to_owned()));
        assert_eq!(read(failed), Ok(Said::Unreachable("no".to_owned())));
    }
}
