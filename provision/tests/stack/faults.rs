//! What happens to a whole stack when a part of it dies, hangs or is cut off, under live traffic.
//!
//! After each fault nobody lends a hand: the relay is well again by itself, no event is lost, none
//! comes twice, no number is used again.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use provision::stack::{Containers, Profile, Secrets, Service, Stack, services};

use crate::{
    operations::health,
    options, say,
    traffic::{Felt, Traffic},
};

/// Runs all faults on one stack, one after the other, and tells what each came to.
#[tokio::test]
#[ignore = "needs a container engine: just stage build,stack"]
async fn no_fault_of_a_part_loses_doubles_or_renumbers_an_event() -> Result<()> {
    let stack = Arc::new(Stack::up(options("faults", Profile::ProdLike)).await?);
    let mut table = Vec::new();
    for fault in FAULTS {
        let line = Box::pin(suffer(&stack, fault)).await;
        let line = line.with_context(|| format!("fault: {}", fault.name))?;
        eprintln!("{line}");
        table.push(line);
    }
    eprintln!("\n{}", table.join("\n"));
    Arc::into_inner(stack).context("traffic still runs")?.down().await
}

/// A fault and its end.
struct Fault {
    name: &'static str,
    /// Whose trouble it is.
    service: &'static str,
    kind: Kind,
}

enum Kind {
    /// SIGKILL; the engine starts it again.
    Crash,
    /// Stands still until it is missed, then goes on.
    Pause,
    /// Off the network until it is missed, then back.
    Cut,
    /// Stopped and started as a person does.
    Restart,
}

const FAULTS: &[Fault] = &[
    Fault { name: "relay killed", service: "relay", kind: Kind::Crash },
    Fault { name: "relay paused", service: "relay", kind: Kind::Pause },
    Fault { name: "relay restarted", service: "relay", kind: Kind::Restart },
    Fault { name: "Postgres killed", service: "postgres", kind: Kind::Crash },
    Fault { name: "Postgres paused", service: "postgres", kind: Kind::Pause },
    Fault { name: "Postgres cut off", service: "postgres", kind: Kind::Cut },
    Fault { name: "PDS cut off", service: "pds", kind: Kind::Cut },
    Fault { name: "PDS killed", service: "pds", kind: Kind::Crash },
    Fault { name: "Caddy cut off", service: "caddy", kind: Kind::Cut },
    Fault { name: "Caddy killed", service: "caddy", kind: Kind::Crash },
];

/// Records that the PDS takes while the way out of it is closed: more than what is under way anyhow.
const BACKLOG: usize = 60;

async fn suffer(stack: &Arc<Stack>, fault: &Fault) -> Result<String> {
    let containers = stack.containers();
    let mut traffic = Traffic::start(stack).await?;
    match fault.kind {
        Kind::Crash => containers.crash(fault.service).await?,
        Kind::Restart => containers.restart(fault.service).await?,
        Kind::Pause => {
            containers.pause(fault.service).await?;
            missed(stack, fault.service, &mut traffic).await?;
            containers.unpause(fault.service).await?;
        }
        Kind::Cut => {
            containers.cut(fault.service).await?;
            missed(stack, fault.service, &mut traffic).await?;
            join(containers, fault.service).await?;
        }
    }
    let flows = traffic.flows().await?;
    containers.well("relay", &say()).await?;
    let outcome = traffic.end().await?;
    Ok(format!(
        "{:<18} flows again after {flows:>5.1} s; {} written, {} out, 0 lost, 0 twice, {} reconnections",
        fault.name, outcome.written, outcome.heard, outcome.reconnections
    ))
}

/// Waits until everybody who needs the part has noticed that it is away.
async fn missed(stack: &Stack, service: &str, traffic: &mut Traffic) -> Result<()> {
    match service {
        // Events go on without it.
        "postgres" => {
            let told = |status, body: &str| status == 503 && body.contains("the database");
            health(stack, told).await?;
            traffic.flows().await.context("while the database was away")?;
        }
        "pds" => {
            let each = |now: &Felt, before: &Felt| {
                now.unanswered.iter().zip(before.unanswered).all(|(now, before)| *now > before)
            };
            traffic.until("every writer to miss the PDS", |before, now| each(now, before)).await?;
        }
        "caddy" => {
            traffic.until("the consumer to be shut out", |_, now| now.shut_out > 0).await?;
            backlog(traffic).await?;
        }
        _ => backlog(traffic).await?,
    }
    Ok(())
}

/// Waits until many records wait for the way out of the PDS.
async fn backlog(traffic: &mut Traffic) -> Result<()> {
    let wait = |before: &Felt, now: &Felt| now.written - before.written >= BACKLOG;
    traffic.until("records to pile up", wait).await
}

/// Puts a part back on the network.
pub(crate) async fn join(containers: &Containers, service: &str) -> Result<()> {
    let list = services(Profile::ProdLike, &Secrets::generate(), &[]);
    let found: Option<&Service> = list.iter().find(|one| one.name == service);
    containers.join(found.context("no such part")?).await
}
