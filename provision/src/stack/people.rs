//! Accounts on the stack's PDS, and what they write.

use anyhow::{Context, Result, ensure};
use relay_protocol::{Did, DidDocument, VerifyingKey};
use serde_json::{Value, json};

use super::Stack;

/// An account on the PDS.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its DID.
    pub did: String,
    /// `NAME.test`.
    pub handle: String,
    /// Opens the PDS for it.
    pub token: String,
}

/// A record that the PDS took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `at://…`
    pub uri: String,
    /// Revision of the repository that has it.
    pub rev: String,
}

impl Stack {
    /// The account `NAME.test` of the PDS; made if it is not there.
    ///
    /// # Errors
    /// When the PDS refuses the name or does not answer.
    pub async fn account(&self, name: &str) -> Result<Account> {
        let password = &self.secrets.accounts;
        let handle = format!("{name}.test");
        let session = json!({ "identifier": handle, "password": password });
        let known = self.tell_pds("com.atproto.server.createSession", None, &session).await;
        let answer = if let Ok(answer) = known {
            answer
        } else {
            let email = format!("{name}@example.com");
            let new = json!({ "handle": handle, "email": email, "password": password });
            self.tell_pds("com.atproto.server.createAccount", None, &new).await?
        };
        let text = |key: &str| answer[key].as_str().map(str::to_owned);
        Ok(Account {
            did: text("did").context("the PDS gave no DID")?,
            token: text("accessJwt").context("the PDS gave no token")?,
            handle,
        })
    }

    /// Writes a post.
    ///
    /// # Errors
    /// When the PDS does not take it.
    pub async fn post(&self, account: &Account, text: &str) -> Result<Record> {
        const COLLECTION: &str = "app.bsky.feed.post";
        let record =
            json!({ "$type": COLLECTION, "text": text, "createdAt": "2026-01-01T00:00:00Z" });
        let body = json!({ "repo": account.did, "collection": COLLECTION, "record": record });
        let method = "com.atproto.repo.createRecord";
        let answer = self.tell_pds(method, Some(&account.token), &body).await?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Record {
            uri: text(&answer["uri"]).context("the PDS gave no address of the record")?,
            rev: text(&answer["commit"]["rev"]).context("the PDS gave no revision")?,
        })
    }

    /// The key that signs an account's commits, from the PLC directory.
    ///
    /// # Errors
    /// When the directory does not answer, or the document has no key.
    pub async fn key(&self, account: &Account) -> Result<VerifyingKey> {
        let did = Did::parse(&account.did).map_err(|error| anyhow::anyhow!("{error}"))?;
        let url = format!("{}/{}", self.addresses.plc, account.did);
        let document = self.client.get(url).send().await?.error_for_status()?.bytes().await?;
        let document = DidDocument::parse(&document, &did, true);
        let document = document.map_err(|error| anyhow::anyhow!("{error}"))?;
        document.key.with_context(|| format!("{} has no key", account.did))
    }

    /// Asks the PDS.
    async fn tell_pds(&self, method: &str, token: Option<&str>, body: &Value) -> Result<Value> {
        let mut request =
            self.client.post(format!("{}/xrpc/{method}", self.addresses.pds)).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.with_context(|| format!("ask the PDS for {method}"))?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "the PDS answered {method} with {status}: {text}");
        serde_json::from_str(&text).context("read what the PDS says")
    }
}
