//! An installation from the rescue system, in steps that are remembered: whoever runs it again after an
//! interruption goes on where it was, and nothing is erased twice.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{Confirmed, Image, Login, Robot, RobotError};
use crate::{
    files,
    told::{Tell, Told, harmless},
};

/// Tells whether this is the rescue system.
const IS_RESCUE: &str = "test \"$(hostname)\" = rescue";
/// Tells whether this is an installed system.
const IS_INSTALLED: &str = "test \"$(hostname)\" != rescue";
/// What the disks are called now, one a line, then the newest image.
const LOOK: &str = r#"set -eu
pattern=$1
shift
for disk in "$@"; do
  path=$(readlink -f "$disk")
  test "$(lsblk -dno TYPE "$path" 2>/dev/null)" = disk || { echo "there is no disk $disk" >&2; exit 3; }
  echo "$path"
done
image=$(ls -1 /root/.oldroot/nfs/images/ | while read -r name; do case $name in $pattern) echo "$name" ;; esac; done | sort -V | tail -n 1)
test -n "$image" || { echo "the rescue system has no image $pattern" >&2; exit 4; }
echo "/root/.oldroot/nfs/images/$image"
"#;
/// Starts `installimage`, which goes on when the connection is lost; once.
const START: &str = r#"set -eu
cd "$HOME"
test -e relay-install.started && exit 0
cat >relay-install.conf <<'CONFIG'
@CONFIG@CONFIG
: >relay-install.started
nohup setsid sh -c 'installimage -a -c "$PWD/relay-install.conf" >relay-install.log 2>&1; echo $? >relay-install.code' >/dev/null 2>&1 </dev/null &
"#;
/// Ends well when `installimage` did, with 9 while it runs.
const IS_DONE: &str = r#"cd "$HOME" || exit 1
test -e relay-install.code || exit 9
code=$(cat relay-install.code)
test "$code" = 0 && exit 0
tail -n 5 relay-install.log
exit 10
"#;
const FAILED: i32 = 10;
/// The connection ends with it.
const RESTART: &str = "nohup sh -c 'sleep 1; reboot' >/dev/null 2>&1 </dev/null & exit 0";

/// One step, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The rescue system is prepared for the next start.
    Prepared,
    /// The server was restarted.
    Restarted,
    /// The rescue system answers and has the disks.
    InRescue,
    /// The disks of the system are written.
    Written,
    /// The installed system answers.
    Done,
}

/// What was done; kept in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    server: u64,
    /// The word of this installation: another word is another installation.
    word: String,
    steps: BTreeSet<Step>,
    host_keys: Vec<String>,
    #[serde(skip)]
    path: PathBuf,
}

impl Journal {
    /// Reads it, or begins one.
    ///
    /// # Errors
    /// When the file is of another server, or cannot be read.
    pub fn open(path: &Path, server: u64, word: &str) -> Result<Self> {
        let new = Self {
            server,
            word: word.to_owned(),
            steps: BTreeSet::new(),
            host_keys: Vec::new(),
            path: path.to_owned(),
        };
        let Some(text) = files::read(path)? else { return Ok(new) };
        let old: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is no journal of an installation", path.display()))?;
        ensure!(
            old.server == server,
            "{} is of server {}, not of {server}; give another file",
            path.display(),
            old.server
        );
        if old.word == word { Ok(Self { path: path.to_owned(), ..old }) } else { Ok(new) }
    }

    /// Whether this was done.
    pub fn has(&self, step: Step) -> bool {
        self.steps.contains(&step)
    }

    fn note(&mut self, step: Step) -> Result<()> {
        self.steps.insert(step);
        let text = serde_json::to_string_pretty(self)?;
        files::write(&self.path, &format!("{text}\n"), 0o600)?;
        Ok(())
    }

    /// Forgets the steps from here on, for they have to be done again.
    fn back_to(&mut self, step: Step) {
        self.steps.retain(|done| *done < step);
    }
}

/// An installation.
#[derive(Debug)]
pub struct Install {
    /// The server, whose number was typed twice.
    pub server: Confirmed,
    /// What lies where.
    pub image: Image,
    /// The public key that may log in, as one line.
    pub key: String,
    /// How to log in.
    pub login: Login,
    /// How long the server may take to start, and again to be written.
    pub wait_max: Duration,
}

impl Install {
    /// Does what is not done yet.
    ///
    /// # Errors
    /// When Robot or the server refuses or does not answer. Running it again goes on.
    pub async fn run(
        &self,
        robot: &Robot,
        journal: &mut Journal,
        tell: &mut Tell<'_>,
    ) -> Result<()> {
        if journal.has(Step::Done) {
            tell(Told::Note(format!(
                "server {}: installed already under this word; another word installs again",
                self.server.number()
            )));
            return Ok(());
        }
        if !journal.has(Step::Prepared) {
            self.prepare(robot, journal, tell).await?;
        }
        if !journal.has(Step::Restarted) {
            self.restart(robot, journal, tell).await?;
        }
        if !journal.has(Step::InRescue) {
            self.reach_rescue(robot, journal, tell).await?;
        }
        if !journal.has(Step::Written) {
            self.write(journal, tell).await?;
        }
        self.start(journal, tell).await
    }

    async fn prepare(
        &self,
        robot: &Robot,
        journal: &mut Journal,
        tell: &mut Tell<'_>,
    ) -> Result<()> {
        let number = self.server.number();
        let server = robot.server(number).await?;
        ensure!(
            !server.cancelled,
            "server {number}: its contract ends; nothing was done. Revoke the cancellation in Robot first"
        );
        ensure!(server.status == "ready", "server {number} is {}; try again later", server.status);
        let fingerprint = robot.key("relay", &self.key).await?;
        let rescue = robot.prepared_rescue(self.server, &fingerprint).await?;
        journal.host_keys = rescue.host_keys();
        self.login.forget()?;
        tell(Told::Note(format!("server {number}: the rescue system is prepared")));
        journal.note(Step::Prepared)
    }

    async fn restart(
        &self,
        robot: &Robot,
        journal: &mut Journal,
        tell: &mut Tell<'_>,
    ) -> Result<()> {
        let number = self.server.number();
        match robot.reset(self.server).await {
            Ok(()) => tell(Told::Note(format!("server {number}: restarted"))),
            // It may have happened: whether it did is seen by what answers.
            Err(error @ RobotError::Away { .. }) => {
                tell(Told::Note(format!("{error:#}; looking at the server")))
            }
            Err(error) => return Err(error.into()),
        };
        journal.note(Step::Restarted)
    }

    async fn reach_rescue(
        &self,
        robot: &Robot,
        journal: &mut Journal,
        tell: &mut Tell<'_>,
    ) -> Result<()> {
        let number = self.server.number();
        let what = format!("server {number} answers from the rescue system");
        if let Err(error) = self.login.until(&what, IS_RESCUE, self.wait_max, tell).await {
            // A rescue system that is still prepared was never started: the restart did not happen.
            let again =
                if robot.rescue(number).await?.active { Step::Restarted } else { Step::Prepared };
            journal.back_to(again);
            let text = serde_json::to_string_pretty(journal)?;
            files::write(&journal.path, &format!("{text}\n"), 0o600)?;
            return Err(error);
        }
        let shown = self.login.host_keys().await?;
        let is_it =
            journal.host_keys.is_empty() || shown.iter().any(|key| journal.host_keys.contains(key));
        ensure!(
            is_it,
            "{} shows a key that is not that of server {number}'s rescue system (Robot says {}); somebody \
             may be between you and it. Nothing was erased",
            self.login.address,
            journal.host_keys.join(", ")
        );
        tell(Told::Note(what));
        journal.note(Step::InRescue)
    }

    async fn write(&self, journal: &mut Journal, tell: &mut Tell<'_>) -> Result<()> {
        let number = self.server.number();
        let mut words = vec![format!("'{}'", self.image.release())];
        words.extend(self.image.disks().map(ToString::to_string));
        let said = self.login.run(LOOK, &words).await?;
        if said.is_cut() {
            bail!(
                "server {number}: the connection was lost ({}); run this again",
                harmless(&said.text(), 200)
            );
        }
        ensure!(
            said.code == 0,
            "server {number}: {}; nothing was erased. `ls -l /dev/disk/by-id` there shows the disks",
            harmless(&said.text(), 300)
        );
        let lines: Vec<String> = said.text().lines().map(ToOwned::to_owned).collect();
        let (file, paths) = lines.split_last().context("the rescue system said nothing")?;
        let config = self.image.config(paths, file)?;
        let said = self.login.run(&START.replace("@CONFIG@", &config), &[]).await?;
        ensure!(
            said.code == 0,
            "server {number}: installimage did not start ({}); run this again",
            harmless(&said.text(), 200)
        );
        tell(Told::Note(format!("server {number}: writing the system to {}", paths.join(", "))));
        self.wait_for_written(journal, tell).await
    }

    async fn wait_for_written(&self, journal: &mut Journal, tell: &mut Tell<'_>) -> Result<()> {
        let number = self.server.number();
        let began = tokio::time::Instant::now();
        loop {
            let said = self.login.run(IS_DONE, &[]).await?;
            match said.code {
                0 => break,
                FAILED => bail!(
                    "server {number}: installimage failed: {}; its log is relay-install.log in the rescue \
                     system. Take the cause away, and begin again with another word",
                    harmless(&said.text().replace('\n', "; "), 400)
                ),
                _ if began.elapsed() > self.wait_max => bail!(
                    "server {number}: not written after {} s; run this again, it goes on where it was",
                    began.elapsed().as_secs()
                ),
                _ => tokio::time::sleep(self.login.pause()).await,
            }
        }
        tell(Told::Note(format!("server {number}: the system is written")));
        journal.note(Step::Written)
    }

    async fn start(&self, journal: &mut Journal, tell: &mut Tell<'_>) -> Result<()> {
        let number = self.server.number();
        let said = self.login.run(IS_RESCUE, &[]).await?;
        if said.code == 0 {
            self.login.run(RESTART, &[]).await?;
        }
        // The installed system has keys of its own, which nobody has seen before.
        self.login.forget()?;
        let what = format!("server {number} answers from the installed system");
        self.login.until(&what, IS_INSTALLED, self.wait_max, tell).await?;
        tell(Told::Note(what));
        journal.note(Step::Done)
    }
}
