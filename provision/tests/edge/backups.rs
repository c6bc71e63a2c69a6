//! The drill: a backup under load, a machine that is lost, and a relay that goes on elsewhere.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use relay_simnet::{Account, Consumer, Item, Net, Start};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    binaries,
    postgres_cluster::Cluster,
    process::{RelayProcess, Setup},
    program,
};

/// Longest wait until the database knows all accounts.
const PATIENCE: Duration = Duration::from_mins(1);

/// Settings of a relay in a directory, as a file.
pub(crate) fn env_file(
    dir: &Path,
    name: &str,
    data: &Path,
    database: Option<&str>,
) -> Result<PathBuf> {
    let mut text = format!("RELAY_DATA_DIR={}\nRELAY_CONTACT=mailto:a@b.example\n", data.display());
    text.extend(database.map(|url| format!("DATABASE_URL={url}\n")));
    let path = dir.join(name);
    fs::write(&path, text)?;
    Ok(path)
}

pub(crate) async fn relay(
    net: &Net,
    dir: TempDir,
    settings: &[(&str, &str)],
) -> Result<RelayProcess> {
    let binary = Some(binaries::relay()?);
    RelayProcess::start(net, Setup { dir: Some(dir), settings, binary, ..Setup::default() }).await
}

/// Runs a verb that must succeed; gives its JSON.
async fn done(words: &[&str]) -> Result<Value> {
    let ended = program::run(&[words, &["--json"]].concat()).await?;
    ensure!(ended.code == Some(0), "{words:?}: {ended:?}");
    Ok(serde_json::from_str(&ended.out)?)
}

pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Accounts and whether they are active, as the relay lists them.
async fn accounts(relay: &RelayProcess) -> Result<Vec<(String, bool)>> {
    let (status, body) = relay.get("com.atproto.sync.listRepos?limit=100").await?;
    ensure!(status == 200, "{body}");
    let repos = body["repos"].as_array().context("no list")?;
    let mut found: Vec<_> = repos
        .iter()
        .map(|repo| (repo["did"].as_str().unwrap_or_default().to_owned(), repo["active"] == true))
        .collect();
    found.sort();
    Ok(found)
}

/// Posts without pause until it is told to stop; gives how many.
fn load(account: &Account) -> (Arc<AtomicBool>, JoinSet<Result<u32>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (account, stopping) = (account.clone(), Arc::clone(&stop));
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut posts = 0;
        while !stopping.load(Ordering::Relaxed) {
            account.post(&format!("load {posts}")).await?;
            posts += 1;
            tokio::task::yield_now().await;
        }
        Ok(posts)
    });
    (stop, task)
}

/// Makes backups until one knows all accounts; the database learns of them at its next checkpoint.
async fn backed_up(env: &str, to: &str, accounts: u64) -> Result<Value> {
    let made = async {
        loop {
            let words = ["backup", "--env", env, "--to", to, "--keep", "2"];
            let made = done(&[&words[..], &["--with-secrets", "--plain-secrets"]].concat()).await?;
            if made["manifest"]["counts"]["accounts"].as_u64() == Some(accounts) {
                return anyhow::Ok(made);
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(PATIENCE, made).await.context("the database does not learn of the accounts")?
}

/// Where the database is, before the loss and after it.
struct Places {
    before: Option<String>,
    after: Option<String>,
    scratch: Option<String>,
}

/// The whole drill.
async fn drill(seed: u64, places: &Places) -> Result<()> {
    let net = Net::seeded(seed).await?;
    let [alpha, beta] = [net.pds("alpha").await?, net.pds("beta").await?];
    let [alice, bob] = [alpha.account("alice").await?, beta.account("bob").await?];
    let url = |place: &Option<String>| place.clone().map(|url| ("DATABASE_URL", url));
    let old_settings: Vec<_> = url(&places.before).into_iter().collect();
    let old_settings: Vec<_> = old_settings.iter().map(|(name, url)| (*name, &**url)).collect();
    let mut old = relay(&net, tempfile::tempdir()?, &old_settings).await?;
    old.crawl(&net).await?;
    bob.deactivate().await?;
    let home = tempfile::tempdir()?;
    let env = shown(&env_file(home.path(), "env", &old.data(), places.before.as_deref())?);
    let to = shown(&home.path().join("backups"));

    let (stop, mut load) = load(&alice);
    let made = backed_up(&env, &to, 2).await?;
    let backup = made["path"].as_str().context("a path")?.to_owned();
    alice.post("after the backup").await?;
    stop.store(true, Ordering::Relaxed);
    let posts = load.join_next().await.context("the load")???;
    ensure!(posts > 0, "there was no load");
    old.reach(&net).await?;
    let mut consumer = Consumer::connect(&old.url(), Start::After(0)).await?;
    while consumer.next_for(&alice).await?.text() != "after the backup" {}
    let listed = accounts(&old).await?;
    let taken = shown(&old.data());
    old.kill()?;
    // What came after that post is on the consumer's way still.
    while let Item::Event(_) = consumer.next_item().await? {}
    let last = u64::try_from(consumer.last_seq())?;

    let refused = program::run(&["restore", &backup, "--env", &env]).await?;
    ensure!(refused.code == Some(1) && refused.notes.contains("already"), "{refused:?}");
    let verify = ["backup", "verify", &backup];
    let scratch: Vec<_> = places.scratch.iter().flat_map(|url| ["--scratch", url]).collect();
    done(&[&verify[..], &scratch[..]].concat()).await?;
    fs::remove_dir_all(&taken)?;

    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let env = env_file(home.path(), "new-env", &data, places.after.as_deref())?;
    let restored = done(&["restore", &backup, "--env", &shown(&env)]).await?;
    let floor = restored["floor"].as_u64().context("a floor")?;
    ensure!(floor > last, "seq {floor} is not above {last}");
    ensure!(fs::read_to_string(&env)?.contains(&format!("RELAY_INITIAL_SEQ_NUMBER={floor}\n")));
    alice.post("while it is away").await?;
    let floor_text = floor.to_string();
    let new_settings: Vec<_> = url(&places.after).into_iter().collect();
    let mut new_settings: Vec<_> = new_settings.iter().map(|(name, url)| (*name, &**url)).collect();
    new_settings.push(("RELAY_INITIAL_SEQ_NUMBER", &floor_text));
    let new = relay(&net, dir, &new_settings).await?;

    let mut late = Consumer::connect(&new.url(), Start::After(last)).await?;
    let mut seqs = Vec::new();
    loop {
        let event = late.next().await?;
        seqs.push(u64::try_from(event.seq)?);
        if event.did == alice.as_ref() && event.text() == "while it is away" {
            break;
        }
    }
    ensure!(seqs.iter().all(|seq| *seq >= floor), "a seq below {floor}: {seqs:?}");
    let told: Vec<_> = late.infos().iter().map(|(name, _)| name.as_str()).collect();
    ensure!(told == ["OutdatedCursor"], "what is lost is not announced: {told:?}");
    ensure!(accounts(&new).await? == listed, "the accounts are others");
    for host in [&alpha, &beta] {
        let cursors = host.cursors();
        let last = cursors.last().context("the host was asked")?;
        ensure!(last.parse::<u64>().is_ok_and(|cursor| cursor > 0), "{cursors:?}");
    }
    Ok(())
}

/// The server burns down; on an empty machine the relay goes on: no number is used twice, hosts are
/// read from where they were, and consumers are told that something is missing.
#[tokio::test]
async fn a_lost_relay_goes_on_elsewhere_with_sqlite() -> Result<()> {
    drill(501, &Places { before: None, after: None, scratch: None }).await
}

/// The same with Postgres, into another database.
#[tokio::test]
async fn a_lost_relay_goes_on_elsewhere_with_postgres() -> Result<()> {
    let Some(cluster) = Cluster::start() else { return Ok(()) };
    let database = |name: &str| Some(cluster.database(name));
    // The first is a URL that names the directory of the socket, the second says it in words.
    let _url = database("drill_after");
    let dir = cluster.socket().parent().context("a directory")?.display().to_string();
    let user = "user=drill_after password='secret-drill_after'";
    let places = Places {
        before: database("drill_before"),
        after: Some(format!("postgres=host={dir} {user} dbname=drill_after")),
        scratch: database("drill_scratch"),
    };
    drill(502, &places).await
}

/// A backup that rots is found out before it is needed, and one that would overwrite something or lacks
/// its settings restores nothing.
#[tokio::test]
async fn a_damaged_backup_is_refused_and_nothing_is_overwritten() -> Result<()> {
    let net = Net::seeded(503).await?;
    let running = relay(&net, tempfile::tempdir()?, &[]).await?;
    let home = tempfile::tempdir()?;
    let env = shown(&env_file(home.path(), "env", &running.data(), None)?);
    let to = shown(&home.path().join("backups"));
    let words = ["backup", "--env", &env, "--to", &to];
    let made = done(&words).await?;
    let backup = made["path"].as_str().context("a path")?.to_owned();
    assert_eq!(made["manifest"]["hasSecrets"], false);
    done(&["backup", "verify", &backup]).await?;

    let missing = shown(&home.path().join("missing"));
    let ended = program::run(&["restore", &backup, "--env", &missing]).await?;
    assert!(ended.code == Some(1) && ended.notes.contains("without their secrets"), "{ended:?}");
    let file = Path::new(&backup).join("relay.sqlite");
    let mut bytes = fs::read(&file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes)?;
    let place = home.path().join("elsewhere");
    let other = shown(&env_file(home.path(), "other", &place, None)?);
    for words in [vec!["backup", "verify", &backup], vec!["restore", &backup, "--env", &other]] {
        let ended = program::run(&words).await?;
        assert!(ended.code == Some(1) && ended.notes.contains("damaged"), "{words:?}: {ended:?}");
    }
    assert!(!place.exists(), "something was restored");
    let usage = program::run(&["backup", "--to", &to]).await?;
    assert_eq!(usage.code, Some(2), "{usage:?}");
    Ok(())
}
