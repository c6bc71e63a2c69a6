//! Consumers that cost next to nothing, so that what is measured is the relay: they read with one
//! large buffer and look at nothing but the heads of WebSocket frames.

use std::{
    cell::RefCell,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, setpriority_process};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::{JoinSet, LocalSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// What is read at once.
const BUFFER_BYTES: usize = 512 << 10;
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Longest wait for a condition.
const PATIENCE: Duration = Duration::from_mins(1);
/// Longest head of an answer.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// An empty pong with a mask of zeros.
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// What sinks read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reads {
    /// Everything from now on.
    Live,
    /// So many events after this seq.
    Window(u64, u64),
    /// The first so many events, again and again.
    Again(u64),
}

/// What one of them got.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Data frames, whole.
    frames: AtomicU64,
    /// Bytes of their payload.
    bytes: AtomicU64,
    /// Microseconds from the request to the last frame of a window.
    micros: AtomicU64,
}

impl Tally {
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How long a window took.
    pub(crate) fn seconds(&self) -> f64 {
        Duration::from_micros(self.micros.load(Ordering::Relaxed)).as_secs_f64()
    }
}

/// Sinks on a thread of their own.
#[derive(Debug)]
pub(crate) struct Sinks {
    tallies: Vec<Arc<Tally>>,
    connected: Arc<AtomicU64>,
    stop: CancellationToken,
    thread: JoinHandle<Result<()>>,
}

impl Sinks {
    /// Connects so many and returns once all are. `nice` keeps them behind the rest of this process.
    pub(crate) async fn open(url: &str, count: usize, reads: Reads, nice: i32) -> Result<Self> {
        let addr = url.trim_start_matches("http://").parse().context("the address of the relay")?;
        let tallies: Vec<Arc<Tally>> = (0..count).map(|_| Arc::default()).collect();
        let (connected, stop) = (Arc::<AtomicU64>::default(), CancellationToken::new());
        let thread = {
            let (tallies, connected, stop) =
                (tallies.clone(), Arc::clone(&connected), stop.clone());
            std::thread::spawn(move || work(addr, (&tallies, reads), &connected, (&stop, nice)))
        };
        let sinks = Self { tallies, connected, stop, thread };
        sinks.wait("not all connect", |sinks| sinks.connected() >= count).await?;
        Ok(sinks)
    }

    fn connected(&self) -> usize {
        usize::try_from(self.connected.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// What each got so far.
    pub(crate) fn tallies(&self) -> &[Arc<Tally>] {
        &self.tallies
    }

    /// Waits until each has so many frames.
    pub(crate) async fn reach(&self, frames: u64) -> Result<()> {
        let has_all = |sinks: &Self| sinks.tallies.iter().all(|tally| tally.frames() >= frames);
        self.wait("frames are missing", has_all).await
    }

    async fn wait(&self, otherwise: &str, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let begin = Instant::now();
        while !holds(self) {
            ensure!(!self.thread.is_finished(), "the sinks have ended: {otherwise}");
            if begin.elapsed() > PATIENCE {
                let frames = self.tallies.iter().map(|tally| tally.frames());
                let (least, most) = (frames.clone().min(), frames.max());
                bail!("{otherwise}: the sinks have {least:?} to {most:?} frames");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Ends them.
    pub(crate) fn close(self) -> Result<Vec<Arc<Tally>>> {
        self.stop.cancel();
        match self.thread.join() {
            Ok(ended) => ended.map(|()| self.tallies),
            Err(_panic) => bail!("the thread of the sinks panicked"),
        }
    }
}

fn work(
    addr: SocketAddr,
    (tallies, reads): (&[Arc<Tally>], Reads),
    connected: &Arc<AtomicU64>,
    (stop, nice): (&CancellationToken, i32),
) -> Result<()> {
    let me = std::fs::read_link("/proc/thread-self")?;
    let me = me.file_name().and_then(|tid| tid.to_str()?.parse().ok());
    setpriority_process(me.and_then(Pid::from_raw), nice)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let buffer = Rc::new(RefCell::new(vec![0; BUFFER_BYTES]));
    let mut sinks = JoinSet::new();
    let local = LocalSet::new();
    for tally in tallies {
        let (tally, connected, buffer) =
            (Arc::clone(tally), Arc::clone(connected), Rc::clone(&buffer));
        sinks.spawn_local_on(sink(addr, reads, tally, (connected, buffer)), &local);
    }
    local.block_on(&runtime, async {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                ended = sinks.join_next() => match ended {
                    Some(ended) => ended??,
                    None => return Ok(()),
                },
            }
        }
    })
}

async fn sink(
    addr: SocketAddr,
    reads: Reads,
    tally: Arc<Tally>,
    (connected, buffer): (Arc<AtomicU64>, Rc<RefCell<Vec<u8>>>),
) -> Result<()> {
    let mut first = true;
    loop {
        let begin = Instant::now();
        let (query, frames) = match reads {
            Reads::Live => (String::new(), u64::MAX),
            Reads::Window(cursor, frames) => (format!("?cursor={cursor}"), frames),
            Reads::Again(frames) => ("?cursor=0".to_owned(), frames),
        };
        let (mut stream, rest) = connect(addr, &query).await?;
        connected.fetch_add(u64::from(first), Ordering::Relaxed);
        first = false;
        let mut heads = Heads::default();
        heads.feed(&rest, &tally);
        while heads.frames < frames || heads.skip > 0 {
            stream.readable().await?;
            read(&stream, &mut buffer.borrow_mut(), &mut heads, &tally)?;
            ensure!(!heads.closed, "the relay closed a sink");
            for _ in 0..std::mem::take(&mut heads.pings) {
                stream.write_all(&PONG).await?;
            }
        }
        let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        tally.micros.store(micros, Ordering::Relaxed);
        if !matches!(reads, Reads::Again(_)) {
            return Ok(());
        }
    }
}

fn read(stream: &TcpStream, buffer: &mut [u8], heads: &mut Heads, tally: &Tally) -> Result<()> {
    match stream.try_read(buffer) {
        Ok(0) => bail!("the relay ended the stream of a sink"),
        Ok(count) => heads.feed(buffer.get(..count).unwrap_or_default(), tally),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Asks for the stream; gives the socket and what came with the head of the answer.
async fn connect(addr: SocketAddr, query: &str) -> Result<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!(
        "GET /xrpc/com.atproto.sync.subscribeRepos{query} HTTP/1.1\r\nHost: {addr}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(ANSWER_BYTES_MAX);
    loop {
        ensure!(stream.read_buf(&mut answer).await? > 0, "no answer to a sink");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let rest = answer.split_off(end + 4);
            let answer = String::from_utf8_lossy(&answer);
            ensure!(answer.starts_with("HTTP/1.1 101"), "a sink is refused: {answer}");
            return Ok((stream, rest));
        }
        ensure!(answer.len() < ANSWER_BYTES_MAX, "an endless answer to a sink");
    }
}

/// Walks over frames without looking into them.
#[derive(Debug, Default)]
struct Heads {
    head: Vec<u8>,
    /// Bytes of payload to pass over.
    skip: u64,
    frames: u64,
    pings: u32,
    closed: bool,
}

impl Heads {
    fn feed(&mut self, mut input: &[u8], tally: &Tally) {
        let (frames, mut bytes) = (self.frames, 0);
        while let Some((byte, rest)) = input.split_first() {
            if self.skip > 0 {
                let here = usize::try_from(self.skip).unwrap_or(usize::MAX).min(input.len());
                self.skip -= here as u64;
                input = input.get(here..).unwrap_or_default();
                continue;
            }
            self.head.push(*byte);
            input = rest;
            let Some(length) = self.length() else { continue };
            let opcode = self.head.first().copied().unwrap_or(0) & 0x0f;
            self.head.clear();
            self.skip = length;
            match opcode {
                8 => self.closed = true,
                9 => self.pings += 1,
                10 => {}
                _ => {
                    self.frames += 1;
                    bytes += length;
                }
            }
        }
        tally.bytes.fetch_add(bytes, Ordering::Relaxed);
        tally.frames.fetch_add(self.frames - frames, Ordering::Relaxed);
    }

    /// Length of the payload once the head is whole. Frames of a server are not masked.
    fn length(&self) -> Option<u64> {
        let (_, rest) = self.head.split_first()?;
        let (short, long) = rest.split_first()?;
        match (short & 0x7f, long.len()) {
            (126, 2) => Some(u64::from(u16::from_be_bytes(long.try_into().ok()?))),
            (127, 8) => Some(u64::from_be_bytes(long.try_into().ok()?)),
            (126 | 127, _) => None,
            (short, _) => Some(u64::from(short)),
        }
    }
}
