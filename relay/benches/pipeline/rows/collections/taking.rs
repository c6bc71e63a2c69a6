//! What `relay collections import` takes from end to end: the file, the command, the admin API, the rows of
//! the accounts, the index.

use std::{fs::File, io::Write as _, path::Path, process::Command};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    filled::{Filled, did},
    world::Dice,
};
use crate::{
    meter::{CpuTime, float},
    options::Options,
    process::PASSWORD,
    rows::Measured,
    table::{Must, Row},
};

/// Collections of each account of the dump: as many as an account has in the mean.
const EACH: u64 = 6;
/// Names among which these are.
const KINDS: u64 = 60;
/// One of so many accounts of the relay is in the dump.
const SHARE: u64 = 10;

/// A dump of accounts that the relay knows, in the order of another relay.
pub(super) async fn measure(
    filled: &Filled,
    (options, database): (&Options, &str),
    measured: &mut Measured,
) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("dump.zst");
    let accounts = (filled.accounts / SHARE).max(1);
    write(&file, filled.accounts, accounts)?;
    let mut command = Command::new(options.binary());
    command
        .args(["collections", "import", "--json", "--admin"])
        .arg(format!("http://{}", filled.relay.admin_address()))
        .arg(&file)
        .env_clear()
        .env("RELAY_ADMIN_PASSWORD", PASSWORD)
        .current_dir(dir.path());
    let (begin, cpu) = (Instant::now(), CpuTime::of(filled.relay.pid())?.all);
    // The simulated host goes on meanwhile.
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = CpuTime::of(filled.relay.pid())?.all - cpu;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the import failed: {said}");
    let sum: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(
        sum["accounts"] == accounts && sum["new"] == 0 && sum["unknown"] == 0,
        "not every account was known: {sum}"
    );
    let pairs = float(sum["pairs"].as_u64().unwrap_or(0));
    let what = format!("a dump of {accounts} known accounts, all included, {database}");
    let row = Row::new("collections", what, "/s").must(Must::Report, None);
    let raw = format!(
        "{pairs:.0} pairs in {seconds:.1} s; relay {:.1} us of CPU each",
        cpu * 1e6 / pairs
    );
    measured.add(row.is(pairs / seconds, raw));
    Ok(())
}

fn write(file: &Path, known: u64, accounts: u64) -> Result<()> {
    let mut out = zstd::Encoder::new(File::create(file)?, 1)?;
    let mut dice = Dice::new(known);
    writeln!(out, "{}", json!({"format": "atproto-collections", "version": 1, "dump": "bench"}))?;
    // A stride that shares no factor with powers of ten meets each account once, far from the one before.
    let stride = 7_919 * SHARE + 1;
    let mut pairs = 0;
    for place in 0..accounts {
        let number = 1 + place * stride % known;
        let first = dice.below(KINDS);
        let kind =
            |place: u64| format!("org.example.taken.kind{}", (first + place * place) % KINDS);
        let mut kinds: Vec<String> = (0..EACH).map(kind).collect();
        kinds.sort();
        kinds.dedup();
        pairs += kinds.len();
        writeln!(out, "{}", json!({"did": did(number)?.as_str(), "collections": kinds}))?;
    }
    writeln!(out, "{}", json!({"accounts": accounts, "pairs": pairs}))?;
    out.finish()?.sync_all()?;
    Ok(())
}
