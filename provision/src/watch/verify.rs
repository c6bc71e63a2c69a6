//! Checks what a firehose gives as a careful consumer would: signature, blocks, and that undoing the
//! operations leads to the state before.
//!
//! Keys come from the PLC directory and from did:web documents, each asked once and kept; after a bad
//! signature it is asked once more, as keys change. Whether a commit follows the one before is not
//! looked at: that takes the whole history.

use std::num::NonZeroUsize;

use anyhow::{Context as _, Result};
use lru::LruCache;
use relay_protocol::{
    Blocks, Commit, CommitMessage, DOCUMENT_BYTES_MAX, Did, DidDocument, EMPTY_TREE, Invalid,
    Inversion, Message, Sync, VerifyingKey, check_ops, check_records, invert, ops_are_legacy,
};
use serde::Serialize;

/// Accounts whose key is remembered.
const KEYS_MAX: NonZeroUsize = match NonZeroUsize::new(200_000) {
    Some(count) => count,
    None => NonZeroUsize::MIN,
};

/// What checking an event found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Checked {
    /// All that can be checked is right.
    Right,
    /// Something is wrong.
    Wrong(String),
    /// It could not be checked.
    Unknown(String),
}

/// Checks events; asks for keys.
#[derive(Debug)]
pub struct Verifier {
    client: reqwest::Client,
    directory: String,
    keys: LruCache<String, VerifyingKey>,
}

impl Verifier {
    /// Will ask this PLC directory, such as `https://plc.directory`.
    ///
    /// # Errors
    /// When TLS cannot be set up on this machine.
    pub fn new(directory: &str) -> Result<Self> {
        Ok(Self {
            client: crate::feed::client()?,
            directory: directory.trim_end_matches('/').to_owned(),
            keys: LruCache::new(KEYS_MAX),
        })
    }

    /// Checks one event. Identities and accounts are not signed: for them there is nothing to check,
    /// but an identity makes the key of its account be asked for again.
    pub async fn check(&mut self, message: &Message<'_>) -> Checked {
        let did = match message {
            Message::Commit(commit) => commit.repo,
            Message::Sync(sync) => sync.did,
            Message::Identity(identity) => {
                self.keys.pop(identity.did);
                return Checked::Unknown("identities are not signed".to_owned());
            }
            _ => return Checked::Unknown("it is not signed".to_owned()),
        };
        let known = self.keys.get(did).cloned();
        let is_old = known.is_some();
        let key = match known {
            Some(key) => key,
            None => match self.ask(did).await {
                Ok(key) => key,
                Err(error) => return Checked::Unknown(format!("{error:#}")),
            },
        };
        match (examine(message, &key), is_old) {
            (Ok(()), _) => Checked::Right,
            (Err(why), false) => Checked::Wrong(why),
            (Err(_), true) => match self.ask(did).await {
                Ok(key) => examine(message, &key).map_or_else(Checked::Wrong, |()| Checked::Right),
                Err(error) => Checked::Unknown(format!("{error:#}")),
            },
        }
    }

    async fn ask(&mut self, did: &str) -> Result<VerifyingKey> {
        let parsed = Did::parse(did).with_context(|| format!("read the DID {did}"))?;
        let url = match parsed.web_host() {
            Some(host) if host.starts_with("localhost:") => {
                format!("http://{host}/.well-known/did.json")
            }
            Some(host) => format!("https://{host}/.well-known/did.json"),
            None => format!("{}/{did}", self.directory),
        };
        let document = crate::feed::bytes(&self.client, &url, DOCUMENT_BYTES_MAX).await?;
        let document = DidDocument::parse(&document, &parsed, true).context("read the document")?;
        let key = document.key.context("the document holds no signing key")?;
        self.keys.put(did.to_owned(), key.clone());
        Ok(key)
    }
}

/// All that can be checked with a key.
fn examine(message: &Message<'_>, key: &VerifyingKey) -> Result<(), String> {
    match message {
        Message::Commit(commit) => examine_commit(commit, key),
        Message::Sync(sync) => examine_sync(sync, key),
        _ => Ok(()),
    }
}

fn examine_sync(sync: &Sync<'_>, key: &VerifyingKey) -> Result<(), String> {
    let words = |invalid: Invalid| invalid.what.to_owned();
    let blocks = Blocks::read(sync.blocks).map_err(words)?;
    let commit = signed(&blocks, key).map_err(words)?;
    if commit.did != sync.did || commit.rev != sync.rev {
        return Err("the signed commit is about another account or revision".to_owned());
    }
    Ok(())
}

fn examine_commit(message: &CommitMessage<'_>, key: &VerifyingKey) -> Result<(), String> {
    let words = |invalid: Invalid| invalid.what.to_owned();
    let blocks = Blocks::read(message.blocks).map_err(words)?;
    if blocks.root() != message.commit {
        return Err("the message names another commit than its blocks".to_owned());
    }
    let commit = signed(&blocks, key).map_err(words)?;
    if commit.did != message.repo || commit.rev != message.rev {
        return Err("the signed commit is about another account or revision".to_owned());
    }
    check_ops(&message.ops).map_err(words)?;
    check_records(&message.ops, &blocks).map_err(words)?;
    if ops_are_legacy(&message.ops) || (message.prev_data.is_none() && message.since.is_some()) {
        return Err(
            "it cannot be proved: an operation has no prev, or there is no prevData".to_owned()
        );
    }
    let before = message.prev_data.unwrap_or(EMPTY_TREE);
    match invert(&commit.data, &before, &message.ops, &blocks) {
        Inversion::Ok => Ok(()),
        Inversion::Mismatch { found } => {
            Err(format!("undoing the operations leads to {found}, not to prevData {before}"))
        }
        Inversion::Partial(invalid) | Inversion::Structure(invalid) => Err(words(invalid)),
    }
}

/// The signed commit in the blocks.
fn signed<'b>(blocks: &Blocks<'b>, key: &VerifyingKey) -> Result<Commit<'b>, Invalid> {
    let block = blocks.get(&blocks.root().0)?.ok_or(Invalid::new("the commit block is missing"))?;
    let commit = Commit::decode(block)?;
    commit.verify(key)?;
    Ok(commit)
}
