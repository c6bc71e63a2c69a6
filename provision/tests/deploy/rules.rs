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

/// What the panels of all dashboards ask for, with their titles.
fn panels() -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("provision/assets/dashboards"))? {
        let board: serde_json::Value = serde_json::from_str(&fs::read_to_string(entry?.path())?)?;
        for panel in board["panels"].as_array().context("panels")? {
            let title = panel["title"].as_str().context("a title")?;
            for target in panel["targets"].as_array().context("targets")? {
                let asked = target["expr"].as_str().context("a question")?;
                found.push((title.to_owned(), asked.to_owned()));
            }
        }
    }
    Ok(found)
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
    for (name, asked) in alerts.chain(panels()?) {
        let words = asked.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for metric in words.filter(|word| word.starts_with("relay_")) {
            let base = metric.trim_end_matches("_bucket");
            let known = catalogue.contains(&format!("\"{base}\""))
                || units.iter().any(|unit| metric == format!("{unit}_timestamp_seconds"))
                || is_of_comparison(metric, &compared);
            assert!(known, "{name} asks for {metric}");
        }
    }
    Ok(())
}
