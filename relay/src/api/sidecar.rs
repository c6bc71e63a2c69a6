//! What the sidecar for collections of the Go reference relay answers to the public, for those who switch.
//!
//! Its clients send limits that are out of range, and get an answer there.

use axum::{extract::State, response::Response};
use serde_json::{Map, Value, json};

use super::{ApiState, error::Error, params::Params, xrpc::json as answer};

const LIMIT_USUAL: usize = 500;
const LIMIT_MAX: usize = 1_000;

/// `GET /v1/listCollections?c=&limit=&cursor=`: collections and how many accounts have each; of those that
/// `c` names alone, which may be repeated.
pub(super) async fn list_collections(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Error> {
    let limit = params.limit_within(LIMIT_USUAL, LIMIT_MAX);
    let index = state.backfill.index();
    let mut counts = Map::new();
    let mut named = params.texts("c").take(LIMIT_MAX).peekable();
    if named.peek().is_some() {
        for name in named {
            let rows = index.find(name).map_or(0, |number| index.count(number).rows());
            counts.insert(name.to_owned(), json!(rows));
        }
        return answer(&json!({ "collections": counts }));
    }
    let found = index.collections("", params.text("cursor"), limit);
    let next = found.last().filter(|_| found.len() == limit);
    let next = next.map(|last| last.nsid.as_ref().to_owned());
    for one in found {
        // Names that nobody uses any more are no news.
        if one.count.rows() > 0 {
            counts.insert(one.nsid.as_ref().to_owned(), Value::from(one.count.rows()));
        }
    }
    let mut body = json!({ "collections": counts });
    if let Some(next) = next {
        body["cursor"] = json!(next);
    }
    answer(&body)
}
