//! The place of a reference relay is taken: its database is read, its consumers go on.

use std::{fs, path::Path};

use relay_simnet::{Account, Consumer, Kind, Net, Start};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    postgres_cluster::Cluster,
    process::{Ended, Process, Program},
};

/// The tables as the reference relay makes them in SQLite.
const SQLITE: &str = "
CREATE TABLE domain_bans (id integer PRIMARY KEY AUTOINCREMENT, created_at datetime, domain text UNIQUE);
CREATE TABLE host (id integer PRIMARY KEY AUTOINCREMENT, created_at datetime, updated_at datetime,
  hostname text NOT NULL UNIQUE, no_ssl numeric DEFAULT false, account_limit integer,
  trusted numeric DEFAULT false, status text DEFAULT 'active', last_seq integer DEFAULT -1,
  account_count integer DEFAULT 0, account_limit_alerts_silenced numeric DEFAULT false,
  account_limit_alert_state text DEFAULT 'ok', account_limit_alert_sent_at datetime);
CREATE TABLE account (uid integer PRIMARY KEY AUTOINCREMENT, did text NOT NULL UNIQUE,
  host_id integer NOT NULL, status text NOT NULL DEFAULT 'active',
  upstream_status text NOT NULL DEFAULT 'active');
CREATE TABLE account_repo (uid integer PRIMARY KEY AUTOINCREMENT, rev text NOT NULL,
  commit_cid text NOT NULL, commit_data_cid text NOT NULL);
CREATE TABLE log_file_refs (id integer PRIMARY KEY AUTOINCREMENT, created_at datetime,
  updated_at datetime, deleted_at datetime, path text, archived numeric, seq_start integer);
";

/// The same in Postgres.
const POSTGRES: &str = "
CREATE TABLE domain_bans (id bigserial PRIMARY KEY, created_at timestamptz, domain text UNIQUE);
CREATE TABLE host (id bigserial PRIMARY KEY, created_at timestamptz, updated_at timestamptz,
  hostname text NOT NULL UNIQUE, no_ssl boolean DEFAULT false, account_limit bigint,
  trusted boolean DEFAULT false, status text DEFAULT 'active', last_seq bigint DEFAULT -1,
  account_count bigint DEFAULT 0, account_limit_alerts_silenced boolean DEFAULT false,
  account_limit_alert_state text DEFAULT 'ok', account_limit_alert_sent_at timestamptz);
CREATE TABLE account (uid bigserial PRIMARY KEY, did text NOT NULL UNIQUE, host_id bigint NOT NULL,
  status text NOT NULL DEFAULT 'active', upstream_status text NOT NULL DEFAULT 'active');
CREATE TABLE account_repo (uid bigserial PRIMARY KEY, rev text NOT NULL, commit_cid text NOT NULL,
  commit_data_cid text NOT NULL);
CREATE TABLE log_file_refs (id bigserial PRIMARY KEY, created_at timestamptz, updated_at timestamptz,
  deleted_at timestamptz, path text, archived boolean, seq_start bigint);
";

/// Hosts and decisions of all kinds.
const CONTENTS: &str = "
INSERT INTO host (hostname, no_ssl, account_limit, status, last_seq) VALUES
  ('localhost:1', true, 5000, 'active', 77), ('localhost:2', true, 3, 'offline', -1),
  ('localhost:3', true, 200, 'banned', 9), ('10.0.0.1', false, 100, 'active', 5);
INSERT INTO domain_bans (domain) VALUES ('bad.example.com');
INSERT INTO account (did, host_id, status, upstream_status) VALUES
  ('did:plc:aaaaaaaaaaaaaaaaaaaaaaaa', 1, 'active', 'active'),
  ('did:plc:bbbbbbbbbbbbbbbbbbbbbbbb', 1, 'takendown', 'active'),
  ('did:plc:cccccccccccccccccccccccc', 1, 'host-throttled', 'deactivated'),
  ('did:plc:dddddddddddddddddddddddd', 1, 'active', 'deleted');
INSERT INTO account_repo (uid, rev, commit_cid, commit_data_cid) VALUES (1, '3jzfcijpj2z2a',
  'bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a',
  'bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a');
INSERT INTO log_file_refs (path, seq_start) VALUES ('evts-0', 0), ('evts-40000', 40000);
";

async fn sqlite(path: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn import(program: &Program, url: &str, more: &[&str]) -> Ended {
    let line = ["import", "--from-indigo", url].into_iter().chain(more.iter().copied());
    line.fold(program.clone(), Program::argument).run().await
}

async fn status(relay: &Process, did: &str) -> Value {
    let path = format!("/xrpc/com.atproto.sync.getRepoStatus?did={did}");
    crate::http::send(relay.at().api, "GET", &path, &[]).await.json()
}

/// What a relay shows that has taken the contents above.
async fn shows_what_was_taken(relay: &Process) {
    let listed = relay.admin("/admin/v1/hosts").await.json();
    let hosts: Vec<_> = listed["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|host| {
            let name = host["hostname"].as_str().unwrap();
            let (limit, count) = (&host["accountLimit"], &host["accountCount"]);
            (name, limit.as_u64().unwrap(), host["seq"].as_u64(), count.as_u64().unwrap())
        })
        .collect();
    assert_eq!(
        hosts,
        [
            ("localhost:1", 5_000, Some(77), 3),
            ("localhost:2", 3, None, 0),
            ("localhost:3", 200, Some(9), 0)
        ]
    );
    assert_eq!(listed["hosts"][2]["status"], "banned");
    let of = |letter: &str| format!("did:plc:{}", letter.repeat(24));
    let first = status(relay, &of("a")).await;
    assert_eq!((&first["active"], &first["rev"]), (&true.into(), &"3jzfcijpj2z2a".into()));
    assert_eq!(status(relay, &of("b")).await["status"], "takendown");
    assert_eq!(status(relay, &of("c")).await["status"], "deactivated");
    assert_eq!(status(relay, &of("d")).await["status"], "deleted");
    let banned = relay.crawl("pds.bad.example.com").await;
    assert_eq!((banned.status, banned.error().as_str()), (403, "HostBanned"));
}

async fn is_taken_once(program: &Program, url: &str) {
    let dry = import(program, url, &["--dry-run"]).await;
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    assert!(dry.stdout.contains("hosts: 3 new, 0 known here"), "{}", dry.stdout);
    assert!(dry.stdout.contains("left out: host 10.0.0.1: "), "{}", dry.stdout);
    assert!(dry.stdout.ends_with("nothing was changed\n"), "{}", dry.stdout);
    assert!(!program.dir().join("data/relay/relay.sqlite").exists(), "a dry run makes no database");

    let done = import(program, url, &[]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(
        done.stdout.contains("accounts: 4 new, 1 of them with their last commit"),
        "{}",
        done.stdout
    );
    assert!(done.stdout.contains("1 taken down, 0 suspended"), "{}", done.stdout);
    assert!(done.stdout.contains("numbers go on at 1040001"), "{}", done.stdout);
    let again = import(program, url, &["--json", "--head", "50000"]).await;
    let again: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!((&again["hostsNew"], &again["accountsNew"]), (&0.into(), &0.into()), "{again}");

    let relay = program.start().await;
    assert!(relay.log().contains("oldest 1040001"), "the floor only rises: {}", relay.log());
    shows_what_was_taken(&relay).await;
    let running = import(program, url, &[]).await;
    assert_eq!(running.code, Some(1));
    assert!(running.stderr.contains("another relay runs on"), "{}", running.stderr);
    relay.stop().await;
}

/// A person takes the SQLite database of a reference relay: hosts with cursors and limits, bans,
/// takedowns, accounts with their last commits; once, however often.
#[tokio::test(flavor = "multi_thread")]
async fn a_reference_relay_on_sqlite_is_taken_over_once() {
    let net = Net::seeded(1).await.unwrap();
    let program = Program::beside(&net);
    let path = program.dir().join("indigo.sqlite");
    sqlite(&path, SQLITE).await;
    sqlite(&path, CONTENTS).await;
    let before = fs::read(&path).unwrap();

    is_taken_once(&program, &format!("sqlite://{}", path.display())).await;

    assert_eq!(fs::read(&path).unwrap(), before, "what is somebody else's is not touched");
}

/// The same from Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn a_reference_relay_on_postgres_is_taken_over_once() {
    let Some(cluster) = Cluster::shared() else { return };
    let net = Net::seeded(1).await.unwrap();
    let url = cluster.database("indigo");
    cluster.sql("indigo", &format!("SET ROLE indigo; {POSTGRES} {CONTENTS}"));

    is_taken_once(&Program::beside(&net), &url).await;
}

/// What is not understood is not guessed at, and then nothing is taken; each sentence says what to do.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_refused_whole() {
    let net = Net::seeded(1).await.unwrap();
    let program = Program::beside(&net);
    let path = program.dir().join("indigo.sqlite");
    let url = format!("sqlite://{}", path.display());
    let missing = import(&program, &url, &[]).await;
    assert!(missing.stderr.contains("there is no file"), "{}", missing.stderr);
    sqlite(&path, "CREATE TABLE pds (id integer PRIMARY KEY)").await;
    let archival = import(&program, &url, &[]).await;
    assert!(archival.stderr.contains("its table `host` is missing"), "{}", archival.stderr);
    sqlite(&path, SQLITE).await;
    let unknown = import(&program, &url, &[]).await;
    assert!(unknown.stderr.contains("say with --head"), "{}", unknown.stderr);
    sqlite(&path, CONTENTS).await;
    sqlite(&path, "UPDATE account SET status = 'frozen' WHERE uid = 4").await;
    let odd = import(&program, &url, &[]).await;
    assert!(
        odd.stderr.contains("unknown local status \"frozen\"; nothing was taken"),
        "{}",
        odd.stderr
    );
    let low = import(&program, &url, &["--head", "39998"]).await;
    assert!(low.stderr.contains("is below 40000"), "{}", low.stderr);
    for ended in [missing, archival, unknown, odd, low] {
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    }
    let relay = program.start().await;
    assert_eq!(relay.admin("/admin/v1/hosts").await.json()["hosts"], Value::Array(Vec::new()));
    relay.stop().await;
}

/// The rows that a reference relay would have of this account.
async fn rows_of(relay: &Process, uid: usize, account: &Account) -> String {
    let why = relay.admin(&format!("/admin/v1/why?did={}", account.did())).await.json();
    let text = |key: &str| why["account"][key].as_str().unwrap().to_owned();
    format!(
        "INSERT INTO account (uid, did, host_id) VALUES ({uid}, '{}', 1); \
         INSERT INTO account_repo VALUES ({uid}, '{}', '{}', '{}');",
        account.did(),
        text("rev"),
        text("commit"),
        text("data"),
    )
}

/// Texts of the next posts.
async fn posts(consumer: &mut Consumer, count: usize) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    while found.len() < count {
        let event = consumer.next().await.unwrap();
        // An account begins with a commit of nothing.
        if event.kind == Kind::Commit && !event.text().is_empty() {
            found.push((event.seq, event.text()));
        }
    }
    found
}

/// A consumer that was at the other relay and keeps its cursor goes on at this one under the same
/// address: nothing is missing, nothing comes twice, numbers rise. The cursor of a host lags, as it does
/// after a crash of the other relay.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_keeps_its_cursor_goes_on_after_the_change() {
    let net = Net::seeded(1).await.unwrap();
    let pds = net.pds("alpha").await.unwrap();
    let (alice, bob) = (pds.account("alice").await.unwrap(), pds.account("bob").await.unwrap());
    let ports = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let [free, admin, metrics] = ports.each_ref().map(|port| port.local_addr().unwrap());
    drop(ports);
    let at = |program: Program| {
        program
            .set("RELAY_API_BIND", &free.to_string())
            .set("RELAY_ADMIN_BIND", &admin.to_string())
            .set("RELAY_METRICS_LISTEN", &metrics.to_string())
    };
    let old = at(Program::beside(&net)).set("RELAY_INITIAL_SEQ_NUMBER", "7000");
    let relay = old.start().await;
    let mut consumer =
        Consumer::connect(&format!("http://{free}"), Start::After(0)).await.unwrap().reconnecting();
    relay.crawl(&pds.hostname()).await;
    alice.post("one").await.unwrap();
    bob.post("two").await.unwrap();
    let before = posts(&mut consumer, 2).await;
    let rows = [rows_of(&relay, 1, &alice).await, rows_of(&relay, 2, &bob).await].concat();
    relay.stop().await;
    alice.post("three").await.unwrap();

    let new = at(Program::beside(&net));
    let path = new.dir().join("indigo.sqlite");
    sqlite(&path, SQLITE).await;
    let lagging = pds.head() - 2;
    let host = pds.hostname();
    sqlite(
        &path,
        &format!(
            "INSERT INTO host (hostname, no_ssl, account_limit, last_seq) VALUES ('{host}', true, \
             100, {lagging}); {rows} INSERT INTO log_file_refs (path, seq_start) VALUES ('evts-7000', 7000);"
        ),
    )
    .await;
    let head = before.last().unwrap().0;
    let url = format!("sqlite://{}", path.display());
    let taken = import(&new, &url, &["--head", &head.to_string()]).await;
    assert_eq!(taken.code, Some(0), "{}", taken.stderr);
    let relay = new.start().await;
    pds.connected().await.unwrap();
    bob.post("four").await.unwrap();

    let after = posts(&mut consumer, 2).await;
    let mut texts: Vec<&str> = after.iter().map(|(_, text)| text.as_str()).collect();
    // Of two accounts: in any order.
    texts.sort_unstable();
    assert_eq!(texts, ["four", "three"]);
    assert!(after[0].0 > head, "{after:?}");
    assert_eq!(consumer.infos(), [], "nothing is missing");
    let why = relay.admin(&format!("/admin/v1/why?did={}", bob.did())).await.json();
    assert_eq!(why["drops"][0]["reason"], "stale", "control: the second post came again: {why}");
    relay.stop().await;
}
