//! `relay serve`: the daemon until a signal or a failure.

use std::{pin::pin, process::ExitCode};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{SHUTDOWN_MAX, print, service};
use crate::{
    config::Config,
    crash,
    daemon::{Daemon, Extras, Running},
    telemetry::{self, Screen},
};

pub(super) async fn run(config: Config) -> ExitCode {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(why) => return print::failed(&why),
    };
    let started =
        telemetry::start_with_traces(&config.log_level, config.log_format, &config.traces);
    let (screen, traces) = match started {
        Ok(started) => started,
        Err(error) => return print::failed(&error.to_string()),
    };
    let is_text = config.log_format.is_text(screen.is_terminal());
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let served = Box::pin(serve(config, &screen, &mut signals)).await;
    traces.close().await;
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) if is_text => print::failed(&why),
        Err(why) => {
            // What reads JSON reads nothing else.
            tracing::error!("{why}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config, screen: &Screen, signals: &mut Signals) -> Result<(), String> {
    telemetry::heap::give_back_in_background();
    let named_hosts = !config.crawl.is_empty();
    if config.dev {
        tracing::warn!(
            "development mode: plain ws and http, localhost and private addresses are permitted"
        );
    }
    if let Some(plan) = config.crash_at {
        crash::arm(plan);
    }
    let running = tokio::select! {
        started = Box::pin(Daemon::start(config, Extras::default())) => {
            started.map_err(|why| why.to_string())?
        }
        () = signals.next() => {
            tracing::info!("stopped before the start was complete; nothing was served yet");
            return Ok(());
        }
    };
    greet(&running, named_hosts);
    service::ready();
    let outcome = {
        let facts = || running.status();
        let mut line =
            pin!(telemetry::status_line(screen.clone(), facts, CancellationToken::new()));
        let mut hangups = hangups()?;
        let reload = async {
            loop {
                hangups.recv().await;
                running.follow_policy().await;
            }
        };
        tokio::select! {
            () = signals.next() => Ok(()),
            () = reload => Ok(()),
            why = running.failed() => Err(why.to_string()),
            () = &mut line => Ok(()),
            () = service::alive() => Ok(()),
        }
    };
    screen.set_live("");
    let stopped = stop(running, signals).await;
    outcome.and(stopped)
}

/// Drains and stops; a second signal or the deadline ends the process without further ado.
pub(super) async fn stop(running: Running, signals: &mut Signals) -> Result<(), String> {
    service::stopping();
    tracing::info!("stopping: draining, syncing, closing consumers; a second signal aborts");
    tokio::select! {
        stopped = running.stop() => {
            stopped.map_err(|why| why.to_string())?;
            tracing::info!("stopped");
            Ok(())
        }
        () = signals.next() => Err("aborted by a second signal; the next start recovers from the event log".to_owned()),
        () = tokio::time::sleep(SHUTDOWN_MAX) => Err(format!(
            "the shutdown took longer than {} s and was cut off; the next start recovers from the event log",
            SHUTDOWN_MAX.as_secs()
        )),
    }
}

/// * `named_hosts` – hosts to add were named; they are being asked
fn greet(running: &Running, named_hosts: bool) {
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
    if let Some(path) = &running.password_file {
        tracing::info!("the admin password is in the file {}", path.display());
    }
    if running.hosts.all().is_empty() && !named_hosts {
        tracing::warn!(
            "no hosts are known yet: stop and type `relay --crawl pds.example.com`, or type `curl --json '{{\"hostname\": \"pds.example.com\"}}' http://{}/xrpc/com.atproto.sync.requestCrawl`",
            running.api
        );
    }
}

/// SIGHUP, on which the policy file is read again.
fn hangups() -> Result<Signal, String> {
    signal(SignalKind::hangup()).map_err(|error| format!("signals cannot be received: {error}"))
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
