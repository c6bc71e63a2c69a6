//! A relay of somebody else's that has nothing but a list of hosts.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Json, Router,
    extract::{Query, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::served::Served;

/// What goes wrong, once for each time that it is set; `Silence` and `Always` until another is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 429 with this `Retry-After`.
    Wait(u64),
    /// This status, whenever it is asked.
    Always(u16),
    /// No answer.
    Silence,
}

#[derive(Debug, Default)]
struct Inner {
    pages: Vec<Vec<Value>>,
    /// Cursors that it was asked with; the first page has none.
    asked: Vec<String>,
    /// By page.
    faults: BTreeMap<usize, Fault>,
}

/// Ends with the test.
#[derive(Debug)]
pub(crate) struct StandIn {
    inner: Arc<Mutex<Inner>>,
    server: Served,
}

/// An entry of the list.
pub(crate) fn host(name: &str, status: &str, (seq, accounts): (i64, u64)) -> Value {
    json!({ "hostname": name, "status": status, "seq": seq, "accountCount": accounts })
}

impl StandIn {
    pub(crate) async fn start(pages: Vec<Vec<Value>>) -> Self {
        let inner = Arc::new(Mutex::new(Inner { pages, ..Inner::default() }));
        let path = "/xrpc/com.atproto.sync.listHosts";
        let router = Router::new().route(path, get(list)).with_state(Arc::clone(&inner));
        Self { inner, server: Served::start(router).await }
    }

    /// As settings and commands name it.
    pub(crate) fn name(&self) -> String {
        self.server.name()
    }

    pub(crate) fn fault(&self, page: usize, fault: Option<Fault>) {
        let mut inner = self.inner();
        match fault {
            Some(fault) => drop(inner.faults.insert(page, fault)),
            None => drop(inner.faults.remove(&page)),
        }
    }

    pub(crate) fn add(&self, page: usize, host: Value) {
        self.inner().pages[page].push(host);
    }

    /// Pages that it was asked for, from 0, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
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
    let (fault, answer) = {
        let mut inner = shared.lock().unwrap();
        assert_eq!(query["limit"], "1000", "the largest page that the method allows");
        let cursor = query.get("cursor").cloned().unwrap_or_default();
        inner.asked.push(cursor.clone());
        let page: usize = cursor.parse().unwrap_or(0);
        let fault = inner.faults.get(&page).copied();
        if matches!(fault, Some(Fault::Wait(_))) {
            inner.faults.remove(&page);
        }
        let mut answer = json!({ "hosts": inner.pages[page] });
        if page + 1 < inner.pages.len() {
            answer["cursor"] = json!((page + 1).to_string());
        }
        (fault, answer)
    };
    match fault {
        None => Json(answer).into_response(),
        Some(Fault::Wait(seconds)) => {
            let header = [("retry-after", seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, header, "").into_response()
        }
        Some(Fault::Always(status)) => StatusCode::from_u16(status).unwrap().into_response(),
        Some(Fault::Silence) => std::future::pending().await,
    }
}
