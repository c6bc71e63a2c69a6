//! `relay dev`: for authors of PDS software. A strict relay in a temporary directory that says of
//! every event what came, what was checked, and why it was dropped.

use super::{print, serve};
use crate::{
    config::{Config, DevOptions},
    daemon::{Daemon, Extras},
    ingest::VerdictLine,
    telemetry,
};

pub(super) async fn run(config: Config, options: DevOptions) -> Result<(), String> {
    let mut signals = serve::Signals::listen()?;
    telemetry::start("warn", config.log_format).map_err(|error| error.to_string())?;
    let dir = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
    let config = config.for_dev(dir.path(), &options);
    let extras = Extras { verdicts: true, ..Extras::default() };
    let mut running = Daemon::start(config, extras).await.map_err(|why| why.to_string())?;
    print::line(&format!(
        "relay dev: strict, on {}; firehose ws://{}/xrpc/com.atproto.sync.subscribeRepos?cursor=0",
        dir.path().display(),
        running.api
    ));
    for host in &options.hosts {
        match running.hosts.admit(host, true).await {
            Ok(host) => print::line(&format!("{} subscribed", host.hostname())),
            Err(why) => print::line(&format!("{host} not subscribed: {why}")),
        }
    }
    if let Some(mut verdicts) = running.verdicts.take() {
        loop {
            tokio::select! {
                () = signals.next() => break,
                line = verdicts.recv() => match line {
                    Some(line) => print::line(&verdict(&line)),
                    None => break,
                },
            }
        }
    }
    serve::stop(running, &mut signals).await
}

/// `ok   host 12 #commit did:plc:… rev …: …` or `DROP … bad_signature: …`.
fn verdict(line: &VerdictLine) -> String {
    let outcome = line.dropped.map_or("ok  ", |_| "DROP");
    let rev = line.rev.as_ref().map(|rev| format!(" rev {rev}")).unwrap_or_default();
    let why = line
        .dropped
        .map(|reason| format!(" {}: {}", reason.label(), reason.words()))
        .unwrap_or_default();
    format!(
        "{outcome} {} seq {} {} {}{rev}:{why} {}",
        line.host,
        line.host_seq,
        line.kind.name(),
        line.did,
        line.detail
    )
}
