//! Runs a playbook for a deployment, and tells what it does while it does it.
//!
//! Ansible says each event as a line of JSON, which is kept whole in `deployments/NAME/logs`.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::Instant,
};

use super::{Deployment, System, nixos, stop::Stop};
use crate::{
    ansible, cache, moment,
    told::{Tell, Told, harmless},
};

/// Ansible's plug-in that says events as lines.
const LINES: &str = "ansible.posix.jsonl";
/// Logs that are kept of a deployment.
const LOGS_MAX: usize = 20;
/// Characters of a reason.
const REASON_MAX: usize = 1_500;

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Played {
    /// Whether every task ended well.
    pub is_good: bool,
    /// How many tasks changed something.
    pub changed: u64,
    /// How long each role took, and how many of its tasks changed something, in order.
    pub roles: Vec<Role>,
    /// Why the first task that failed did, and the last one.
    pub failure: Option<String>,
    /// All that was said.
    pub log: PathBuf,
}

/// A part of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub time: Duration,
    /// How many of its tasks changed something.
    pub changed: u64,
}

/// Runs it.
///
/// * `book` – its file in `ansible`
/// * `words` – more arguments of `ansible-playbook`
///
/// # Errors
/// When Ansible cannot be had or started, or was told to stop; a run that failed is no error.
pub async fn play(
    deployment: &Deployment,
    book: &str,
    words: &[String],
    stop: &Stop,
    tell: &mut Tell<'_>,
) -> Result<Played> {
    if deployment.host()?.os == System::Nixos {
        bail!("{}", nixos::instead_of(book, deployment.name()));
    }
    let ansible = deployment.checkout().join("ansible");
    let program = program(deployment, tell)?;
    let (path, mut log) = log(deployment, book)?;
    let mut command = Command::new(&program);
    command.arg("-i").arg(deployment.inventory()).arg(book).args(words).current_dir(&ansible);
    command
        .env("ANSIBLE_STDOUT_CALLBACK", LINES)
        .env("ANSIBLE_SSH_COMMON_ARGS", deployment.ssh_words().join(" "))
        .env("ANSIBLE_FORCE_COLOR", "0")
        // Ctrl-C is handed on once, when it was seen here.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.try_clone().context("hand the log on")?);
    let mut child = command.spawn().with_context(|| format!("start {}", program.display()))?;
    let out = child.stdout.take().context("the output of ansible-playbook")?;
    let mut lines = BufReader::new(out).lines();
    let mut run = Run::new(path.clone());
    let mut was_told = false;
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Some(line) = line.context("read what ansible-playbook says")? else { break };
                writeln!(log, "{line}").context("write the log")?;
                run.take(&line, deployment.name(), tell);
            }
            () = stop.wait(), if !was_told => {
                was_told = true;
                interrupt(&child)?;
            }
        }
    }
    let status = child.wait().await.context("wait for ansible-playbook")?;
    if stop.is_told() {
        bail!("it was interrupted");
    }
    let said = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(run.ended(status.success(), &String::from_utf8_lossy(&said)))
}

fn interrupt(child: &Child) -> Result<()> {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    // It may have ended meanwhile.
    let Some(id) = id else { return Ok(()) };
    kill_process_group(id, Signal::INT).context("interrupt ansible-playbook")
}

/// That of the `PATH`, else of an environment of our own.
fn program(deployment: &Deployment, tell: &mut Tell<'_>) -> Result<PathBuf> {
    const NAME: &str = "ansible-playbook";
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) =
        std::env::split_paths(&path).map(|dir| dir.join(NAME)).find(|program| program.is_file())
    {
        return Ok(found);
    }
    tell(Told::Doing("fetching Ansible, once".to_owned()));
    let place = std::env::var_os("PROVISION_CACHE_DIR").map(PathBuf::from);
    let place = place.map_or_else(cache::usual_place, Ok)?;
    Ok(ansible::environment(deployment.checkout(), &place)?.join(NAME))
}

/// A new log; the oldest ones go.
fn log(deployment: &Deployment, book: &str) -> Result<(PathBuf, File)> {
    let dir = deployment.file("logs");
    let shown = dir.display();
    // Results of tasks may hold what is nobody's business.
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .with_context(|| format!("make {shown}"))?;
    let mut old: Vec<PathBuf> = fs::read_dir(&dir)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .with_context(|| format!("list {shown}"))?;
    old.sort_unstable();
    for path in old.iter().rev().skip(LOGS_MAX - 1) {
        fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?;
    }
    let moment = moment::day_and_time(moment::now_ms()).replace(':', "");
    let path = dir.join(format!("{moment}-{}.jsonl", book.trim_end_matches(".yml")));
    let file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
    let file = file.with_context(|| format!("make {}", path.display()))?;
    Ok((path, file))
}

/// A run as far as it is known.
struct Run {
    played: Played,
    began: Instant,
    failures: Vec<String>,
}

impl Run {
    fn new(log: PathBuf) -> Self {
        Self {
            played: Played { log, ..Played::default() },
            began: Instant::now(),
            failures: Vec::new(),
        }
    }

    /// Takes one line.
    fn take(&mut self, line: &str, host: &str, tell: &mut Tell<'_>) {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            if line.starts_with("[ERROR]") || line.starts_with("ERROR") {
                self.failures.push(line.to_owned());
            }
            return;
        };
        let what = event["_event"].as_str().unwrap_or_default();
        let task = event["task"]["name"].as_str().unwrap_or_default();
        let result = &event["hosts"][host];
        match what {
            "v2_playbook_on_task_start" | "v2_playbook_on_handler_task_start" => {
                let (role, name) = task.split_once(" : ").unwrap_or(("", task));
                self.in_role(role);
                // Ansible looks at the variables of all roles, also of those that do not run now.
                if !name.starts_with("Validating arguments") {
                    let role = if role.is_empty() { String::new() } else { format!("{role}: ") };
                    tell(Told::Doing(format!("{role}{name}")));
                }
            }
            "v2_runner_on_ok" => {
                if result["changed"] == true
                    && let Some(role) = self.played.roles.last_mut()
                {
                    role.changed += 1;
                }
                let is_debug = result["action"] == "ansible.builtin.debug";
                if let Some(text) = result["msg"].as_str().filter(|_| is_debug) {
                    tell(Told::Note(harmless(text, REASON_MAX)));
                }
            }
            "v2_runner_on_failed" | "v2_runner_on_unreachable" => {
                let (_, name) = task.split_once(" : ").unwrap_or(("", task));
                self.failures.push(format!("{name}: {}", reason(result)));
            }
            "v2_playbook_on_stats" => {
                self.in_role("");
                let count = |name: &str| event["stats"][host][name].as_u64().unwrap_or(0);
                self.played.changed = count("changed");
                self.played.is_good = count("failures") == 0
                    && count("unreachable") == 0
                    && event["stats"][host].is_object();
            }
            _ => {}
        }
    }

    /// A task of this role begins; the time goes to the one before.
    fn in_role(&mut self, role: &str) {
        let now = Instant::now();
        let took = now - std::mem::replace(&mut self.began, now);
        if let Some(last) = self.played.roles.last_mut() {
            last.time += took;
        }
        let is_new = self.played.roles.last().is_none_or(|last| last.name != role);
        if is_new && !role.is_empty() {
            let role = Role { name: role.to_owned(), time: Duration::ZERO, changed: 0 };
            self.played.roles.push(role);
        }
    }

    /// * `said` – everything, of which the words between the events are what Ansible itself has to say
    fn ended(mut self, succeeded: bool, said: &str) -> Played {
        self.played.is_good &= succeeded;
        // The first one is the cause. What failed last may be what it led to, or say what was done then.
        self.played.failure = match &*self.failures {
            [] => None,
            [only] => Some(only.clone()),
            [first, .., last] => Some(format!("{first}; then {last}")),
        };
        if !self.played.is_good && self.played.failure.is_none() {
            let last = said
                .lines()
                .rfind(|line| !line.trim().is_empty() && !line.starts_with('{'))
                .unwrap_or("it said nothing");
            self.played.failure = Some(harmless(last, REASON_MAX));
        }
        self.played
    }
}

/// Why a task failed, in the words of the module, or of the first thing of a loop that failed.
fn reason(result: &Value) -> String {
    let items = result["results"].as_array().into_iter().flatten();
    let failed = items.clone().find(|item| item["failed"] == true).unwrap_or(result);
    let words = ["msg", "stderr", "stdout"].map(|name| failed[name].as_str().unwrap_or_default());
    let mut said: Vec<&str> =
        words.into_iter().map(str::trim).filter(|text| !text.is_empty()).collect();
    said.dedup();
    said.truncate(2);
    harmless(&said.join(" "), REASON_MAX).replace("\\u{a}", " ")
}

/// A short account of a run: its roles with their times.
#[must_use]
pub fn account(played: &Played) -> String {
    let mut sums: Vec<(&str, Duration, u64)> = Vec::new();
    for role in &played.roles {
        match sums.iter_mut().find(|(name, ..)| *name == role.name) {
            Some(sum) => {
                sum.1 += role.time;
                sum.2 += role.changed;
            }
            None => sums.push((&role.name, role.time, role.changed)),
        }
    }
    let shown = sums.iter().map(|(name, time, _)| format!("{name} {} s", time.as_secs()));
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(lines: &[&str]) -> (Played, Vec<Told>) {
        let mut run = Run::new(PathBuf::new());
        let mut told = Vec::new();
        for line in lines {
            run.take(line, "ash", &mut |what| {
                told.push(what);
                true
            });
        }
        (run.ended(true, ""), told)
    }

    const END: &str = r#"{"_event":"v2_playbook_on_stats","stats":{"ash":{"changed":2,"failures":0,"unreachable":0}}}"#;

    /// A person sees which task of which role runs, what Ansible has to say, and at the end what changed.
    #[test]
    fn a_run_is_told_while_it_runs() {
        let (played, told) = taken(&[
            "[WARNING]: something else",
            r#"{"_event":"v2_playbook_on_task_start","task":{"name":"storage : Find the disks"}}"#,
            r#"{"_event":"v2_runner_on_ok","task":{"name":"storage : Find the disks"},"hosts":{"ash":{"changed":true}}}"#,
            r#"{"_event":"v2_playbook_on_task_start","task":{"name":"relay : Say that another one runs"}}"#,
            r#"{"_event":"v2_runner_on_ok","task":{"name":"x"},"hosts":{"ash":{"action":"ansible.builtin.debug","msg":"another"}}}"#,
            END,
        ]);
        assert!(played.is_good && played.changed == 2, "{played:?}");
        let roles: Vec<_> = played.roles.iter().map(|role| (&*role.name, role.changed)).collect();
        assert_eq!(roles, [("storage", 1), ("relay", 0)]);
        let doing = Told::Doing("storage: Find the disks".to_owned());
        assert!(
            told.contains(&doing) && told.contains(&Told::Note("another".to_owned())),
            "{told:?}"
        );
        assert_eq!(account(&played), "storage 0 s, relay 0 s");
    }

    /// What failed is said with the reason of the module, also when it was one thing of many, or when
    /// the host was not reached; a run that ended before its end is no good run.
    #[test]
    fn a_failure_is_told_with_its_reason() {
        let failed = |hosts: &str| {
            format!(
                r#"{{"_event":"v2_runner_on_failed","task":{{"name":"storage : See"}},"hosts":{hosts}}}"#
            )
        };
        let end = END.replace("\"failures\":0", "\"failures\":1");
        for (hosts, says) in [
            (r#"{"ash":{"failed":true,"msg":"it holds ext4"}}"#, "See: it holds ext4"),
            (
                r#"{"ash":{"msg":"One or more items failed","results":[{"failed":false},{"failed":true,"msg":"no space"}]}}"#,
                "See: no space",
            ),
            (
                r#"{"ash":{"msg":"non-zero return code","stderr":"no such\nfile"}}"#,
                "non-zero return code no such file",
            ),
        ] {
            let (played, _) = taken(&[&failed(hosts), &end]);
            let why = played.failure.clone().unwrap_or_default();
            assert!(!played.is_good && why.contains(says), "{says}: {played:?}");
        }
        let first = failed(r#"{"ash":{"msg":"no program"}}"#);
        let last = failed(r#"{"ash":{"msg":"no service"}}"#);
        let why = taken(&[&first, &first, &last, &end]).0.failure;
        assert_eq!(why.as_deref(), Some("See: no program; then See: no service"));
        let (cut, _) = taken(&["[ERROR]: no such inventory"]);
        assert!(!cut.is_good && cut.failure.is_some_and(|why| why.contains("no such inventory")));
    }
}
