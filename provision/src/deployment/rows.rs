//! What a status says to a person: a line for each part, how good that is, and what to do. Pure.

use super::status::{Alert, Backup, Disk, Hosts, Outside, Part, Row, There, Unit};
use crate::{
    doctor::State,
    told::harmless,
    words::{bytes, count},
};

/// A backup is made every hour; after a day nobody can say that one was only late.
const BACKUP_AGE_MAX: u64 = 26 * 3_600;
/// One is restored on trial each day.
const VERIFIED_AGE_MAX: u64 = 50 * 3_600;
/// A disk that is full within this time is an emergency, and within the next one something to plan.
const FULL_SOON: f64 = 86_400.0;
const FULL_LATER: f64 = 7.0 * 86_400.0;
/// Share of a disk, or of the memory, that should stay free.
const FREE_MIN: u64 = 10;
const LOOK: &str = "just logs --unit";

/// The line of a host that cannot be asked.
pub(super) fn unreachable(destination: &str, error: &anyhow::Error) -> Row {
    let what = format!("{destination} cannot be asked: {}", harmless(&format!("{error:#}"), 400));
    row("host", State::Fail, what, "see that it runs at the provider, and that ssh gets there")
}

/// What is seen from here.
pub(super) fn of_outside(hostname: &str, outside: &Outside, now_ms: u64) -> Vec<Row> {
    let public = match (&outside.answered_ms, &outside.trouble) {
        (Some(ms), _) => {
            row("public", State::Ok, format!("{hostname} answers from here in {ms} ms"), "")
        }
        (None, trouble) => {
            let why = harmless(trouble.as_deref().unwrap_or("it does not answer"), 300);
            let what = format!("{hostname} does not answer from here: {why}");
            row("public", State::Fail, what, "just doctor says which part of the way is broken")
        }
    };
    let left = outside.certificate_until_ms.map(|until| until.saturating_sub(now_ms) / 1_000);
    let what = match (outside.certificate_state, left) {
        (State::Ok, Some(left)) => format!("valid for {} more", span(left)),
        _ => outside.certificate.clone(),
    };
    let todo = if outside.certificate_state == State::Ok { "" } else { "just logs --unit caddy" };
    vec![public, row("certificate", outside.certificate_state, what, todo)]
}

/// What the host says; its lines come before those that are there.
pub(super) fn of_host(there: &There, rows: &mut Vec<Row>) {
    let mut all = vec![relay(there), health(there)];
    all.extend(stream(there));
    all.extend(units(there));
    match &there.disks {
        Part::Said(disks) => all.extend(disks.iter().map(disk)),
        Part::Silent { error } => all.push(silent("disk", error)),
    }
    all.push(memory(there));
    all.push(match &there.backup {
        Part::Said(newest) => backup(newest, there.at),
        Part::Silent { error } => silent("backup", error),
    });
    all.extend(alerts(there));
    if let Some(failed) = there.failed.said().filter(|failed| !failed.is_empty()) {
        let names = failed.join(", ");
        let todo = "systemctl status says why; systemctl reset-failed forgets it";
        all.push(row("units", State::Warn, format!("failed: {}", harmless(&names, 300)), todo));
    }
    all.append(rows);
    *rows = all;
}

fn row(part: &str, state: State, what: String, todo: &str) -> Row {
    Row { part: part.to_owned(), state, what, todo: todo.to_owned() }
}

fn silent(part: &str, error: &str) -> Row {
    let what = format!("it cannot be said: {}", harmless(error, 200));
    row(part, State::Fail, what, "log in and look: just ssh")
}

fn relay(there: &There) -> Row {
    let unit = there.units.said().and_then(|units| units.get("relay"));
    let program = there.program.said();
    let digest = program.and_then(|program| program.current.as_deref()).unwrap_or("no program");
    let version =
        program.and_then(|program| program.version.as_deref()).unwrap_or("unknown version");
    let Some(unit) = unit else { return silent("relay", "systemd does not answer") };
    let what = format!(
        "{}, {}, program {}{}",
        active(unit, there.at),
        harmless(version, 80),
        harmless(digest, 40),
        match unit.restarts {
            Some(restarts) if restarts > 0 => format!(", started anew {restarts} times"),
            _ => String::new(),
        }
    );
    match &*unit.active {
        "active" => row("relay", State::Ok, what, ""),
        // The old program goes first, and the new one reads the end of its log.
        "activating" | "deactivating" | "reloading" => {
            row("relay", State::Warn, what, "wait, and look again; just logs --unit relay")
        }
        _ if digest == "no program" => row("relay", State::Fail, what, "just deploy"),
        _ => row("relay", State::Fail, what, "just logs --unit relay; then systemctl start relay"),
    }
}

/// `active for 3 days`, `failed (exit-code)`.
fn active(unit: &Unit, now: u64) -> String {
    match (&*unit.active, unit.since) {
        ("active", Some(since)) => format!("active for {}", span(now.saturating_sub(since))),
        ("active", None) => "active".to_owned(),
        ("unknown", _) => "systemd does not say".to_owned(),
        ("inactive", _) => "it does not run".to_owned(),
        (other, _) => format!("{} ({})", harmless(other, 30), harmless(&unit.result, 30)),
    }
}

fn health(there: &There) -> Row {
    match &there.health {
        Part::Said(health) if health.status == "ok" => {
            row("health", State::Ok, "it says that all is well".to_owned(), "")
        }
        Part::Said(health) => {
            let why = harmless(&health.reasons.join("; "), 400);
            row("health", State::Fail, why, "just logs --unit relay")
        }
        Part::Silent { error } => {
            let what = format!("the relay does not answer on its host: {}", harmless(error, 200));
            row("health", State::Fail, what, "just logs --unit relay")
        }
    }
}

/// Head and lag, hosts, consumers.
fn stream(there: &There) -> Vec<Row> {
    let Part::Said(metrics) = &there.metrics else { return Vec::new() };
    let level = |name: &str| metrics.get(name).copied().map_or(0, whole);
    let rate = there.rate.said().copied().flatten();
    let rate = rate.map(|rate| format!(", {} events a second", count(whole(rate.round()))));
    let window = span(level("relay_eventlog_window_seconds"));
    let head = format!(
        "head {}{}; {window} of events, {}; {} wait to be judged",
        count(level("relay_eventlog_head_seq")),
        rate.unwrap_or_default(),
        bytes(level("relay_eventlog_disk_bytes")),
        count(level("relay_ingest_queue_depth")),
    );
    let hosts = match &there.hosts {
        Part::Said(hosts) => hosts_row(*hosts),
        Part::Silent { error } => silent("hosts", error),
    };
    let consumers = format!(
        "{}; the slowest is {} events behind",
        count(level("relay_firehose_consumers_depth")),
        count(level("relay_firehose_lag_events_max"))
    );
    vec![row("stream", State::Ok, head, ""), hosts, row("consumers", State::Ok, consumers, "")]
}

fn hosts_row(Hosts { known, connected }: Hosts) -> Row {
    let what = format!("{} connected of {} known", count(connected), count(known));
    match (connected, known) {
        (_, 0) => row("hosts", State::Warn, what, "add some: provision hosts --add"),
        (0, _) => row("hosts", State::Fail, what, "GET /admin/v1/hosts says why: just dash"),
        _ => row("hosts", State::Ok, what, ""),
    }
}

/// What works beside the relay.
fn units(there: &There) -> Vec<Row> {
    let Part::Said(units) = &there.units else { return Vec::new() };
    let others = units.iter().filter(|(name, _)| *name != "relay");
    others
        .map(|(name, unit)| {
            let part = name.split('@').next().unwrap_or(name);
            let what = active(unit, there.at);
            if unit.active == "active" {
                return row(part, State::Ok, what, "");
            }
            let todo = format!("{LOOK} {name}; then systemctl start {name}");
            row(part, State::Fail, what, &todo)
        })
        .collect()
}

fn disk(disk: &Disk) -> Row {
    let used = disk.bytes.saturating_sub(disk.free);
    let grows = disk.grows.said().copied().flatten().filter(|grows| *grows > 1.0);
    let left = grows.map(|grows| as_float(disk.free) / grows);
    let full = match left {
        Some(left) if left < 1_000.0 * 86_400.0 => {
            format!(", full in {} at this pace", span(whole(left)))
        }
        _ => ", not filling up".to_owned(),
    };
    // Without Prometheus nobody knows the pace.
    let full = if disk.grows.said().copied().flatten().is_none() { String::new() } else { full };
    let what = format!(
        "{}: {} of {} used{full}",
        harmless(&disk.mount, 80),
        bytes(used),
        bytes(disk.bytes)
    );
    let is_scarce = disk.free < disk.bytes / 100 * FREE_MIN;
    let todo = "du -xh --max-depth=2 there; RELAY_REPLAY_MAX_BYTES limits the event log";
    match left {
        Some(left) if left < FULL_SOON && is_scarce => row("disk", State::Fail, what, todo),
        Some(left) if left < FULL_LATER && is_scarce => row("disk", State::Warn, what, todo),
        _ if disk.free < disk.bytes / 100 => row("disk", State::Fail, what, todo),
        _ if is_scarce => row("disk", State::Warn, what, todo),
        _ => row("disk", State::Ok, what, ""),
    }
}

fn memory(there: &There) -> Row {
    let memory = match &there.memory {
        Part::Said(memory) => memory,
        Part::Silent { error } => return silent("memory", error),
    };
    let used = memory.bytes.saturating_sub(memory.free);
    let relay = there.metrics.said().and_then(|all| all.get("relay_process_resident_bytes"));
    let relay = relay.map(|size| format!("; the relay has {}", bytes(whole(*size))));
    let what =
        format!("{} of {} used{}", bytes(used), bytes(memory.bytes), relay.unwrap_or_default());
    if memory.free < memory.bytes / 100 * FREE_MIN {
        return row("memory", State::Warn, what, "htop says who has it; provision tune what fits");
    }
    row("memory", State::Ok, what, "")
}

fn backup(newest: &Backup, now: u64) -> Row {
    let (Some(name), Some(made)) = (&newest.name, newest.made) else {
        let what = "there is none".to_owned();
        return row("backup", State::Warn, what, "just backup");
    };
    let (age, verified) = (now.saturating_sub(made), newest.verified);
    let tried = verified.map_or_else(
        || "none was restored on trial yet".to_owned(),
        |at| format!("one was restored on trial {} ago", span(now.saturating_sub(at))),
    );
    let what = format!("{} is {} old; {tried}", harmless(name, 60), span(age));
    let is_untried = verified.is_none_or(|at| now.saturating_sub(at) > VERIFIED_AGE_MAX);
    if age > BACKUP_AGE_MAX {
        return row("backup", State::Fail, what, "just backup; just logs --unit backup says more");
    }
    if is_untried {
        return row("backup", State::Warn, what, "just backup --verify");
    }
    row("backup", State::Ok, what, "")
}

fn alerts(there: &There) -> Vec<Row> {
    let firing = match &there.alerts {
        Part::Said(firing) => firing,
        Part::Silent { error } => {
            let what = format!("Prometheus does not answer: {}", harmless(error, 200));
            return vec![row("alerts", State::Fail, what, "just logs --unit prometheus")];
        }
    };
    if firing.is_empty() {
        return vec![row("alerts", State::Ok, "none fires".to_owned(), "")];
    }
    let of = |alert: &Alert| {
        let state = if alert.severity == "page" { State::Fail } else { State::Warn };
        let since = alert.since.split('.').next().unwrap_or_default();
        let what = format!(
            "{}: {} (since {})",
            harmless(&alert.name, 60),
            harmless(&alert.summary, 300),
            harmless(since, 30)
        );
        row("alert", state, what, &harmless(&alert.action, 300))
    };
    firing.iter().map(of).collect()
}

/// A time for a person, in one or two units.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", count(seconds / 86_400)),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "levels for a person")]
fn whole(level: f64) -> u64 {
    level.max(0.0) as u64
}

#[expect(clippy::cast_precision_loss, reason = "a time for a person")]
fn as_float(size: u64) -> f64 {
    size as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;

    fn of_disk(free: u64, grows: Option<f64>) -> Row {
        let mount = "/data/relay".to_owned();
        disk(&Disk { mount, bytes: 1_000 * GB, free, grows: Part::Said(grows) })
    }

    /// A disk is told to be full in time, and not while it fills up to the limit of the event log.
    #[test]
    fn a_disk_is_an_alarm_when_it_is_nearly_full_and_fills() {
        let day = 86_400.0;
        for (free, grows, state, says) in [
            (500 * GB, Some(20e9 / day), State::Ok, "500 GB of 1 TB used, full in 25 days"),
            (99 * GB, Some(200e9 / day), State::Fail, "full in 11 h"),
            (99 * GB, Some(20e9 / day), State::Warn, "full in 4 days"),
            (99 * GB, Some(0.0), State::Warn, "not filling up"),
            (9 * GB, Some(0.0), State::Fail, "not filling up"),
            (500 * GB, Some(1_000e9 / day), State::Ok, "full in 12 h"),
        ] {
            let row = of_disk(free, grows);
            assert_eq!(row.state, state, "{row:?}");
            assert!(
                row.what.contains(says) && (row.todo.is_empty() == (state == State::Ok)),
                "{row:?}"
            );
        }
        assert!(
            of_disk(500 * GB, None).what.ends_with("500 GB of 1 TB used"),
            "nobody knows the pace"
        );
    }

    /// A backup that is old is an alarm, one that nobody ever restored something to do.
    #[test]
    fn a_backup_is_as_good_as_it_is_new_and_tried() {
        let (now, hour) = (1_000_000_000, 3_600);
        let of = |made: Option<u64>, verified: Option<u64>| {
            let ago = |hours: u64| now - hours * hour;
            let name = made.map(|_| "relay-1".to_owned());
            backup(&Backup { name, made: made.map(ago), verified: verified.map(ago) }, now).state
        };
        assert_eq!(of(Some(1), Some(20)), State::Ok);
        assert_eq!(of(Some(27), Some(20)), State::Fail);
        assert_eq!(of(Some(1), Some(60)), State::Warn);
        assert_eq!(of(Some(1), None), State::Warn);
        assert_eq!(of(None, None), State::Warn);
    }

    /// What pages somebody is down, the rest can wait; what fires is told with what to do.
    #[test]
    fn alerts_are_told_with_what_to_do() {
        let text = r#"{"at":1,"settings":null,"units":{},"failed":[],"program":{"error":"x"},"health":{"error":"x"},
            "hosts":{"error":"x"},"metrics":{"error":"x"},"rate":{"error":"x"},"disks":[],"memory":{"error":"x"},
            "backup":{"error":"x"},"alerts":[
            {"name":"RelayDown","severity":"page","since":"2026-11-27T04:00:00.123Z","summary":"s","action":"a"},
            {"name":"Later","severity":"ticket","since":"2026-11-27T04:00:00Z","summary":"s","action":"b"}]}"#;
        let there: There = serde_json::from_str(text).unwrap();
        let mut rows = Vec::new();
        of_host(&there, &mut rows);
        let found: Vec<_> = rows.iter().filter(|row| row.part == "alert").collect();
        assert_eq!((found[0].state, &*found[0].todo), (State::Fail, "a"));
        assert_eq!(found[0].what, "RelayDown: s (since 2026-11-27T04:00:00)");
        assert_eq!((found[1].state, &*found[1].todo), (State::Warn, "b"));
        assert!(rows.iter().all(|row| row.state == State::Ok || !row.todo.is_empty()), "{rows:?}");
        let silent = There { alerts: Part::Silent { error: "refused".to_owned() }, ..there };
        assert_eq!(
            alerts(&silent)[0].state,
            State::Fail,
            "alerts that nobody sees are no good news"
        );
    }
}
