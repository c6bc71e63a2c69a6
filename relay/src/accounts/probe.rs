//! Asks a host for the status of one of its accounts (VAL-6, ACC-11).
//!
//! Bounded: two requests at a time per host, 16 KiB per answer, one gate per known host.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use relay_protocol::Did;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::{
    domain::{HostId, UpstreamStatus},
    net::Net,
};

/// Requests at a time to one host (ACC-11: an inactive spammer must not become an amplifier).
const PER_HOST: usize = 2;
/// A status answer is about 100 bytes; more than this is not one.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// What the host said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// It has the account, with this status.
    Status(UpstreamStatus),
    /// It answered without a status: unknown account, error, not JSON. Says what.
    NoStatus(String),
    /// It could not be asked. Says why.
    Unreachable(String),
}

/// `com.atproto.sync.getRepoStatus`; fields that we do not use are not read.
#[derive(Debug, Deserialize)]
struct Answer {
    did: String,
    active: bool,
    status: Option<String>,
}

/// Asks hosts; cheap to clone.
#[derive(Debug, Clone)]
pub struct Probes {
    net: Net,
    gates: Arc<Mutex<HashMap<HostId, Arc<Semaphore>>>>,
}

impl Probes {
    /// Nothing asked yet.
    pub fn new(net: Net) -> Self {
        Self { net, gates: Arc::default() }
    }

    /// Asks the host at `base_url` (scheme, host, port; no slash at the end) about `did`.
    ///
    /// Cancel safety: the request is given up, nothing else.
    pub async fn ask(&self, host: HostId, base_url: &str, did: &Did) -> Probed {
        let gate = Arc::clone(
            self.gates.lock().entry(host).or_insert_with(|| Arc::new(Semaphore::new(PER_HOST))),
        );
        let Ok(_turn) = gate.acquire().await else {
            return Probed::Unreachable("the relay is stopping".to_owned());
        };
        // `%` is the only character of a DID that a query does not take as it is.
        let did_in_query = did.as_str().replace('%', "%25");
        let url = format!("{base_url}/xrpc/com.atproto.sync.getRepoStatus?did={did_in_query}");
        match self.net.get(&url, BODY_BYTES_MAX).await {
            Ok(answer) if answer.status == 200 => read(&answer.body, did),
            Ok(answer) => Probed::NoStatus(format!("HTTP status {}", answer.status)),
            Err(error) => Probed::Unreachable(error.to_string()),
        }
    }
}

fn read(body: &[u8], did: &Did) -> Probed {
    match serde_json::from_slice::<Answer>(body) {
        Ok(answer) if answer.did == did.as_str() => {
            Probed::Status(UpstreamStatus::from_wire(answer.active, answer.status.as_deref()))
        }
        Ok(_) => Probed::NoStatus("the answer is about another DID".to_owned()),
        Err(_) => Probed::NoStatus("the answer is not a repo status".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

    fn answer(json: &str) -> Probed {
        read(json.as_bytes(), &Did::parse(DID).expect("a valid DID"))
    }

    /// VAL-6: only a well-formed answer about the same account says something.
    #[test]
    fn only_an_answer_about_the_account_counts() {
        assert_eq!(
            answer(&format!(r#"{{"did":"{DID}","active":true,"rev":"3jzfcijpj2z2a"}}"#)),
            Probed::Status(UpstreamStatus::Active)
        );
        assert_eq!(
            answer(&format!(r#"{{"did":"{DID}","active":false,"status":"takendown"}}"#)),
            Probed::Status(UpstreamStatus::Takendown)
        );
        for wrong in [
            r#"{"did":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","active":true}"#.to_owned(),
            format!(r#"{{"did":"{DID}"}}"#),
            format!(r#"{{"did":"{DID}","active":"yes"}}"#),
            "<html>".to_owned(),
            String::new(),
        ] {
            assert!(matches!(answer(&wrong), Probed::NoStatus(_)), "{wrong}");
        }
    }
}
