//! Backups of a host: made there as a job, brought here in pieces that survive a lost connection.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{fs::OpenOptions, io::AsyncWriteExt as _};

use super::{Deployment, Host, Remote, job::Job, journal::again, lines::quoted};
use crate::{
    backup::{self, Identities, MANIFEST, Manifest},
    files,
    told::{Tell, Told, Unit, harmless},
};

/// Units that work for the job.
const UNITS: [&str; 2] = ["relay-backup.service", "relay-backup-verify.service"];
/// Prints the name and the manifest of the newest one that is whole.
const NEWEST: &str = r#"set -eu
newest=
for manifest in "$place"/relay-*/manifest.json; do
  [ -f "$manifest" ] && newest=${manifest%/manifest.json}
done
[ -n "$newest" ] || { echo "there is no backup in $place yet" >&2; exit 1; }
echo "${newest##*/}"
cat "$newest/manifest.json"
"#;

/// Makes a backup on the host; ends well when it is whole.
#[must_use]
pub const fn job(verify: bool) -> Job<'static> {
    Job {
        name: "backup",
        about: "Backup of the relay, as somebody asked for",
        script: if verify {
            "systemctl start relay-backup.service && systemctl start relay-backup-verify.service"
        } else {
            "systemctl start relay-backup.service"
        },
        also: &UNITS,
    }
}

/// Where backups lie on the host.
pub(super) fn place(host: &Host) -> &str {
    host.text("backup_directory").unwrap_or("/var/backups/relay")
}

/// A backup on the host.
#[derive(Debug, Clone)]
pub struct There {
    /// Its name.
    pub name: String,
    /// What it says of itself.
    pub manifest: Manifest,
    directory: String,
    text: String,
}

/// The newest one of the host.
///
/// # Errors
/// When there is none, or the host cannot be asked.
pub async fn newest(deployment: &Deployment, remote: &Remote) -> Result<There> {
    let host = deployment.host()?;
    let place = place(&host);
    let script = format!("place={}\n{NEWEST}", quoted(place));
    let said = remote.done("look for the newest backup", &script, &[]).await?;
    let (name, text) = said.split_once('\n').context("read the newest backup")?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    ensure!(name.bytes().all(is_plain), "`{}` is no name of a backup", harmless(name, 60));
    Ok(There {
        manifest: Manifest::parse(text, name)?,
        directory: format!("{place}/{name}"),
        name: name.to_owned(),
        text: format!("{text}\n"),
    })
}

/// A backup that is here now.
#[derive(Debug)]
pub struct Fetched {
    /// Its directory.
    pub path: PathBuf,
    /// Whether it was restored on trial here; otherwise only its digests were compared, and why.
    pub unverified: Option<String>,
}

/// Brings one here, to `backups` of the deployment, and sees that it is whole. What an earlier run has
/// brought is not brought again.
///
/// # Errors
/// When it cannot be read or written, or is not what its manifest says.
pub async fn fetch(
    deployment: &Deployment,
    remote: &Remote,
    there: &There,
    tell: &mut Tell<'_>,
) -> Result<Fetched> {
    let backups = deployment.file("backups");
    let path = backups.join(&there.name);
    if !path.is_dir() {
        let partial = backups.join(format!(".{}.partial", there.name));
        directory(&backups)?;
        directory(&partial)?;
        for name in there.manifest.files.keys() {
            bring(remote, there, name, &partial.join(name), tell).await?;
        }
        files::write(&partial.join(MANIFEST), &there.text, 0o600)?;
        if let Err(damaged) = backup::open(&partial) {
            // What is wrong in it is not known: all of it is brought again.
            fs::remove_dir_all(&partial).context("remove what is damaged")?;
            return Err(
                damaged.context("it was damaged on the way, and is removed; run this again")
            );
        }
        fs::rename(&partial, &path).context("put the backup into its place")?;
    }
    let manifest = backup::open(&path)?;
    let by_hand = format!("provision backup verify {}", path.display());
    let unverified = match (manifest.is_sealed(), &*manifest.database) {
        (true, _) => Some(format!("it is encrypted: {by_hand} --age-identity FILE")),
        (false, "sqlite") => None,
        (false, _) => {
            Some(format!("it needs an empty database of Postgres: {by_hand} --scratch URL"))
        }
    };
    if unverified.is_none() {
        backup::verify(&path, None, &Identities::read(&[])?, tell).await?;
    }
    Ok(Fetched { path, unverified })
}

/// Brings a file, from where an earlier attempt ended.
async fn bring(
    remote: &Remote,
    there: &There,
    name: &str,
    to: &Path,
    tell: &mut Tell<'_>,
) -> Result<()> {
    let total = there.manifest.sizes.get(name).copied();
    loop {
        let done = fs::metadata(to).map_or(0, |file| file.len());
        if total == Some(done) {
            return Ok(());
        }
        if total.is_some_and(|total| done > total) {
            // Something else that has its name.
            fs::remove_file(to).with_context(|| format!("remove {}", to.display()))?;
            continue;
        }
        let from = quoted(&format!("{}/{name}", there.directory));
        let script = format!("exec tail -c +{} -- {from} </dev/null\n", done + 1);
        let told = Telling { name, done, total };
        let (code, words) = append(remote, &script, to, told, tell).await?;
        match code {
            Some(0) => return Ok(()),
            None | Some(255) => again(remote, tell).await?,
            Some(_) => bail!("bring {name}: {}", harmless(words.trim(), 300)),
        }
    }
}

/// How far it is.
struct Telling<'a> {
    name: &'a str,
    done: u64,
    total: Option<u64>,
}

/// Adds what a script writes to a file; gives its exit code, and what went wrong.
async fn append(
    remote: &Remote,
    script: &str,
    to: &Path,
    mut told: Telling<'_>,
    tell: &mut Tell<'_>,
) -> Result<(Option<i32>, String)> {
    let shown = to.display();
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(to).await;
    let mut file = file.with_context(|| format!("open {shown}"))?;
    let mut command = remote.command(&["sh", "-s", "--"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("start ssh")?;
    if let Some(mut input) = child.stdin.take() {
        // Who ends before it has read the script says why on the other side.
        if input.write_all(script.as_bytes()).await.is_err() {}
    }
    let mut out = child.stdout.take().context("stdout of ssh")?;
    let mut piece = vec![0; 256 << 10];
    loop {
        let read = tokio::io::AsyncReadExt::read(&mut out, &mut piece).await;
        let size = read.context("read from ssh")?;
        if size == 0 {
            break;
        }
        let bytes = piece.get(..size).unwrap_or_default();
        file.write_all(bytes).await.with_context(|| format!("write {shown}"))?;
        told.done += u64::try_from(size)?;
        if let Some(total) = told.total {
            let what = format!("bringing {}", told.name);
            tell(Told::Progress { what, done: told.done, total, unit: Unit::Bytes });
        }
    }
    file.sync_all().await.with_context(|| format!("write {shown}"))?;
    drop(out);
    let ended = child.wait_with_output().await.context("wait for ssh")?;
    Ok((ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned()))
}

fn directory(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("make {}", path.display()))
}

/// The whole path of what a person names as a backup of this side: one of `backups` of the deployment,
/// another directory, or a file of one (`.tar`, `.tar.age`).
///
/// # Errors
/// When it is not there, or damaged.
pub fn restorable(deployment: &Deployment, from: &str) -> Result<PathBuf> {
    let own = deployment.file("backups");
    let found = [PathBuf::from(from), own.join(from)].into_iter().find(|path| path.exists());
    let found = found.with_context(|| {
        format!(
            "there is no backup {} here, nor in {}; bring one: just backup {} --fetch",
            harmless(from, 200),
            own.display(),
            deployment.name()
        )
    })?;
    if found.is_dir() {
        backup::open(&found)?;
    }
    found.canonicalize().with_context(|| format!("find {}", found.display()))
}
