//! What an operator meets when the database is not as it should be.

use std::fs;

use relay::store::{Checkpoint, Store, StoreError};

use super::{Cluster, Place, fresh_name};

async fn refused(url: &str) -> String {
    match Store::open(url, 4).await {
        Err(StoreError::Setup(sentence)) => sentence,
        other => panic!("not refused as a wrong setting: {other:?}"),
    }
}

/// Postgres 15 gives the schema `public` to the owner of the database only; the sentence that is
/// printed is exactly what helps.
#[tokio::test]
async fn a_missing_right_prints_the_grant_that_lifts_it() {
    let Some(cluster) = Cluster::shared() else { return };
    let owner = fresh_name();
    cluster.database(&owner);
    cluster.sql("postgres", "CREATE USER \"odd \"\"guest\"\"\" PASSWORD 'secret'");
    let url = cluster.url("odd%20%22guest%22", "secret", &owner);

    let sentence = refused(&url).await;

    let grant = sentence.lines().last().unwrap().trim();
    assert_eq!(grant, "GRANT USAGE, CREATE ON SCHEMA public TO \"odd \"\"guest\"\"\";");
    assert!(sentence.contains(&format!("database \"{owner}\"")), "{sentence}");
    cluster.sql(&owner, grant);
    Store::open(&url, 4).await.unwrap().ping().await.unwrap();
    // A guest that may not even look into the schema gets the same sentence.
    let owner = fresh_name();
    cluster.database(&owner);
    cluster.sql(&owner, "REVOKE ALL ON SCHEMA public FROM PUBLIC");
    let sentence = refused(&cluster.url("odd%20%22guest%22", "secret", &owner)).await;
    assert_eq!(sentence.lines().last().unwrap().trim(), grant);
}

/// I8: wrong password, unknown user, missing database: a sentence each, never the password.
#[tokio::test]
async fn a_wrong_login_is_explained_without_the_password() {
    let Some(cluster) = Cluster::shared() else { return };
    let name = fresh_name();
    let right = cluster.database(&name);

    let password = refused(&cluster.url(&name, "hunter2", &name)).await;
    let user = refused(&cluster.url("who", "hunter2", &name)).await;
    let database = refused(&cluster.url(&name, &format!("secret-{name}"), "nowhere")).await;

    assert!(password.contains(&format!("refuses user \"{name}\"")), "{password}");
    assert!(user.contains("refuses user \"who\""), "{user}");
    assert!(database.contains(&format!("CREATE DATABASE \"nowhere\" OWNER \"{name}\";")));
    for sentence in [password, user, database] {
        assert!(!sentence.contains("hunter2") && !sentence.contains("secret-"), "{sentence}");
    }
    Store::open(&right, 4).await.unwrap();
}

/// STYLE 9: a server that goes away makes the store unavailable, and comes back by itself.
#[tokio::test]
async fn a_server_that_restarts_is_found_again() {
    let Some(cluster) = Cluster::start() else { return };
    let store = Store::open(&cluster.database("relay"), 4).await.unwrap();
    store.ping().await.unwrap();

    cluster.stop();
    let down = [store.ping().await, store.checkpoint(&Checkpoint::default()).await];
    let opened = Store::open(&cluster.url("relay", "secret-relay", "relay"), 4).await;
    cluster.resume();

    for result in down.into_iter().chain([opened.map(drop)]) {
        let Err(StoreError::Unavailable(sentence)) = result else { panic!("{result:?}") };
        assert!(!sentence.contains("secret-relay"), "{sentence}");
    }
    store.ping().await.unwrap();
    store.checkpoint(&Checkpoint::default()).await.unwrap();
}

/// A directory that cannot be made and a file that is no database: one sentence each.
#[tokio::test]
async fn an_unusable_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(
        &file,
        "this is not a database, and longer than a header of one hundred bytes: \
                      it goes on and on until there is no doubt",
    )
    .unwrap();

    let below = refused(&format!("sqlite://{}/relay.sqlite", file.display())).await;
    let foreign = Store::open(&format!("sqlite://{}", file.display()), 4).await;
    let directory = refused(&format!("sqlite://{}", dir.path().display())).await;

    let named = file.display().to_string();
    assert!(below.contains(&named), "{below}");
    assert!(
        matches!(&foreign, Err(StoreError::Damaged(words)) if words.contains(&named)),
        "{foreign:?}"
    );
    assert!(directory.contains("cannot open the database"), "{directory}");
    let good = format!("sqlite://{}", dir.path().join("relay.sqlite").display());
    Store::open(&good, 4).await.unwrap();
}

/// DESIGN 10.17: tables of a newer relay are refused, on both databases.
#[tokio::test]
async fn tables_of_a_newer_relay_are_refused() {
    for place in [Some(Place::sqlite()), Place::postgres()].into_iter().flatten() {
        place.open().await.close().await;
        let insert = "INSERT INTO relay_schema (version, readable_from) VALUES (900, 800)";
        if let Some(path) = place.url.strip_prefix("sqlite://") {
            let pool = sqlx::SqlitePool::connect(path).await.unwrap();
            sqlx::query(insert).execute(&pool).await.unwrap();
            pool.close().await;
        } else {
            let pool = sqlx::PgPool::connect(&place.url).await.unwrap();
            sqlx::query(insert).execute(&pool).await.unwrap();
            pool.close().await;
        }

        let sentence = refused(&place.url).await;

        assert!(sentence.contains("tables of version 900"), "{sentence}");
    }
}

/// DESIGN 10.4: at most 200 bytes per account, without indexes. `STORE_ROWS=5000000` measures what
/// the design states; fewer rows give the same figure.
#[tokio::test]
async fn an_account_takes_at_most_200_bytes() {
    let Some(place) = Place::postgres() else { return };
    let rows = fill(&place).await;

    let pool = sqlx::PgPool::connect(&place.url).await.unwrap();
    let bytes: i64 = sqlx::query_scalar("SELECT pg_relation_size('relay_account')")
        .fetch_one(&pool)
        .await
        .unwrap();

    let per_row = bytes.cast_unsigned() / rows;
    assert!((150..=200).contains(&per_row), "{per_row} bytes per row");
}

/// Issue 3, section 5: a server that is not there is one sentence, which says where it was looked for
/// and what the system says, and repeats no password (I8).
#[tokio::test]
async fn a_server_that_cannot_be_reached_is_one_sentence() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().display().to_string();
    let nobody = [
        (format!("postgres://ann:hunter2@127.0.0.1:{port}/relay"), format!("127.0.0.1:{port}")),
        (format!("postgres://ann:hunter2@localhost/relay?host={socket}"), socket),
    ];
    for (url, place) in nobody {
        let opened = Store::open(&url, 4).await;
        let Err(StoreError::Unavailable(why)) = &opened else { panic!("{opened:?}") };
        let sentence = opened.as_ref().unwrap_err().to_string();
        assert!(why.starts_with(&format!("Postgres at {place}")), "{why}");
        assert!(why.contains("cannot be reached"), "{why}");
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
        assert!(!sentence.contains("hunter2"), "{sentence}");
    }
}

/// Issue 3, section 5: a second relay on the same database is refused in one sentence, also when its
/// directories are others; when the first has closed, or died, it may begin.
#[tokio::test]
async fn a_postgres_database_has_one_relay_at_a_time() {
    let Some(place) = Place::postgres() else { return };
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = place.open().await;
    first.claim(here.path()).await.unwrap();
    let second = place.open().await;

    let refused = second.claim(there.path()).await.unwrap_err();

    assert!(matches!(refused, StoreError::Setup(_)), "{refused:?}");
    let sentence = refused.to_string();
    assert!(sentence.starts_with("another relay works on the database \"relay-"), "{sentence}");
    assert_eq!(sentence.lines().count(), 1);
    second.ping().await.unwrap();
    first.close().await;
    second.claim(there.path()).await.unwrap();
    // The claim goes with its session, as when a process dies. The next one on the same directory
    // knows that it is dead; any other waits whether it comes back.
    drop(second);
    let third = place.open().await;
    third.claim(there.path()).await.unwrap();
    drop(third);
    let fourth = place.open().await;
    fourth.claim(here.path()).await.unwrap();
    fourth.close().await;
}

/// The same of a SQLite file, whatever directories the two have and whatever they call the file.
#[tokio::test]
async fn a_sqlite_file_has_one_relay_at_a_time() {
    let file = Place::sqlite();
    let dir = tempfile::tempdir().unwrap();
    let first = file.open().await;
    first.claim(dir.path()).await.unwrap();
    let link = dir.path().join("link.sqlite");
    std::os::unix::fs::symlink(file.url.trim_start_matches("sqlite://"), &link).unwrap();
    let second = Store::open(&format!("sqlite://{}", link.display()), 4).await.unwrap();

    let refused = second.claim(dir.path()).await.unwrap_err();

    assert!(matches!(refused, StoreError::Setup(_)), "{refused:?}");
    let sentence = refused.to_string();
    assert!(sentence.starts_with("another relay works on the database file "), "{sentence}");
    assert_eq!(sentence.lines().count(), 1);
    first.close().await;
    second.claim(dir.path()).await.unwrap();
}

/// DESIGN 10.4, on SQLite.
#[tokio::test]
async fn an_account_takes_at_most_200_bytes_of_sqlite() {
    let place = Place::sqlite();
    let rows = fill(&place).await;

    let pool = sqlx::SqlitePool::connect(&place.url).await.unwrap();
    let bytes: i64 =
        sqlx::query_scalar("SELECT sum(pgsize) FROM dbstat WHERE name = 'relay_account'")
            .fetch_one(&pool)
            .await
            .unwrap();

    let per_row = bytes.cast_unsigned() / rows;
    assert!((150..=200).contains(&per_row), "{per_row} bytes per row");
}

/// Writes many accounts, as checkpoints do; gives how many.
async fn fill(place: &Place) -> u64 {
    let store = place.open().await;
    let wanted = std::env::var_os("STORE_ROWS").and_then(|rows| rows.to_str()?.parse().ok());
    let rows: u64 = wanted.unwrap_or(20_000);
    for first in (1..=rows).step_by(20_000) {
        let accounts = super::cases::accounts(first..=rows.min(first + 19_999));
        let checkpoint = Checkpoint { accounts, ..Checkpoint::default() };
        store.checkpoint(&checkpoint).await.unwrap();
    }
    rows
}
