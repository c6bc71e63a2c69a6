//! Where things are kept, and where settings come from.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use relay_simnet::Net;

use crate::{
    http::send,
    postgres_cluster::Cluster,
    process::{Program, until},
    relay::Relay,
};

/// Names of the files in a directory; none when there is no directory.
fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn segments(dir: &Path) -> usize {
    let is_segment = |name: &&String| Path::new(name).extension().is_some_and(|kind| kind == "log");
    files(dir).iter().filter(is_segment).count()
}

/// Setting `config`, DESIGN 6: the file is read, and the running relay goes by defaults < file < `.env`
/// < environment < flags.
#[tokio::test]
async fn each_source_overrides_the_one_before() {
    let program = Program::new();
    let dir = program.dir().to_path_buf();
    fs::write(dir.join("relay.toml"), "contact = 'mailto:file@example.com'\n").unwrap();
    let shown = async |program: &Program, contact: &str| {
        let relay = program.start().await;
        let home = relay.home().await;
        assert!(home.contains(&format!("contact   {contact}\n")), "{contact}: {home}");
        relay.stop().await;
    };

    shown(&program, "not given").await;
    let program = program.argument("--config=relay.toml");
    shown(&program, "mailto:file@example.com").await;
    fs::write(dir.join(".env"), "RELAY_CONTACT=mailto:dot@example.com\n").unwrap();
    shown(&program, "mailto:dot@example.com").await;
    let program = program.set("RELAY_CONTACT", "mailto:env@example.com");
    shown(&program, "mailto:env@example.com").await;
    let program = program.argument("--contact=mailto:flag@example.com");
    shown(&program, "mailto:flag@example.com").await;
}

/// What `relay config` prints is a settings file that gives the same settings again.
#[tokio::test]
async fn the_settings_that_are_printed_can_be_read_again() {
    let first = Program::new()
        .argument("config")
        .argument("--crawl=a.example.com,b.example.com")
        .argument("--replay-window=90m")
        .argument("--contact=say \"hi\"");
    let printed = first.run().await;
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let values = |text: &str| {
        let lines = text.lines().filter_map(|line| Some(line.rsplit_once("  # ")?.0.trim_end()));
        lines.map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    // A file cannot name a file, and what is redacted is not to be read back.
    let kept = |line: &&str| !line.starts_with("config =") && !line.starts_with("admin_passwords");
    let file: Vec<&str> = printed.stdout.lines().filter(kept).collect();
    let second = Program::new().argument("config").argument("--config=relay.toml");
    fs::write(second.dir().join("relay.toml"), file.join("\n")).unwrap();

    let again = second.run().await;

    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let (printed, again) = (values(&printed.stdout), values(&again.stdout));
    assert_eq!(printed.get(1..), again.get(1..));
    assert!(again.contains(&"crawl = \"a.example.com,b.example.com\"".to_owned()), "{again:?}");
}

/// Setting `data_dir`: log, database, lock and the generated password lie there, and a second process
/// on it is refused.
#[tokio::test]
async fn everything_lies_in_the_data_directory() {
    let program = Program::new().unset("RELAY_ADMIN_PASSWORD");
    let data = program.dir().join("else/where");
    let program = program.set("RELAY_DATA_DIR", &data.display().to_string());

    let relay = program.start().await;

    let found = files(&data);
    for name in ["lock", "relay.sqlite", "persist", "admin-password"] {
        assert!(found.iter().any(|file| file == name), "{name} is not among {found:?}");
    }
    assert_eq!(segments(&data.join("persist")), 1);
    assert_eq!(files(&program.dir().join("data")), [""; 0], "nothing is where it usually is");
    let password = data.join("admin-password");
    assert_eq!(fs::metadata(&password).unwrap().permissions().mode() & 0o777, 0o600);
    let password = fs::read_to_string(&password).unwrap().trim().to_owned();
    let opens = format!("Authorization: Bearer {password}");
    let status = send(relay.at().admin, "GET", "/admin/v1/status", &[&opens]).await;
    assert_eq!(status.status, 200);

    let second = Program::new().set("RELAY_DATA_DIR", &data.display().to_string());
    let refused = second.run().await;
    assert_eq!(refused.code, Some(1));
    let sentence = format!("another relay runs on the data directory {}", data.display());
    assert!(refused.stderr.contains(&sentence), "{}", refused.stderr);
    let log = relay.stop().await;
    assert!(log.contains("admin-password") && !log.contains(&password), "I8: {log}");
    second.start().await.stop().await;
}

/// Setting `persist_dir`.
#[tokio::test]
async fn the_event_log_lies_where_it_is_told() {
    let program = Program::new();
    let there = program.dir().join("events");
    let program = program.set("RELAY_PERSIST_DIR", &there.display().to_string());

    program.start().await.stop().await;

    assert_eq!(segments(&there), 1);
    let data = files(&program.dir().join("data/relay"));
    assert!(data.contains(&"lock".to_owned()) && !data.contains(&"persist".to_owned()), "{data:?}");
}

/// Setting `database_url`: a file elsewhere, or Postgres; the host that was added is there.
#[tokio::test]
async fn hosts_are_kept_in_the_database_that_is_named() {
    let program = Program::new();
    let file = program.dir().join("db/other.sqlite");
    let program = program.set("DATABASE_URL", &format!("sqlite://{}", file.display()));
    program.start().await.stop().await;
    assert!(fs::metadata(&file).unwrap().len() > 0);
    assert!(!program.dir().join("data/relay/relay.sqlite").exists());

    let Some(cluster) = Cluster::shared() else { return };
    let url = cluster.database("relay-url");
    let net = Net::seeded(1).await.unwrap();
    let pds = net.pds("alpha").await.unwrap();
    let program = Program::beside(&net).set("DATABASE_URL", &url);
    let relay = program.start().await;
    assert_eq!(relay.crawl(&pds.hostname()).await.status, 200);
    relay.stop().await;
    let known = cluster.sql("relay-url", "SELECT hostname FROM relay_host");
    assert_eq!(known, pds.hostname());
    assert!(!program.dir().join("data/relay/relay.sqlite").exists());
}

/// Setting `database_connections`: with every answer held up in the database, so many are open.
#[tokio::test]
async fn no_more_connections_than_allowed_are_opened() {
    let Some(cluster) = Cluster::shared() else { return };
    for allowed in [2, 5] {
        let name = format!("relay-{allowed}-connections");
        let url = cluster.database(&name);
        let count = allowed.to_string();
        let settings = [("DATABASE_URL", url.as_str()), ("MAX_DB_CONNECTIONS", count.as_str())];
        let relay = Relay::start_with(&settings).await;
        let owner = sqlx::PgPool::connect(&cluster.url("postgres", "", &name)).await.unwrap();
        let mut held = owner.begin().await.unwrap();
        let lock = "LOCK TABLE relay_account IN ACCESS EXCLUSIVE MODE";
        sqlx::query(lock).execute(&mut *held).await.unwrap();
        let api = relay.api();
        let questions = (0..12).map(|number| async move {
            let path =
                format!("/xrpc/com.atproto.sync.getRepoStatus?did=did:web:a{number}.example.com");
            send(api, "GET", &path, &[]).await.status
        });
        let asking = futures_util::future::join_all(questions);
        let connections = async |filter: &str| -> i64 {
            let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = $1 {filter}");
            // The text is put together from words of this test alone.
            let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(&name);
            query.fetch_one(&owner).await.unwrap()
        };

        let watching = async {
            // One of them keeps other relays out and does nothing else.
            until("all that may be open wait for the lock", async || {
                connections("AND wait_event_type = 'Lock'").await >= allowed - 1
            })
            .await;
            assert_eq!(connections("").await, allowed);
            held.rollback().await.unwrap();
        };
        let (answers, ()) = tokio::join!(asking, watching);

        assert_eq!(answers, [404; 12], "control: then all are answered");
        relay.stop().await;
        owner.close().await;
    }
}
