//! `relay collections`: the index of collections of the running relay, through its admin API.
//!
//! Answers on stdout, progress on stderr. Exit codes: 0 = done; 1 = failed, or something is wrong.

mod dump;
mod filling;

use std::process::ExitCode;

use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use super::{
    admin::Admin,
    hosts::{number, read, text},
    print::{self, Ended},
};
use crate::config::{CollectionsCommand, Config, Reach};

/// Collections of one page of the list.
const PAGE: usize = 1_000;

pub(super) async fn run(config: &Config, what: CollectionsCommand, reach: &Reach) -> ExitCode {
    match Box::pin(ask(config, what, reach)).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(ended) => print::ended(Err(ended)),
    }
}

/// Gives whether all was done, and nothing is wrong.
async fn ask(config: &Config, what: CollectionsCommand, reach: &Reach) -> Result<bool, Ended> {
    let admin = Admin::of(config, reach)?;
    match what {
        CollectionsCommand::Backfill { dids, collections, nsids, from, wait } => {
            let mut wanted = collections;
            if let Some(list) = nsids {
                wanted.extend(filling::names(&list).await?);
            }
            let named = dids.as_deref().map(read).transpose()?;
            let named = named.as_deref().map(words);
            if let (Some(file), Some(named)) = (&dids, &named) {
                if named.is_empty() {
                    return Err(
                        format!("{file} names no accounts: one DID a line is expected").into()
                    );
                }
                filling::check_dids(file, named)?;
            }
            let body = json!({ "from": from, "collections": wanted });
            let named = named.unwrap_or_default();
            filling::start(&admin, (body, &named), (wait, reach.json)).await
        }
        CollectionsCommand::Status => {
            let answer = get(&admin, "/admin/v1/collections/backfill").await?;
            filling::show(&answer, reach.json)?;
            Ok(true)
        }
        CollectionsCommand::List { prefix, empty } => {
            list(&admin, (prefix.as_deref(), empty), reach.json).await
        }
        CollectionsCommand::Show { did } => show(&admin, &did, reach.json).await,
        CollectionsCommand::Verify { sample } => filling::verify(&admin, sample, reach.json).await,
        CollectionsCommand::Export { file } => dump::export(&admin, &file).await,
        CollectionsCommand::Import { file } => dump::import(&admin, &file, reach.json).await,
    }
}

/// The words of a file: one a line, `#` begins a comment.
fn words(text: &str) -> Vec<&str> {
    let words = text.lines().filter_map(|line| line.split(['#', ' ', '\t', ',', '\r']).next());
    words.filter(|word| !word.is_empty()).collect()
}

async fn get(admin: &Admin, path: &str) -> Result<Value, Ended> {
    Ok(admin.get(path).await.map_err(String::from)?)
}

fn escaped(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

/// `relay collections list`.
async fn list(
    admin: &Admin,
    (prefix, empty): (Option<&str>, bool),
    json: bool,
) -> Result<bool, Ended> {
    let mut path = format!("/admin/v1/collections?limit={PAGE}&empty={empty}");
    if let Some(prefix) = prefix {
        path.extend(["&prefix=", escaped(prefix).as_str()]);
    }
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = get(admin, &format!("{path}{cursor}")).await?;
        let collections = page.get("collections").and_then(Value::as_array);
        for one in collections.into_iter().flatten() {
            if json {
                all.push(one.clone());
                continue;
            }
            print::line(&format!(
                "{}\t{} accounts\t{} believed\t{} in a day\t{} in a week",
                text(one, "collection"),
                number(one, "rows"),
                number(one, "believed"),
                grew(one, "grewInDay"),
                grew(one, "grewInWeek"),
            ))?;
        }
        let Some(next) = page.get("cursor").and_then(Value::as_str) else { break };
        cursor = format!("&cursor={}", escaped(next));
    }
    if json {
        print::line(&Value::from(all).to_string())?;
    }
    Ok(true)
}

fn grew(collection: &Value, key: &str) -> String {
    let grew = collection.get(key).and_then(Value::as_i64);
    grew.map_or_else(|| "?".to_owned(), |rows| format!("{rows:+}"))
}

/// `relay collections show DID`.
async fn show(admin: &Admin, did: &str, json: bool) -> Result<bool, Ended> {
    let path = format!("/admin/v1/collections/account?did={}", escaped(did.trim()));
    let answer = get(admin, &path).await?;
    if json {
        print::line(&answer.to_string())?;
        return Ok(true);
    }
    let reason = answer.get("reason").and_then(Value::as_str);
    let reason = reason.map_or(String::new(), |reason| format!(" ({reason})"));
    print::line(&format!("{}: {}{reason}", text(&answer, "did"), text(&answer, "known")))?;
    let collections = answer.get("collections").and_then(Value::as_array);
    for one in collections.into_iter().flatten() {
        print::line(&format!("{}\t{}", text(one, "collection"), text(one, "state")))?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_one_word_a_line() {
        let text = "# mine\ndid:web:a.com\n\ndid:web:b.com # Bob\r\ndid:web:c.com,7\r\n";
        assert_eq!(words(text), ["did:web:a.com", "did:web:b.com", "did:web:c.com"]);
    }
}
