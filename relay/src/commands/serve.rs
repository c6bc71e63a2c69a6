//! `relay serve`: the daemon until a signal or a failure.

use std::{path::Path, pin::pin};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::SHUTDOWN_MAX;
use crate::{
    config::Config,
    daemon::{Daemon, Extras, Running},
    telemetry,
};

pub(super) async fn run(mut config: Config) -> Result<(), String> {
    let mut signals = Signals::listen()?;
    let screen = telemetry::start(&config.log_level, config.log_format)
        .map_err(|error| error.to_string())?;
    let generated = config.ensure_admin_password().map_err(|error| error.to_string())?;
    let running = Daemon::start(config, Extras::default()).await.map_err(|why| why.to_string())?;
    greet(&running, generated.as_deref());
    let shown = CancellationToken::new();
    let outcome = {
        let mut line =
            pin!(telemetry::status_line(screen.clone(), || running.status(), shown.clone()));
        tokio::select! {
            () = signals.next() => Ok(()),
            why = running.failed() => Err(why.to_string()),
            () = &mut line => Ok(()),
        }
    };
    screen.set_live("");
    let stopped = stop(running, &mut signals).await;
    outcome.and(stopped)
}

/// Drains and stops; a second signal or the deadline ends the process without further ado.
pub(super) async fn stop(running: Running, signals: &mut Signals) -> Result<(), String> {
    tracing::info!("stopping: draining, syncing, closing consumers; a second signal aborts");
    tokio::select! {
        stopped = running.stop() => stopped.map_err(|why| why.to_string()),
        () = signals.next() => Err("aborted by a second signal; the next start recovers from the event log".to_owned()),
        () = tokio::time::sleep(SHUTDOWN_MAX) => Err(format!(
            "the shutdown took longer than {} s and was cut off; the next start recovers from the event log",
            SHUTDOWN_MAX.as_secs()
        )),
    }
}

fn greet(running: &Running, password_file: Option<&Path>) {
    let window = running.log.window();
    tracing::info!(
        "the firehose is at ws://{}/xrpc/com.atproto.sync.subscribeRepos; head {}, oldest {}",
        running.api,
        window.head,
        window.oldest
    );
    tracing::info!("replay window: at most {} MB on disk", running.log.bytes_max() / 1_000_000);
    tracing::info!(
        "admin API on http://{}, metrics on http://{}/metrics",
        running.admin,
        running.metrics
    );
    if let Some(path) = password_file {
        tracing::info!("the admin password was generated into {}", path.display());
    }
    if running.hosts.all().is_empty() {
        tracing::warn!(
            "no hosts are known yet: start with `--crawl pds.example.com`, or POST {{\"hostname\": \"pds.example.com\"}} to http://{}/xrpc/com.atproto.sync.requestCrawl",
            running.api
        );
    }
}

/// SIGTERM and SIGINT alike.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, String> {
        let listen =
            |kind| signal(kind).map_err(|error| format!("signals cannot be received: {error}"));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
