//! Alerts: each has a case in which it fires and one in which it does not, and what they ask for is
//! what the relay tells.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::root;

fn text(name: &str) -> Result<String> {
    let path = root().join("provision/assets/alerts").join(name);
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: String,
    expr: String,
}

#[derive(Deserialize)]
struct Cases {
    tests: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    alert_rule_test: Vec<Moment>,
}

#[derive(Deserialize)]
struct Moment {
    alertname: String,
    exp_alerts: Vec<serde_json::Value>,
}

fn rules() -> Result<Vec<Rule>> {
    let rules: Rules = serde_saphyr::from_str(&text("relay.yml")?)?;
    Ok(rules.groups.into_iter().flat_map(|group| group.rules).collect())
}

/// An alert that nobody has seen fire may never do so, and one that always does is not read.
#[test]
fn every_alert_has_a_case_that_fires_and_one_that_does_not() -> Result<()> {
    let cases: Cases = serde_saphyr::from_str(&text("relay.test.yml")?)?;
    let mut seen: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    for moment in cases.tests.into_iter().flat_map(|case| case.alert_rule_test) {
        seen.entry(moment.alertname).or_default().insert(!moment.exp_alerts.is_empty());
    }
    let both = BTreeSet::from([false, true]);
    let expected = rules()?.into_iter().map(|rule| (rule.alert, both.clone())).collect();
    assert_eq!(seen, expected);
    Ok(())
}

/// All dashboards, by file.
fn dashboards() -> Result<BTreeMap<String, serde_json::Value>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root().join("provision/assets/dashboards"))? {
        let path = entry?.path();
        let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
        let board = serde_json::from_str(&fs::read_to_string(&path)?);
        found.insert(name.clone(), board.with_context(|| name)?);
    }
    Ok(found)
}

/// The panels of all dashboards, with the file that they are in.
fn panels() -> Result<Vec<(String, serde_json::Value)>> {
    let mut found = Vec::new();
    for (name, board) in dashboards()? {
        for panel in board["panels"].as_array().context("panels")? {
            found.push((name.clone(), panel.clone()));
        }
    }
    Ok(found)
}

/// What the panels of all dashboards ask for, with their titles.
fn questions() -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for (name, panel) in panels()? {
        let title = panel["title"].as_str().context("a title")?;
        for target in panel["targets"].as_array().context("targets")? {
            let asked = target["expr"].as_str().context("a question")?;
            found.push((format!("{name}: {title}"), asked.to_owned()));
        }
    }
    Ok(found)
}

/// The metrics that a question names: its words without selectors, ranges, lists of labels and the
/// words of the language.
fn metrics(asked: &str) -> BTreeSet<String> {
    const LANGUAGE: [&str; 29] = [
        "and",
        "or",
        "unless",
        "by",
        "on",
        "ignoring",
        "group_left",
        "offset",
        "bool",
        "sum",
        "max",
        "min",
        "avg",
        "count",
        "rate",
        "increase",
        "changes",
        "time",
        "histogram_quantile",
        "predict_linear",
        "max_over_time",
        "avg_over_time",
        "d",
        "h",
        "m",
        "s",
        "le",
        "e",
        "abs",
    ];
    let mut rest = String::new();
    let mut labels = false;
    let mut depth = 0;
    let mut word = String::new();
    for c in asked.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        // What stands in brackets behind these words are labels.
        let opens =
            ["by", "on", "ignoring"].contains(&word.as_str()) || (word == "group_left" && c == '(');
        labels = labels || opens;
        if depth == 0 && (opens || !labels) {
            rest.push_str(&word);
            rest.push(' ');
        }
        word.clear();
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ')' => labels = false,
            _ => {}
        }
    }
    rest.push_str(&word);
    let words = rest.split(' ').filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()));
    words.filter(|word| !LANGUAGE.contains(word)).map(str::to_owned).collect()
}

#[test]
fn questions_are_taken_apart_as_prometheus_does() {
    let of = |asked: &str| metrics(asked).into_iter().collect::<Vec<_>>();
    assert_eq!(
        of(
            "sum by (reason) (rate(relay_a_total{x=~\"relay_b|c\"}[5m])) / on (relay) group_left(version) up"
        ),
        ["relay_a_total", "up"]
    );
    assert_eq!(
        of("rate(relay_a[15m]) / on() group_left sum(rate(relay_b_bucket[15m]))"),
        ["relay_a", "relay_b_bucket"]
    );
    assert_eq!(
        of("(time() - probe_ssl) / 86400 and on() relay_c offset 1d"),
        ["probe_ssl", "relay_c"]
    );
}

/// Whether `provision compare` writes a number of this name.
fn is_of_comparison(metric: &str, source: &str) -> bool {
    let name = metric.trim_start_matches("relay_");
    source.contains(&format!("(\"{name}\",")) || source.contains(&format!("TYPE {metric} "))
}

/// An alert on a number that nobody counts is silent for ever, and such a panel empty.
#[test]
fn alerts_and_dashboards_ask_for_what_the_relay_tells() -> Result<()> {
    let catalogue = fs::read_to_string(root().join("relay/src/telemetry/metrics.rs"))?;
    // These two are written by the units of the backups.
    let units = ["relay_backup_success", "relay_backup_verify_success"];
    let compared = fs::read_to_string(root().join("provision/src/compare/report.rs"))?;
    let alerts = rules()?.into_iter().map(|rule| (rule.alert, rule.expr));
    let mut count = 0;
    for (name, asked) in alerts.chain(questions()?) {
        for metric in metrics(&asked) {
            let ends = ["_bucket", "_sum", "_count"];
            let base = ends.iter().find_map(|end| metric.strip_suffix(end)).unwrap_or(&metric);
            let known = catalogue.contains(&format!("\"{base}\""))
                || catalogue.contains(&format!("\"{metric}\""))
                || units.iter().any(|unit| metric == format!("{unit}_timestamp_seconds"))
                || is_of_comparison(&metric, &compared)
                // Of the exporters that are deployed beside the relay, and of Prometheus itself.
                || ["node_", "pg_", "probe_"].iter().any(|family| metric.starts_with(family))
                || metric == "up";
            assert!(known, "{name} asks for {metric}");
            count += 1;
        }
    }
    assert!(count > 100, "{count} metrics found");
    Ok(())
}

/// A curve without a name, a unit or a word about what it means helps nobody at three in the morning.
#[test]
fn every_panel_has_a_title_a_unit_and_a_description() -> Result<()> {
    for (name, panel) in panels()? {
        let text = |place: &str| panel.pointer(place).and_then(|text| text.as_str());
        let title = text("/title").filter(|title| !title.is_empty());
        let title = title.with_context(|| format!("{name} has a panel without a title"))?;
        assert!(text("/fieldConfig/defaults/unit").is_some(), "{name}: {title} has no unit");
        let described =
            text("/description").is_some_and(|text| text.len() > 10 && text.ends_with('.'));
        assert!(described, "{name}: {title} has no description");
        assert_eq!(text("/datasource/uid"), Some("relay"), "{name}: {title}");
    }
    Ok(())
}

/// Two boards with one uid are one board to Grafana, and panels on top of each other are hidden.
#[test]
fn boards_have_a_uid_of_their_own_and_their_panels_a_place_of_their_own() -> Result<()> {
    let mut uids = BTreeSet::new();
    let boards = dashboards()?;
    let names: Vec<_> = boards.keys().map(String::as_str).collect();
    assert_eq!(names, ["consumers.json", "fleet.json", "hosts.json", "machine.json", "relay.json"]);
    for (name, board) in boards {
        assert!(uids.insert(board["uid"].to_string()), "{name}");
        let (mut ids, mut titles, mut taken) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for panel in board["panels"].as_array().context("panels")? {
            let title = panel["title"].to_string();
            assert!(titles.insert(title.clone()), "{name}: {title}");
            assert!(ids.insert(panel["id"].to_string()), "{name}: {title}");
            let at = |key: &str| panel["gridPos"][key].as_u64().context("a place");
            let (x, y, w, h) = (at("x")?, at("y")?, at("w")?, at("h")?);
            assert!(x + w <= 24, "{name}: {title}");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{name}: {title} lies on another panel");
            }
        }
    }
    Ok(())
}
