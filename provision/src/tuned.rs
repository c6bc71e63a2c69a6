//! Puts a plan where the deployment reads it: the relay's environment, a file of Postgres' `conf.d`,
//! one of `sysctl.d`, and a drop-in of the unit.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    env_file::{Conflict, EnvFile},
    files::{self, Change, FileError},
    sizing::{FIXED, Plan, Value, Where},
    words,
};

const WIDTH: usize = 98;
const MODE: u32 = 0o644;
/// The environment may get secrets by hand.
const ENV_MODE: u32 = 0o600;

/// Files that are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Environment of the relay.
    pub env: PathBuf,
    /// Settings of Postgres.
    pub postgres: PathBuf,
    /// Settings of the kernel.
    pub kernel: PathBuf,
    /// Settings of the unit.
    pub unit: PathBuf,
}

/// Several servers of Postgres are installed.
#[derive(Debug, thiserror::Error)]
#[error(
    "there are several Postgres clusters: {}; say with --postgres-conf which file to write", .0.join(", ")
)]
pub struct SeveralClusters(pub Vec<String>);

impl Targets {
    /// The usual places below a root, unless others are given.
    ///
    /// # Errors
    /// [`SeveralClusters`] when Postgres' place is neither given nor certain.
    pub fn below(
        root: &Path,
        env: Option<&Path>,
        postgres: Option<&Path>,
    ) -> Result<Self, SeveralClusters> {
        Ok(Self {
            env: env.map_or_else(|| root.join("etc/relay/env"), Path::to_path_buf),
            postgres: postgres.map_or_else(|| cluster(root), |path| Ok(path.to_path_buf()))?,
            kernel: root.join("etc/sysctl.d/60-relay.conf"),
            unit: root.join("etc/systemd/system/relay.service.d/50-tune.conf"),
        })
    }

    /// For the screen.
    pub fn shown(&self) -> Where {
        let shown = |path: &Path| path.display().to_string();
        Where {
            relay: shown(&self.env),
            postgres: shown(&self.postgres),
            kernel: shown(&self.kernel),
            unit: shown(&self.unit),
        }
    }
}

/// Debian has a directory per version and cluster, each with its `conf.d`.
fn cluster(root: &Path) -> Result<PathBuf, SeveralClusters> {
    let entries = |dir: &Path| -> Vec<PathBuf> {
        let found = fs::read_dir(dir).into_iter().flatten().flatten();
        found.map(|entry| entry.path()).collect()
    };
    let versions = entries(&root.join("etc/postgresql"));
    let mut found: Vec<PathBuf> = versions
        .iter()
        .flat_map(|version| entries(version))
        .map(|cluster| cluster.join("conf.d"))
        .filter(|dir| dir.is_dir())
        .map(|dir| dir.join("50-relay.conf"))
        .collect();
    found.sort();
    if found.len() > 1 {
        return Err(SeveralClusters(found.iter().map(|p| p.display().to_string()).collect()));
    }
    Ok(found.pop().unwrap_or_else(|| root.join("etc/relay/postgresql.conf")))
}

/// What was done to a file, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// What was done.
    pub change: Change,
    /// What has to be done for it to take effect.
    pub then: &'static str,
}

/// What was done, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The files.
    pub files: Vec<Written>,
    /// What people set otherwise in the environment; it stayed.
    pub conflicts: Vec<Conflict>,
}

/// Writes the files of a plan; with `dry_run` only says what would change.
///
/// # Errors
/// [`FileError`]; files before the one that failed are written.
pub fn apply(plan: &Plan, targets: &Targets, dry_run: bool) -> Result<Applied, FileError> {
    let old = EnvFile::new(files::read(&targets.env)?.unwrap_or_default());
    let (env, conflicts) = old.with_block(&plan.relay);
    let mut wanted = vec![
        (&targets.env, env, ENV_MODE, "systemctl restart relay"),
        (&targets.kernel, sysctl(&plan.kernel), MODE, "sysctl --system"),
        (
            &targets.unit,
            unit(&plan.unit),
            MODE,
            "systemctl daemon-reload && systemctl restart relay",
        ),
    ];
    if !plan.postgres.is_empty() {
        let then = "systemctl restart postgresql";
        wanted.push((&targets.postgres, postgres(&plan.postgres), MODE, then));
    }
    let mut files = Vec::new();
    for (path, text, mode, then) in wanted {
        let change =
            if dry_run { files::change(path, &text)? } else { files::write(path, &text, mode)? };
        files.push(Written { path: path.clone(), change, then });
    }
    Ok(Applied { files, conflicts })
}

/// Values as lines, below their formulas and reasons as comments.
fn commented(values: &[Value], line: impl Fn(&Value) -> String) -> String {
    let mut text = String::new();
    for value in values {
        let about = match value.formula.as_str() {
            FIXED => value.reason.clone(),
            formula => format!("{formula}: {}", value.reason),
        };
        for part in words::wrapped(&about, WIDTH) {
            text.extend(["# ", &part, "\n"]);
        }
        text.extend([line(value).as_str(), "\n\n"]);
    }
    text.trim_end().to_owned() + "\n"
}

const ABOUT: &str = "# Made by `provision tune`, and made anew each time: put your own values into a \
                     file that is read later.\n\n";

/// A file for Postgres' `conf.d`.
pub fn postgres(values: &[Value]) -> String {
    ABOUT.to_owned() + &commented(values, |value| format!("{} = '{}'", value.name, value.value))
}

/// A file for `sysctl.d`.
pub fn sysctl(values: &[Value]) -> String {
    ABOUT.to_owned() + &commented(values, |value| format!("{} = {}", value.name, value.value))
}

/// A drop-in of the relay's unit.
pub fn unit(values: &[Value]) -> String {
    let (of_unit, of_service): (Vec<Value>, Vec<Value>) =
        values.iter().cloned().partition(|value| value.name == "RequiresMountsFor");
    let line = |value: &Value| format!("{}={}", value.name, quoted(&value.value));
    let unit = commented(&of_unit, line);
    format!("{ABOUT}[Unit]\n{unit}\n[Service]\n{}", commented(&of_service, line))
}

/// As systemd reads words: `%` begins a specifier, spaces separate.
fn quoted(text: &str) -> String {
    let text = text.replace('%', "%%");
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.:%".contains(&b)) {
        return text;
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
