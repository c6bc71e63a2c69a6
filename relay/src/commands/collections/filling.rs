//! `relay collections backfill`, `status` and `verify`.

use std::time::Duration;

use relay_protocol::{Did, Nsid};
use serde_json::{Value, json};

use super::{get, words};
use crate::{
    collections::index::Doubt,
    commands::{
        admin::Admin,
        hosts::{number, read, text},
        print::{self, Ended},
    },
    telemetry::escape,
};

const STATUS: &str = "/admin/v1/collections/backfill";

/// How often the running relay is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Accounts in one request: those that are not known have to be looked up meanwhile.
const DIDS_AT_ONCE: usize = 100;

/// Longest piece of a wrong name that is shown.
const SHOWN_CHARS_MAX: usize = 100;

/// How long an address with names of collections may take.
const NAMES_MAX: Duration = Duration::from_secs(30);

/// Bytes that it may answer: more names than any index takes.
const NAMES_BYTES_MAX: usize = 16 << 20;

/// Names of collections from a file or an address.
pub(super) async fn names(list: &str) -> Result<Vec<String>, String> {
    let text = if list.starts_with("https://") || list.starts_with("http://") {
        crate::net::install_crypto();
        let asked = fetched(list).await;
        asked.map_err(|error| format!("the list {list} cannot be read: {error}"))?
    } else {
        read(list)?
    };
    let names: Vec<String> = words(&text).into_iter().map(ToOwned::to_owned).collect();
    if names.is_empty() {
        return Err(format!("{list} names no collections: one name a line is expected"));
    }
    for name in &names {
        Nsid::parse(name).map_err(|why| {
            format!("{list}: {} is no collection: {why}", escape(name, SHOWN_CHARS_MAX))
        })?;
    }
    Ok(names)
}

async fn fetched(url: &str) -> Result<String, String> {
    let words = |error: reqwest::Error| error.to_string();
    let client = reqwest::Client::builder().timeout(NAMES_MAX).build().map_err(words)?;
    let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
    let mut answer = answer.map_err(words)?;
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(words)? {
        body.extend_from_slice(&piece);
        if body.len() > NAMES_BYTES_MAX {
            return Err(format!("it has more than {NAMES_BYTES_MAX} bytes"));
        }
    }
    String::from_utf8(body).map_err(|_binary| "it is not text in UTF-8".to_owned())
}

/// Whether every word of a file is a DID; says the first that is none.
pub(super) fn check_dids(file: &str, words: &[&str]) -> Result<(), String> {
    for word in words {
        Did::parse(word)
            .map_err(|why| format!("{file}: {} is no DID: {why}", escape(word, SHOWN_CHARS_MAX)))?;
    }
    Ok(())
}

/// Asks for it, and says how far it is. Gives whether all that was asked for was done, as far as it was
/// waited for.
pub(super) async fn start(
    admin: &Admin,
    (body, dids): (Value, &[&str]),
    (wait, json): (bool, bool),
) -> Result<bool, Ended> {
    let mut unknown = 0;
    let mut answer = Value::Null;
    let list = |key: &str| body[key].as_array().cloned().unwrap_or_default();
    let (mut from, collections) = (list("from"), list("collections"));
    if dids.is_empty() || !from.is_empty() || !collections.is_empty() {
        answer = admin.post(STATUS, &body).await.map_err(String::from)?;
    }
    if from.is_empty() && !collections.is_empty() {
        from = running(&answer);
    }
    for dids in dids.chunks(DIDS_AT_ONCE) {
        answer = admin.post(STATUS, &json!({ "dids": dids })).await.map_err(String::from)?;
        for did in answer["unknown"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            print::note(&format!("{did}: no host that this relay knows has the account"));
            unknown += 1;
        }
    }
    let ours = |import: &&Value| {
        let named = |name: &Value| {
            let name = name.as_str().unwrap_or_default();
            name.trim_start_matches("https://").trim_start_matches("http://")
                == text(import, "from")
        };
        from.iter().any(named)
    };
    let mut said = String::new();
    let ok = loop {
        let imports = answer.get("imports").and_then(Value::as_array);
        let imports: Vec<&Value> = imports.into_iter().flatten().filter(ours).collect();
        let waiting = number(&answer["resolving"], "waiting");
        let running = if from.is_empty() {
            waiting > 0
        } else {
            imports.iter().any(|import| text(import, "status") == "running")
        };
        if !wait || !running {
            break !wait || imports.iter().all(|import| text(import, "status") == "finished");
        }
        let lines: Vec<String> = imports.iter().map(|import| import_line(import)).collect();
        let now = if from.is_empty() { format!("{waiting} to ask") } else { lines.join("\n") };
        if now != said {
            print::note(&now);
            said = now;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        answer = get(admin, STATUS).await?;
    };
    show(&answer, json)?;
    Ok(ok && unknown == 0)
}

/// The relays whose lists are being read.
fn running(answer: &Value) -> Vec<Value> {
    let imports = answer.get("imports").and_then(Value::as_array);
    let running = imports.into_iter().flatten().filter(|one| text(one, "status") == "running");
    running.map(|import| import["from"].clone()).collect()
}

/// How far everything is.
pub(super) fn show(answer: &Value, json: bool) -> Result<(), Ended> {
    if json {
        return print::line(&answer.to_string());
    }
    let (totals, resolving) = (&answer["totals"], &answer["resolving"]);
    if let Some(why) = answer["stopped"].as_str() {
        print::line(&format!(
            "NOT KEPT UP any more: {why}. Restart the relay; if this comes again, remove the directory of \
             the index: it is then filled anew"
        ))?;
    }
    print::line(&format!(
        "{} collections, {} entries: {} proven, {} believed ({})",
        number(totals, "collections"),
        number(totals, "pairs"),
        number(totals, "proven"),
        number(totals, "believed"),
        percent(&totals["believedShare"]),
    ))?;
    print::line(&format!(
        "{} accounts complete, {} uncertain ({}), {} only believed ({}); {} inactive, {} deleted",
        number(totals, "complete"),
        number(totals, "uncertain"),
        percent(&totals["uncertainShare"]),
        number(totals, "believedAccounts"),
        percent(&totals["believedAccountsShare"]),
        number(totals, "inactive"),
        number(totals, "gone"),
    ))?;
    if let Some(reasons) = reasons(totals) {
        print::line(&format!("uncertain because of: {reasons}"))?;
    }
    match number(answer, "behind") {
        0 => {}
        behind => print::line(&format!("{behind} events of the log are not in the index yet"))?,
    }
    let left = resolving["minutesLeft"].as_u64();
    print::line(&format!(
        "hosts: {} accounts to ask now, {} resolved since the start, {} in the last minute, {}",
        number(resolving, "waiting"),
        number(resolving, "resolved"),
        number(resolving, "perMinute"),
        left.map_or("no estimate".to_owned(), |minutes| format!("about {minutes} min left")),
    ))?;
    let hosts = answer.get("hosts").and_then(Value::as_array);
    for host in hosts.into_iter().flatten() {
        let why = host.get("lastError").and_then(Value::as_str);
        print::line(&format!(
            "{}\t{} to ask, {} asked by {}, {} resolved, {} not told{}",
            text(host, "hostname"),
            number(host, "waiting"),
            number(host, "asked"),
            text(host, "method"),
            number(host, "resolved"),
            number(host, "failed"),
            why.map_or(String::new(), |why| format!("; {why}")),
        ))?;
    }
    let imports = answer.get("imports").and_then(Value::as_array);
    imports.into_iter().flatten().try_for_each(|import| print::line(&import_line(import)))
}

/// How many accounts are uncertain for each reason; `None` when none is.
fn reasons(totals: &Value) -> Option<String> {
    let uncertain = Doubt::ALL.into_iter().filter(|doubt| doubt.is_uncertain());
    let named = uncertain.filter_map(|doubt| {
        let accounts = number(&totals["unsureReasons"], doubt.name());
        (accounts > 0).then(|| format!("{} {accounts}", doubt.name()))
    });
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then(|| named.join(", "))
}

fn import_line(import: &Value) -> String {
    let mut line = format!(
        "from {}: {}, {} of {} collections, {} pages, {} entries, {} accounts new, {} of unknown hosts",
        text(import, "from"),
        text(import, "status"),
        number(import, "done"),
        number(import, "collections"),
        number(import, "pages"),
        number(import, "pairs"),
        number(import, "new"),
        number(import, "unknown"),
    );
    for (key, words) in [("refused", "not listed there"), ("withoutRows", "without any account")] {
        let names = import.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            line.extend(["; ", words, ": ", names.join(" ").as_str()]);
        }
    }
    if let Some(why) = import.get("lastError").and_then(Value::as_str) {
        line.push_str("; stopped: ");
        line.push_str(why);
    }
    line
}

/// Compares with the hosts, waits for the end. Gives whether nothing is wrong.
pub(super) async fn verify(admin: &Admin, sample: u64, json: bool) -> Result<bool, Ended> {
    const PATH: &str = "/admin/v1/collections/verify";
    let body = json!({ "sample": sample });
    let mut answer = admin.post(PATH, &body).await.map_err(String::from)?;
    let mut said = 0;
    loop {
        let found = &answer["verification"];
        let looked = number(found, "checked") + number(found, "skipped");
        if text(found, "status") == "finished" {
            break;
        }
        if looked != said {
            print::note(&format!("{looked} of {} accounts", number(found, "sample")));
            said = looked;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        answer = get(admin, PATH).await?;
    }
    let found = &answer["verification"];
    let wrong = number(found, "missing") + number(found, "ghosts");
    let failed = found.get("lastError").and_then(Value::as_str);
    if json {
        print::line(&found.to_string())?;
        return Ok(wrong == 0 && failed.is_none());
    }
    for one in found["examples"].as_array().into_iter().flatten() {
        let names = |key: &str| {
            let names = one[key].as_array().into_iter().flatten().filter_map(Value::as_str);
            names.collect::<Vec<_>>().join(" ")
        };
        let did = text(one, "did");
        print::line(&format!("{did}\tmissing: {}\tghosts: {}", names("missing"), names("ghosts")))?;
    }
    print::line(&format!(
        "{} accounts compared, {} not ({} of the compared uncertain): {wrong} of {} entries wrong ({}), \
         {} missing, {} ghosts; {} wrong where it should be certain",
        number(found, "checked"),
        number(found, "skipped"),
        number(found, "unsure"),
        number(found, "entries"),
        percent(&found["wrongShare"]),
        number(found, "missing"),
        number(found, "ghosts"),
        number(found, "wrongOfComplete"),
    ))?;
    match failed {
        Some(why) => Err(format!("the comparison ended early: {why}").into()),
        None => Ok(wrong == 0),
    }
}

fn percent(share: &Value) -> String {
    format!("{:.3} %", share.as_f64().unwrap_or(0.0) * 100.0)
}
