//! Consumers that are slow, far behind, many, or only passing through.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use relay_simnet::{Consumer, Item, Start};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    process::{RelayProcess, Setup},
    scene::{Scene, traffic, value},
};

/// Longest wait for a condition.
const PATIENCE: Duration = Duration::from_mins(1);

/// A consumer as a bare socket that takes in as little as the system lets it.
async fn bare(relay: &RelayProcess, cursor: &str) -> Result<tokio::net::TcpStream> {
    let address = relay.url().trim_start_matches("http://").parse()?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4 << 10)?;
    let mut stream = socket.connect(address).await?;
    let request = format!(
        "GET /xrpc/com.atproto.sync.subscribeRepos{cursor} HTTP/1.1\r\nHost: {address}\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.context("no answer to the upgrade")?);
    }
    ensure!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    Ok(stream)
}

/// Waits until the relay counts so many consumers, besides the one of the scene.
async fn consumers(relay: &RelayProcess, wanted: usize) -> Result<()> {
    let counted = async {
        loop {
            let now = value(&relay.metrics().await?, "relay_firehose_consumers_depth")?;
            if now.to_string() == (wanted + 1).to_string() {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, counted).await.with_context(|| format!("never {wanted} consumers"))?
}

/// Reads a byte each second until the relay ends it or `until` is done.
async fn a_byte_each_second(
    mut stream: tokio::net::TcpStream,
    until: impl Future<Output = Result<()>>,
) -> Result<Option<u32>> {
    tokio::pin!(until);
    let mut bytes = 0;
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            done = &mut until => return done.map(|()| None),
            _ = tick.tick() => match stream.read_u8().await {
                Ok(_) => bytes += 1,
                Err(_) => return Ok(Some(bytes)),
            },
        }
    }
}

/// WS-8, DESIGN 10.12, I5: one that reads a byte each second holds up nobody and costs no memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_reads_a_byte_each_second_holds_up_nobody() -> Result<()> {
    let mut scene = Scene::start(451, traffic(), Setup::default()).await?;
    let stream = bare(&scene.relay, "?cursor=0").await?;
    consumers(&scene.relay, 1).await?;

    let ended = a_byte_each_second(stream, scene.flows(600)).await?;

    ensure!(ended.is_none(), "it was closed after {ended:?} bytes");
    scene.end().await?.counted().await
}

/// DESIGN 10.12: when it has taken less than 64 KiB in a minute with events waiting, it is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "nightly: it waits for a minute"]
async fn a_consumer_that_reads_a_byte_each_second_is_closed_after_a_minute() -> Result<()> {
    let mut scene = Scene::start(452, traffic(), Setup::default()).await?;
    let stream = bare(&scene.relay, "?cursor=0").await?;
    let since = Instant::now();

    let closed = async {
        // Its buffers take some, so that the minute begins later.
        while since.elapsed() < Duration::from_mins(3) {
            scene.flows(200).await?;
            let metrics = scene.relay.metrics().await?;
            if value(&metrics, "relay_firehose_consumers_depth")? < 1.5 {
                return Ok(());
            }
        }
        bail!("it was never closed");
    };
    let ended = a_byte_each_second(stream, closed).await?;

    println!("closed after {:?} and {ended:?} bytes", since.elapsed());
    ensure!(since.elapsed() >= Duration::from_secs(55), "closed after {:?}", since.elapsed());
    scene.end().await?.counted().await
}

/// A consumer that takes an event and leaves; each in one of a few ways.
async fn pass_through(url: String, number: u32) -> Result<()> {
    let start = if number.is_multiple_of(3) { Start::After(0) } else { Start::Live };
    let mut consumer = Consumer::connect(&url, start).await?;
    consumer.next().await?;
    if number.is_multiple_of(2) {
        consumer.leave().await?;
    } else {
        consumer.cut();
    }
    Ok(())
}

/// SEC-4, I5: 500 consumers that come and go, half of them with a goodbye and half without, leave
/// nothing behind: no seat, no file, no memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_consumers_that_come_and_go_leave_nothing_behind() -> Result<()> {
    let mut scene = Scene::start(453, traffic(), Setup::default()).await?;
    consumers(&scene.relay, 0).await?;
    let files = scene.relay.open_files()?;

    for wave in 0..5 {
        let mut coming = JoinSet::new();
        for number in 0..100 {
            coming.spawn(pass_through(scene.relay.url(), number));
        }
        while let Some(came) = coming.join_next().await {
            came??;
        }
        scene.flows(30).await.with_context(|| format!("wave {wave}"))?;
    }

    consumers(&scene.relay, 0).await?;
    let closed = async {
        // Our questions about it are connections themselves.
        while scene.relay.open_files()? > files + 5 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, closed).await.context("files stay open")??;
    scene.end().await?.counted().await
}

/// WS-8, I5: 200 consumers at once that stopped reading: the others get everything as before, and what
/// the relay holds for them is bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_consumers_that_stop_reading_cost_no_memory_and_no_one_else() -> Result<()> {
    let mut scene = Scene::start(454, traffic(), Setup::default()).await?;
    let before = scene.relay.resident_bytes()?;
    let mut stuck = Vec::new();
    for _ in 0..200 {
        stuck.push(bare(&scene.relay, "?cursor=0").await?);
    }
    consumers(&scene.relay, 200).await?;

    scene.flows(800).await?;

    let each = scene.relay.resident_bytes()?.saturating_sub(before) / 200;
    println!("{} kB for each that is stuck", each / 1_000);
    ensure!(each <= 512 << 10, "{each} bytes for each consumer that is stuck");
    drop(stuck);
    consumers(&scene.relay, 0).await?;
    scene.end().await?.counted().await
}

/// CUR-4, OUT-6, DESIGN 10.12: one that is far behind catches up while the window is trimmed beneath it:
/// it gets every event, or is told that some are gone, never a silent gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_is_overtaken_by_the_window_is_told_of_every_gap() -> Result<()> {
    let settings = [("RELAY_SEGMENT_BYTES", "64KiB"), ("RELAY_REPLAY_MAX_BYTES", "1MiB")];
    let setup = Setup { settings: &settings, ..Setup::default() };
    let mut scene = Scene::start(455, traffic(), setup).await?;
    let url = scene.relay.url();
    let mut behind = Behind::default();

    while behind.gaps < 3 {
        // It reads a little, then not at all while the window moves on.
        let mut consumer = behind.connect(&url).await?;
        for _ in 0..20 {
            let item = consumer.next_item().await?;
            if behind.is_cut_off_by(item)? {
                consumer = behind.connect(&url).await?;
            }
        }
        drop(consumer);
        scene.flows(400).await?;
    }

    println!("{behind:?}");
    ensure!(behind.told >= behind.gaps, "{behind:?}");
    scene.end_of_a_short_window().await?.counted().await
}

/// What one that is far behind has seen.
#[derive(Debug, Default)]
struct Behind {
    cursor: i64,
    /// Told that its cursor is outdated, and nothing came since.
    is_outdated: bool,
    told: u32,
    gaps: u32,
    overtaken: u32,
}

impl Behind {
    async fn connect(&mut self, url: &str) -> Result<Consumer> {
        self.is_outdated = false;
        let start = Start::After(u64::try_from(self.cursor)?);
        Ok(Consumer::connect(url, start).await?.patient(PATIENCE))
    }

    /// Fails on a gap that nobody spoke of; gives whether the connection has ended.
    fn is_cut_off_by(&mut self, item: Item) -> Result<bool> {
        match item {
            Item::Event(event) => {
                if event.seq != self.cursor + 1 {
                    ensure!(self.is_outdated, "a silent gap from {} to {}", self.cursor, event.seq);
                    self.gaps += 1;
                }
                (self.cursor, self.is_outdated) = (event.seq, false);
            }
            Item::Info { name, .. } => {
                ensure!(name == "OutdatedCursor", "{name}");
                (self.is_outdated, self.told) = (true, self.told + 1);
            }
            Item::Error { error, .. } => {
                ensure!(error == "ConsumerTooSlow", "{error}");
                self.overtaken += 1;
            }
            Item::Closed { .. } => return Ok(true),
            Item::Other(frame) => bail!("{frame:?}"),
        }
        Ok(false)
    }
}
