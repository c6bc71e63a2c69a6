//! The SQLite file cannot be written.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use sqlx::Connection as _;

use crate::{
    process::Setup,
    scene::{Scene, traffic},
};

/// What health says while the file is read and not written.
const NO_WRITES: &str =
    "the database takes no writes: events are served, and replayed after a restart";

/// Lets writes to the database fail as on a file system that the kernel made read-only: with `EROFS`,
/// while the file that `READ_ONLY_WHILE` names exists.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
static int refused(int file) {
    const char *flag = getenv("READ_ONLY_WHILE");
    char link[64], path[4096];
    if (!flag || access(flag, F_OK) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!strstr(path, ".sqlite")) return 0;
    errno = EROFS;
    return 1;
}
ssize_t write(int file, const void *bytes, size_t count) {
    static ssize_t (*next)(int, const void *, size_t);
    if (!next) next = dlsym(RTLD_NEXT, "write");
    return refused(file) ? -1 : next(file, bytes, count);
}
ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    static ssize_t (*next)(int, const void *, size_t, off_t);
    if (!next) next = dlsym(RTLD_NEXT, "pwrite");
    return refused(file) ? -1 : next(file, bytes, count, at);
}
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    static ssize_t (*next)(int, const void *, size_t, off64_t);
    if (!next) next = dlsym(RTLD_NEXT, "pwrite64");
    return refused(file) ? -1 : next(file, bytes, count, at);
}
"#;

/// Builds the library that is put before the system's own.
fn shim(dir: &Path) -> Result<String> {
    let (source, library) = (dir.join("shim.c"), dir.join("shim.so"));
    fs::write(&source, SHIM)?;
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
    let built = command.output().context("a C compiler, which the build needs too")?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Ok(library.display().to_string())
}

/// I1–I4, DESIGN 10.5: a file system that turns read-only beneath the database: events go on, the log
/// keeps what no checkpoint holds, health says so, and a kill in the middle loses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_turns_read_only_costs_no_event() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (library, flag) = (shim(dir.path())?, dir.path().join("flag"));
    let shown = flag.display().to_string();
    let settings = [("LD_PRELOAD", library.as_str()), ("READ_ONLY_WHILE", shown.as_str())];
    let setup = Setup { settings: &settings, ..Setup::default() };
    let mut scene = Scene::start(481, traffic(), setup).await?;

    fs::write(&flag, "")?;
    scene.suffers(NO_WRITES).await?;
    scene.flows(200).await?;
    fs::remove_file(&flag)?;
    scene.relay.health(200).await?;
    scene.flows(100).await?;

    fs::write(&flag, "")?;
    scene.relay.health(503).await?;
    scene.flows(200).await?;
    scene.relay.kill()?;
    fs::remove_file(&flag)?;
    scene.relay.restart().await?;
    scene.flows(200).await?;
    scene.end().await?.relay.stop().await
}

/// DESIGN 10.5: another process that holds the lock of the file for longer than one waits for it, as a
/// backup that hangs: events go on, health says so, and both end with the lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_another_process_locks_costs_no_event() -> Result<()> {
    let mut scene = Scene::start(482, traffic(), Setup::default()).await?;
    let file = scene.relay.data().join("relay.sqlite");
    let mut other = sqlx::SqliteConnection::connect(&file.display().to_string()).await?;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await?;

    scene.suffers(NO_WRITES).await?;
    scene.flows(200).await?;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await?;
    other.close().await?;
    scene.relay.health(200).await?;
    scene.flows(100).await?;

    let mut ended = scene.end().await?;
    ended.counted().await?;
    ended.relay.stop().await
}

/// A file that this user may only read, as a restore by another user leaves it, is refused at the start
/// in a sentence, not found out at the first checkpoint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_file_that_may_only_be_read_is_refused_at_the_start() -> Result<()> {
    // Rights do not bind root unless it gives that privilege up.
    let bound = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    let is_root = fs::metadata("/proc/self")?.uid() == 0;
    let under: &[&str] = if is_root { &bound } else { &[] };
    let setup = Setup { under, ..Setup::default() };
    let mut ended = Scene::start(483, traffic(), setup).await?.end().await?;
    ended.relay.stop().await?;
    let file = ended.relay.data().join("relay.sqlite");

    fs::set_permissions(&file, fs::Permissions::from_mode(0o444))?;
    let refused = ended.relay.restart().await.err().map(|error| format!("{error:#}"));
    let refused = refused.context("it starts")?;
    let sentence = format!("the database file {} cannot be written", file.display());
    ensure!(refused.contains(&sentence), "{refused}");

    // What SQLite made beside it has the same rights.
    for entry in fs::read_dir(ended.relay.data())? {
        let path = entry?.path();
        if path.to_string_lossy().contains("relay.sqlite") {
            fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
        }
    }
    ended.relay.restart().await?;
    ended.relay.stop().await
}
