//! `relay log verify` and `relay log repair`: the files of the event log, for a person in trouble.
//!
//! Exit codes: 0 = sound, or repaired; 3 = damage was found; 1 = could not be done, as for every
//! command.

use std::{
    io,
    path::Path,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use super::print::{self, Ended};
use crate::{
    clock::Clock,
    config::{Config, LogCommand},
    daemon::lock::{self, DataLock},
    eventlog::{self, FileReport, LogReport, Loss, Machine, Step},
};

/// Damage was found.
const DAMAGED: u8 = 3;

pub(super) fn run(config: &Config, what: LogCommand) -> ExitCode {
    let dir = &config.persist_dir;
    let outcome = match what {
        LogCommand::Verify { json } => verify(dir, json),
        LogCommand::Repair { dry_run, yes } => repair(dir, (dry_run, yes)).map(|()| true),
    };
    match outcome {
        Ok(false) => ExitCode::from(DAMAGED),
        Ok(true) => ExitCode::SUCCESS,
        Err(ended) => print::ended(Err(ended)),
    }
}

fn look(dir: &Path) -> Result<LogReport, String> {
    eventlog::verify(&Machine, dir).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "it is not there".to_owned(),
            _ => error.to_string(),
        };
        format!(
            "the event log in {} cannot be read: {why}; set RELAY_PERSIST_DIR or RELAY_DATA_DIR to \
             where it is",
            dir.display()
        )
    })
}

/// Gives whether all is sound.
fn verify(dir: &Path, json: bool) -> Result<bool, Ended> {
    let report = look(dir)?;
    if json {
        let text = serde_json::to_string(&report).map_err(|error| error.to_string())?;
        print::line(&text)?;
        return Ok(report.sound);
    }
    findings(&report)?;
    let (oldest, head) = report.window;
    let files = report.files.len();
    if report.sound {
        print::line(&format!(
            "sound: {files} files, {} events, seq {oldest} to {head}",
            report.events
        ))?;
    } else {
        losses(&report)?;
        print::line(&format!(
            "damaged: of {files} files {} events can be replayed, seq {oldest} to {head}; `relay log \
             repair --dry-run` says what would be done",
            report.events
        ))?;
    }
    Ok(report.sound)
}

fn repair(dir: &Path, (dry_run, yes): (bool, bool)) -> Result<(), Ended> {
    // Held to the end: no relay may start between the look and the last step.
    let guard = if dir.is_dir() {
        Some(DataLock::take(dir, lock::LOG).map_err(|why| why.to_string())?)
    } else {
        None
    };
    let report = look(dir)?;
    findings(&report)?;
    if report.sound && report.steps.is_empty() {
        return print::line("sound: there is nothing to repair");
    }
    if !report.hopeless.is_empty() {
        return Err(report.hopeless.into());
    }
    losses(&report)?;
    for step in &report.steps {
        print::line(&format!("to do: {}", in_words(step)))?;
    }
    let (oldest, head) = report.window;
    print::line(&format!("then {} events can be replayed, seq {oldest} to {head}", report.events))?;
    if dry_run || report.steps.is_empty() {
        return print::line("nothing was changed");
    }
    if !yes {
        return Err("nothing was changed; say `relay log repair --yes` to do it".to_owned().into());
    }
    eventlog::repair(&Machine, dir, &report, &Clock::system()).map_err(|why| why.to_string())?;
    drop(guard);
    print::line("done; damaged files end in `.damaged` now, remove them when you have seen enough")
}

fn findings(report: &LogReport) -> Result<(), Ended> {
    for file in &report.files {
        let FileReport { name, faults, torn_bytes, .. } = file;
        for fault in faults {
            print::line(&format!("{name}, byte {}: {}", fault.offset, fault.what))?;
        }
        if *torn_bytes > 0 {
            print::line(&format!(
                "{name}: {torn_bytes} bytes behind the last whole event are being written, or torn \
                 and cut at the next start; no consumer saw them"
            ))?;
        }
    }
    Ok(())
}

fn losses(report: &LogReport) -> Result<(), Ended> {
    for Loss { first, last, readable, from_us, to_us, accounts, hosts } in &report.losses {
        let (events, until) = match last {
            Some(last) => (format!("{} events", last - first + 1), last.to_string()),
            None => ("events".to_owned(), "the end".to_owned()),
        };
        let times = format!("between {} and {}", time(*from_us), time(*to_us));
        let what = if *readable {
            let accounts = accounts.unwrap_or_default();
            let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
            format!(
                "can be read and no longer be replayed, of {accounts} accounts, hosts number {}",
                hosts.join(", ")
            )
        } else {
            "cannot be read".to_owned()
        };
        print::line(&format!("lost: {events}, seq {first} to {until}, {times}: {what}"))?;
    }
    Ok(())
}

fn time(us: u64) -> String {
    if us == 0 {
        return "an unknown time".to_owned();
    }
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(us);
    humantime::format_rfc3339_seconds(time).to_string()
}

fn in_words(step: &Step) -> String {
    match step {
        Step::Rename { name, to } => format!("give {name} its right name {to}"),
        Step::Salvage { name, first, last, .. } => {
            format!("write events {first} to {last} of {name} into a sound file, set {name} aside")
        }
        Step::SetAside { name } => format!("set {name} aside"),
        Step::Begin { base, .. } => format!(
            "begin a new file at seq {base}, far above all that consumers may have seen, for the \
             end of the log is lost"
        ),
    }
}
