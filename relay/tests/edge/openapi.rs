//! The description of the admin API says what is there, and what is answered (API-6).

use std::collections::BTreeSet;

use relay_simnet::{Consumer, Fault, Start};
use serde_json::{Value, json};

use crate::{
    http::post,
    relay::{PASSWORD, Relay},
};

async fn described(relay: &Relay) -> Value {
    relay.admin("/admin/v1/openapi.json").await.json()
}

/// What differs from a schema, in words; knows the part of JSON Schema that the description uses.
fn differs(root: &Value, schema: &Value, found: &Value) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let Some(name) = name.strip_prefix("#/components/schemas/") else {
            return Some(format!("{name} leads nowhere"));
        };
        let schema = &root["components"]["schemas"][name];
        assert!(schema.is_object(), "no schema {name}");
        return differs(root, schema, found).map(|why| format!("{name}: {why}"));
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let all: Vec<_> = any.iter().map(|one| differs(root, one, found)).collect();
        return all.iter().all(Option::is_some).then(|| format!("none of {all:?}"));
    }
    if let Some(exact) = schema.get("const") {
        return (exact != found).then(|| format!("{found} is not {exact}"));
    }
    if let Some(values) = schema["enum"].as_array() {
        return (!values.contains(found)).then(|| format!("{found} is none of {values:?}"));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let kind = match found {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !kinds.contains(&kind) {
        return Some(format!("{found} is no {kinds:?}"));
    }
    match found {
        Value::Array(all) => all.iter().find_map(|one| differs(root, &schema["items"], one)),
        Value::Object(fields) => object_differs(root, schema, fields),
        _ => None,
    }
}

fn object_differs(
    root: &Value,
    schema: &Value,
    fields: &serde_json::Map<String, Value>,
) -> Option<String> {
    let required = schema["required"].as_array().into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            return Some(format!("{name} is missing"));
        }
    }
    fields.iter().find_map(|(name, value)| {
        let more = &schema["additionalProperties"];
        let inner = match schema["properties"].get(name) {
            Some(inner) => inner,
            None if more.is_object() => more,
            None if schema["properties"].is_object() => {
                return Some(format!("{name} is not described"));
            }
            None => return None,
        };
        differs(root, inner, value).map(|why| format!("{name}: {why}"))
    })
}

/// API-6: what is in the router is in the description, and the reverse.
#[tokio::test]
async fn the_description_has_every_endpoint_and_no_other() {
    let relay = Relay::start().await;
    let doc = described(&relay).await;
    assert_eq!(doc["openapi"], "3.1.0");
    let described: BTreeSet<(String, String)> = doc["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let there: BTreeSet<(String, String)> = relay::api::admin_routes()
        .into_iter()
        .map(|(method, path)| (method.to_owned(), path.to_owned()))
        .collect();
    assert_eq!(described, there);
    relay.stop().await;
}

/// API-6: real answers of every endpoint that reads, and of the main ones that change, have the shape
/// that is described, field by field.
#[tokio::test]
async fn answers_have_the_shape_that_is_described() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    alice.with(Fault::HighS).post("bad").await.unwrap();
    relay.settled().await;
    let url = format!("ws://{}", relay.api());
    let _consumer = Consumer::connect(&url, Start::Live).await.unwrap();
    relay.until("the consumer is there", || relay.running.firehose.count() == 1).await;
    let doc = described(&relay).await;
    let check = |method: &str, path: &str, status: u16, answer: &Value| {
        let responses = &doc["paths"][path][method]["responses"];
        let response = if status == 200 { &responses["200"] } else { &responses["default"] };
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path}");
        assert_eq!(differs(&doc, schema, answer), None, "{method} {path}: {answer}");
    };

    let (host, did) = (pds.hostname(), alice.did());
    let posts = [
        ("hosts", json!({ "hostnames": [host, "no host"] })),
        ("hosts/limits", json!({ "host": host, "accounts": 500, "perDay": "default" })),
        ("hosts/strictness", json!({ "host": host, "strictness": "strict", "note": "x" })),
        ("hosts/silence", json!({ "host": host, "silenced": true })),
        ("hosts/reconnect", json!({ "host": host })),
        ("hosts/ban", json!({ "host": "unknown.example.com" })),
        ("accounts/takeDown", json!({ "did": did })),
        ("accounts/restore", json!({ "did": did })),
        ("accounts/refreshIdentity", json!({ "did": did })),
        ("accounts/suspend", json!({})),
        ("domains/ban", json!({ "domain": "spam.example" })),
        ("domains/unban", json!({ "domain": "other.example" })),
        ("consumers/disconnect", json!({ "id": 999 })),
    ];
    let password = format!("Authorization: Bearer {PASSWORD}");
    for (path, body) in posts {
        let path = format!("/admin/v1/{path}");
        let answer = post(relay.running.admin, &path, &[&password], &body.to_string()).await;
        check("post", &path, answer.status, &answer.json());
    }
    let text = "banned_domains = [\"other.example\"]";
    let diff = post(relay.running.admin, "/admin/v1/policy/diff", &[&password], text).await;
    check("post", "/admin/v1/policy/diff", diff.status, &diff.json());

    let queries = [
        ("/admin/v1/why", format!("did={did}")),
        ("/admin/v1/why", format!("host={host}")),
        ("/admin/v1/hosts/history", format!("host={host}")),
        ("/admin/v1/hosts", "limit=1&sort=accounts&order=desc".to_owned()),
        ("/admin/v1/accounts", format!("did={did}")),
        ("/admin/v1/accounts", "status=takendown".to_owned()),
        ("/admin/v1/audit", "limit=1".to_owned()),
    ];
    let reads = relay::api::admin_routes().into_iter().filter(|(method, _)| *method == "GET");
    let all = reads.map(|(_, path)| (path, String::new())).chain(queries);
    for (path, query) in all {
        let answer = relay.admin(&format!("{path}?{query}")).await;
        check("get", path, answer.status, &answer.json());
    }
    relay.stop().await;
}
