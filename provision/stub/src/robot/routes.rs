//! Requests and answers.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use parking_lot::Mutex;
use serde_json::{Value as Json, json};

use super::{Account, FOR_EVER, Fault, PASSWORD, SERVER, USER};

/// Longest body of a request.
const BODY_MAX: usize = 1 << 16;
/// Wrong logins after which an address is blocked.
const LOGINS_MAX: u32 = 3;
/// Input rules of a firewall.
const RULES_MAX: usize = 10;
const IPV6_NET: &str = "2001:db8:321::";

type Shared = Arc<Mutex<Account>>;
type Form = BTreeMap<String, String>;

pub(super) fn all(account: Shared) -> Router {
    Router::new().fallback(handle).with_state(account)
}

async fn handle(State(account): State<Shared>, request: Request) -> Response {
    let line = format!("{} {}", request.method(), request.uri().path());
    let login = request.headers().get(header::AUTHORIZATION).cloned();
    let Ok(body) = axum::body::to_bytes(request.into_body(), BODY_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    if let Some(refused) = unauthorized(&account, login.as_ref()) {
        return refused;
    }
    let fault = {
        let mut account = account.lock();
        account.requests.push(line.clone());
        let place = account.faults.iter().position(|(start, _)| line.starts_with(start.as_str()));
        place.and_then(|place| account.faults.remove(place)).map(|(_, fault)| fault)
    };
    match fault {
        Some(Fault::Answer(status, headers, body)) => return failing(status, headers, &body),
        Some(Fault::Silence) => {
            tokio::time::sleep(FOR_EVER).await;
        }
        Some(Fault::Lost) => {
            let done = act(&account, &line, &form(&body));
            drop(done);
            tokio::time::sleep(FOR_EVER).await;
        }
        None => {}
    }
    let (status, body) = act(&account, &line, &form(&body));
    answer(status, &body)
}

fn answer(status: u16, body: &Json) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = if body.is_null() { String::new() } else { body.to_string() };
    (status, [(header::CONTENT_TYPE, "application/json")], Body::from(text)).into_response()
}

fn failing(status: u16, headers: Vec<(&'static str, String)>, body: &Json) -> Response {
    let mut response = answer(status, body);
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Basic authentication, compared in its encoded form.
fn unauthorized(account: &Shared, login: Option<&HeaderValue>) -> Option<Response> {
    let wanted = format!("Basic {}", BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let mut account = account.lock();
    if login.is_some_and(|login| login.as_bytes() == wanted.as_bytes()) {
        return None;
    }
    account.wrong_logins += 1;
    if account.wrong_logins > LOGINS_MAX {
        return Some(answer(403, &error(403, "FORBIDDEN", "the address is blocked").1));
    }
    Some(answer(401, &error(401, "UNAUTHORIZED", "Unauthorized").1))
}

fn form(body: &[u8]) -> Form {
    url::form_urlencoded::parse(body).into_owned().collect()
}

type Answer = (u16, Json);

fn error(status: u16, code: &str, message: &str) -> Answer {
    (status, json!({"error": {"status": status, "code": code, "message": message}}))
}

fn invalid(missing: &[&str], wrong: &[&str]) -> Answer {
    let text = "invalid input";
    let all = json!({"status": 400, "code": "INVALID_INPUT", "message": text, "missing": missing, "invalid": wrong});
    (400, json!({"error": all}))
}

fn act(account: &Shared, line: &str, form: &Form) -> Answer {
    let mut account = account.lock();
    let (method, path) = line.split_once(' ').unwrap_or((line, ""));
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let number = SERVER.to_string();
    match (method, parts.as_slice()) {
        ("GET", ["server"]) => (200, json!([server(&account)])),
        ("GET", ["key"]) if account.keys.is_empty() => error(404, "NOT_FOUND", "No keys found"),
        ("GET", ["key"]) => (200, Json::Array(account.keys.clone())),
        ("POST", ["key"]) => new_key(&mut account, form),
        (_, ["rdns", address]) => reverse(&mut account, method, address, form),
        (_, ["server" | "boot" | "reset" | "firewall", id, ..]) if *id != number => {
            error(404, "SERVER_NOT_FOUND", "server not found")
        }
        ("GET", ["server", _]) => (200, server(&account)),
        ("GET", ["boot", _, "rescue"]) => (200, rescue(&account)),
        ("POST", ["boot", _, "rescue"]) => arm(&mut account, form),
        ("DELETE", ["boot", _, "rescue"]) => {
            account.rescue = None;
            (200, rescue(&account))
        }
        ("POST", ["reset", _]) => reset(&mut account, form),
        ("GET", ["firewall", _]) => {
            account.pending = account.pending.saturating_sub(1);
            (200, firewall(&account))
        }
        ("POST", ["firewall", _]) => protect(&mut account, form),
        _ => error(404, "NOT_FOUND", "unknown address"),
    }
}

fn server(account: &Account) -> Json {
    json!({"server": {"server_ip": account.ipv4, "server_ipv6_net": IPV6_NET, "server_number": SERVER,
        "server_name": "relay", "product": "AX42", "dc": "FSN1-DC14", "traffic": "unlimited",
        "status": "ready", "cancelled": account.cancelled, "paid_until": "2027-01-01", "ip": [account.ipv4],
        "subnet": [{"ip": IPV6_NET, "mask": "64"}], "linked_storagebox": null}})
}

fn rescue(account: &Account) -> Json {
    let host_keys: Vec<Json> = account
        .host_keys
        .iter()
        .map(|one| json!({"key": {"fingerprint": one, "type": "ED25519", "size": 256}}))
        .collect();
    let base = |os: Json, active: bool, keys: Json, host_keys: Json| {
        json!({"rescue": {"server_ip": account.ipv4, "server_ipv6_net": IPV6_NET, "server_number": SERVER, "os": os,
            "active": active, "password": null, "authorized_key": keys, "host_key": host_keys}})
    };
    match &account.rescue {
        None => base(json!(["linux", "vkvm"]), false, json!([]), json!([])),
        Some(keys) => base(json!("linux"), true, keys.clone(), Json::Array(host_keys)),
    }
}

fn new_key(account: &mut Account, form: &Form) -> Answer {
    let (Some(name), Some(data)) = (form.get("name"), form.get("data")) else {
        return invalid(&["name", "data"], &[]);
    };
    if data.split_whitespace().count() < 2 {
        return invalid(&[], &["data"]);
    }
    if account.keys.iter().any(|key| key.pointer("/key/data").and_then(Json::as_str) == Some(data))
    {
        return error(409, "KEY_ALREADY_EXISTS", "The supplied key is already existing");
    }
    let fingerprint = format!("aa:bb:cc:{:02}", account.keys.len());
    let key = json!({"key": {"name": name, "fingerprint": fingerprint, "type": "ED25519", "size": 256, "data": data}});
    account.keys.push(key.clone());
    (201, key)
}

fn arm(account: &mut Account, form: &Form) -> Answer {
    if account.rescue.is_some() {
        return error(409, "BOOT_ALREADY_ENABLED", "There is already an active boot configuration");
    }
    if form.get("os").map(String::as_str) != Some("linux") {
        return invalid(&["os"], &[]);
    }
    let wanted = form.get("authorized_key[]").map(String::as_str);
    let known = |key: &&Json| key.pointer("/key/fingerprint").and_then(Json::as_str) == wanted;
    let Some(key) = account.keys.iter().find(known).cloned() else {
        return invalid(&[], &["authorized_key"]);
    };
    account.rescue = Some(json!([key]));
    (200, rescue(account))
}

fn reset(account: &mut Account, form: &Form) -> Answer {
    if !form.get("type").is_some_and(|kind| ["sw", "hw", "man"].contains(&kind.as_str())) {
        return invalid(&["type"], &[]);
    }
    // The rescue system starts once.
    let is_armed = account.rescue.take().is_some();
    let phase = account.machine.as_ref().map(|directory| directory.join("phase"));
    if let (true, Some(phase)) = (is_armed, phase)
        && std::fs::write(phase, "rescue\n").is_err()
    {
        return error(500, "RESET_FAILED", "Resetting failed due to an internal error");
    }
    (200, json!({"reset": {"server_ip": account.ipv4, "server_number": SERVER, "type": "hw"}}))
}

fn reverse(account: &mut Account, method: &str, address: &str, form: &Form) -> Answer {
    if address != account.ipv4 && !address.starts_with("2001:db8:321:") {
        return error(404, "IP_NOT_FOUND", "The IP address was not found");
    }
    let is_there = account.reverse.contains_key(address);
    if method == "POST" {
        let Some(name) = form.get("ptr").filter(|name| name.contains('.')) else {
            return invalid(&["ptr"], &[]);
        };
        account.reverse.insert(address.to_owned(), name.clone());
    }
    let Some(name) = account.reverse.get(address) else {
        return error(404, "RDNS_NOT_FOUND", "The IP address has no reverse DNS entry");
    };
    let status = if method == "POST" && !is_there { 201 } else { 200 };
    (status, json!({"rdns": {"ip": address, "ptr": name}}))
}

fn firewall(account: &Account) -> Json {
    let mut all = account.firewall.clone();
    if account.pending > 0
        && let Some(status) = all.get_mut("status")
    {
        *status = json!("in process");
    }
    json!({"firewall": all})
}

fn protect(account: &mut Account, form: &Form) -> Answer {
    if account.pending > 0 {
        return error(
            409,
            "FIREWALL_IN_PROCESS",
            "The firewall cannot be edited while it is applied",
        );
    }
    let mut rules: BTreeMap<usize, serde_json::Map<String, Json>> = BTreeMap::new();
    for (name, value) in form {
        let parts: Vec<&str> = name.split(['[', ']']).filter(|part| !part.is_empty()).collect();
        let ["rules", "input", place, field] = parts.as_slice() else { continue };
        let Ok(place) = place.parse() else { return invalid(&[], &["rules"]) };
        rules.entry(place).or_default().insert((*field).to_owned(), json!(value));
    }
    let is_whole = |rule: &serde_json::Map<String, Json>| {
        let ports = rule.contains_key("dst_port") || rule.contains_key("src_port");
        let with_ports =
            rule.get("protocol").is_some_and(|protocol| protocol == "tcp" || protocol == "udp");
        rule.contains_key("action") && (!ports || with_ports)
    };
    if rules.len() > RULES_MAX || !rules.values().all(is_whole) {
        return invalid(&[], &["rules"]);
    }
    let output = form.contains_key("rules[output][0][action]");
    account.firewall = json!({"status": form.get("status"), "whitelist_hos": form.get("whitelist_hos"),
        "server_number": SERVER, "server_ip": account.ipv4,
        "rules": {"input": rules.into_values().collect::<Vec<_>>(), "output": if output { json!([{"action": "accept"}]) } else { json!([]) }}});
    account.pending = 2;
    (202, firewall(account))
}
