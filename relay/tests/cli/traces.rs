//! Traces: off by default, and exported to a collector by the standard names.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use relay::tasks::Tasks;

use crate::program::Place;

/// What a collector was sent.
#[derive(Clone, Default)]
struct Taken(Arc<Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>>);

impl Taken {
    /// Names of services and of their spans.
    fn spans(&self) -> Vec<(String, String)> {
        let taken = self.0.lock().unwrap();
        let all = taken.iter().flat_map(|(_, request)| &request.resource_spans);
        let named = all.flat_map(|of| {
            let mut attributes = of.resource.iter().flat_map(|resource| &resource.attributes);
            let service = attributes.find(|one| one.key == "service.name");
            let service = format!("{service:?}");
            let spans = of.scope_spans.iter().flat_map(|scope| &scope.spans);
            spans.map(move |span| (service.clone(), span.name.clone()))
        });
        named.collect()
    }
}

async fn take(State(taken): State<Taken>, headers: HeaderMap, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    taken.0.lock().unwrap().push((headers, request));
}

/// A collector on this machine, and its address.
async fn collector() -> (Taken, String) {
    let taken = Taken::default();
    let router = Router::new().route("/v1/traces", post(take)).with_state(taken.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    Tasks::default().start(async move { axum::serve(listener, router).await.unwrap() });
    (taken, address)
}

/// Starts a relay with these settings, lets it serve and ends it; gives all that it logged.
async fn one_run(settings: &[(&str, &str)]) -> String {
    let mut relay = Place::new().start(&[], settings);
    relay.up().await;
    relay.stop().await.err
}

/// Settings `otlp_endpoint`, `otlp_headers`, `otlp_service_name`: who sets a collector finds the relay's spans there, under the name that was given,
/// with the headers that were given, and those of the last moments too.
#[tokio::test]
async fn traces_are_exported_to_the_collector_that_the_standard_names_say() {
    let (taken, address) = collector().await;
    let log = one_run(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=collectorSecret"),
        ("OTEL_SERVICE_NAME", "relay-of-a-test"),
        ("RELAY_LOG_LEVEL", "debug"),
    ])
    .await;

    let spans = taken.spans();
    assert!(spans.iter().any(|(_, name)| name == "checkpoint"), "{spans:?}");
    assert!(spans.iter().all(|(service, _)| service.contains("relay-of-a-test")), "{spans:?}");
    for (headers, _) in taken.0.lock().unwrap().iter() {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        assert_eq!(headers["x-key"], "collectorSecret");
    }
    assert!(!log.contains("collectorSecret"), "I8: {log}");
    assert!(!log.contains("relay_spans"), "spans are no log lines: {log}");
}

/// Settings `otlp_sampler`, `otlp_sampler_arg`: they decide what is kept; the run above is the control.
#[tokio::test]
async fn a_sampler_that_keeps_nothing_exports_nothing() {
    for (sampler, share, keeps) in
        [("always_off", "1", false), ("traceidratio", "0", false), ("traceidratio", "1", true)]
    {
        let (taken, address) = collector().await;
        one_run(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()),
            ("OTEL_TRACES_SAMPLER", sampler),
            ("OTEL_TRACES_SAMPLER_ARG", share),
        ])
        .await;
        assert_eq!(!taken.spans().is_empty(), keeps, "{sampler} {share}");
    }
}

/// A collector that is away costs a line in the log, and holds neither the start nor the end.
#[tokio::test]
async fn a_collector_that_is_away_costs_one_line() {
    let log = one_run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")]).await;
    assert_eq!(log.matches("the collector takes no traces").count(), 1, "{log}");
}

/// A misspelt sampler or endpoint is said at the start.
#[tokio::test]
async fn wrong_settings_of_traces_stop_the_start() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
    ] {
        let ended = Place::new().run(&[], &[(name, value)]).await;
        assert!(ended.one_sentence().contains("allowed is"), "{ended:?}");
    }
}
