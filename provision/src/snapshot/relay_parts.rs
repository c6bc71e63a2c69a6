//! Parts that the relay and its database tell.

use std::{net::SocketAddr, str::FromStr as _, time::Duration};

use anyhow::{Context as _, Result};
use relay::config::Config;
use serde_json::{Map, Value, json};
use sqlx::{Connection as _, PgConnection, Row as _, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::machine::numbers;
use crate::feed;

const BYTES_MAX: usize = 16 << 20;
const ANSWER_MAX: Duration = Duration::from_secs(5);

fn near(bind: SocketAddr) -> SocketAddr {
    crate::doctor::near(bind)
}

pub(super) async fn health(config: &Config) -> Result<Value> {
    let url = format!("http://{}/_health", near(config.metrics_bind));
    let answer = feed::client()?.get(&url).timeout(ANSWER_MAX).send().await;
    // A relay that is not well answers 503, and says why.
    answer.with_context(|| format!("ask {url}"))?.json().await.context("read its health")
}

pub(super) async fn metrics(config: &Config) -> Result<Value> {
    let url = format!("http://{}/metrics", near(config.metrics_bind));
    let body = timeout(ANSWER_MAX, feed::bytes(&feed::client()?, &url, BYTES_MAX)).await;
    let body = body.with_context(|| format!("{url} gave no answer within 5 s"))??;
    Ok(serde_json::to_value(numbers(&String::from_utf8_lossy(&body)))?)
}

/// Values with their origins; secrets are redacted by the relay's own code.
pub(super) fn settings(config: &Config) -> Value {
    let rows = config.effective().iter();
    let rows: Map<String, Value> = rows
        .map(|found| (found.key.to_owned(), json!({ "value": found.value, "from": found.origin })))
        .collect();
    rows.into()
}

/// What Postgres does, and how large its tables are.
pub(super) async fn postgres(config: &Config) -> Result<Value> {
    let url = config.database_url.expose();
    if !url.starts_with("postgres") {
        return Ok(json!("not used"));
    }
    let asked = timeout(ANSWER_MAX, ask(url)).await;
    asked.context("no answer within 5 s")?
}

/// Each gives one column of JSON. Texts of statements hold no values: the relay binds them.
const QUESTIONS: [(&str, &str); 4] = [
    (
        "activity",
        "SELECT coalesce(json_agg(row_to_json(t)), '[]')::text AS it FROM (SELECT pid, usename, state, \
         wait_event_type, wait_event, extract(epoch FROM now() - state_change)::bigint AS since_s, \
         left(query, 200) AS query FROM pg_stat_activity WHERE backend_type = 'client backend' AND \
         pid <> pg_backend_pid()) t",
    ),
    (
        "tables",
        "SELECT coalesce(json_agg(row_to_json(t)), '[]')::text AS it FROM (SELECT relname, \
         pg_total_relation_size(relid) AS bytes, n_live_tup, n_dead_tup, last_autovacuum, \
         n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables ORDER BY 2 DESC LIMIT 20) t",
    ),
    (
        "locks",
        "SELECT coalesce(json_agg(row_to_json(t)), '[]')::text AS it FROM (SELECT pid, mode, \
         relation::regclass::text AS relation FROM pg_locks WHERE NOT granted) t",
    ),
    (
        "database",
        "SELECT row_to_json(t)::text AS it FROM (SELECT pg_database_size(datname) AS bytes, numbackends, \
         xact_commit, xact_rollback, blks_read, blks_hit, deadlocks FROM pg_stat_database WHERE \
         datname = current_database()) t",
    ),
];

async fn ask(url: &str) -> Result<Value> {
    let options = PgConnectOptions::from_str(url).context("read DATABASE_URL")?;
    let mut connection = PgConnection::connect_with(&options).await.context("reach Postgres")?;
    let mut found = Map::new();
    for (name, sql) in QUESTIONS {
        let row = sqlx::query(sql).fetch_one(&mut connection).await;
        let text: String = row.with_context(|| format!("ask for {name}"))?.try_get("it")?;
        found.insert(name.to_owned(), serde_json::from_str(&text)?);
    }
    connection.close().await.context("leave Postgres")?;
    Ok(found.into())
}
