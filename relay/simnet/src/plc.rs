//! A scriptable PLC directory, and the documents of did:web accounts.

mod replies;

use crate::{
    Adversary,
    keys::{KeyForm, SigningKey},
    oracle::{Ledger, Served},
    server::{Connections, Server, lock},
};
use anyhow::Result;
use axum::{
    Router,
    extract::{Path, State},
    response::Response,
    routing::get,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

pub(crate) use replies::{endless_body, json_response, redirect};
use replies::{hostile_text, message, respond};

/// How the directory answers a question for a document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Answer {
    /// With the present document.
    #[default]
    Document,
    /// With the document that was there when this was set, whatever is registered later.
    Stale,
    /// 404 `DID not registered`.
    NotFound,
    /// 410.
    Gone,
    /// 429 with `Retry-After` in seconds.
    TooMany {
        /// Seconds.
        retry_after: u64,
    },
    /// This status with a JSON message.
    Status(u16),
    /// 200 with a page of HTML.
    Html,
    /// A well-formed document of another DID (DOC-1).
    WrongId,
    /// The document with a key that no one holds.
    WrongKey,
    /// The document without a signing key (DOC-6).
    NoKey,
    /// The document without a PDS (DOC-6).
    NoHost,
    /// The document with 100 KiB of filler, above the limit for bodies (RES-1).
    Oversized,
    /// The document with 5 MB of filler.
    Huge,
    /// The first half of the document.
    Truncated,
    /// No answer at all while the connection lasts.
    Silence,
    /// 302 to this address (RES-1).
    Redirect(String),
    /// A body that never ends (RES-1).
    EndlessBody,
    /// Lists in lists, thousands deep.
    Nested,
    /// The document beside names that are none, unknown fields and lists of hundreds (DOC-5).
    HostileText,
    /// The document with a PDS at a private address (DOC-3, SEC-1).
    PrivateEndpoint,
}

/// A DID document before it is written as JSON.
#[derive(Debug, Clone)]
pub struct Document {
    /// The DID.
    pub did: String,
    /// Handle of `alsoKnownAs`.
    pub handle: String,
    /// Signing key.
    pub key: SigningKey,
    /// How the key is written.
    pub form: KeyForm,
    /// Endpoint of the host, such as `http://localhost:2583`.
    pub endpoint: String,
    /// Number of the host at `endpoint`, as the oracle compares it.
    pub(crate) host: u32,
}

impl Document {
    /// The document as the directory answers it.
    pub fn to_json(&self) -> Value {
        let (kind, multibase) = self.key.document_form(self.form);
        // The production directory writes key ids in full and service ids relative; the npm
        // server writes both relative (KEY-4, DOC-2).
        let key_id = match self.form {
            KeyForm::Multikey => format!("{}#atproto", self.did),
            _ => "#atproto".to_owned(),
        };
        json!({
            "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
            "id": self.did,
            "alsoKnownAs": [format!("at://{}", self.handle)],
            "verificationMethod": [{
                "id": key_id,
                "type": kind,
                "controller": self.did,
                "publicKeyMultibase": multibase,
            }],
            "service": [{
                "id": "#atproto_pds",
                "type": "AtprotoPersonalDataServer",
                "serviceEndpoint": self.endpoint,
            }],
        })
    }
}

/// Documents by DID and the script of their answers; shared by the servers.
#[derive(Debug)]
pub(crate) struct Registry {
    ledger: Arc<Ledger>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: BTreeMap<String, Entry>,
    everywhere: Option<Answer>,
    latency: Duration,
    lookups: u64,
}

#[derive(Debug)]
struct Entry {
    document: Document,
    /// What [`Answer::Stale`] serves.
    stale: Option<Document>,
    answer: Answer,
    /// The adversary whose answer it is.
    adversary: Option<Adversary>,
    tombstone: bool,
    lookups: u64,
}

impl Registry {
    fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, inner: Mutex::default() }
    }

    /// Registers a document, or replaces the one of the same DID.
    pub(crate) fn publish(&self, document: Document) {
        let mut inner = lock(&self.inner);
        let did = document.did.clone();
        if let Some(entry) = inner.entries.get_mut(&did) {
            entry.document = document;
        } else {
            let entry = Entry {
                document,
                stale: None,
                answer: Answer::Document,
                adversary: None,
                tombstone: false,
                lookups: 0,
            };
            inner.entries.insert(did.clone(), entry);
        }
        self.note(&inner, &did);
    }

    /// Tells the oracle what a question for this DID gets from now on.
    fn note(&self, inner: &Inner, did: &str) {
        let Some(entry) = inner.entries.get(did) else { return };
        self.ledger.serves(did, entry.served(inner.everywhere.as_ref()));
    }

    fn change(&self, did: &str, change: impl FnOnce(&mut Entry)) {
        let mut inner = lock(&self.inner);
        if let Some(entry) = inner.entries.get_mut(did) {
            change(entry);
            self.note(&inner, did);
        }
    }

    /// Answers questions for this DID as an adversary does; `None` undoes it.
    pub(crate) fn play(&self, did: &str, trick: Option<(Answer, Adversary)>) {
        self.change(did, |entry| {
            let (answer, adversary) = trick.unzip();
            entry.answer = answer.unwrap_or_default();
            entry.adversary = adversary;
        });
    }

    fn set_everywhere(&self, answer: Option<Answer>) {
        let mut inner = lock(&self.inner);
        inner.everywhere = answer;
        for did in inner.entries.keys() {
            self.note(&inner, did);
        }
    }

    async fn answer(&self, did: &str) -> Response {
        let (latency, answer) = {
            let mut inner = lock(&self.inner);
            inner.lookups += 1;
            let everywhere = inner.everywhere.clone();
            let answer = inner.entries.get_mut(did).map(|entry| {
                entry.lookups += 1;
                if let Some(adversary) = entry.adversary {
                    self.ledger.struck(adversary);
                }
                entry.answer(everywhere.as_ref())
            });
            (inner.latency, answer)
        };
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        match answer {
            None => message(404, &format!("DID not registered: {did}")),
            Some(Reply::Silence) => std::future::pending().await,
            Some(Reply::Http(response)) => response,
        }
    }

    /// The last operation, by which a tombstone is told from an unknown DID (ACC-13).
    fn last_operation(&self, did: &str) -> Response {
        let inner = lock(&self.inner);
        match inner.entries.get(did) {
            None => message(404, &format!("DID not registered: {did}")),
            Some(entry) if entry.tombstone => {
                json_response(200, &json!({"type": "plc_tombstone", "prev": "bafy", "sig": "x"}))
            }
            Some(_) => json_response(200, &json!({"type": "plc_operation", "sig": "x"})),
        }
    }
}

enum Reply {
    Silence,
    Http(Response),
}

impl Entry {
    fn effective<'a>(&'a self, everywhere: Option<&'a Answer>) -> &'a Answer {
        everywhere.unwrap_or(&self.answer)
    }

    fn current(&self, everywhere: Option<&Answer>) -> &Document {
        match (self.effective(everywhere), &self.stale) {
            (Answer::Stale, Some(stale)) => stale,
            _ => &self.document,
        }
    }

    fn served(&self, everywhere: Option<&Answer>) -> Served {
        let document = self.current(everywhere);
        let key = document.key.number();
        match self.effective(everywhere) {
            _ if self.tombstone => Served::Invalid,
            Answer::Document | Answer::Stale | Answer::HostileText => {
                Served::Document { host: document.host, key, handle: document.handle.clone() }
            }
            Answer::WrongKey => {
                Served::Document { host: document.host, key: 0, handle: document.handle.clone() }
            }
            Answer::NotFound | Answer::Gone | Answer::WrongId | Answer::Nested => Served::Nonsense,
            Answer::NoKey | Answer::NoHost | Answer::PrivateEndpoint => Served::Invalid,
            _ => Served::Unavailable,
        }
    }

    fn answer(&self, everywhere: Option<&Answer>) -> Reply {
        if self.tombstone {
            // The real server says 404 although its description says 410 (A15).
            let text = format!("DID not available: {}", self.document.did);
            return Reply::Http(message(404, &text));
        }
        let document = self.current(everywhere);
        let mut body = document.to_json();
        let response = match self.effective(everywhere) {
            Answer::Document | Answer::Stale => json_response(200, &body),
            Answer::NotFound => message(404, &format!("DID not registered: {}", document.did)),
            Answer::Gone => message(410, &format!("DID not available: {}", document.did)),
            Answer::TooMany { retry_after } => {
                let mut response = message(429, "Too many requests");
                response.headers_mut().insert("retry-after", (*retry_after).into());
                response
            }
            Answer::Status(status) => message(*status, "scripted"),
            Answer::Html => {
                respond(200, "text/html", "<!doctype html><title>Welcome</title>".to_owned())
            }
            Answer::WrongId => {
                body["id"] = json!("did:plc:zzzzzzzzzzzzzzzzzzzzzzzz");
                json_response(200, &body)
            }
            Answer::WrongKey => {
                let other = SigningKey::derive(document.key.curve(), 0, "key that no one holds");
                body["verificationMethod"][0]["publicKeyMultibase"] =
                    json!(other.document_form(document.form).1);
                json_response(200, &body)
            }
            Answer::NoKey => {
                body["verificationMethod"] = json!([]);
                json_response(200, &body)
            }
            Answer::NoHost => {
                body["service"] = json!([]);
                json_response(200, &body)
            }
            Answer::Oversized => {
                body["filler"] = json!("x".repeat(100 * 1024));
                json_response(200, &body)
            }
            Answer::Huge => {
                body["filler"] = json!("x".repeat(5_000_000));
                json_response(200, &body)
            }
            Answer::Truncated => {
                let mut text = body.to_string();
                text.truncate(text.len() / 2);
                respond(200, "application/json", text)
            }
            Answer::Silence => return Reply::Silence,
            Answer::Redirect(location) => redirect(location),
            Answer::EndlessBody => endless_body(),
            Answer::Nested => respond(200, "application/json", "[".repeat(20_000)),
            Answer::HostileText => {
                hostile_text(&mut body);
                json_response(200, &body)
            }
            Answer::PrivateEndpoint => {
                body["service"][0]["serviceEndpoint"] = json!("http://169.254.169.254");
                json_response(200, &body)
            }
        };
        Reply::Http(response)
    }
}

/// A directory of did:plc documents on a port of its own.
#[derive(Debug)]
pub struct Plc {
    registry: Arc<Registry>,
    server: Server,
}

impl Plc {
    pub(crate) async fn start(ledger: Arc<Ledger>) -> Result<Self> {
        let registry = Arc::new(Registry::new(ledger));
        let router = Router::new()
            .route("/_health", get(|| async { json_response(200, &json!({"version": "0.0.1"})) }))
            .route("/{did}", get(document))
            .route("/{did}/log/last", get(last_operation))
            .with_state(Arc::clone(&registry));
        let connections = Connections::default();
        let (listener, addr) = Server::bind().await?;
        Ok(Self { registry, server: Server::start(listener, addr, connections, router) })
    }

    /// Base address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.addr())
    }

    /// How often the document of this DID was asked for.
    pub fn lookups(&self, did: impl AsRef<str>) -> u64 {
        let inner = lock(&self.registry.inner);
        inner.entries.get(did.as_ref()).map_or(0, |entry| entry.lookups)
    }

    /// How often any document was asked for.
    pub fn total_lookups(&self) -> u64 {
        lock(&self.registry.inner).lookups
    }

    /// Sets how questions for this DID are answered; [`Answer::Document`] undoes it.
    pub fn answer(&self, did: impl AsRef<str>, answer: Answer) {
        self.registry.change(did.as_ref(), |entry| {
            entry.stale = (answer == Answer::Stale).then(|| entry.document.clone());
            entry.answer = answer;
            entry.adversary = None;
        });
    }

    /// Sets how all questions are answered; `None` undoes it.
    pub fn answer_all(&self, answer: Option<Answer>) {
        self.registry.set_everywhere(answer);
    }

    /// Waits this long before every answer.
    pub fn set_latency(&self, latency: Duration) {
        lock(&self.registry.inner).latency = latency;
    }

    /// Refuses connections until [`Self::up`].
    pub fn down(&self) {
        self.registry.set_everywhere(Some(Answer::Silence));
        self.server.stop();
    }

    /// Answers again, on the same port.
    pub async fn up(&self) -> Result<()> {
        self.registry.set_everywhere(None);
        self.server.resume().await
    }

    /// Ends a DID for good (ACC-13).
    pub fn tombstone(&self, did: impl AsRef<str>) {
        self.registry.change(did.as_ref(), |entry| entry.tombstone = true);
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }
}

async fn document(State(registry): State<Arc<Registry>>, Path(did): Path<String>) -> Response {
    registry.answer(&did).await
}

async fn last_operation(
    State(registry): State<Arc<Registry>>,
    Path(did): Path<String>,
) -> Response {
    registry.last_operation(&did)
}

/// The server of one did:web account: `/.well-known/did.json` on a port of its own.
#[derive(Debug)]
pub struct Web {
    did: String,
    registry: Arc<Registry>,
    server: Server,
}

impl Web {
    pub(crate) async fn start(ledger: Arc<Ledger>) -> Result<Self> {
        let registry = Arc::new(Registry::new(ledger));
        let (listener, addr) = Server::bind().await?;
        let did = format!("did:web:localhost%3A{}", addr.port());
        let router = Router::new()
            .route("/.well-known/did.json", get(web_document))
            .with_state((Arc::clone(&registry), did.clone()));
        let server = Server::start(listener, addr, Connections::default(), router);
        Ok(Self { did, registry, server })
    }

    /// `did:web:localhost%3A<port>` (SYN-4, development form).
    pub fn did(&self) -> &str {
        &self.did
    }

    /// How often the document was asked for.
    pub fn lookups(&self) -> u64 {
        lock(&self.registry.inner).lookups
    }

    /// Sets how questions are answered; [`Answer::Document`] undoes it.
    pub fn answer(&self, answer: Answer) {
        self.registry.change(&self.did, |entry| entry.answer = answer);
    }

    /// Refuses connections until [`Self::up`].
    pub fn down(&self) {
        self.registry.set_everywhere(Some(Answer::Silence));
        self.server.stop();
    }

    /// Answers again, on the same port.
    pub async fn up(&self) -> Result<()> {
        self.registry.set_everywhere(None);
        self.server.resume().await
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Base address of its server.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.addr())
    }
}

async fn web_document(State((registry, did)): State<(Arc<Registry>, String)>) -> Response {
    registry.answer(&did).await
}
