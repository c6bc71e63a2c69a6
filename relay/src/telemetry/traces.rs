//! Traces to a collector: OTLP over HTTP, as protobuf. Off unless an endpoint is set, and then a span is
//! one comparison at its place in the code.
//!
//! There is a span per batch, checkpoint, lookup and handshake, never one per event. They are exported
//! from a thread of their own with a bounded queue: a collector that is slow or away costs spans, not
//! events. What the names of the settings mean is defined by OpenTelemetry.

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};
use tracing::{Level, Subscriber};
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

use super::TelemetryError;

/// Target of every span; nothing else has it, so that spans and log lines are told apart.
pub const SPANS: &str = "relay_spans";

/// Longest wait for a collector.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The relay ends after this, whether the last spans went out or not.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);
/// Longest answer of a collector that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Where traces go; by default nowhere.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TraceOptions {
    /// Base address of the collector, without slash at the end; `None` = no traces.
    pub endpoint: Option<String>,
    /// Headers of each request, `NAME=VALUE` separated by commas; they may hold a password.
    pub headers: String,
    /// What this process is called there.
    pub service_name: String,
    /// Which traces are kept, by the names of OpenTelemetry.
    pub sampler: String,
    /// Kept share in millionths, for the samplers that take one.
    pub share_millionths: u32,
}

impl fmt::Debug for TraceOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TraceOptions").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// The way out; traces go on until it is closed.
#[derive(Debug, Default)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Sends what is left, for two seconds at most.
    pub async fn close(self) {
        let Some(provider) = self.0 else { return };
        // It waits for its thread, which waits for the network.
        let closed =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(SHUTDOWN_MAX)).await;
        if !matches!(closed, Ok(Ok(()))) {
            tracing::warn!("the last traces did not go out");
        }
    }
}

/// The layer that exports spans, and its way out.
///
/// Has to be called within the runtime, which makes the requests.
pub(super) fn layer<S>(
    options: &TraceOptions,
) -> Result<(Option<impl Layer<S> + use<S>>, Traces), TelemetryError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let Some(endpoint) = &options.endpoint else { return Ok((None, Traces::default())) };
    let (tracer, way_out) = open(endpoint, options)?;
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_level(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target(SPANS, Level::TRACE));
    Ok((Some(layer), way_out))
}

fn open(endpoint: &str, options: &TraceOptions) -> Result<(SdkTracer, Traces), TelemetryError> {
    let bad = |why: &dyn fmt::Display| TelemetryError::BadCollector(why.to_string());
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(ANSWER_MAX)
        .build()
        .map_err(|error| bad(&error))?;
    let runtime = tokio::runtime::Handle::try_current().map_err(|error| bad(&error))?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector { client, runtime, is_away: Arc::default() })
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .with_headers(headers(&options.headers))
        .with_timeout(ANSWER_MAX)
        .build()
        .map_err(|error| bad(&error))?;
    let resource = Resource::builder().with_service_name(options.service_name.clone()).build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler(&options.sampler, options.share_millionths))
        .with_resource(resource)
        .build();
    Ok((provider.tracer("relay"), Traces(Some(provider))))
}

/// `NAME=VALUE` pairs.
fn headers(text: &str) -> HashMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

fn sampler(name: &str, share_millionths: u32) -> Sampler {
    let (parent_based, name) =
        name.strip_prefix("parentbased_").map_or((false, name), |name| (true, name));
    let sampler = match name {
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => Sampler::TraceIdRatioBased(f64::from(share_millionths) / 1e6),
        _ => Sampler::AlwaysOn,
    };
    if parent_based { Sampler::ParentBased(Box::new(sampler)) } else { sampler }
}

/// Makes the exporter's requests on the runtime: the exporter itself runs on a thread without one.
#[derive(Debug, Clone)]
struct Collector {
    client: reqwest::Client,
    runtime: tokio::runtime::Handle,
    is_away: Arc<AtomicBool>,
}

impl Collector {
    async fn send(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.try_send(request).await;
        let failure = match &sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answered {}", answer.status())),
            Err(error) => Some(error.to_string()),
        };
        // Said once, not with every batch.
        let was_away = self.is_away.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(why) if !was_away => tracing::warn!(why, "the collector takes no traces"),
            None if was_away => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        sent
    }

    async fn try_send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        // Without the address: it may hold a password.
        let sent = self.client.execute(request).await.map_err(reqwest::Error::without_url)?;
        let mut answer = Response::builder().status(sent.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(sent.headers());
        }
        if sent.content_length().is_some_and(|bytes| bytes > ANSWER_BYTES_MAX as u64) {
            return Err("its answer is too long".into());
        }
        let body = sent.bytes().await.map_err(reqwest::Error::without_url)?;
        Ok(answer.body(body)?)
    }
}

impl HttpClient for Collector {
    fn send_bytes<'client, 'sent>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'sent>>
    where
        'client: 'sent,
        Self: 'sent,
    {
        let sending = self.runtime.spawn(self.clone().send(request));
        Box::pin(async move { sending.await? })
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Without an endpoint nothing is opened, and a span is not even made.
    #[test]
    fn without_an_endpoint_there_is_no_trace_and_no_cost() {
        let (layer, _traces) =
            layer::<tracing_subscriber::Registry>(&TraceOptions::default()).unwrap();
        assert!(layer.is_none());
        let filter = super::super::parse_filter("debug").unwrap();
        let logs = tracing_subscriber::fmt::layer().with_writer(std::io::sink).with_filter(filter);
        let registry = tracing_subscriber::registry().with(logs);
        tracing::subscriber::with_default(registry, || {
            assert!(tracing::trace_span!(target: SPANS, "ingest.judge", events = 1).is_disabled());
            assert!(!tracing::debug_span!("another").is_disabled(), "control");
        });
    }

    #[test]
    fn samplers_have_the_names_of_the_standard() {
        for (name, made) in [
            ("always_on", "AlwaysOn"),
            ("always_off", "AlwaysOff"),
            ("traceidratio", "TraceIdRatioBased(0.25)"),
            ("parentbased_always_on", "ParentBased(AlwaysOn)"),
            ("parentbased_always_off", "ParentBased(AlwaysOff)"),
            ("parentbased_traceidratio", "ParentBased(TraceIdRatioBased(0.25))"),
        ] {
            assert_eq!(format!("{:?}", sampler(name, 250_000)), made);
        }
    }

    /// I8: what is printed of the options holds no header.
    #[test]
    fn headers_are_read_in_pairs_and_never_printed() {
        let read = headers("api-key=secret, x-b = c");
        assert_eq!(read.get("api-key").map(String::as_str), Some("secret"));
        assert_eq!(read.get("x-b").map(String::as_str), Some("c"));
        let options =
            TraceOptions { headers: "api-key=secret".to_owned(), ..TraceOptions::default() };
        assert!(!format!("{options:?}").contains("secret"));
    }
}
