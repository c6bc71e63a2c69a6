//! The program `provision`, started as people start it.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};

/// Longest wait for a line or for the end.
const PATIENCE: Duration = Duration::from_mins(1);

/// A verb that runs. Killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    notes: Lines<BufReader<ChildStderr>>,
}

/// What a verb left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    /// What it had not been asked for of stdout.
    pub(crate) out: String,
    /// The same of stderr.
    pub(crate) notes: String,
}

impl Running {
    /// Starts a verb.
    pub(crate) fn start(words: &[&str], settings: &[(&str, &str)]) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_provision"))
            .args(words)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start provision")?;
        let out = BufReader::new(child.stdout.take().context("stdout")?).lines();
        let notes = BufReader::new(child.stderr.take().context("stderr")?).lines();
        Ok(Self { child, out, notes })
    }

    /// The next line of its results, as JSON.
    pub(crate) async fn json(&mut self) -> Result<Value> {
        let line = self.line().await?;
        serde_json::from_str(&line).with_context(|| line.clone())
    }

    /// The next line of its results.
    pub(crate) async fn line(&mut self) -> Result<String> {
        let line = timeout(PATIENCE, self.out.next_line()).await.context("no line comes")??;
        match line {
            Some(line) => Ok(line),
            None => bail!("it ended: {}", self.rest_of_notes().await?),
        }
    }

    /// Reads what it says beside its results until a line holds these words; gives that line.
    pub(crate) async fn says(&mut self, words: &str) -> Result<String> {
        let mut said = Vec::new();
        let heard = async {
            while let Some(line) = self.notes.next_line().await? {
                if line.contains(words) {
                    return Ok(line);
                }
                said.push(line);
            }
            bail!("it ended without saying it")
        };
        let heard = timeout(PATIENCE, heard).await.context("it does not say it");
        heard.and_then(|heard| heard).with_context(|| format!("{words:?} is not in {said:?}"))
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) -> Result<()> {
        let pid = self.child.id().context("it has ended")?;
        let pid = Pid::from_raw(i32::try_from(pid)?).context("pid")?;
        Ok(kill_process(pid, Signal::INT)?)
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Result<Ended> {
        let ended = async {
            let (mut out, mut notes) = (String::new(), String::new());
            let (left, right) = tokio::join!(
                self.out.get_mut().read_to_string(&mut out),
                self.notes.get_mut().read_to_string(&mut notes),
            );
            left?;
            right?;
            let code = self.child.wait().await?.code();
            anyhow::Ok(Ended { code, out, notes })
        };
        timeout(PATIENCE, ended).await.context("it does not end")?
    }

    async fn rest_of_notes(&mut self) -> Result<String> {
        let mut rest = String::new();
        timeout(PATIENCE, self.notes.get_mut().read_to_string(&mut rest)).await??;
        Ok(rest)
    }
}

/// Runs a verb to its end.
pub(crate) async fn run(words: &[&str]) -> Result<Ended> {
    Running::start(words, &[])?.end().await
}
