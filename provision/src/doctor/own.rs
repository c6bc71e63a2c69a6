//! What the relay on this machine says of itself, on the addresses that only this machine reaches.

use std::{fs, time::Duration};

use relay::{
    config::Config,
    telemetry::metrics::{EVENTLOG_OLDEST_SEQ, EVENTLOG_WINDOW_SECONDS},
    units,
};
use serde_json::Value;

use super::{Line, Patient, STEP_MAX, ports::near};
use crate::words;

const WINDOW: &str = "window";
const CONSUMERS: &str = "consumers";
/// All metrics of a relay with thousands of hosts are some hundred kilobytes.
const METRICS_BYTES_MAX: usize = 16 << 20;
const RUNNING: &str = "is it running? `systemctl status relay`, `journalctl -u relay`";

/// Health, and the age of the oldest event.
pub(super) async fn window(patient: &Patient) -> Vec<Line> {
    let config = match patient.config() {
        Ok(config) => config,
        Err(why) => {
            let fix = "look at the check `settings` first";
            return vec![Line::fail(WINDOW, "it is not known where the relay is", why, fix)];
        }
    };
    let mut lines = Vec::new();
    match health(&config).await {
        Ok(reasons) => lines.extend(reasons.into_iter().map(|reason| {
            let cause = "events wait, or are not served, until it is over";
            Line::fail(
                WINDOW,
                crate::told::harmless(&reason, 300),
                cause,
                "see `journalctl -u relay`",
            )
        })),
        Err(why) => return vec![Line::fail(WINDOW, "the relay does not answer", why, RUNNING)],
    }
    lines.push(match oldest(&config).await {
        Ok(oldest) => age(&config, oldest),
        Err(why) => Line::fail(WINDOW, "the oldest event cannot be read", why, RUNNING),
    });
    lines
}

/// Troubles of the relay; none when it is well.
async fn health(config: &Config) -> Result<Vec<String>, String> {
    let url = format!("http://{}/_health", near(config.metrics_bind));
    let client = crate::feed::client().map_err(|error| format!("{error:#}"))?;
    let asked = client.get(&url).timeout(STEP_MAX).send().await;
    let answer = asked.map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
    let body: Value = answer.json().await.map_err(|error| format!("{url}: {error}"))?;
    let reasons = body.get("reasons").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(reasons.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect())
}

/// The oldest event that is served: its seq, and its age by the relay's own clock, which no host's
/// claims can shift.
async fn oldest(config: &Config) -> Result<(u64, Duration), String> {
    let url = format!("http://{}/metrics", near(config.metrics_bind));
    let client = crate::feed::client().map_err(|error| format!("{error:#}"))?;
    let body = crate::feed::bytes(&client, &url, METRICS_BYTES_MAX).await;
    let body = body.map_err(|error| format!("{error:#}"))?;
    let text = String::from_utf8_lossy(&body);
    let value = |name: &str| -> Result<f64, String> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
        let found = lines.find_map(|rest| rest.strip_prefix(' '));
        let number = found.and_then(|text| text.trim().parse().ok());
        number.ok_or_else(|| format!("{url} has no {name}"))
    };
    let age = Duration::try_from_secs_f64(value(EVENTLOG_WINDOW_SECONDS)?);
    let seq = format!("{:.0}", value(EVENTLOG_OLDEST_SEQ)?).parse().unwrap_or(0);
    Ok((seq, age.map_err(|error| error.to_string())?))
}

fn age(config: &Config, (seq, age): (u64, Duration)) -> Line {
    let promised = config.replay_window;
    let shown = units::duration(promised);
    if seq == 0 {
        return Line::warn(
            WINDOW,
            "the log holds no event",
            "no host sent one yet",
            "look at the check `live`",
        );
    }
    let hours = format!("{}.{} h", age.as_secs() / 3_600, age.as_secs() % 3_600 / 360);
    let what = format!("the oldest event is {hours} old, of a window of {shown}");
    if age >= promised.mul_f64(0.9) {
        return Line::ok(WINDOW, what);
    }
    // The first event of all is still there: nothing was removed.
    if seq <= config.initial_seq {
        return Line::ok(WINDOW, format!("{what}; it is still filling"));
    }
    Line::warn(
        WINDOW,
        what,
        "the log reached RELAY_REPLAY_MAX_BYTES, or the disk is nearly full, and older events were removed",
        "provision tune says what fits; a longer window takes a larger disk",
    )
}

/// How many consumers there are, and what they cost.
pub(super) async fn consumers(patient: &Patient) -> Line {
    let count = match count(patient).await {
        Ok(count) => count,
        Err(why) => return Line::fail(CONSUMERS, "they cannot be counted", why, RUNNING),
    };
    let month = words::bytes(count.saturating_mul(9_720_000_000_000));
    let what = format!(
        "{}: {} Mbit/s, {month} a month",
        words::counted(count, "consumer", "consumers"),
        words::count(count.saturating_mul(30))
    );
    let Ok((_, plan)) = patient.plan() else { return Line::ok(CONSUMERS, what) };
    let most = plan.consumers.most;
    // What is not known of the link limits nothing here.
    if count <= most {
        return Line::ok(CONSUMERS, format!("{what}; this machine serves {most}"));
    }
    Line::warn(
        CONSUMERS,
        what,
        format!("this machine serves {most}, by {}", plan.consumers.because),
        "all of them fall behind; ask who they are (GET /admin/consumers/list), or take a wider link",
    )
}

async fn count(patient: &Patient) -> Result<u64, String> {
    let config = patient.config()?;
    let given = config.admin_passwords.first().map(|secret| secret.expose().to_owned());
    let file = config.data_dir.join("admin-password");
    let password = given.map_or_else(
        || fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display())),
        Ok,
    )?;
    let url = format!("http://{}/admin/v1/status", near(config.admin_bind));
    let client = crate::feed::client().map_err(|error| format!("{error:#}"))?;
    let asked = client.get(&url).timeout(STEP_MAX).basic_auth("admin", Some(password.trim()));
    let answer = asked.send().await.and_then(reqwest::Response::error_for_status);
    let answer = answer.map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
    let body: Value = answer.json().await.map_err(|error| format!("{url}: {error}"))?;
    body.get("consumers").and_then(Value::as_u64).ok_or(format!("{url} does not say how many"))
}
