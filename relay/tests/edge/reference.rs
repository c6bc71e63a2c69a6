//! Scripts that were written for the Go reference relay work here unchanged (API-6).
//!
//! `tests/data/admin-requests.json` holds requests as they send them, with the status and the shape of
//! each answer; where the reference relay has a defect, the line says which, and what is right.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use relay_simnet::{Consumer, Start};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    http::{Answer, post, send},
    relay::{PASSWORD, Relay},
};

const RECORDED: &str = include_str!("../data/admin-requests.json");

/// One line of the file.
#[derive(Deserialize)]
struct Recorded {
    #[serde(default)]
    say: String,
    method: String,
    target: String,
    #[serde(default)]
    body: Value,
    /// Asked again until the answer has this shape.
    until: Option<Value>,
    status: u16,
    shape: Value,
}

/// What differs from a shape, in words. `"string"`, `"number"` and `"bool"` are kinds, `"=x"` is the
/// value itself, `[shape]` a list of those with at least one, `[]` an empty one, and `{…}` an object that
/// has these fields, maybe with others beside them.
fn differs(found: &Value, shape: &Value) -> Option<String> {
    match (shape, found) {
        (Value::String(kind), _) => {
            let fits = match (kind.as_str(), found) {
                ("string", Value::String(_))
                | ("number", Value::Number(_))
                | ("bool", Value::Bool(_)) => true,
                (exact, Value::String(text)) => exact.strip_prefix('=') == Some(text),
                (exact, other) => exact.strip_prefix('=') == Some(&other.to_string()),
            };
            (!fits).then(|| format!("{found} is not {kind}"))
        }
        (Value::Array(shapes), Value::Array(all)) => match shapes.first() {
            None => (!all.is_empty()).then(|| format!("{found} is not empty")),
            Some(_) if all.is_empty() => Some("the list is empty".to_owned()),
            Some(shape) => all.iter().find_map(|one| differs(one, shape)),
        },
        (Value::Object(fields), Value::Object(has)) => fields.iter().find_map(|(name, shape)| {
            let Some(value) = has.get(name) else { return Some(format!("{name} is missing")) };
            Some(format!("{name}: {}", differs(value, shape)?))
        }),
        _ => Some(format!("{found} has another kind than {shape}")),
    }
}

async fn ask(relay: &Relay, recorded: &Recorded) -> Answer {
    let basic = BASE64_STANDARD.encode(format!("admin:{PASSWORD}"));
    let headers = [format!("Authorization: Basic {basic}")];
    let headers: Vec<_> = headers.iter().map(String::as_str).collect();
    let at = relay.running.admin;
    match (recorded.method.as_str(), &recorded.body) {
        ("GET", _) => send(at, "GET", &recorded.target, &headers).await,
        (_, Value::Null) => post(at, &recorded.target, &headers, "").await,
        (_, body) => post(at, &recorded.target, &headers, &body.to_string()).await,
    }
}

/// API-6, defects 14, 17 and 18 of the reference relay: every request of its scripts has the status and
/// the shape of answer that they expect, and none of its defects.
#[tokio::test]
async fn scripts_of_the_reference_relay_work_unchanged() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let url = format!("ws://{}", relay.api());
    let _consumer = Consumer::connect(&url, Start::Live).await.unwrap();
    relay.until("the consumer is there", || relay.running.firehose.count() == 1).await;
    let text = RECORDED.replace("{HOST}", &pds.hostname()).replace("{DID}", alice.did());
    let requests: Vec<Recorded> = serde_json::from_str(&text).unwrap();

    for (number, recorded) in requests.iter().enumerate() {
        let Recorded { say, method, target, body, .. } = recorded;
        let what = format!("{number}: {method} {target} {body} {say}");
        let mut answer = ask(&relay, recorded).await;
        if let Some(until) = &recorded.until {
            let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
            while differs(&answer.json(), until).is_some() {
                assert!(tokio::time::Instant::now() < deadline, "{what}: {answer:?}");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                answer = ask(&relay, recorded).await;
            }
        }
        assert_eq!(answer.status, recorded.status, "{what}: {answer:?}");
        if recorded.shape == "nothing" {
            assert_eq!(answer.body, "", "{what}");
        } else {
            assert_eq!(differs(&answer.json(), &recorded.shape), None, "{what}: {answer:?}");
        }
    }
    relay.stop().await;
}

/// Each endpoint of the reference relay is in the file at least once, and no other is.
#[test]
fn every_endpoint_of_the_reference_relay_is_in_the_file() {
    let requests: Vec<Recorded> = serde_json::from_str(RECORDED).unwrap();
    let asked: std::collections::BTreeSet<_> = requests
        .iter()
        .map(|recorded| {
            let path = recorded.target.split('?').next().unwrap().to_owned();
            (recorded.method.clone(), path)
        })
        .collect();
    let there: std::collections::BTreeSet<_> = relay::api::admin_routes()
        .into_iter()
        .filter(|(_, path)| !path.starts_with("/admin/v1/"))
        .map(|(method, path)| (method.to_owned(), path.to_owned()))
        .collect();
    assert_eq!(asked, there);
}
