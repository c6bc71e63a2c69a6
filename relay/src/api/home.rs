//! `GET /`: what this is, for a person.

use axum::extract::State;

use super::ApiState;
use crate::firehose;

/// Plain text: software, contact, paths.
pub(super) async fn home(State(state): State<ApiState>) -> String {
    let contact = if state.contact.is_empty() { "not given" } else { &state.contact };
    format!(
        "This is an atproto relay: it verifies what hosts publish and serves it as one stream.\n\
         \n\
         software  {software}\n\
         contact   {contact}\n\
         firehose  {path} (WebSocket, ?cursor=SEQ)\n\
         hosts     /xrpc/com.atproto.sync.listHosts\n\
         accounts  /xrpc/com.atproto.sync.listRepos\n\
         by kind   /xrpc/com.atproto.sync.listReposByCollection?collection=NSID\n\
         health    /xrpc/_health\n\
         status    /status\n",
        software = state.software,
        path = firehose::PATH,
    )
}
