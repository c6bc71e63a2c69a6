//! A selfcheck that a host makes by itself, when the relay has run for a while.
//!
//! It is a timer of the host, so that neither a closed laptop nor a restart of the host stops it. Its result
//! lies there until the next one.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Host, Remote, lines::quoted};
use crate::selfcheck::Judged;

/// Where the host keeps the result.
const PLACE: &str = "/var/lib/relay-selfcheck";
/// The unit of the host.
pub const UNIT: &str = "relay-selfcheck";

/// Places both units and starts the timer. The time is the host's own.
const SCHEDULE: &str = r#"set -eu
moment=$(date -u -d "@$(($(date +%s) + after))" '+%Y-%m-%d %H:%M:%S UTC')
install -d -m 0755 "$place"
systemctl stop "$unit.timer" 2>/dev/null || true
cat >"/etc/systemd/system/$unit.service" <<END
[Unit]
Description=Whether the relay keeps what it promises
After=network-online.target relay.service
Wants=network-online.target

[Service]
Type=oneshot
ExecStart=$program
ExecStartPost=-/usr/bin/systemctl disable $unit.timer
# Broken promises are a result too.
SuccessExitStatus=1
Nice=10
END
cat >"/etc/systemd/system/$unit.timer" <<END
[Unit]
Description=Whether the relay keeps what it promises, once

[Timer]
OnCalendar=$moment
AccuracySec=1s
# Of a machine that is off at that moment it is made up for.
Persistent=true

[Install]
WantedBy=timers.target
END
systemctl daemon-reload
systemctl enable --quiet "$unit.timer"
systemctl start "$unit.timer"
echo "$moment"
"#;

/// Says what is to come, and what came out last.
const SHOW: &str = r#"set -eu
echo "now=$(systemctl show -P ActiveState "$unit.service")"
echo "timer=$(systemctl show -P ActiveState "$unit.timer")"
echo "next=$(systemctl show -P NextElapseUSecRealtime "$unit.timer")"
[ ! -f "$place/result.json" ] || { printf 'result='; tr -d '\n' <"$place/result.json"; echo; }
"#;

/// What a host says of its selfcheck.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Later {
    /// Whether it is made now.
    pub is_running: bool,
    /// When it will be made, as the host writes times.
    pub next: Option<String>,
    /// What came out last.
    pub result: Option<Outcome>,
}

/// How one ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    /// It could not be made.
    Failed {
        /// Why.
        error: String,
    },
    /// It was.
    Judged(Box<Judged>),
}

/// Lets the host make one later; gives the moment in its words. What was to be made before is not made.
///
/// * `words` – more arguments of `provision selfcheck`
///
/// # Errors
/// When the host cannot be asked, or systemd refuses.
pub async fn schedule(
    remote: &Remote,
    host: &Host,
    after: Duration,
    words: &[String],
) -> Result<String> {
    let etc = host.text("relay_etc").unwrap_or("/etc/relay");
    let env = format!("{etc}/env");
    let out = format!("{PLACE}/result.json");
    let own = [host.os.program(), "selfcheck", "--env", &env, "--out", &out, "--json"];
    let all = own.iter().copied().chain(words.iter().map(String::as_str));
    let program = all.map(of_unit).collect::<Vec<_>>().join(" ");
    let script = format!(
        "unit={UNIT} place={PLACE} after={} program={}\n{SCHEDULE}",
        after.as_secs(),
        quoted(&program)
    );
    remote.done("schedule the selfcheck", &script, &[]).await
}

/// A word as units have it.
fn of_unit(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('%', "%%").replace('$', "$$"))
}

/// What is to come, and what came out last.
///
/// # Errors
/// When the host cannot be asked, or keeps something else there.
pub async fn show(remote: &Remote) -> Result<Later> {
    let script = format!("unit={UNIT} place={PLACE}\n{SHOW}");
    let said = remote.done("ask for the selfcheck of the host", &script, &[]).await?;
    let mut later = Later::default();
    let mut is_waiting = false;
    for (name, value) in said.lines().filter_map(|line| line.split_once('=')) {
        match name {
            "now" => later.is_running = value == "activating",
            "timer" => is_waiting = value == "active",
            "next" => later.next = (!value.is_empty()).then(|| value.to_owned()),
            "result" => {
                let value: Value = serde_json::from_str(value).context("read its result")?;
                later.result = Some(serde_json::from_value(value).context("read its result")?);
            }
            _ => {}
        }
    }
    later.next = later.next.filter(|_| is_waiting);
    Ok(later)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_a_unit_is_expanded_by_nobody() {
        assert_eq!(of_unit(r#"a %h $HOME "b\"#), r#""a %%h $$HOME \"b\\""#);
    }
}
