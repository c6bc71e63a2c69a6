//! The plan on a screen of 100 columns.

use std::fmt::Write as _;

use super::{Cost, Finding, Level, Plan, Value, Wishes, load};
use crate::{facts::Facts, words};

const WIDTH: usize = 98;

/// Where the values are, or would be, written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Where {
    /// Settings of the relay.
    pub relay: String,
    /// Settings of Postgres.
    pub postgres: String,
    /// Settings of the kernel.
    pub kernel: String,
    /// Settings of the unit.
    pub unit: String,
}

/// The whole screen.
pub fn screen(facts: &Facts, wishes: &Wishes, plan: &Plan, places: &Where) -> String {
    let mut text = String::new();
    heading(&mut text, "This machine");
    for (name, words) in machine(facts) {
        line(&mut text, name, &words);
    }
    heading(&mut text, "What it can do");
    for (name, words) in abilities(wishes, plan) {
        line(&mut text, name, &words);
    }
    if !plan.findings.is_empty() {
        heading(&mut text, "What to know");
        for found in &plan.findings {
            finding(&mut text, found);
        }
    }
    for (title, place, values) in [
        ("The relay", &places.relay, &plan.relay),
        ("Postgres", &places.postgres, &plan.postgres),
        ("The kernel", &places.kernel, &plan.kernel),
        ("The unit", &places.unit, &plan.unit),
    ] {
        if !values.is_empty() {
            heading(&mut text, title);
            put(&mut text, format_args!("  {place}"));
            values_of(&mut text, values);
        }
    }
    heading(&mut text, "What machines cost others");
    for cost in super::guide() {
        cost_of(&mut text, cost);
    }
    text
}

fn heading(text: &mut String, title: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&title.to_uppercase());
    text.push('\n');
}

/// A name in a column of its own, and words that may take several lines.
fn line(text: &mut String, name: &str, words: &str) {
    const INDENT: usize = 13;
    for (index, part) in words::wrapped(words, WIDTH - INDENT).into_iter().enumerate() {
        let name = if index == 0 { name } else { "" };
        put(text, format_args!("  {name:<10} {part}"));
    }
}

/// Writing to a text cannot fail.
fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    if text.write_fmt(arguments).is_ok() {
        text.push('\n');
    }
}

fn paragraph(text: &mut String, indent: usize, words: &str) {
    for part in words::wrapped(words, WIDTH - indent) {
        put(text, format_args!("{:indent$}{part}", ""));
    }
}

fn machine(facts: &Facts) -> Vec<(&'static str, String)> {
    let network = &facts.network;
    let link = network.link_mbit.map_or("a link of unknown speed".to_owned(), |mbit| {
        format!("{} Mbit/s", words::count(mbit))
    });
    let traffic = network.monthly_bytes.map_or("no monthly limit given".to_owned(), |bytes| {
        format!("{} a month", words::bytes(bytes))
    });
    let files = &facts.open_files;
    let (session, any) = (limit(files.hard_limit), limit(files.system_limit));
    vec![
        ("cores", cores(facts)),
        ("memory", memory(facts)),
        ("disk", disk(facts)),
        ("speed", speed(facts)),
        ("files", format!("{session} for this session, {any} for any process")),
        ("network", format!("{link}, {traffic}")),
    ]
}

fn cores(facts: &Facts) -> String {
    let cores = &facts.cores;
    let threads = words::counted(cores.threads, "thread", "threads");
    let physical = cores.physical.filter(|physical| *physical != cores.threads);
    let words = physical.map_or(threads.clone(), |physical| {
        format!("{} with {threads}", words::counted(physical, "core", "cores"))
    });
    cores.quota_percent.map_or(words.clone(), |quota| {
        format!("{words}, of which the control group allows {}.{:02}", quota / 100, quota % 100)
    })
}

fn memory(facts: &Facts) -> String {
    let memory = &facts.memory;
    let group = memory.limit_bytes.map_or(String::new(), |limit| {
        format!(", of which the control group allows {}", relay::units::bytes(limit))
    });
    let swap = match memory.swap_bytes {
        0 => "no swap".to_owned(),
        swap => format!("{} swap", relay::units::bytes(swap)),
    };
    format!("{}{group}, {swap}", relay::units::bytes(memory.total_bytes))
}

fn limit(number: u64) -> String {
    if number == u64::MAX { "no limit".to_owned() } else { words::count(number) }
}

fn disk(facts: &Facts) -> String {
    let disk = &facts.disk;
    let kind = serde_json::to_value(disk.kind).ok();
    let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or_default().replace('-', " ");
    let device = if disk.device.is_empty() { "no device" } else { &disk.device };
    let shared = if disk.holds_system { ", with the system on it" } else { "" };
    let log = match disk.log_bytes {
        0 => String::new(),
        bytes => format!(", {} of an event log in it", words::bytes(bytes)),
    };
    format!(
        "{}: {} on {device} ({kind}{shared}), {}, {} free{log}",
        disk.path,
        disk.filesystem,
        words::bytes(disk.size_bytes),
        words::bytes(disk.free_bytes)
    )
}

fn speed(facts: &Facts) -> String {
    let syncs = facts.disk.syncs_per_s;
    let write = facts.disk.write_bytes_per_s;
    match (syncs, write) {
        (Some(syncs), Some(write)) => format!(
            "{} synced appends of 5 kB per second, {}/s in a row",
            words::count(syncs),
            words::bytes(write)
        ),
        _ => "the disk was not measured".to_owned(),
    }
}

fn abilities(wishes: &Wishes, plan: &Plan) -> Vec<(&'static str, String)> {
    let window = &plan.window;
    let mut found = Vec::new();
    if let (Some(seconds), true) = (window.window_s, window.fits) {
        let length = relay::units::duration(std::time::Duration::from_secs(seconds));
        found.push((
            "window",
            format!(
                "{length}, which takes {} of the {} that the disk has for it; {} stay free: {}",
                words::bytes(window.needed_bytes),
                words::bytes(window.available_bytes),
                words::bytes(window.kept_free_bytes),
                window.kept_free_for
            ),
        ));
        found.push(("", projection(wishes, plan)));
    } else {
        found.push(("window", "none: see below".to_owned()));
    }
    let consumers = &plan.consumers;
    let month = words::bytes(consumers.monthly_bytes);
    found.push((
        "consumers",
        format!(
            "{} at most, by {}; together {month} a month. Each takes 30 Mbit/s and 9.72 TB a month",
            consumers.most, consumers.because
        ),
    ));
    let shares = &plan.shares;
    let postgres = match shares.shared_buffers {
        0 => String::new(),
        buffers => format!("; Postgres has {}", relay::units::bytes(buffers)),
    };
    let memory = format!(
        "the relay needs {} at most, with {} hosts and {} accounts in memory{postgres}",
        relay::units::bytes(shares.relay),
        words::count(wishes.hosts),
        words::count(shares.accounts)
    );
    found.push(("memory", memory));
    found
}

fn projection(wishes: &Wishes, plan: &Plan) -> String {
    let window = &plan.window;
    let growth = wishes.growth_percent;
    let when = |day: &Option<String>| day.clone().unwrap_or("not within ten years".to_owned());
    format!(
        "full on {}; if the network grows by {growth} % a month (an assumption, --growth), the log \
         reaches its limit of {} on {} and the window becomes shorter, never the disk full; this \
         window outgrows the disk on {}",
        window.full_on,
        words::bytes(window.cap_bytes),
        when(&window.cap_reached_on),
        when(&window.disk_full_on)
    )
}

fn finding(text: &mut String, found: &Finding) {
    let level = match found.level {
        Level::Refusal => "REFUSED",
        Level::Warning => "warning",
        Level::Note => "note",
    };
    line(text, level, &found.what);
    line(text, "", &format!("-> {}", found.action));
}

fn values_of(text: &mut String, values: &[Value]) {
    let mut reason = "";
    for value in values {
        put(text, format_args!("  {} = {}", value.name, value.value));
        if value.formula != super::FIXED {
            paragraph(text, 6, &format!("= {}", value.formula));
        }
        // Neighbours often have one reason, which is said once.
        if value.reason != reason {
            paragraph(text, 6, &value.reason);
        }
        reason = &value.reason;
    }
}

fn cost_of(text: &mut String, cost: &Cost) {
    let known = |what: Option<&str>| what.unwrap_or("not known").to_owned();
    paragraph(text, 2, cost.machine);
    let estimate = if cost.estimate { " (an estimate)" } else { "" };
    paragraph(
        text,
        6,
        &format!(
            "{} a month{estimate}, setup {}, commitment {}, traffic {}",
            known(cost.monthly),
            known(cost.setup_fee),
            known(cost.commitment),
            known(cost.traffic)
        ),
    );
    paragraph(text, 6, &format!("said {}: {}", cost.said, cost.source));
}

/// Hosts that are assumed unless told otherwise.
pub const HOSTS: u64 = load::HOSTS;
