//! The built relay is started on what its predecessors left, and goes on as if it were theirs (DESIGN
//! 10.17).
//!
//! `tests/data/format-N` is a directory with its SQLite file, see `released_data.rs`. `tests/data/tables-N.sql`
//! is a Postgres database with version N of the tables, whose log is that of `format-N`: two banned
//! hosts that were read, one that is read and one that was banned before it answered, two accounts,
//! and one of them taken down (in version 2 its consumers were not told yet).

use std::fs;

use anyhow::{Context as _, Result, ensure};
use relay_simnet::{Consumer, Kind, Net, Pds, Start};
use serde_json::Value;
use sqlx::Connection as _;

use crate::{
    postgres_cluster::Cluster,
    process::{PASSWORD, RelayProcess, Setup},
    recorded::{seq, up_to},
    released_data::{EXPECTED, copy, formats, latest_commit, released, told},
};

/// Versions of the tables, each with the directory that has its log.
const TABLES: &[(i64, &str)] = &[(1, "format-1"), (2, "format-2")];
/// The version that this relay makes. Its own tables join those above when they are released; until
/// then they may still change.
const MADE: i64 = 7;
/// Where the host that is read has been read to.
const CURSOR: u64 = 3;
/// In place of the address of the host that is read.
const ADDRESS: &str = "localhost:1'";
/// The account that is taken down.
const HIDDEN: &str = "did:plc:lofhro6n3lfg3rmfuciecyq6";
/// The files get older, and must not be removed for that.
const KEEP_ALL: (&str, &str) = ("RELAY_REPLAY_WINDOW", "876000h");

/// What the tables of version 1 in a directory have besides what the relay wrote, so that they hold
/// what those of `tables-1.sql` do.
const MORE: &str = "
    INSERT INTO relay_host VALUES (3, 'localhost:1', 0, 'active', 0, 3, 0, 100, 0, 1, NULL, 0, 0, 0);
    INSERT INTO relay_host VALUES (4, 'pds-4.example.com', 1, 'banned', 0, NULL, 0, 100, 0, 0, NULL, 0, 0, 0);
    INSERT INTO relay_decision VALUES (x'5b8a78bbcddaca6dc585a09041621e', 'takendown');
";

/// A predecessor's data, ready to be started on.
struct Old {
    dir: tempfile::TempDir,
    expected: String,
    settings: Vec<(String, String)>,
    /// Whether consumers are still to be told of the account that is taken down.
    pending: bool,
}

impl Old {
    /// Copies the directory of a format.
    fn copied(format: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let data = dir.path().join("data");
        copy(&released().join(format), &data)?;
        let expected = fs::read_to_string(data.join(EXPECTED))?;
        let settings = vec![(KEEP_ALL.0.to_owned(), KEEP_ALL.1.to_owned())];
        Ok(Self { dir, expected, settings, pending: false })
    }
}

/// Lines of `expected.txt` about `what`, without those that nobody is shown.
fn lines<'t>(expected: &'t str, what: &str) -> Vec<&'t str> {
    let is_shown = |line: &&str| {
        let is_content = line.contains(" Commit ") || line.contains(" Sync ");
        line.starts_with(what) && !(is_content && line.contains(HIDDEN))
    };
    expected.lines().filter(is_shown).collect()
}

/// DESIGN 10.1, 10.17: an operator puts the new program in the place of the old one, on the directory
/// of any earlier format, and nothing is lost: neither events nor hosts, cursors, bans and takedowns.
#[tokio::test]
async fn the_built_relay_goes_on_with_every_released_directory() -> Result<()> {
    for format in formats()? {
        let net = Net::seeded(73).await?;
        let host = busy_host(&net).await?;
        let old = Old::copied(&format)?;
        let file = old.dir.path().join("data/relay.sqlite");
        let url = format!("sqlite://{}", file.display());
        let mut database = sqlx::SqliteConnection::connect(&url).await?;
        let script = MORE.replace(ADDRESS, &format!("{}'", host.hostname()));
        sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut database).await?;
        database.close().await?;

        let relay = goes_on(&net, &host, old).await.with_context(|| format.clone())?;

        let mut database = sqlx::SqliteConnection::connect(&url).await?;
        let version: i64 = sqlx::query_scalar("SELECT max(version) FROM relay_schema")
            .fetch_one(&mut database)
            .await?;
        ensure!(version == MADE, "tables of version {version}");
        drop(relay);
    }
    Ok(())
}

/// The same on Postgres, with the tables of every earlier version.
#[tokio::test]
async fn the_built_relay_goes_on_with_every_released_database() -> Result<()> {
    let Some(cluster) = Cluster::shared() else { return Ok(()) };
    for (version, format) in TABLES {
        let net = Net::seeded(73).await?;
        let host = busy_host(&net).await?;
        let mut old = Old::copied(format)?;
        fs::remove_file(old.dir.path().join("data/relay.sqlite"))?;
        let name = format!("tables-{version}-{}", std::process::id());
        let url = cluster.database(&name);
        let script = fs::read_to_string(released().join(format!("tables-{version}.sql")))?;
        let script = script.replace(ADDRESS, &format!("{}'", host.hostname()));
        cluster.sql(&name, &format!("SET ROLE \"{name}\";\n{script}"));
        old.settings.push(("DATABASE_URL".to_owned(), url));
        old.pending = *version == 2;

        let relay = goes_on(&net, &host, old).await.with_context(|| name.clone())?;

        let found = cluster.sql(&name, "SELECT max(version) FROM relay_schema");
        ensure!(found.parse() == Ok(MADE), "tables of version {found}");
        let pending = cluster.sql(&name, "SELECT count(*) FROM relay_decision WHERE pending = 1");
        ensure!(pending == "0", "{pending} decisions were not told");
        drop(relay);
    }
    Ok(())
}

/// The host that the predecessor read, with events behind the cursor.
async fn busy_host(net: &Net) -> Result<Pds> {
    let host = net.pds("gamma").await?;
    let carol = host.account("carol").await?;
    for number in 0..6 {
        carol.post(&format!("number {number}")).await?;
    }
    ensure!(host.head() > CURSOR, "nothing is behind the cursor");
    Ok(host)
}

/// Starts the relay on it, looks at everything, and starts it once more.
async fn goes_on(net: &Net, host: &Pds, old: Old) -> Result<RelayProcess> {
    let Old { dir, expected, settings, pending } = old;
    let (events, accounts) = (lines(&expected, "event "), lines(&expected, "account "));
    let last = events.last().and_then(|line| line.split(' ').nth(1)).context("no events")?;
    let last: u64 = last.parse()?;
    let settings: Vec<_> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
    let setup = Setup { dir: Some(dir), settings: &settings, ..Setup::default() };
    let mut relay = RelayProcess::start(net, setup).await?;
    relay.reach(net).await?;
    ensure!(host.cursors() == [CURSOR.to_string()], "asked for {:?}", host.cursors());

    let new = host.head() - CURSOR + u64::from(pending);
    let mut consumer = Consumer::connect(&relay.url(), Start::After(0)).await?;
    let all = up_to(&mut consumer, 0, last + new).await?;
    let (before, after) = all.split_at(events.len());
    let before: Vec<_> = before.iter().map(told).collect();
    ensure!(before == events, "other events: {before:#?}");
    let seqs: Vec<_> = after.iter().map(seq).collect();
    ensure!(seqs.iter().copied().eq(last + 1..=last + new), "numbers {seqs:?} after {last}");
    let told_now = after.iter().filter(|event| event.kind == Kind::Account && event.did == HIDDEN);
    ensure!(told_now.count() == usize::from(pending), "{after:?}");

    known(&relay, &accounts).await?;
    hosts(&relay, host).await?;

    // With a cursor from the middle, on a relay that has started twice.
    relay.stop().await?;
    relay.restart().await?;
    let middle = last / 2;
    let mut consumer = Consumer::connect(&relay.url(), Start::After(middle)).await?;
    let rest: Vec<_> = up_to(&mut consumer, middle, last + new).await?.iter().map(told).collect();
    let expected: Vec<_> = all.iter().filter(|event| seq(event) > middle).map(told).collect();
    ensure!(rest == expected, "other events after the second start: {rest:#?}");
    Ok(relay)
}

/// Accounts are where they were, and the one that is taken down still is.
async fn known(relay: &RelayProcess, accounts: &[&str]) -> Result<()> {
    for line in accounts {
        let did = line.split(' ').nth(1).context("a DID")?;
        if did == HIDDEN {
            let method = "com.atproto.sync.getRepoStatus";
            let url = format!("{}/xrpc/{method}?did={did}", relay.url());
            let status: Value = reqwest::get(url).await?.json().await?;
            ensure!(status["active"] == false && status["status"] == "takendown", "{status}");
        } else {
            let found = latest_commit(&relay.url(), did).await?;
            ensure!(found == *line, "{found} instead of {line}");
        }
    }
    Ok(())
}

/// Bans and cursors are what they were.
async fn hosts(relay: &RelayProcess, read: &Pds) -> Result<()> {
    let url = format!("http://{}/admin/v1/hosts", relay.admin_address());
    let client = reqwest::Client::builder().build()?;
    let answer = client.get(url).basic_auth("admin", Some(PASSWORD)).send().await?;
    let answer: Value = answer.error_for_status()?.json().await?;
    let hosts = answer["hosts"].as_array().context("a list")?;
    let found: Vec<_> = hosts
        .iter()
        .map(|host| (host["hostname"].as_str(), host["status"].as_str(), host["seq"].as_u64()))
        .collect();
    let name = read.hostname();
    let expected = [
        (Some("pds-1.example.com"), Some("banned"), Some(9)),
        (Some("pds-2.example.com"), Some("banned"), Some(9)),
        (Some(&*name), Some("active"), Some(read.head())),
        (Some("pds-4.example.com"), Some("banned"), None),
    ];
    ensure!(found == expected, "{found:?}");
    Ok(())
}
