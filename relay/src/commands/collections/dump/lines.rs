//! The lines of a dump: what they hold, and what is said of those that hold something else.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
};

use relay_protocol::{Did, Nsid};
use serde::{Deserialize, Serialize};

use crate::telemetry::escape;

/// What the first line of every dump says.
const FORMAT: &str = "atproto-collections";

/// The form of the lines; another number is another form.
const VERSION: u64 = 1;

/// Longest line: an account with ten thousand collections has less.
const LINE_BYTES_MAX: u64 = 8 << 20;

/// Longest piece of a wrong name that is shown.
const SHOWN_CHARS_MAX: usize = 100;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    format: String,
    version: u64,
    /// Tells it from other dumps.
    pub(super) dump: String,
}

impl Head {
    /// Of a dump of the form that this program writes.
    pub(super) fn of(dump: String) -> Self {
        Self { format: FORMAT.to_owned(), version: VERSION, dump }
    }
}

/// A line between the first and the last.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) did: String,
    /// Those that are proven.
    #[serde(default)]
    pub(super) collections: Vec<String>,
    /// Those that somebody else's list names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) believed: Vec<String>,
    /// Nothing is missing.
    #[serde(default)]
    pub(super) complete: bool,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Foot {
    pub(super) accounts: u64,
    pub(super) pairs: u64,
}

/// A line after the first.
#[derive(Debug)]
pub(super) enum Line {
    Account(Account),
    Foot(Foot),
}

/// A dump that is being read; each line is of bounded length.
pub(super) struct Dump {
    file: String,
    from: Box<dyn BufRead>,
    /// Of the line that was read last.
    number: u64,
}

impl Dump {
    /// Opens it, and reads what it says of itself.
    pub(super) fn open(file: &str) -> Result<(Self, Head), String> {
        let unreadable = |error: io::Error| format!("the file {file} cannot be read: {error}");
        let from: Box<dyn io::Read> = if file == "-" {
            Box::new(io::stdin().lock())
        } else {
            let opened = File::open(file).map_err(unreadable)?;
            if opened.metadata().map_err(unreadable)?.is_dir() {
                return Err(format!("{file} is a directory, not a dump"));
            }
            Box::new(opened)
        };
        let from = zstd::Decoder::new(from).map_err(unreadable)?;
        let from = Box::new(BufReader::new(from));
        let mut dump = Self { file: file.to_owned(), from, number: 0 };
        let head = dump.head()?;
        Ok((dump, head))
    }

    fn head(&mut self) -> Result<Head, String> {
        let first = self.line().map_err(|why| {
            format!("{} is no dump, which is compressed with zstd: {why}", self.file)
        })?;
        let file = &self.file;
        let Some(first) = first else { return Err(format!("{file} is empty, not a dump")) };
        let head: Head = serde_json::from_slice(&first).map_err(|error| {
            format!("{file} is no dump: its first line should say what it is: {error}")
        })?;
        if head.format != FORMAT || head.version != VERSION {
            let other = escape(&head.format, SHOWN_CHARS_MAX);
            return Err(format!(
                "{file} is a dump of the form {other} {}, and this relay reads {FORMAT} {VERSION}",
                head.version
            ));
        }
        Ok(head)
    }

    /// The next line.
    ///
    /// # Errors
    /// What is wrong with it, with file and line; also when there is none, for the last is a [`Foot`].
    pub(super) fn next(&mut self) -> Result<Line, String> {
        let Some(line) = self.line()? else {
            return Err(format!("{} is cut off: its last line is missing", self.file));
        };
        let error = match serde_json::from_slice::<Account>(&line) {
            Ok(account) => return self.checked(account).map(Line::Account),
            Err(error) => error,
        };
        if let Ok(foot) = serde_json::from_slice::<Foot>(&line) {
            return Ok(Line::Foot(foot));
        }
        Err(self.wrong(&format!("neither an account nor the last line: {error}")))
    }

    /// After the last line there is nothing.
    pub(super) fn end(&mut self) -> Result<(), String> {
        match self.line()? {
            None => Ok(()),
            Some(_) => Err(self.wrong("comes after the last one, which says how many there are")),
        }
    }

    /// Whether the last line has counted the others as they are.
    pub(super) fn check(&self, foot: &Foot, accounts: u64, pairs: u64) -> Result<(), String> {
        for (what, said, is) in
            [("accounts", foot.accounts, accounts), ("entries", foot.pairs, pairs)]
        {
            if said != is {
                let file = &self.file;
                return Err(format!("the last line of {file} says {said} {what}, and it has {is}"));
            }
        }
        Ok(())
    }

    fn checked(&self, account: Account) -> Result<Account, String> {
        let wrong = |text: &str, what: &str, why: &dyn std::fmt::Display| {
            self.wrong(&format!("{} is no {what}: {why}", escape(text, SHOWN_CHARS_MAX)))
        };
        Did::parse(&account.did).map_err(|why| wrong(&account.did, "DID", &why))?;
        for name in account.collections.iter().chain(&account.believed) {
            Nsid::parse(name).map_err(|why| wrong(name, "collection", &why))?;
        }
        Ok(account)
    }

    fn wrong(&self, what: &str) -> String {
        format!("line {} of {}: {what}", self.number, self.file)
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut line = Vec::new();
        self.number += 1;
        let read = self.from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        read.map_err(|error| self.wrong(&format!("cannot be read: {error}")))?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.pop() != Some(b'\n') {
            let bytes = line.len() + 1;
            let is_long = u64::try_from(bytes).is_ok_and(|bytes| bytes >= LINE_BYTES_MAX);
            let why = if is_long { "is too long" } else { "is cut off" };
            return Err(self.wrong(why));
        }
        Ok(Some(line))
    }
}
