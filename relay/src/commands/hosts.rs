//! `relay hosts`: the hosts of the running relay, through its admin API.
//!
//! Answers on stdout, progress on stderr. Exit codes: 0 = done; 1 = failed, or refused for some.

mod pull;

use std::{fs, io::Read as _, process::ExitCode};

use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use super::{
    admin::Admin,
    print::{self, Ended},
};
use crate::config::{Config, HostsCommand, Reach};

/// Hosts of one page of the list.
const PAGE: usize = 1_000;

/// Names handed over at once: one transaction of the relay.
const BATCH: usize = 200;

pub(super) async fn run(config: &Config, what: HostsCommand, reach: &Reach) -> ExitCode {
    match Box::pin(ask(config, what, reach)).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(ended) => print::ended(Err(ended)),
    }
}

/// Gives whether all was done.
async fn ask(config: &Config, what: HostsCommand, reach: &Reach) -> Result<bool, Ended> {
    let admin = || Admin::of(config, reach);
    match what {
        HostsCommand::Add { file } => add(&admin()?, &file, reach.json).await,
        HostsCommand::List { status } => list(&admin()?, status.as_deref(), reach.json).await,
        HostsCommand::Show { host } => show(&admin()?, &host, reach.json).await,
        HostsCommand::Resync { hosts } => {
            let body = json!({ "hostnames": hosts });
            let answer = admin()?.post("/admin/v1/resync", &body).await.map_err(String::from)?;
            walks(&answer, &hosts, reach.json)
        }
        HostsCommand::ResyncStatus { hosts } => {
            let answer = admin()?.get("/admin/v1/resync").await.map_err(String::from)?;
            walks(&answer, &hosts, reach.json)
        }
        HostsCommand::Readiness => {
            let answer = admin()?.get("/admin/v1/readiness").await.map_err(String::from)?;
            readiness(&answer, reach.json)
        }
        HostsCommand::Candidates => {
            let answer = admin()?.get("/admin/v1/candidates").await.map_err(String::from)?;
            candidates(&answer, reach.json)
        }
        HostsCommand::FromPlc { rate, add, wait } => {
            let body = json!({ "rate": rate, "add": add });
            let asked = ("/admin/v1/scanDirectory", body, &["directory"][..]);
            Ok(pull::follow(&admin()?, asked, (wait, reach.json)).await?)
        }
        // It can do without a running relay.
        HostsCommand::Pull { from, wait } => pull::run(config, &from, (wait, reach)).await,
    }
}

/// `relay hosts add FILE|-`.
async fn add(admin: &Admin, file: &str, json: bool) -> Result<bool, Ended> {
    let text = read(file)?;
    let words = text.lines().filter_map(|line| line.split(['#', ' ', '\t', ',']).next());
    let names: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    if names.is_empty() {
        return Err(format!("{file} names no hosts: one name a line is expected").into());
    }
    let (mut results, mut refused) = (Vec::new(), 0_usize);
    for batch in names.chunks(BATCH) {
        let body = json!({ "hostnames": batch });
        let answer = admin.post("/admin/v1/hosts", &body).await.map_err(String::from)?;
        let hosts = answer.get("hosts").and_then(Value::as_array).cloned().unwrap_or_default();
        for host in hosts {
            refused += usize::from(host.get("id").is_none());
            if !json {
                print::line(&added_line(&host))?;
            }
            results.push(host);
        }
        print::note(&format!("{} of {} handed over", results.len(), names.len()));
    }
    if json {
        print::line(&Value::from(results).to_string())?;
    }
    Ok(refused == 0)
}

fn added_line(host: &Value) -> String {
    let name = text(host, "hostname");
    match host.get("id").and_then(Value::as_u64) {
        Some(id) => format!("{name}: known as number {id}"),
        None => format!("{name}: refused: {}", text(host, "message")),
    }
}

pub(super) fn read(file: &str) -> Result<String, String> {
    if file == "-" {
        let mut text = String::new();
        let read = std::io::stdin().lock().read_to_string(&mut text);
        return read.map(|_| text).map_err(|error| format!("standard input: {error}"));
    }
    fs::read_to_string(file).map_err(|error| {
        format!("the file {file} cannot be read: {error}; `-` takes names from standard input")
    })
}

/// `relay hosts list`.
async fn list(admin: &Admin, status: Option<&str>, json: bool) -> Result<bool, Ended> {
    let hosts = all(admin).await?;
    let wanted = |host: &&Value| status.is_none_or(|status| text(host, "status") == status);
    let hosts: Vec<&Value> = hosts.iter().filter(wanted).collect();
    if json {
        print::line(&json!(hosts).to_string())?;
        return Ok(true);
    }
    for host in hosts {
        let seq = host.get("seq").and_then(Value::as_u64);
        print::line(&format!(
            "{}\t{}\t{} accounts\tcursor {}\t{}",
            text(host, "hostname"),
            text(host, "status"),
            number(host, "accountCount"),
            seq.map_or("none".to_owned(), |seq| seq.to_string()),
            text(host, "doing"),
        ))?;
    }
    Ok(true)
}

/// `relay hosts show HOST`.
async fn show(admin: &Admin, name: &str, json: bool) -> Result<bool, Ended> {
    let name = name.trim();
    let query: String = byte_serialize(name.as_bytes()).collect();
    let why = admin.get(&format!("/admin/v1/why?host={query}")).await.map_err(String::from)?;
    if json {
        print::line(&why.to_string())?;
        return Ok(true);
    }
    for (key, value) in why.get("host").and_then(Value::as_object).into_iter().flatten() {
        print::line(&format!("{key}: {}", plain(value)))?;
    }
    for (reason, count) in why.get("totals").and_then(Value::as_object).into_iter().flatten() {
        print::line(&format!("dropped since the start: {count} as {reason}"))?;
    }
    let drops = why.get("drops").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for drop in drops {
        print::line(&format!(
            "dropped at {}: {} ({}) of {}: {}",
            text(drop, "time"),
            text(drop, "words"),
            text(drop, "reason"),
            text(drop, "did"),
            text(drop, "detail"),
        ))?;
    }
    Ok(true)
}

fn readiness(answer: &Value, json: bool) -> Result<bool, Ended> {
    let hosts = answer.get("hosts").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if json {
        print::line(&json!(hosts).to_string())?;
        return Ok(true);
    }
    for host in hosts {
        let would_drop = host.get("wouldDrop").and_then(Value::as_object);
        let counts: Vec<String> =
            would_drop.into_iter().flatten().map(|(why, count)| format!("{count} {why}")).collect();
        let counts = if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") };
        print::line(&format!(
            "{}\t{} of {} provable commits\twould drop {counts}",
            text(host, "hostname"),
            number(host, "cleanCommits"),
            number(host, "cleanCommitsNeeded"),
        ))?;
    }
    Ok(true)
}

fn candidates(answer: &Value, json: bool) -> Result<bool, Ended> {
    let candidates = answer.get("candidates").and_then(Value::as_array);
    let candidates = candidates.map_or(&[][..], Vec::as_slice);
    if json {
        print::line(&json!(candidates).to_string())?;
        return Ok(true);
    }
    for candidate in candidates {
        let wanted = candidate.get("wanted").and_then(Value::as_bool) == Some(true);
        let outcome = candidate.get("outcome").and_then(Value::as_str);
        print::line(&format!(
            "{}\t{}\t{}",
            text(candidate, "hostname"),
            text(candidate, "did"),
            outcome.unwrap_or(if wanted { "waiting" } else { "listed" }),
        ))?;
    }
    Ok(true)
}

/// How far lists of accounts are read; of these hosts, or of all.
fn walks(answer: &Value, hosts: &[String], json: bool) -> Result<bool, Ended> {
    let wanted = |walk: &&Value| {
        let name = text(walk, "hostname");
        hosts.is_empty() || hosts.iter().any(|host| host.trim().eq_ignore_ascii_case(name))
    };
    let walks = answer.get("walks").and_then(Value::as_array);
    let walks: Vec<&Value> = walks.into_iter().flatten().filter(wanted).collect();
    if json {
        print::line(&json!(walks).to_string())?;
        return Ok(true);
    }
    for walk in walks {
        let why = walk.get("lastError").and_then(Value::as_str);
        print::line(&format!(
            "{}\t{}\t{} listed, {} new, {} changed, {} refused{}",
            text(walk, "hostname"),
            text(walk, "status"),
            number(walk, "listed"),
            number(walk, "added"),
            number(walk, "changed"),
            number(walk, "refused"),
            why.map_or(String::new(), |why| format!("; {why}")),
        ))?;
    }
    Ok(true)
}

/// Every host that the relay knows.
async fn all(admin: &Admin) -> Result<Vec<Value>, Ended> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/admin/v1/hosts?limit={PAGE}{cursor}");
        let page = admin.get(&path).await.map_err(String::from)?;
        let hosts = page.get("hosts").and_then(Value::as_array);
        found.extend(hosts.into_iter().flatten().cloned());
        let Some(next) = page.get("cursor").and_then(Value::as_str) else { return Ok(found) };
        let next: String = byte_serialize(next.as_bytes()).collect();
        cursor = format!("&cursor={next}");
    }
}

pub(super) fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn number(object: &Value, key: &str) -> u64 {
    object.get(key).and_then(Value::as_u64).unwrap_or_default()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}
