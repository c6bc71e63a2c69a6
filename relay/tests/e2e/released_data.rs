//! Data directories that a released relay left are opened and replayed, for ever (DESIGN 10.1, 10.17).
//!
//! `tests/data/format-N` is what a killed relay of format N left: sealed segments (in format 2 the oldest
//! is compressed), an unsealed end, events newer than the last checkpoint, and the SQLite file, its pages
//! made small; `expected.txt` says
//! what is in it. A new format gets a new directory, made by the ignored test below; an old one is
//! never changed.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use relay::{
    config::{Config, Flags},
    daemon::{Daemon, Extras, Running},
};
use relay_simnet::{Consumer, Net, Received, Start};
use sha2::{Digest as _, Sha256};

use crate::{
    recorded::{after, head, seq, up_to},
    support::Relay,
};

/// Of the format that this version writes.
const NEWEST: &str = "format-2";
/// What is in a directory.
pub(crate) const EXPECTED: &str = "expected.txt";
/// The files are older every day, and must not be removed for that.
const AGE_MAX: Duration = Duration::from_hours(24 * 365 * 1_000);

/// Where they are.
pub(crate) fn released() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Names of all of them, in order.
pub(crate) fn formats() -> Result<Vec<String>> {
    let entries = fs::read_dir(released())?.collect::<Result<Vec<_>, _>>()?;
    let names = entries.into_iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("format-")).collect();
    names.sort();
    ensure!(names.contains(&NEWEST.to_owned()), "{names:?}");
    Ok(names)
}

/// Copies a directory with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        let to = to.join(file.file_name());
        if file.file_type()?.is_dir() {
            copy(&file.path(), &to)?;
        } else {
            fs::copy(file.path(), to)?;
        }
    }
    Ok(())
}

async fn open(data: &Path, net: &Net) -> Result<Running> {
    let data = data.display().to_string();
    let plc = net.plc().url();
    let env = [
        ("RELAY_DATA_DIR", data.as_str()),
        ("RELAY_PLC_HOST", plc.as_str()),
        ("RELAY_API_BIND", "127.0.0.1:0"),
        ("RELAY_ADMIN_BIND", "127.0.0.1:0"),
        ("RELAY_METRICS_LISTEN", "127.0.0.1:0"),
        ("RELAY_ADMIN_PASSWORD", "end-to-end-password"),
        ("RELAY_ALLOW_INSECURE_HOSTS", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut config = Config::load(&Flags::default(), &env, Path::new("."))?;
    config.replay_window = AGE_MAX;
    Ok(Daemon::start(config, Extras::default()).await?)
}

/// One line per event: seq, kind, DID, digest of the frame.
pub(crate) fn told(event: &Received) -> String {
    let digest = Sha256::digest(&event.frame);
    let hex = digest.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    format!("event {} {:?} {} {hex}", event.seq, event.kind, event.did)
}

/// One line per account: DID, rev, commit CID.
pub(crate) async fn latest_commit(api: &str, did: &str) -> Result<String> {
    let url = format!("{api}/xrpc/com.atproto.sync.getLatestCommit?did={did}");
    let body: serde_json::Value = reqwest::get(url).await?.json().await?;
    let text = |name: &str| body[name].as_str().map(str::to_owned).context(body.to_string());
    Ok(format!("account {did} {} {}", text("rev")?, text("cid")?))
}

/// DESIGN 10.1: every released directory gives the events and accounts that it always gave, and goes
/// on with the next seq; also at the second start.
#[tokio::test]
async fn every_released_data_directory_is_opened_and_replayed() -> Result<()> {
    for name in formats()? {
        let temporary = tempfile::tempdir()?;
        let data = temporary.path().join("data");
        copy(&released().join(&name), &data)?;
        let expected = fs::read_to_string(data.join(EXPECTED))?;
        Box::pin(replays(&data, &expected)).await.with_context(|| name.clone())?;
    }
    Ok(())
}

async fn replays(data: &Path, expected: &str) -> Result<()> {
    let net = Net::seeded(72).await?;
    let running = open(data, &net).await?;
    let api = format!("http://{}", running.api);
    let newest = running.log.window().head.0;
    let mut consumer = Consumer::connect(&api, Start::After(0)).await?;
    let events = up_to(&mut consumer, 0, newest).await?;
    let lines: Vec<String> = events.iter().map(told).collect();
    let of_events: Vec<&str> = expected.lines().filter(|line| line.starts_with("event")).collect();
    ensure!(lines == of_events, "other events: {lines:#?}");
    for line in expected.lines().filter(|line| line.starts_with("account")) {
        let did = line.split(' ').nth(1).context("a DID")?;
        let found = latest_commit(&api, did).await?;
        ensure!(found == line, "{found} instead of {line}");
    }

    let alpha = net.pds("alpha").await?;
    let carol = alpha.account("carol").await?;
    running.hosts.admit(&alpha.hostname(), true).await.unwrap();
    let first_new = consumer.next().await?;
    ensure!(first_new.did == carol.did() && seq(&first_new) == newest + 1, "{first_new:?}");
    running.stop().await?;

    let running = open(data, &net).await?;
    let mut consumer =
        Consumer::connect(&format!("http://{}", running.api), Start::After(newest - 1)).await?;
    let last: Vec<_> = consumer.take(2).await?.iter().map(told).collect();
    ensure!(last == [told(&events[events.len() - 1]), told(&first_new)], "{last:?}");
    Ok(running.stop().await?)
}

/// Makes the directory of the format that this version writes; for a new format only. The hosts in it
/// are banned, so that nobody is ever called.
#[tokio::test]
#[ignore = "writes into the source tree: run it once for a new format, then never again"]
async fn write_the_data_directory_of_this_format() -> Result<()> {
    let net = Net::seeded(71).await?;
    let relay = Relay::join_with(&net, |config, _| config.segment_bytes = 4_000).await?;
    let mut accounts = Vec::new();
    for (host, name) in [("alpha", "alice"), ("beta", "bob")] {
        let pds = net.pds(host).await?;
        relay.running.hosts.admit(&pds.hostname(), true).await.unwrap();
        pds.connected().await?;
        accounts.push(pds.account(name).await?);
    }
    for round in 0..2 {
        for account in &accounts {
            account.post(&format!("round {round}")).await?;
            account.sync().await?;
            account.change_handle(&format!("{}-{round}.test", account.name())).await?;
            account.set_status(false, Some("deactivated")).await?;
            account.set_status(true, None).await?;
        }
        relay.settled(&net).await?;
        if round == 0 {
            relay.running.checkpoint().await?;
        }
    }
    let mut expected = String::new();
    for event in after(&relay, 0).await? {
        writeln!(expected, "{}", told(&event))?;
    }
    for account in &accounts {
        writeln!(expected, "{}", latest_commit(&relay.url(), account.did()).await?)?;
    }
    ensure!(head(&relay) > 20);

    // As a kill leaves it: the relay is still running.
    let to = released().join(NEWEST);
    ensure!(!to.exists(), "{} is there already", to.display());
    copy(&relay.data_dir(), &to)?;
    for lock in ["lock", "persist/lock"] {
        fs::remove_file(to.join(lock))?;
    }
    fs::write(to.join(EXPECTED), expected)?;
    let options = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    let pool = options.connect(&to.join("relay.sqlite").display().to_string()).await?;
    for statement in [
        "UPDATE relay_host SET status = 'banned', secure = 1, hostname = 'pds-' || id || '.example.com'",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA page_size = 512",
        "VACUUM",
    ] {
        sqlx::raw_sql(statement).execute(&pool).await?;
    }
    pool.close().await;
    Ok(())
}
