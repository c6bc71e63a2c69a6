//! The directory: documents are made when they are asked for, and none is stored.

use super::World;
use crate::{plc::json_response, scale::Population};
use axum::{
    Router,
    extract::{Path, State},
    response::Response,
    routing::get,
};
use serde_json::json;
use std::sync::{Arc, atomic::Ordering};

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/_health", get(|| async { json_response(200, &json!({"version": "0.0.1"})) }))
        .route("/{did}", get(document))
        .route("/{did}/log/last", get(last_operation))
        .with_state(world)
}

fn unknown(did: &str) -> Response {
    json_response(404, &json!({ "message": format!("DID not registered: {did}") }))
}

async fn document(State(world): State<Arc<World>>, Path(did): Path<String>) -> Response {
    world.lookups.fetch_add(1, Ordering::Relaxed);
    let population = world.population;
    let Some(account) = population.number(&did) else { return unknown(&did) };
    let Ok(multikey) = population.multikey(account) else { return unknown(&did) };
    json_response(
        200,
        &json!({
            "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
            "id": did,
            "alsoKnownAs": [format!("at://{}", Population::handle(account))],
            "verificationMethod": [{
                "id": format!("{did}#atproto"),
                "type": "Multikey",
                "controller": did,
                "publicKeyMultibase": multikey,
            }],
            "service": [{
                "id": "#atproto_pds",
                "type": "AtprotoPersonalDataServer",
                "serviceEndpoint": world.endpoint(population.host(account)),
            }],
        }),
    )
}

async fn last_operation(State(world): State<Arc<World>>, Path(did): Path<String>) -> Response {
    match world.population.number(&did) {
        Some(_) => json_response(200, &json!({"type": "plc_operation", "sig": "x"})),
        None => unknown(&did),
    }
}
