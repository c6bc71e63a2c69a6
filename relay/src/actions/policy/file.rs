//! The text of the policy file: what it may say, and where it is wrong. Pure.

use std::{collections::BTreeMap, ops::Range};

use relay_protocol::{Did, Hostname};
use serde::Deserialize;
use toml::Spanned;

use crate::{
    domain::Strictness,
    hosts::{normal_domain, normal_pattern},
    units::Day,
};

/// Largest file that is read.
pub(super) const BYTES_MAX: u64 = 8 << 20;

/// What the file says, checked and in one form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Only the hosts and domains that are named are read; `None` when all may be.
    pub allowed: Option<Vec<String>>,
    /// Domains whose hosts are not read.
    pub banned_domains: Vec<String>,
    /// Domains whose hosts have larger limits, as `example.com` or `*.example.com`.
    pub trusted_domains: Vec<String>,
    /// Accounts that are taken down.
    pub takedowns: Vec<Did>,
    /// Sibling relays; `None` leaves it to the setting.
    pub siblings: Option<Vec<String>>,
    /// Hosts with rules of their own, by name.
    pub hosts: BTreeMap<String, HostPolicy>,
}

/// What the file says of one host; what it leaves out is left to the rules for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostPolicy {
    /// Live accounts.
    pub account_limit: Option<u64>,
    /// Events per second.
    pub events_per_second: Option<u64>,
    /// Events per hour.
    pub events_per_hour: Option<u64>,
    /// Events per day.
    pub events_per_day: Option<u64>,
    /// How it is validated.
    pub strictness: Strictness,
}

/// What is wrong with the file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {why}")]
pub struct Wrong {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// In words.
    pub why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    hosts: Option<Spanned<String>>,
    #[serde(default)]
    allowed_domains: Vec<Spanned<String>>,
    #[serde(default)]
    banned_domains: Vec<Spanned<String>>,
    #[serde(default)]
    trusted_domains: Vec<Spanned<String>>,
    #[serde(default)]
    takedowns: Vec<Spanned<String>>,
    siblings: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    host: BTreeMap<String, Spanned<RawHost>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHost {
    account_limit: Option<Spanned<i64>>,
    events_per_second: Option<Spanned<i64>>,
    events_per_hour: Option<Spanned<i64>>,
    events_per_day: Option<Spanned<i64>>,
    strict: Option<bool>,
    lenient_until: Option<Spanned<String>>,
}

/// Reads the text of a policy file.
///
/// * `dev` – `localhost:PORT` is a host too
///
/// # Errors
/// [`Wrong`]: the first thing that is.
pub fn parse(text: &str, dev: bool) -> Result<Policy, Wrong> {
    let raw: Raw = toml::from_str(text)
        .map_err(|error| wrong(text, &error.span().unwrap_or_default(), error.message()))?;
    let mut hosts = BTreeMap::new();
    for (name, host) in &raw.host {
        let hostname = Hostname::parse(name, dev)
            .map_err(|why| wrong(text, &host.span(), &format!("host {name:?}: {why}")))?;
        let rules = host_policy(text, host.get_ref())?;
        if hosts.insert(hostname.as_str().to_owned(), rules).is_some() {
            return Err(wrong(text, &host.span(), &format!("host {name:?} stands here twice")));
        }
    }
    let allow_list = allow_list(text, raw.hosts.as_ref())?;
    if !allow_list && let Some(first) = raw.allowed_domains.first() {
        let why = "allowed_domains is for `hosts = \"allow-list\"`";
        return Err(wrong(text, &first.span(), why));
    }
    let mut allowed = each(text, &raw.allowed_domains, normal_pattern)?;
    allowed.extend(hosts.keys().cloned());
    Ok(Policy {
        allowed: allow_list.then_some(allowed),
        banned_domains: each(text, &raw.banned_domains, normal_domain)?,
        trusted_domains: each(text, &raw.trusted_domains, normal_pattern)?,
        takedowns: each(text, &raw.takedowns, |did| {
            Did::parse(did).map_err(|why| format!("{did:?} is no DID: {why}"))
        })?,
        siblings: raw
            .siblings
            .as_ref()
            .map(|siblings| each(text, siblings, |url| sibling(url, dev)))
            .transpose()?,
        hosts,
    })
}

fn allow_list(text: &str, hosts: Option<&Spanned<String>>) -> Result<bool, Wrong> {
    match hosts.map(|hosts| (hosts.get_ref().as_str(), hosts)) {
        None | Some(("open", _)) => Ok(false),
        Some(("allow-list", _)) => Ok(true),
        Some((other, hosts)) => {
            let why = format!("hosts is \"open\" or \"allow-list\", not {other:?}");
            Err(wrong(text, &hosts.span(), &why))
        }
    }
}

fn host_policy(text: &str, raw: &RawHost) -> Result<HostPolicy, Wrong> {
    let number = |number: &Option<Spanned<i64>>| {
        let Some(number) = number else { return Ok(None) };
        let why = "this is a whole number from 0 on";
        u64::try_from(*number.get_ref())
            .map(Some)
            .map_err(|_negative| wrong(text, &number.span(), why))
    };
    let until = raw.lenient_until.as_ref().map(|until| {
        let day = Day::parse(until.get_ref());
        day.ok_or_else(|| wrong(text, &until.span(), "this is a day such as \"2027-01-31\""))
    });
    let strictness = match (raw.strict, until.transpose()?) {
        (Some(true), Some(_)) => {
            let span = raw.lenient_until.as_ref().map(Spanned::span).unwrap_or_default();
            return Err(wrong(text, &span, "a host cannot be strict and spared"));
        }
        (Some(true), None) => Strictness::Strict,
        (_, Some(day)) => Strictness::LenientUntil(Day::begin_ms(day)),
        (_, None) => Strictness::Default,
    };
    Ok(HostPolicy {
        account_limit: number(&raw.account_limit)?,
        events_per_second: number(&raw.events_per_second)?,
        events_per_hour: number(&raw.events_per_hour)?,
        events_per_day: number(&raw.events_per_day)?,
        strictness,
    })
}

/// Each text in one form, without repetitions, in order.
fn each<T: Ord>(
    text: &str,
    entries: &[Spanned<String>],
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Wrong> {
    let read = entries
        .iter()
        .map(|entry| read(entry.get_ref()).map_err(|why| wrong(text, &entry.span(), &why)));
    let mut all = read.collect::<Result<Vec<_>, _>>()?;
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn sibling(text: &str, dev: bool) -> Result<String, String> {
    crate::config::sibling(text, dev).ok_or_else(|| {
        format!("{text:?} is no relay: give its name or the address of its admin API")
    })
}

fn wrong(text: &str, span: &Range<usize>, why: &str) -> Wrong {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Wrong { line, column, why: why.trim().replace('\n', " ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
hosts = "allow-list"
allowed_domains = ["*.Example.com"]
banned_domains = ["spam.example", "*.Spam.example"]
trusted_domains = ["*.host.example", "pds.example"]
takedowns = ["did:web:b.example", "did:web:a.example"]
siblings = ["relay2.example.com", "https://relay3.example.com/"]

[host."PDS.example.com"]
account_limit = 10_000
events_per_second = 5
strict = true

[host."old.example.com"]
lenient_until = "2027-01-31"
"#;

    /// Everything that may stand in the file is read, in one form and in order.
    #[test]
    fn a_file_says_what_it_says_in_one_form() {
        let policy = parse(FULL, false).unwrap();
        assert_eq!(policy.banned_domains, ["spam.example"]);
        assert_eq!(policy.trusted_domains, ["*.host.example", "pds.example"]);
        let dids: Vec<_> = policy.takedowns.iter().map(Did::as_str).collect();
        assert_eq!(dids, ["did:web:a.example", "did:web:b.example"]);
        assert_eq!(
            policy.siblings.unwrap(),
            ["https://relay2.example.com", "https://relay3.example.com"]
        );
        assert_eq!(
            policy.allowed.unwrap(),
            ["*.example.com", "old.example.com", "pds.example.com"]
        );
        let host = policy.hosts["pds.example.com"];
        assert_eq!((host.account_limit, host.events_per_second), (Some(10_000), Some(5)));
        assert_eq!(host.strictness, Strictness::Strict);
        let old = policy.hosts["old.example.com"].strictness;
        assert!(matches!(old, Strictness::LenientUntil(1_801_353_600_000)), "{old:?}");
        assert_eq!(parse("", false).unwrap(), Policy::default());
    }

    /// A slip is found where it is: line and column, and what was expected.
    #[test]
    fn a_slip_is_told_with_line_and_column() {
        for (text, line, column, words) in [
            ("banned_domains = [\n  \"a b\",\n]", 2, 3, "no domain"),
            ("# words\nbaned_domains = []", 2, 1, "unknown field `baned_domains`"),
            ("takedowns = [\"did:web:a.com\", \"x\"]", 1, 31, "no DID"),
            ("hosts = \"closed\"", 1, 9, "allow-list"),
            ("allowed_domains = [\"a.com\"]", 1, 20, "allow-list"),
            ("[host.\"a.com\"]\naccount_limit = -1", 2, 17, "from 0 on"),
            ("[host.\"a.com\"]\nlenient_until = \"soon\"", 2, 17, "a day"),
            ("[host.\"a.com\"]\nstrict = true\nlenient_until = \"2027-01-31\"", 3, 17, "strict"),
            ("[host.\"a.com\"]\nacount_limit = 1", 2, 1, "unknown field"),
            ("siblings = [\"http://relay.example.com\"]", 1, 13, "no relay"),
            ("takedowns = [", 1, 14, ""),
        ] {
            let wrong = parse(text, false).unwrap_err();
            assert_eq!((wrong.line, wrong.column), (line, column), "{text}: {wrong}");
            assert!(wrong.why.contains(words), "{text}: {wrong}");
        }
        let name = parse("[host.\"a b\"]\nstrict = true", false).unwrap_err();
        assert!(name.why.starts_with("host \"a b\""), "{name}");
    }
}
