//! What is wrong with a relay, why, and what to do: looked at from here, as everybody outside sees it, and
//! on its host, in one report.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Deployment, Host, Remote, lines::quoted};
use crate::{
    doctor::{self, Patient, Stage, State},
    env_file::EnvFile,
    feed::Address,
    moment,
    told::{Tell, Told, harmless},
};

/// What anybody outside can see, in the order in which one thing needs the other.
pub const OUTSIDE: [&str; 5] = ["dns", "tls", "websocket", "admin", "live"];
/// What only the host knows; and `postgres`, which is asked as another user.
const INSIDE: &str = "settings,ports,clock,machine,disk,limits,kernel,window,consumers,backups";
/// How long events are listened for.
pub const LISTEN: Duration = Duration::from_secs(15);

/// From where something was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// From this side.
    Here,
    /// On the host.
    Host,
}

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// From where.
    pub from: From,
    /// The check.
    pub check: String,
    /// How it ended.
    pub state: State,
    /// What is so.
    pub what: String,
    /// Why, or why it matters; empty when all is well.
    pub cause: String,
    /// What to do; empty when all is well.
    pub fix: String,
}

impl std::convert::From<doctor::Line> for Finding {
    fn from(line: doctor::Line) -> Self {
        let doctor::Line { check, state, what, cause, fix } = line;
        Self { from: From::Here, check: check.to_owned(), state, what, cause, fix }
    }
}

/// What `provision doctor --json` prints on the host, which may be an older or newer one.
#[derive(Deserialize)]
struct Answer {
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    check: String,
    state: String,
    what: String,
    #[serde(default)]
    cause: String,
    #[serde(default)]
    fix: String,
}

/// Who is looked at from here: by the public name, with the settings of the deployment.
pub(super) fn patient(deployment: &Deployment, host: &Host) -> Result<Patient> {
    let (env, files) = EnvFile::of_deployment(&deployment.file("env"))?;
    let addresses = [&host.ipv4, &host.ipv6].into_iter().flatten();
    Ok(Patient {
        address: Address::parse(&host.hostname)
            .with_context(|| format!("`{}` is no public name of a relay", host.hostname))?,
        stage: Stage::After,
        root: "/".into(),
        files,
        env,
        name_server: None,
        addresses: addresses.filter_map(|text| text.parse().ok()).collect(),
        http_port: 80,
        time_from: "https://plc.directory/_health".to_owned(),
        backups: None,
        backup_age_max: Duration::from_hours(48),
        listen: LISTEN,
        link_mbit: None,
        now_ms: moment::now_ms(),
    })
}

/// The checks that are made from here: those that the inventory names for this, or all.
#[must_use]
pub fn of_outside(host: &Host) -> Vec<&'static str> {
    let named = host.list("selfcheck_checks");
    let is_wanted =
        |check: &&str| named.as_ref().is_none_or(|named| named.iter().any(|name| name == check));
    OUTSIDE.into_iter().filter(is_wanted).collect()
}

/// Looks from here alone.
///
/// * `found` – takes what was found, as it is found
///
/// # Errors
/// When the deployment has no host, or its settings cannot be read.
pub async fn outside(
    deployment: &Deployment,
    listen: Duration,
    found: &mut (dyn FnMut(Finding) + Send),
) -> Result<()> {
    let host = deployment.host()?;
    let patient = Patient { listen, ..patient(deployment, &host)? };
    for check in of_outside(&host) {
        doctor::examine(&patient, check).await.into_iter().for_each(|line| found(line.into()));
    }
    Ok(())
}

/// Looks from both sides at the same time.
///
/// # Errors
/// See [`outside`]. A host that cannot be asked is a finding.
pub async fn both(
    deployment: &Deployment,
    listen: Duration,
    tell: &mut Tell<'_>,
) -> Result<Vec<Finding>> {
    let remote = deployment.remote()?;
    let host = deployment.host()?;
    tell(Told::Doing("looking from here and on the host".to_owned()));
    let mut here = Vec::new();
    let mut take = |finding| here.push(finding);
    let (seen, there) =
        tokio::join!(outside(deployment, listen, &mut take), inside(&remote, &host));
    seen?;
    here.extend(there);
    Ok(here)
}

async fn inside(remote: &Remote, host: &Host) -> Vec<Finding> {
    match ask(remote, host).await {
        Ok(findings) => findings,
        Err(error) => {
            let what = format!("{} cannot be asked", remote.destination());
            vec![unasked(what, &format!("{error:#}"))]
        }
    }
}

fn unasked(what: String, why: &str) -> Finding {
    Finding {
        from: From::Host,
        check: "host".to_owned(),
        state: State::Fail,
        what,
        cause: harmless(why, 400),
        fix: "see that it runs and that ssh gets there; `just deploy` installs what is missing"
            .to_owned(),
    }
}

async fn ask(remote: &Remote, host: &Host) -> Result<Vec<Finding>> {
    let text = |variable: &str, usual: &str| host.text(variable).unwrap_or(usual).to_owned();
    let env = quoted(&format!("{}/env", text("relay_etc", "/etc/relay")));
    let (backups, user) =
        (quoted(super::backups::place(host)), quoted(&text("relay_user", "relay")));
    let program = host.os.program();
    // Postgres takes the relay's user for the relay, and nobody else.
    let script = format!(
        "doctor() {{ \"$@\" {program} doctor --json --env {env} --backups {backups} --only \
         \"$checks\" </dev/null; }}\nchecks={INSIDE} doctor env\nchecks=postgres doctor runuser -u {user} --\n"
    );
    let said = remote.run(&script, &[]).await?;
    if said.out.is_empty() {
        bail!("{} ({})", harmless(said.last_line(), 300), remote.advice(&said));
    }
    let (answers, mut found) = read(&said.out)?;
    if answers < 2 {
        found.push(unasked("a part of its doctor does not answer".to_owned(), said.last_line()));
    }
    Ok(found)
}

/// How many answers there are, and all that was found.
fn read(text: &str) -> Result<(usize, Vec<Finding>)> {
    let (mut count, mut found) = (0, Vec::new());
    for answer in serde_json::Deserializer::from_str(text).into_iter::<Answer>() {
        count += 1;
        let lines = answer.context("read what its doctor says")?.lines;
        found.extend(lines.into_iter().map(finding));
    }
    Ok((count, found))
}

fn finding(line: Line) -> Finding {
    let state = serde_json::from_value(Value::String(line.state));
    let clean = |text: String| harmless(&text, 1_000);
    Finding {
        from: From::Host,
        check: clean(line.check),
        // A word of another version is no reason to hide the rest.
        state: state.unwrap_or(State::Warn),
        what: clean(line.what),
        cause: clean(line.cause),
        fix: clean(line.fix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The host's own doctor may be of another version: what it says is shown all the same.
    #[test]
    fn the_words_of_another_version_are_shown() -> Result<()> {
        let text = r#"{"host":"h","worst":"fail","lines":[
            {"check":"disk","state":"fail","what":"full","cause":"c","fix":"f"},
            {"check":"new","state":"odd","what":"w\u001b[2J"}]}"#;
        let (count, found) = read(&format!("{text}\n{text}"))?;
        assert_eq!((count, found.len()), (2, 4));
        assert_eq!((found[0].state, &*found[0].fix, found[0].from), (State::Fail, "f", From::Host));
        assert_eq!((found[1].state, &*found[1].what), (State::Warn, "w\\u{1b}[2J"));
        assert!(read("sudo: a password is required").is_err());
        Ok(())
    }

    /// What only the host can know is asked there, the rest here, and nothing is left out.
    #[test]
    fn every_check_is_made_on_one_side() {
        let inside: Vec<_> = INSIDE.split(',').chain(["postgres"]).collect();
        for (check, ..) in doctor::CHECKS {
            assert_eq!(OUTSIDE.contains(&check), !inside.contains(&check), "{check}");
        }
        assert_eq!(OUTSIDE.len() + inside.len(), doctor::CHECKS.len());
    }
}
