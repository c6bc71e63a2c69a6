//! Postgres: whether the relay can use it, whether it keeps what it is given, and whether it is tuned.

use std::{collections::BTreeMap, str::FromStr as _};

use sqlx::{Connection as _, Row as _, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::{Line, Patient, STEP_MAX};
use crate::sizing::Value;

const CHECK: &str = "postgres";
/// The oldest version that the relay is tested with, as the server writes it.
const VERSION_MIN: u64 = 150_000;
const TUNE: &str = "provision tune --write, then `systemctl restart postgresql`";
/// What is lost without these is not only speed.
const SAFE: [(&str, &str); 2] = [
    ("fsync", "what is committed may be lost, and the database damaged, when the power fails"),
    ("full_page_writes", "a page that was half written when the power failed is damaged for good"),
];

/// Settings as the server has them, sizes in bytes.
type Known = BTreeMap<String, (String, Option<u64>)>;

pub(super) async fn check(patient: &Patient) -> Vec<Line> {
    let config = match patient.config() {
        Ok(config) => config,
        Err(why) => {
            let fix = "look at the check `settings` first";
            return vec![Line::fail(CHECK, "it is not known where it is", why, fix)];
        }
    };
    let url = config.database_url.expose();
    if !url.starts_with("postgres") {
        return vec![Line::ok(CHECK, "not used: hosts and accounts are in SQLite")];
    }
    let known = match timeout(STEP_MAX, ask(url)).await {
        Ok(Ok(known)) => known,
        Ok(Err(error)) => return vec![unreachable(&error.to_string())],
        Err(_late) => return vec![unreachable("no answer within 10 s")],
    };
    let mut lines = safety(&known);
    lines.extend(connections(&known, u64::from(config.database_connections)));
    if let Ok((_, plan)) = patient.plan() {
        lines.extend(tuning(&known, &plan.postgres));
    }
    if lines.is_empty() {
        let version = known.get("server_version").map(|(text, _)| text.as_str());
        let version = version.unwrap_or_default();
        lines.push(Line::ok(CHECK, format!("version {version} answers, is safe and tuned")));
    }
    lines
}

fn unreachable(why: &str) -> Line {
    Line::fail(
        CHECK,
        "it does not answer the relay",
        crate::told::harmless(why, 300),
        "systemctl status postgresql; does DATABASE_URL have the right host, role and password?",
    )
}

async fn ask(url: &str) -> Result<Known, sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?;
    let mut connection = sqlx::PgConnection::connect_with(&options).await?;
    // Sizes are counted in pages, kilobytes or megabytes, whatever a person wrote.
    let sql = "SELECT name, setting, CASE unit \
                 WHEN 'B' THEN setting::bigint WHEN 'kB' THEN setting::bigint * 1024 \
                 WHEN '8kB' THEN setting::bigint * 8192 WHEN 'MB' THEN setting::bigint * 1048576 \
               END AS bytes FROM pg_settings";
    let rows = sqlx::query(sql).fetch_all(&mut connection).await?;
    let mut known = Known::new();
    for row in rows {
        let bytes: Option<i64> = row.try_get("bytes")?;
        let bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok());
        known.insert(row.try_get("name")?, (row.try_get("setting")?, bytes));
    }
    let pending = "SELECT string_agg(name, ', ') AS names FROM pg_settings WHERE pending_restart";
    let row = sqlx::query(pending).fetch_one(&mut connection).await?;
    if let Some(names) = row.try_get::<Option<String>, _>("names")? {
        known.insert("pending restart".to_owned(), (names, None));
    }
    connection.close().await?;
    Ok(known)
}

fn safety(known: &Known) -> Vec<Line> {
    let text = |name: &str| known.get(name).map(|(text, _)| text.as_str()).unwrap_or_default();
    let mut lines = Vec::new();
    if text("server_version_num").parse::<u64>().unwrap_or(0) < VERSION_MIN {
        lines.push(Line::fail(
            CHECK,
            format!("its version is {}", text("server_version")),
            "the relay is tested with 15 and newer",
            "upgrade it: pg_upgradecluster on Debian",
        ));
    }
    for (name, cause) in SAFE {
        if text(name) == "off" {
            let fix = format!("ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();");
            lines.push(Line::fail(CHECK, format!("{name} is off"), cause, fix));
        }
    }
    if text("synchronous_commit") == "off" {
        lines.push(Line::fail(
            CHECK,
            "synchronous_commit is off",
            "takedowns may be lost, and the log is pruned behind checkpoints that are not on the disk",
            "ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf();",
        ));
    }
    if let Some((names, _)) = known.get("pending restart") {
        lines.push(Line::warn(
            CHECK,
            format!("{names} take effect after a restart"),
            "they were changed since it started",
            "systemctl restart postgresql; the relay serves its firehose meanwhile",
        ));
    }
    lines
}

fn connections(known: &Known, pool: u64) -> Option<Line> {
    let most = known.get("max_connections")?.0.parse::<u64>().ok()?;
    (most < pool + 5).then(|| {
        Line::fail(
            CHECK,
            format!("max_connections is {most}, and the relay may open {pool}"),
            "none would be left for backups, the exporter and people",
            TUNE,
        )
    })
}

fn tuning(known: &Known, planned: &[Value]) -> Vec<Line> {
    let mut lines = Vec::new();
    for value in planned {
        let is_size = value.value.ends_with("MB");
        // Connections were looked at above; a commit that waits is a matter of safety.
        if matches!(value.name, "max_connections" | "synchronous_commit") || !is_size {
            continue;
        }
        let Some((_, Some(now))) = known.get(value.name) else { continue };
        let Some(wanted) = relay::units::parse_bytes(&value.value.replace("MB", "MiB")) else {
            continue;
        };
        // Half or twice makes no difference that anybody would feel.
        if *now < wanted / 2 {
            lines.push(Line::warn(
                CHECK,
                format!("{} is {}, not {}", value.name, relay::units::bytes(*now), value.value),
                value.reason.clone(),
                TUNE,
            ));
        }
    }
    lines
}
