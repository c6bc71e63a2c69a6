//! `relay collections export` and `import`: the index as a file that any relay can read.
//!
//! A dump is lines of JSON, compressed with zstd. The first line says what it is; one line per account
//! follows; the last line says how many there were, so that a dump that was cut off is known as such.
//! `docs/collections.md` describes it for other programs.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _, Write},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{escaped, get};
use crate::{
    clock::Clock,
    commands::{
        admin::Admin,
        hosts::number,
        print::{self, Ended},
    },
};

/// What the first line of every dump says.
const FORMAT: &str = "atproto-collections";

/// The form of the lines; another number is another form.
const VERSION: u64 = 1;

/// How hard zstd tries.
const LEVEL: i32 = 3;

/// Longest line: an account with ten thousand collections has less.
const LINE_BYTES_MAX: u64 = 8 << 20;

/// Accounts of one page of a dump that is read: those that are new have to be looked up meanwhile.
const PAGE: usize = 200;

const PATH: &str = "/admin/v1/collections/dump";

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: String,
    version: u64,
    /// Tells it from other dumps.
    dump: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Account {
    did: String,
    /// Those that are proven.
    #[serde(default)]
    collections: Vec<String>,
    /// Those that somebody else's list names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    believed: Vec<String>,
    /// Nothing is missing.
    #[serde(default)]
    complete: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Foot {
    accounts: u64,
    pairs: u64,
}

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
    let head = Head { format: FORMAT.to_owned(), version: VERSION, dump };
    write(&mut out, &head).map_err(failed)?;
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
    let mut lines = Lines::open(file)?;
    let head: Head = lines.expect("what it is")?;
    if head.format != FORMAT || head.version != VERSION {
        return Err(format!(
            "{file} is a dump of the form {:?} {}, and this relay reads {FORMAT:?} {VERSION}",
            head.format, head.version
        )
        .into());
    }
    let taken = get(admin, &format!("{PATH}/taken?dump={}", escaped(&head.dump))).await?;
    let mut reading =
        Reading { admin, dump: &head.dump, taken: number(&taken, "place"), sum: Sum::default() };
    if reading.taken > 0 {
        print::note(&format!("{} accounts of it were read before", reading.taken));
    }
    let mut page = Vec::with_capacity(PAGE);
    let foot = loop {
        let line =
            lines.next()?.ok_or_else(|| format!("{file} is cut off: its last line is missing"))?;
        match serde_json::from_slice::<Account>(&line) {
            Ok(account) => page.push(account),
            Err(error) => {
                let foot: Result<Foot, _> = serde_json::from_slice(&line);
                let number = lines.number;
                break foot.map_err(|_none| format!("line {number} of {file}: {error}"))?;
            }
        }
        if page.len() >= PAGE {
            reading.take(&mut page).await?;
        }
    };
    reading.take(&mut page).await?;
    let Sum { read, pairs, new, unknown } = reading.sum;
    if foot.accounts != read {
        return Err(
            format!("{file} says that it has {} accounts, and has {read}", foot.accounts).into()
        );
    }
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
    read: u64,
    pairs: u64,
    new: u64,
    unknown: u64,
}

struct Reading<'a> {
    admin: &'a Admin,
    dump: &'a str,
    /// Accounts of the dump that the relay took before.
    taken: u64,
    sum: Sum,
}

impl Reading<'_> {
    /// Hands a page over, unless the relay has it.
    async fn take(&mut self, page: &mut Vec<Account>) -> Result<(), Ended> {
        self.sum.read += page.len() as u64;
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
        let answer = self.admin.post(PATH, &body).await.map_err(String::from)?;
        self.sum.pairs += number(&answer, "pairs");
        self.sum.new += number(&answer, "new");
        self.sum.unknown += number(&answer, "unknown");
        print::note(&format!("{place} accounts read"));
        Ok(())
    }
}

/// The lines of a dump, each of bounded length.
struct Lines {
    file: String,
    from: Box<dyn BufRead>,
    number: u64,
}

impl Lines {
    fn open(file: &str) -> Result<Self, String> {
        let from: Box<dyn io::Read> = if file == "-" {
            Box::new(io::stdin().lock())
        } else {
            let opened = File::open(file);
            Box::new(opened.map_err(|error| format!("the file {file} cannot be read: {error}"))?)
        };
        let from = zstd::Decoder::new(from)
            .map_err(|error| format!("the file {file} cannot be read: {error}"))?;
        Ok(Self { file: file.to_owned(), from: Box::new(BufReader::new(from)), number: 0 })
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut line = Vec::new();
        self.number += 1;
        let (file, number) = (&self.file, self.number);
        let read = self.from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        read.map_err(|error| format!("line {number} of {file} cannot be read: {error}"))?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.pop() != Some(b'\n') {
            return Err(format!("line {number} of {file} is cut off or too long"));
        }
        Ok(Some(line))
    }

    fn expect<T: serde::de::DeserializeOwned>(&mut self, what: &str) -> Result<T, String> {
        let line = self.next()?.unwrap_or_default();
        serde_json::from_slice(&line).map_err(|error| {
            format!("{} is no dump: its first line should say {what}: {error}", self.file)
        })
    }
}
