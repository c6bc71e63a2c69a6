//! One run: starts relay and network, compares until the end, settles, sums up.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use relay::{
    config::{Config, Flags},
    daemon::{Daemon, Extras, Running},
    tasks::Tasks,
    telemetry::{self, LogFormat, Screen},
};
use relay_simnet::{Checker, Consumer, Net, Pds, Report, Start};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    mischief::{Role, Struck},
    network::{self, Network},
    options::Options,
    out,
    summary::{Facts, Summary},
};

/// What the demo provokes is worth seeing: connections that break are logged at debug.
const LOG_FILTER: &str = "info,sqlx=warn,relay::upstream=debug";
/// Longest silence of the firehose while frames are missing.
const PATIENCE: Duration = Duration::from_mins(1);
/// Longest that hosts may take to hand over the rest at the end.
const SETTLING_MAX: Duration = Duration::from_mins(2);
/// How often memory is reported.
const MEMORY_EVERY: Duration = Duration::from_mins(1);

/// Runs the demo; gives the exit code.
pub(crate) async fn run(options: &Options) -> Result<u8> {
    let mut signals = Signals::listen()?;
    let dir = tempfile::tempdir().context("make a temporary directory")?;
    let data = options.dir.clone().unwrap_or_else(|| dir.path().join("data"));
    ensure!(
        !std::fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_some()),
        "{} is not empty: the simulated network begins anew each time, and so must the relay",
        data.display()
    );
    let screen = telemetry::start(LOG_FILTER, LogFormat::Text)?;
    let network = Network::prepare(options).await?;
    // Its hosts must outlive the relay, or their end would fill the log.
    let net = network.net.clone();
    let config = config(&data, dir.path(), &net)?;
    let running = Box::pin(Daemon::start(config, Extras::default())).await?;
    let summary = Box::pin(drive(options, network, &running, (&screen, &mut signals))).await;
    running.stop().await?;
    drop(net);
    let summary = summary?;
    for problem in &summary.problems {
        out::error(&format!("demo: {problem}"));
    }
    for line in &summary.lines {
        out::line(line);
    }
    Ok(summary.code())
}

fn config(data: &Path, cwd: &Path, net: &Net) -> Result<Config> {
    let env = [
        ("RELAY_DATA_DIR", data.display().to_string()),
        ("RELAY_PLC_HOST", net.plc().url()),
        ("RELAY_PLC_RATE", "10000".to_owned()),
        ("RELAY_API_BIND", "127.0.0.1:0".to_owned()),
        ("RELAY_ADMIN_BIND", "127.0.0.1:0".to_owned()),
        ("RELAY_METRICS_LISTEN", "127.0.0.1:0".to_owned()),
        ("RELAY_ALLOW_INSECURE_HOSTS", "true".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    Ok(Config::load(&Flags::default(), &env, cwd)?)
}

async fn drive(
    options: &Options,
    network: Network,
    running: &Running,
    (screen, signals): (&Screen, &mut Signals),
) -> Result<Summary> {
    let Network { net, honest, mischief } = network;
    // Before the first host is read, so that the consumer sees everything.
    let mut checker = net.oracle().checker();
    let url = format!("ws://{}", running.api);
    let mut consumer = Consumer::connect(&url, Start::After(0)).await?.patient(PATIENCE);
    out::line(&format!(
        "A relay beside a simulated network: {} hosts, of which {} misbehave, about {} events/s, seed {}.",
        options.hosts,
        mischief.hosts(),
        options.rate,
        options.seed
    ));
    for host in net.hosts() {
        running.hosts.admit(&host.hostname(), true).await?;
    }
    for host in net.hosts() {
        host.connected().await?;
    }
    // Behind the lines about each host, so that it stays on a small terminal.
    greet(options, running, mischief.host(Role::Forger));
    let (start, rss_start) = (Instant::now(), telemetry::metrics::resident_bytes());
    let struck = mischief.struck();
    let tasks = Tasks::default();
    let stopping = tasks.stopping();
    let rate = options.rate.saturating_sub(options.mischief_rate()).max(1);
    begin(&tasks, "the load", network::send(honest, rate, stopping.clone()));
    begin(&tasks, "the mischief", mischief.run(options.mischief_rate(), stopping.clone()));
    begin(&tasks, "the memory report", report_memory(stopping.clone()));

    let shown = CancellationToken::new();
    let ends = until_the_end(options.span, running, (&tasks, signals));
    let (compared, ()) = tokio::join!(
        async {
            let compared = consumer.compare_until(&mut checker, ends).await;
            shown.cancel();
            compared
        },
        telemetry::status_line(screen.clone(), || running.status(), shown.clone()),
    );
    let elapsed = start.elapsed();
    tasks.stop().await;
    tracing::info!("stopping: waiting for the last events");
    let mut broken: Vec<String> = tasks.failure().into_iter().collect();
    let report = tokio::select! {
        report = settle(&net, running, (&mut consumer, &mut checker), compared) => report,
        () = signals.next() => anyhow::bail!("aborted by a second signal before all was compared"),
    };
    let report = report.unwrap_or_else(|why| {
        broken.push(format!("the firehose could not be compared to its end: {why:#}"));
        checker.report()
    });
    Ok(sum_up((options, &net, &struck), running, report, (broken, elapsed, rss_start)))
}

/// Starts something that must not fail.
fn begin(
    tasks: &Tasks,
    what: &'static str,
    work: impl Future<Output = Result<()>> + Send + 'static,
) {
    let owner = tasks.clone();
    tasks.start(async move {
        if let Err(why) = work.await {
            owner.fail(format!("{what} failed: {why:#}"));
        }
    });
}

/// Returns at a signal, after the time, or when something failed.
async fn until_the_end(
    span: Option<Duration>,
    running: &Running,
    (tasks, signals): (&Tasks, &mut Signals),
) {
    let time = async {
        match span {
            Some(span) => tokio::time::sleep(span).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = time => {}
        () = signals.next() => {}
        why = running.failed() => tasks.fail(format!("the relay failed: {why}")),
        () = tasks.stopping().cancelled() => {}
    }
}

/// Waits until the hosts have handed over everything and the relay has decided on it, then compares
/// the rest.
async fn settle(
    net: &Net,
    running: &Running,
    (consumer, checker): (&mut Consumer, &mut Checker),
    compared: Result<()>,
) -> Result<Report> {
    compared?;
    let settled = timeout(SETTLING_MAX, async {
        while !is_settled(net, running) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    // What is missing then is in the report, with the events by name.
    let in_time = settled.await.is_ok();
    if !in_time {
        tracing::error!("the relay has not taken everything within {SETTLING_MAX:?}");
    }
    consumer.settle(checker).await
}

fn is_settled(net: &Net, running: &Running) -> bool {
    net.undelivered() == 0
        && net.hosts().iter().all(|host| {
            let known = running.hosts.by_name(&host.hostname());
            known.is_some_and(|known| known.mark().map_or(0, |(_, mark)| mark.0) >= host.head())
        })
}

fn sum_up(
    (options, net, struck): (&Options, &Net, &Struck),
    running: &Running,
    report: Report,
    (broken, elapsed, rss_start): (Vec<String>, Duration, u64),
) -> Summary {
    let drops = running.drops.totals();
    let drops = drops.into_iter().map(|(reason, count)| (reason.label(), count));
    Summary::of(&Facts {
        elapsed,
        seed: options.seed,
        report,
        differences: net.oracle().compare_drops(drops),
        struck: struck.counts(),
        unfired: net.unfired_faults(),
        broken,
        status: running.status(),
        rss_start,
        rss_end: telemetry::metrics::resident_bytes(),
    })
}

async fn report_memory(stopping: CancellationToken) -> Result<()> {
    let mut ticks = tokio::time::interval(MEMORY_EVERY);
    ticks.tick().await;
    for minute in 1.. {
        tokio::select! {
            () = stopping.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let megabytes = telemetry::metrics::resident_bytes() / 1_000_000;
        tracing::info!("after {minute} min: {megabytes} MB resident");
    }
    Ok(())
}

fn greet(options: &Options, running: &Running, forger: Option<&Pds>) {
    let api = running.api;
    out::line(&format!("  firehose  ws://{api}/xrpc/com.atproto.sync.subscribeRepos?cursor=0"));
    out::line(&format!("  watch it  cargo run --release --example demo -- watch ws://{api}"));
    if let (Some(file), Some(forger)) = (&running.password_file, forger) {
        out::line(&format!(
            "  ask why   curl -u \"admin:$(cat {})\" 'http://{}/admin/v1/why?host={}'",
            file.display(),
            running.admin,
            forger.hostname()
        ));
    }
    match options.span {
        Some(span) => out::line(&format!(
            "  end it    Ctrl-C; it ends by itself after {}",
            humantime::format_duration(span)
        )),
        None => out::line("  end it    Ctrl-C"),
    }
}

/// SIGINT and SIGTERM alike.
#[derive(Debug)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
