//! `GET /metrics` for Prometheus, on the metrics listener only.

use axum::{extract::State, response::IntoResponse};
use http::header::CONTENT_TYPE;

use super::ApiState;
use crate::telemetry::{heap::Heap, metrics};

/// Text exposition; levels that cost something to know are taken now.
pub(super) async fn metrics(State(state): State<ApiState>) -> impl IntoResponse {
    let head = state.log.window().head.0;
    let behind = state.firehose.consumers().iter().map(|consumer| consumer.seq).min();
    set(metrics::FIREHOSE_LAG_MAX, behind.map_or(0, |seq| head.saturating_sub(seq)));
    set(metrics::PROCESS_RESIDENT_BYTES, metrics::resident_bytes());
    if let Some(heap) = Heap::read() {
        set(metrics::PROCESS_HEAP_ALLOCATED_BYTES, heap.allocated);
        set(metrics::PROCESS_HEAP_ACTIVE_BYTES, heap.active);
        set(metrics::PROCESS_HEAP_RESIDENT_BYTES, heap.resident);
        set(metrics::PROCESS_HEAP_FRAGMENTATION, heap.fragmentation_percent());
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics::render())
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows only floats; 2^53 is far enough")]
fn set(name: &'static str, level: u64) {
    ::metrics::gauge!(name).set(level as f64);
}
