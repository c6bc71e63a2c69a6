//! `relay collections export` and `import`: the index as a file that any relay can read.
//!
//! A dump is lines of JSON, compressed with zstd. The first line says what it is; one line per account
//! follows; the last line says how many there were, so that a dump that was cut off is known as such.
//! `docs/collections.md` describes it for other programs.

mod lines;

use std::{
    fs::File,
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;
use serde_json::{Value, json};

use self::lines::{Account, Dump, Foot, Head, Line};
use super::{escaped, get};
use crate::{
    clock::Clock,
    commands::{
        admin::Admin,
        hosts::number,
        print::{self, Ended},
    },
};

/// How hard zstd tries.
const LEVEL: i32 = 3;

/// Accounts of a page of a dump that is read: at first, and when the relay knew all of the page before.
/// Those that it does not know have to be looked up meanwhile; each page costs a request and a sync.
const PAGES: (usize, usize) = (200, 1_000);

/// Entries of a page: with the longest names they are within what a request may have.
const ENTRIES_MAX: usize = 40_000;

/// How long a page may take whose accounts have all to be looked up, beside those of other lists.
const PAGE_WITHIN: Duration = Duration::from_mins(5);

const PATH: &str = "/admin/v1/collections/dump";

/// `relay collections export FILE|-`.
pub(super) async fn export(admin: &Admin, file: &str) -> Result<bool, Ended> {
    let out: Box<dyn Write> = if file == "-" {
        Box::new(io::stdout().lock())
    } else {
        let made = File::create(file);
        Box::new(made.map_err(|error| format!("the file {file} cannot be written: {error}"))?)
    };
    let failed = |error: io::Error| format!("the dump {file} cannot be written: {error}");
    let mut out = zstd::Encoder::new(out, LEVEL).map_err(failed)?;
    let dump = format!("{}-{:08x}", Clock::system().now_ms(), rand::random::<u32>());
    write(&mut out, &Head::of(dump)).map_err(failed)?;
    let mut foot = Foot { accounts: 0, pairs: 0 };
    let mut cursor = String::new();
    loop {
        let page = get(admin, &format!("{PATH}?limit=1000{cursor}")).await?;
        for one in page["accounts"].as_array().into_iter().flatten() {
            let account = dumped(one);
            foot.accounts += 1;
            foot.pairs += (account.collections.len() + account.believed.len()) as u64;
            write(&mut out, &account).map_err(failed)?;
        }
        print::note(&format!("{} accounts, {} entries", foot.accounts, foot.pairs));
        let Some(next) = page.get("cursor").and_then(Value::as_str) else { break };
        cursor = format!("&cursor={}", escaped(next));
    }
    write(&mut out, &foot).map_err(failed)?;
    out.finish().and_then(|mut out| out.flush()).map_err(failed)?;
    Ok(true)
}

fn dumped(account: &Value) -> Account {
    let names = |key: &str| {
        let names = account[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        names.map(ToOwned::to_owned).collect()
    };
    Account {
        did: account["did"].as_str().unwrap_or_default().to_owned(),
        collections: names("proven"),
        believed: names("believed"),
        complete: account["complete"].as_bool().unwrap_or(false),
    }
}

fn write(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// `relay collections import FILE|-`.
pub(super) async fn import(admin: &Admin, file: &str, json: bool) -> Result<bool, Ended> {
    let (mut lines, head) = Dump::open(file)?;
    let taken = get(admin, &format!("{PATH}/taken?dump={}", escaped(&head.dump))).await?;
    let mut reading = Reading {
        admin,
        dump: &head.dump,
        taken: number(&taken, "place"),
        page: PAGES.0,
        sum: Sum::default(),
    };
    if reading.taken > 0 {
        print::note(&format!("{} accounts of it were read before", reading.taken));
    }
    if let Err(ended) = reading.all(&mut lines).await {
        print::note(&format!(
            "{} accounts of it are taken; the import goes on after them when it is typed again",
            reading.taken
        ));
        return Err(ended);
    }
    let Sum { read, pairs, new, unknown, .. } = reading.sum;
    if json {
        let sum = json!({ "accounts": read, "pairs": pairs, "new": new, "unknown": unknown });
        print::line(&sum.to_string())?;
    } else {
        print::line(&format!(
            "{read} accounts read, {pairs} entries taken, {new} accounts new, {unknown} of unknown hosts"
        ))?;
    }
    Ok(true)
}

#[derive(Debug, Default)]
struct Sum {
    /// Accounts of the dump so far, and their entries.
    read: u64,
    listed: u64,
    /// Entries that the relay took.
    pairs: u64,
    new: u64,
    unknown: u64,
}

struct Reading<'a> {
    admin: &'a Admin,
    dump: &'a str,
    /// Accounts of the dump that the relay has taken.
    taken: u64,
    /// Accounts of the next page.
    page: usize,
    sum: Sum,
}

impl Reading<'_> {
    /// Every line to the last.
    async fn all(&mut self, lines: &mut Dump) -> Result<(), Ended> {
        let mut page = Vec::with_capacity(PAGES.1);
        let mut entries = 0;
        let foot = loop {
            match lines.next()? {
                Line::Account(account) => {
                    entries += account.collections.len() + account.believed.len();
                    page.push(account);
                }
                Line::Foot(foot) => break foot,
            }
            if page.len() >= self.page || entries >= ENTRIES_MAX {
                self.take(&mut page).await?;
                entries = 0;
            }
        };
        self.take(&mut page).await?;
        lines.end()?;
        Ok(lines.check(&foot, self.sum.read, self.sum.listed)?)
    }

    /// Hands a page over, unless the relay has it.
    async fn take(&mut self, page: &mut Vec<Account>) -> Result<(), Ended> {
        self.sum.read += page.len() as u64;
        let entries = page.iter().map(|one| one.collections.len() + one.believed.len());
        self.sum.listed += entries.sum::<usize>() as u64;
        let place = self.sum.read;
        let page = std::mem::take(page);
        if page.is_empty() || place <= self.taken {
            return Ok(());
        }
        let all = |account: Account| {
            let names: Vec<String> = [account.collections, account.believed].concat();
            json!({ "did": account.did, "collections": names })
        };
        let accounts: Vec<Value> = page.into_iter().map(all).collect();
        let body = json!({ "dump": self.dump, "place": place, "accounts": accounts });
        let answer =
            self.admin.post_within((PATH, PAGE_WITHIN), &body).await.map_err(String::from)?;
        self.taken = place;
        self.sum.pairs += number(&answer, "pairs");
        let (new, unknown) = (number(&answer, "new"), number(&answer, "unknown"));
        self.sum.new += new;
        self.sum.unknown += unknown;
        self.page = if new + unknown == 0 { PAGES.1 } else { PAGES.0 };
        print::note(&format!("{place} accounts read"));
        Ok(())
    }
}
