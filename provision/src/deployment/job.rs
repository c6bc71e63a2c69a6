//! Long work that runs on the host, so that a closed laptop ends nothing.
//!
//! A job is a transient unit of systemd, `relay-job-NAME`, whose words are in the journal. Here one only
//! looks on: whoever ends that, or loses the connection, finds the job again by asking for it again. When
//! it has ended, the host keeps how, until somebody has been told.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use super::{
    Remote,
    journal::{self, Entry, FIELDS},
    lines::{self, Ended, quoted},
};
use crate::told::{Tell, Told, harmless};

/// Where scripts of jobs lie on the host, and who was told of their end. A restart of the host ends all
/// jobs, and empties it.
const PLACE: &str = "/run/relay-jobs";
/// How its unit ends with a failure of the program.
const FAILED: &str = "exit-code";

/// Begins a job, unless it runs, or has ended and nobody knows how. One at a time does this.
const BEGIN: &str = r#"set -eu
install -d -m 0700 "$place"
exec 9>"$place/lock"
flock 9
show() { systemctl show -P "$1" "$unit"; }
case $(show ActiveState)/$(show SubState) in
active/exited | failed/*)
  if [ "$(cat "$place/$name.told" 2>/dev/null || true)" = "$(show InvocationID)" ]; then how=begun; else how=ended; fi ;;
inactive/*) how=begun ;;
*) how=running ;;
esac
if [ "$how" = begun ]; then
  systemctl stop "$unit" 2>/dev/null || true
  systemctl reset-failed "$unit" 2>/dev/null || true
  printf '%s\n' "$script" >"$place/$name.sh"
  systemd-run --quiet --unit="$unit" --remain-after-exit --description="$about" \
    /bin/sh "$place/$name.sh" 9>&- >&2 </dev/null
fi
echo "how=$how"
systemctl show --timestamp=unix -p InvocationID,ExecMainStartTimestamp "$unit"
"#;

/// Hands over what is said until the job has ended, then how it ended. Each second an empty line tells a
/// lost connection from a silent job.
const FOLLOW: &str = r#"set -eu
seen=$(mktemp)
trap 'rm -f "$seen"' EXIT
printf %s "$cursor" >"$seen"
while :; do
  states=ActiveState,SubState,Result,ExecMainStatus,ExecMainStartTimestamp,ExecMainExitTimestamp,InvocationID
  state=$(systemctl show --timestamp=unix -p "$states" "$unit")
  journalctl --sync 2>/dev/null || true
  say || true
  echo
  case $state in
  *SubState=running* | *ActiveState=activating* | *ActiveState=deactivating*) sleep 1 ;;
  *) break ;;
  esac
done
printf '%s\n' "$state" | sed 's/^/= /'
"#;

/// Something that a host can do by itself.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// Its name, a plain word.
    pub name: &'a str,
    /// What it is, for who looks at the units of the host.
    pub about: &'a str,
    /// What is done: a script of `sh`, as root.
    pub script: &'a str,
    /// Other units that work for it, whose words belong to it.
    pub also: &'a [&'a str],
}

/// How it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// It did not run, and does now.
    Begun,
    /// It was running.
    Running,
    /// It had ended, and nobody was told how.
    Ended,
}

/// A job that was begun.
#[derive(Debug, Clone)]
pub struct Begun {
    /// How it was found.
    pub how: How,
    /// Which run of it.
    run: String,
    /// When, s since 1970.
    since: u64,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The exit code of its script; `None` when it was ended by force.
    pub code: Option<i32>,
    /// The same in a word of systemd: `success`, `exit-code`, `signal`, `oom-kill`.
    pub result: String,
    /// When it began, s since 1970.
    pub began: u64,
    /// How long it took.
    pub seconds: u64,
}

impl Outcome {
    /// Whether all went well.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.result == "success"
    }

    fn read(lines: &HashMap<String, String>) -> Result<Self> {
        let value = |name: &str| lines.get(name).map_or("", String::as_str);
        let time = |name| value(name).trim_start_matches('@').parse::<u64>().ok();
        let result = value("Result").to_owned();
        let began = time("ExecMainStartTimestamp").context("it was never started")?;
        let ended = time("ExecMainExitTimestamp").unwrap_or(began);
        let code = value("ExecMainStatus").parse().ok();
        let code = code.filter(|_| result == "success" || result == FAILED);
        Ok(Self { code, result, began, seconds: ended.saturating_sub(began) })
    }
}

impl Job<'_> {
    fn unit(&self) -> String {
        format!("relay-job-{}.service", self.name)
    }

    /// Begins it, or finds it.
    ///
    /// # Errors
    /// When the host cannot be reached, or systemd refuses.
    pub async fn begin(&self, remote: &Remote) -> Result<Begun> {
        let (unit, name) = (quoted(&self.unit()), quoted(self.name));
        let (script, about) = (quoted(self.script), quoted(self.about));
        let head = format!("place={PLACE} unit={unit} name={name} script={script} about={about}\n");
        let what = format!("begin {} on the host", self.name);
        let said = remote.done(&what, &(head + BEGIN), &[]).await?;
        let lines = values(&said);
        let value = |name: &str| lines.get(name).map_or("", String::as_str);
        let how = match value("how") {
            "begun" => How::Begun,
            "running" => How::Running,
            "ended" => How::Ended,
            _ => bail!("{what}: it answered `{}`", harmless(&said, 200)),
        };
        let since = value("ExecMainStartTimestamp").trim_start_matches('@').parse();
        Ok(Begun { how, run: value("InvocationID").to_owned(), since: since.unwrap_or(0) })
    }

    /// Hands over what it says, from its beginning until its end; goes on where it was when the connection
    /// is lost.
    ///
    /// # Errors
    /// When the job is not there any more, or was begun anew meanwhile.
    pub async fn follow(
        &self,
        remote: &Remote,
        begun: &Begun,
        show: &mut (dyn FnMut(&Entry) + Send),
        tell: &mut Tell<'_>,
    ) -> Result<Outcome> {
        let mut cursor = String::new();
        loop {
            let mut state = HashMap::new();
            let script = self.watching(begun, &cursor);
            let mut take = |line: &str| {
                if let Some(line) = line.strip_prefix("= ") {
                    state.extend(values(line));
                } else if let Some(entry) = Entry::parse(line) {
                    show(&entry);
                    cursor = entry.cursor;
                }
                true
            };
            let ended = lines::read(remote, &script, &mut take).await?;
            let Ended::There(said) = ended else { bail!("it is not followed any more") };
            if said.is_cut() {
                journal::again(remote, tell).await?;
                continue;
            }
            if said.code != 0 {
                bail!("follow {}: {}", self.name, harmless(said.last_line(), 300));
            }
            if state.get("InvocationID") != Some(&begun.run) {
                bail!(
                    "{} is not there any more: the host was restarted, or somebody began another one; what it \
                     said is in its journal: journalctl -u {}",
                    self.name,
                    self.unit()
                );
            }
            self.was_told(remote, begun, tell).await?;
            return Outcome::read(&state);
        }
    }

    /// Remembers on the host that its end was told, so that the next time another one begins.
    async fn was_told(&self, remote: &Remote, begun: &Begun, tell: &mut Tell<'_>) -> Result<()> {
        let file = quoted(&format!("{PLACE}/{}.told", self.name));
        let script = format!("printf %s {} >{file}\n", quoted(&begun.run));
        let said = remote.run(&script, &[]).await?;
        if said.code != 0 {
            // The result is here; it is told once more the next time.
            tell(Told::Note(format!(
                "its end will be told again: {}",
                harmless(said.last_line(), 200)
            )));
        }
        Ok(())
    }

    fn watching(&self, begun: &Begun, cursor: &str) -> String {
        let mut matches = format!("_SYSTEMD_INVOCATION_ID={}", begun.run);
        for unit in self.also {
            matches.extend([" + _SYSTEMD_UNIT=", unit, " + UNIT=", unit]);
        }
        format!(
            "unit={} cursor={}\nsay() {{ journalctl --quiet --no-pager --output=json {FIELDS} --since=@{} \
             --cursor-file=\"$seen\" {matches} </dev/null; }}\n{FOLLOW}",
            quoted(&self.unit()),
            quoted(cursor),
            begun.since
        )
    }
}

/// Lines of `name=value`.
fn values(text: &str) -> HashMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script that failed has its code; one that was killed for want of memory has none, and says so.
    #[test]
    fn how_a_job_ended_is_told_apart() {
        let of = |result: &str, status: &str| {
            let text = format!(
                "Result={result}\nExecMainStatus={status}\nExecMainStartTimestamp=@100\n\
                 ExecMainExitTimestamp=@160"
            );
            Outcome::read(&values(&text)).unwrap()
        };
        let good = of("success", "0");
        assert!(good.is_good() && good.code == Some(0) && good.seconds == 60);
        let failed = of("exit-code", "7");
        assert!(!failed.is_good() && failed.code == Some(7));
        let killed = of("oom-kill", "9");
        assert!(!killed.is_good() && killed.code.is_none());
        assert!(
            Outcome::read(&HashMap::new()).is_err(),
            "a job that is not there has not ended well"
        );
    }
}
