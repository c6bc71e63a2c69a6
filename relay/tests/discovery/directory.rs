//! A directory of collections of somebody else's: lists of accounts, in small pages.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Query, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::served::Served;

#[derive(Debug, Default)]
struct Inner {
    lists: BTreeMap<String, Vec<String>>,
    /// Entries of a page.
    page: usize,
    /// Before each answer.
    delay: Duration,
    /// Collections that are not listed.
    refused: Vec<String>,
    /// 429 for so many calls.
    busy: u32,
    /// Whether calls wait before anything is done with them.
    waiting: watch::Sender<bool>,
    /// Collection and cursor of every call.
    asked: Vec<(String, String)>,
}

/// Ends with the test.
#[derive(Debug)]
pub(crate) struct Directory {
    inner: Arc<Mutex<Inner>>,
    server: Served,
}

impl Directory {
    pub(crate) async fn start(lists: &[(&str, Vec<String>)], page: usize) -> Self {
        let lists = lists.iter().map(|(name, dids)| ((*name).to_owned(), dids.clone())).collect();
        let inner = Arc::new(Mutex::new(Inner { lists, page, ..Inner::default() }));
        let router = Router::new()
            .route("/xrpc/com.atproto.sync.listReposByCollection", get(list))
            .route("/v1/listCollections", get(names))
            .with_state(Arc::clone(&inner));
        Self { inner, server: Served::start(router).await }
    }

    /// As commands name it.
    pub(crate) fn name(&self) -> String {
        self.server.name()
    }

    pub(crate) fn refuse(&self, collection: &str) {
        self.inner().refused.push(collection.to_owned());
    }

    pub(crate) fn busy(&self, calls: u32) {
        self.inner().busy = calls;
    }

    pub(crate) fn delay(&self, delay: Duration) {
        self.inner().delay = delay;
    }

    /// Calls for lists wait, and are neither counted nor answered, until this says otherwise. Those whose
    /// caller is gone meanwhile were never made.
    pub(crate) fn wait(&self, waiting: bool) {
        self.inner().waiting.send_replace(waiting);
    }

    /// Collection and cursor of every call, in order; the first page has an empty cursor.
    pub(crate) fn asked(&self) -> Vec<(String, String)> {
        self.inner().asked.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

async fn list(
    State(shared): State<Arc<Mutex<Inner>>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    assert_eq!(query["limit"], "1000", "others refuse more");
    let mut waiting = shared.lock().unwrap().waiting.subscribe();
    waiting.wait_for(|waiting| !waiting).await.unwrap();
    let (delay, answer) = {
        let mut inner = shared.lock().unwrap();
        let collection = query["collection"].clone();
        let cursor = query.get("cursor").cloned().unwrap_or_default();
        inner.asked.push((collection.clone(), cursor.clone()));
        (inner.delay, inner.answer(&collection, &cursor))
    };
    tokio::time::sleep(delay).await;
    match answer {
        Ok(body) => Json(body).into_response(),
        Err(429) => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], "").into_response(),
        Err(status) => StatusCode::from_u16(status).unwrap().into_response(),
    }
}

impl Inner {
    fn answer(&mut self, collection: &str, cursor: &str) -> Result<Value, u16> {
        if self.busy > 0 {
            self.busy -= 1;
            return Err(429);
        }
        if self.refused.iter().any(|refused| refused == collection) {
            return Err(400);
        }
        let dids = self.lists.get(collection).cloned().unwrap_or_default();
        let from: usize = cursor.parse().unwrap_or(0);
        let to = (from + self.page).min(dids.len());
        let repos: Vec<Value> = dids[from..to].iter().map(|did| json!({ "did": did })).collect();
        let mut body = json!({ "repos": repos });
        if to < dids.len() {
            body["cursor"] = json!(to.to_string());
        }
        Ok(body)
    }
}

async fn names(State(shared): State<Arc<Mutex<Inner>>>) -> Response {
    let inner = shared.lock().unwrap();
    let counts = inner.lists.iter().map(|(name, dids)| (name.clone(), json!(dids.len())));
    let counts: serde_json::Map<String, Value> = counts.collect();
    Json(json!({ "collections": counts })).into_response()
}
