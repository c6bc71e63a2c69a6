//! Asks the host of an account which collections it has.

use std::time::Duration;

use relay_protocol::Did;

use super::answers;
use crate::{
    discovery::{Discovery, Turn},
    hosts::Host,
    net::{Answer, Net, NetError},
};

/// Bytes of an answer: a DID document and ten thousand names.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Between two questions to hosts of one operator that nobody waits for.
const BREATH: Duration = Duration::from_millis(100);

/// What a host said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Exactly these.
    Has(Vec<String>),
    /// It asks to come later; when, if it said so.
    Later(Option<Duration>),
    /// It has no such account now, or will not tell. Says what.
    Nothing(String),
    /// It could not be asked. Says why.
    Unreachable(String),
}

/// Asks within the turns of the host's operator.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    pub(super) net: Net,
    pub(super) discovery: Discovery,
}

impl Asking {
    /// Asks once.
    ///
    /// * `group` – whose budget it is
    /// * `hurry` – a person waits
    ///
    /// Cancel safety: the question is given up, nothing else.
    pub(super) async fn ask(&self, host: &Host, did: &Did, (group, hurry): (&str, bool)) -> Said {
        let turn = self.discovery.turn(group).await;
        let scheme = if host.hostname().is_secure() { "https" } else { "http" };
        // `%` is the only character of a DID that a query does not take as it is.
        let repo = did.as_str().replace('%', "%25");
        let method = format!("/xrpc/com.atproto.repo.describeRepo?repo={repo}");
        let url = format!("{scheme}://{}{method}", host.hostname());
        let said = read(self.net.get(&url, BODY_BYTES_MAX).await, did);
        rest(turn, &said, hurry).await;
        said
    }
}

/// The others of the group wait as long.
async fn rest(turn: Turn, said: &Said, hurry: bool) {
    if let Said::Later(after) = said {
        return turn.pause(*after);
    }
    if !hurry {
        tokio::time::sleep(BREATH).await;
    }
    drop(turn);
}

fn read(answered: Result<Answer, NetError>, did: &Did) -> Said {
    let answer = match answered {
        Ok(answer) => answer,
        Err(error) => return Said::Unreachable(error.to_string()),
    };
    match answer.status {
        200 => match answers::described(&answer.body, did) {
            Ok(collections) => Said::Has(collections),
            Err(why) => Said::Nothing(format!("describeRepo: {why}")),
        },
        429 => Said::Later(answer.retry_after),
        status if status >= 500 && status != 501 => {
            Said::Unreachable(format!("describeRepo answered {status}"))
        }
        status => {
            let name = answers::error_name(&answer.body);
            Said::Nothing(format!("describeRepo answered {status} {name}").trim_end().to_owned())
        }
    }
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
        let whole = r#"{"did":"did:web:example.com","collections":["a.example.one"]}"#;
        assert_eq!(read(Ok(answer(200, whole)), &did), Said::Has(vec!["a.example.one".to_owned()]));
        assert_eq!(read(Ok(answer(429, "")), &did), Said::Later(Some(Duration::from_secs(7))));
        for (status, body) in
            [(200, "{}"), (400, r#"{"error":"RepoNotFound"}"#), (404, ""), (501, "")]
        {
            assert!(matches!(read(Ok(answer(status, body)), &did), Said::Nothing(_)), "{status}");
        }
        for status in [500, 502, 503] {
            assert!(matches!(read(Ok(answer(status, "")), &did), Said::Unreachable(_)), "{status}");
        }
        let failed = Err(NetError::Failed("no".to_owned()));
        assert_eq!(read(failed, &did), Said::Unreachable("no".to_owned()));
    }
}
