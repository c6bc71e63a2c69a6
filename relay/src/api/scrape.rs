//! `GET /metrics` for Prometheus, on the metrics listener only.

use axum::{extract::State, response::IntoResponse};
use http::header::CONTENT_TYPE;

use super::{ApiState, health};
use crate::{
    descriptors,
    domain::HostStatus,
    telemetry::{heap::Heap, metrics, process},
};

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
    set(metrics::HOSTS_NEAR_LIMIT, near_limit(&state));
    health::measure(&state.shared.health.check(&state).await);
    process();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics::render())
}

/// Hosts that will soon have as many accounts as they may (HOST-7).
fn near_limit(state: &ApiState) -> u64 {
    let hosts = state.hosts.all();
    let near = hosts.iter().filter(|host| {
        let (count, limit) = (host.account_count(), host.limits().accounts);
        let is_near = count.saturating_mul(5) >= limit.saturating_mul(4);
        host.status() != HostStatus::Banned && limit > 0 && is_near
    });
    near.count() as u64
}

/// What there is of every program.
fn process() {
    ::metrics::gauge!(metrics::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
    if let Some(times) = process::Times::read() {
        ::metrics::counter!(metrics::PROCESS_CPU_MS).absolute(times.cpu_ms);
        if let Some(boot) = process::boot_seconds() {
            set(metrics::PROCESS_STARTED, boot.saturating_add(times.started_ms / 1000));
        }
    }
    if let Some(open) = process::open_files() {
        set(metrics::PROCESS_FILES_DEPTH, open);
    }
    set(metrics::PROCESS_FILES_LIMIT, u64::try_from(descriptors::limit()).unwrap_or(u64::MAX));
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows only floats; 2^53 is far enough")]
fn set(name: &'static str, level: u64) {
    ::metrics::gauge!(name).set(level as f64);
}
