//! `relay hosts pull` and `relay pull-hosts`: the lists of other relays, through the running relay, or
//! into the database of one that is stopped.

use std::time::Duration;

use relay_protocol::Hostname;
use serde_json::{Value, json};

use super::{number, text};
use crate::{
    clock::Clock,
    commands::{
        admin::{Admin, NoAnswer},
        print::{self, Ended},
    },
    config::{Config, Reach},
    daemon::{
        host_options,
        lock::{self, DataLock},
        open_net,
    },
    discovery::{self, Place, PullView},
    hosts::Hosts,
    store::{PullRow, Store},
};

/// How often the running relay is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Gives whether all lists were read.
pub(super) async fn run(
    config: &Config,
    from: &[String],
    (wait, reach): (bool, &Reach),
) -> Result<bool, Ended> {
    let sources: Result<Vec<Hostname>, String> = from
        .iter()
        .map(|name| {
            let parsed = Hostname::parse(name.trim(), config.dev);
            parsed.map_err(|why| format!("{name:?} is no relay: {why}"))
        })
        .collect();
    let sources = sources?;
    // A relay that never ran has no password yet; then it does not run now either.
    let asked = match Admin::of(config, reach) {
        Ok(admin) => through(&admin, &sources, (wait, reach.json)).await,
        Err(why) => Err(Away::NotRunning(why)),
    };
    match asked {
        Ok(whole) => Ok(whole),
        Err(Away::Failed(ended)) => Err(ended),
        Err(Away::NotRunning(why)) if reach.admin.is_some() => Err(why.into()),
        Err(Away::NotRunning(why)) => {
            let lock = DataLock::take(&config.data_dir, lock::DATA);
            // Somebody has the directory and does not answer: that is the thing to say.
            let _lock = lock.map_err(|held| format!("{why}\n{held}"))?;
            alone(config, &sources, reach.json).await
        }
    }
}

/// Why the running relay did not do it.
pub(super) enum Away {
    /// Nobody listens.
    NotRunning(String),
    /// It answers, but not that.
    Failed(Ended),
}

impl From<NoAnswer> for Away {
    fn from(why: NoAnswer) -> Self {
        match why {
            NoAnswer::NotRunning(why) => Self::NotRunning(why),
            NoAnswer::Refused(why) => Self::Failed(why.into()),
        }
    }
}

impl From<Away> for Ended {
    fn from(why: Away) -> Self {
        match why {
            Away::NotRunning(why) => why.into(),
            Away::Failed(ended) => ended,
        }
    }
}

/// The running relay does it.
async fn through(admin: &Admin, sources: &[Hostname], how: (bool, bool)) -> Result<bool, Away> {
    let full = |source: &Hostname| {
        let scheme = if source.is_secure() { "https" } else { "http" };
        format!("{scheme}://{source}")
    };
    let body = json!({ "from": sources.iter().map(full).collect::<Vec<_>>() });
    let names: Vec<&str> = sources.iter().map(Hostname::as_str).collect();
    follow(admin, ("/admin/v1/pull", body, &names), how).await
}

/// Asks the running relay for lists, and says how far it is with them.
///
/// * `how` – whether to wait for the end, and to answer in JSON
pub(super) async fn follow(
    admin: &Admin,
    (path, body, names): (&str, Value, &[&str]),
    (wait, json): (bool, bool),
) -> Result<bool, Away> {
    let mut answer = admin.post(path, &body).await?;
    let ours = |answer: &Value| -> Vec<Value> {
        let pulls = answer.get("pulls").and_then(Value::as_array).cloned().unwrap_or_default();
        pulls.into_iter().filter(|pull| names.contains(&text(pull, "from"))).collect()
    };
    let mut said = String::new();
    loop {
        let pulls = ours(&answer);
        let lines: Vec<String> = pulls.iter().map(line).collect();
        let running = pulls.iter().any(|pull| text(pull, "status") == "running");
        if !wait || !running {
            print_all(&pulls, json).map_err(Away::Failed)?;
            return Ok(!wait || pulls.iter().all(|pull| text(pull, "status") == "finished"));
        }
        let now = lines.join("\n");
        if now != said {
            print::note(&now);
            said = now;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        answer = admin.get("/admin/v1/pull").await?;
    }
}

/// No relay runs: into its database.
async fn alone(config: &Config, sources: &[Hostname], json: bool) -> Result<bool, Ended> {
    let shown = config.data_dir.display();
    print::note(&format!(
        "no relay runs on {shown}: the hosts are written to its database, for its next start"
    ));
    let store = Store::open(config.database_url.expose(), config.database_connections)
        .await
        .map_err(|why| why.to_string())?
        .with_account_limit(config.default_account_limit);
    let read = into(config, &store, sources).await;
    store.close().await;
    let rows = read?;
    let whole = rows.iter().all(|row| row.last_error.is_none());
    let pulls: Vec<Value> = rows.into_iter().map(at_rest).collect();
    print_all(&pulls, json)?;
    Ok(whole)
}

async fn into(
    config: &Config,
    store: &Store,
    sources: &[Hostname],
) -> Result<Vec<PullRow>, String> {
    store.claim(&config.data_dir).await.map_err(|why| why.to_string())?;
    let (net, clock) = (open_net(config).map_err(|why| why.to_string())?, Clock::system());
    let options = host_options(config);
    let hosts = Hosts::load(store.clone(), net.clone(), clock.clone(), options).await;
    let hosts = hosts.map_err(|why| why.to_string())?;
    let place = Place { store: store.clone(), hosts, net, clock };
    let earlier = store.pulls().await.map_err(|why| why.to_string())?;
    let mut rows = Vec::new();
    for source in sources {
        let known = earlier.iter().find(|row| row.source == source.as_str());
        let row = match known {
            Some(row) if row.finished_ms.is_none() => row.clone(),
            _ => discovery::fresh(source, place.clock.now_ms()),
        };
        let tell = |row: &PullRow| print::note(&line(&at_rest(row.clone())));
        rows.push(discovery::pull(&place, row, tell).await);
    }
    Ok(rows)
}

/// As the running relay shows a list that is not being read now.
fn at_rest(row: PullRow) -> Value {
    PullView { row, running: false }.json()
}

fn print_all(pulls: &[Value], json: bool) -> Result<(), Ended> {
    if json {
        return print::line(&Value::from(pulls.to_vec()).to_string());
    }
    pulls.iter().try_for_each(|pull| print::line(&line(pull)))
}

/// `relay.example.com: 3000 listed, 12 added, …`
fn line(pull: &Value) -> String {
    let mut line = format!(
        "{}: {} listed, {} added, {} known, {} passed over, {} refused",
        text(pull, "from"),
        number(pull, "listed"),
        number(pull, "added"),
        number(pull, "known"),
        number(pull, "passedOver"),
        number(pull, "refused"),
    );
    if let Some(why) = pull.get("lastError").and_then(Value::as_str) {
        line.push_str("; stopped: ");
        line.push_str(why);
    }
    line
}
