//! `GET /dash/live?view=`: the part of a page that changes, again and again, as server-sent events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures_util::stream;
use maud::Markup;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Interval, MissedTickBehavior, interval},
};

use super::{collections, consumers, host, hosts, overview, session::Session};
use crate::api::{ApiState, error::Error, params::Params};

/// Open streams at once: the admin listener has few connections, and a browser keeps one per page.
pub(in crate::api) const STREAMS_MAX: usize = 8;
/// Between two versions.
const EVERY: Duration = Duration::from_secs(2);
/// Versions in one stream, some ten minutes; then the browser asks again, with its cookie.
const VERSIONS_MAX: u32 = 300;

/// One stream.
struct Stream {
    state: ApiState,
    session: Session,
    params: Params,
    ticks: Interval,
    left: u32,
    _place: OwnedSemaphorePermit,
}

/// The handler.
pub(super) async fn stream(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
    params: Params,
) -> Response {
    let Ok(place) = Arc::clone(&state.shared.streams).try_acquire_owned() else {
        return Error::unavailable("too many pages are open").into_response();
    };
    if let Err(error) = content(&state, &session, &params).await {
        return error.into_response();
    }
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begin = Stream { state, session, params, ticks, left: VERSIONS_MAX, _place: place };
    Sse::new(stream::unfold(begin, next)).into_response()
}

async fn next(mut stream: Stream) -> Option<(Result<Event, Infallible>, Stream)> {
    stream.left = stream.left.checked_sub(1)?;
    tokio::select! {
        () = stream.state.tasks.stopping().cancelled() => return None,
        _ = stream.ticks.tick() => {}
    }
    let content = content(&stream.state, &stream.session, &stream.params).await.ok()?;
    // A line of an event ends there too, and nothing of a page needs it.
    let event = Event::default().data(content.into_string().replace('\r', ""));
    Some((Ok(event), stream))
}

async fn content(state: &ApiState, session: &Session, params: &Params) -> Result<Markup, Error> {
    match params.required("view")? {
        "overview" => Ok(overview::content(state).await),
        "hosts" => Ok(hosts::list(state, &hosts::Wish::read(params))),
        "host" => Ok(host::content(state, &host::asked(state, params)?)),
        "collections" => Ok(collections::content(state)),
        "consumers" => Ok(consumers::content(state, session, params)),
        _ => Err(Error::invalid("view must be overview, hosts, host, collections or consumers")),
    }
}
