//! What happened between two snapshots. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::Snapshot;

/// Fields of a host that are worth a line when they change.
const OF_HOSTS: [&str; 4] = ["status", "connected", "doing", "lastError"];

/// A number that changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changed {
    /// Name and labels.
    pub name: String,
    /// Before.
    pub before: f64,
    /// After.
    pub after: f64,
    /// For what is only counted up, per second.
    pub per_s: Option<f64>,
}

/// All that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Time between the two, in seconds.
    pub seconds: f64,
    /// Counters that moved, fastest first.
    pub counters: Vec<Changed>,
    /// Other numbers that changed, largest change first, relative to what they were.
    pub gauges: Vec<Changed>,
    /// What is so of a host now and was not: a line each.
    pub hosts: Vec<String>,
    /// Settings that changed: a line each.
    pub settings: Vec<String>,
    /// Parts that one of the two could not have: a line each.
    pub missing: Vec<String>,
}

/// Compares the older with the newer one.
pub fn difference(before: &Snapshot, after: &Snapshot) -> Difference {
    let ms = after.taken_ms.saturating_sub(before.taken_ms);
    let seconds = std::time::Duration::from_millis(ms).as_secs_f64();
    let (counters, gauges) = numbers(before, after, seconds);
    Difference {
        seconds,
        counters,
        gauges,
        hosts: hosts(before, after),
        settings: settings(before, after),
        missing: missing(before, after),
    }
}

/// Counters are known by their names, as Prometheus wants them.
fn is_counter(name: &str) -> bool {
    let bare = name.split('{').next().unwrap_or(name);
    ["_total", "_count", "_sum", "_bucket"].iter().any(|end| bare.ends_with(end))
}

fn numbers(before: &Snapshot, after: &Snapshot, seconds: f64) -> (Vec<Changed>, Vec<Changed>) {
    let metrics = |snapshot: &Snapshot| -> BTreeMap<String, f64> {
        let found = snapshot.value("metrics").and_then(Value::as_object);
        let pairs = found.into_iter().flatten();
        pairs.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
    };
    let old = metrics(before);
    let (mut counters, mut gauges) = (Vec::new(), Vec::new());
    for (name, after) in metrics(after) {
        let counts = is_counter(&name);
        let before = match old.get(&name) {
            Some(before) => *before,
            // What was never counted was not there; of other numbers nothing is known.
            None if counts => 0.0,
            None => continue,
        };
        if (after - before).abs() < f64::EPSILON || name.contains("_bucket{") {
            continue;
        }
        // A relay that was restarted counts anew.
        let moved = if after >= before { after - before } else { after };
        let per_s = (counts && seconds > 0.0).then(|| moved / seconds);
        let changed = Changed { name, before, after, per_s };
        if counts { counters.push(changed) } else { gauges.push(changed) }
    }
    counters.sort_by(|a, b| b.per_s.unwrap_or(0.0).total_cmp(&a.per_s.unwrap_or(0.0)));
    let relative = |it: &Changed| (it.after - it.before).abs() / it.before.abs().max(1.0);
    gauges.sort_by(|a, b| relative(b).total_cmp(&relative(a)));
    (counters, gauges)
}

fn hosts(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let by_name = |snapshot: &Snapshot| -> BTreeMap<String, Value> {
        let hosts = snapshot.value("hosts").and_then(|part| part.get("hosts")?.as_array());
        let hosts = hosts.into_iter().flatten();
        hosts
            .filter_map(|host| Some((host.get("hostname")?.as_str()?.to_owned(), host.clone())))
            .collect()
    };
    let old = by_name(before);
    let mut lines = Vec::new();
    for (name, host) in by_name(after) {
        let name = crate::told::harmless(&name, 100);
        let Some(known) = old.get(&name) else {
            lines.push(format!("{name} is new"));
            continue;
        };
        for field in OF_HOSTS {
            let (was, is) = (shown(known.get(field)), shown(host.get(field)));
            if was != is {
                lines.push(format!("{name}: {field} was {was}, is {is}"));
            }
        }
    }
    lines
}

fn shown(value: Option<&Value>) -> String {
    let text = match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "not there".to_owned(),
    };
    crate::told::harmless(&text, 120)
}

fn settings(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let old = before.value("settings");
    let new = after.value("settings").and_then(Value::as_object).into_iter().flatten();
    let value = |row: Option<&Value>| shown(row.and_then(|row| row.get("value")));
    new.filter_map(|(key, row)| {
        let (was, is) = (value(old?.get(key)), value(Some(row)));
        (was != is).then(|| format!("{key} was {was}, is {is}"))
    })
    .collect()
}

fn missing(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for (which, snapshot) in [("first", before), ("second", after)] {
        lines.extend(snapshot.missing().map(|(name, why)| {
            format!("{name} is missing in the {which}: {}", crate::told::harmless(why, 200))
        }));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::snapshot::Part;

    fn snapshot(taken_ms: u64, metrics: &Value, hosts: &Value) -> Snapshot {
        let part = |value: Value| Part { value: Some(value), error: None };
        let parts = [
            ("metrics".to_owned(), part(metrics.clone())),
            ("hosts".to_owned(), part(json!({ "hosts": hosts }))),
            ("settings".to_owned(), part(json!({ "shards": { "value": taken_ms.to_string() } }))),
        ];
        Snapshot { form: 1, taken_ms, parts: parts.into() }
    }

    /// Rates are per second, a restart is no negative rate, and hosts that changed are named.
    #[test]
    fn what_happened_between_two_is_found() {
        let mut before = snapshot(
            1_000,
            &json!({ "events_total{kind=\"commit\"}": 100, "restarted_total": 50, "hosts": 3, "same": 1 }),
            &json!([{ "hostname": "a", "connected": true }, { "hostname": "b", "connected": true }]),
        );
        let after = snapshot(
            11_000,
            &json!({ "events_total{kind=\"commit\"}": 600, "restarted_total": 20, "new_total": 10,
                    "hosts": 2, "same": 1, "unknown": 5 }),
            &json!([{ "hostname": "a", "connected": true }, { "hostname": "b", "connected": false },
                   { "hostname": "c", "connected": true }]),
        );
        before.parts.insert("top".to_owned(), Part { value: None, error: Some("no".to_owned()) });
        let found = difference(&before, &after);
        let rates: Vec<_> = found.counters.iter().map(|it| (it.name.as_str(), it.per_s)).collect();
        assert_eq!(
            rates,
            [
                ("events_total{kind=\"commit\"}", Some(50.0)),
                ("restarted_total", Some(2.0)),
                ("new_total", Some(1.0))
            ]
        );
        assert_eq!(found.gauges.len(), 1);
        assert_eq!(found.hosts, ["b: connected was true, is false", "c is new"]);
        assert_eq!(found.settings, ["shards was 1000, is 11000"]);
        assert_eq!(found.missing, ["top is missing in the first: no"]);
    }
}
