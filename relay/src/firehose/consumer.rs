//! One consumer: a place in the log, a socket, and no queue between them (DESIGN 10.12).
//!
//! Near the head and far behind it runs the same code: read a batch, send it, wait when there is none.

use std::{convert::Infallible, io, sync::Arc, task::Poll, time::Duration};

use ::metrics::{Counter, counter};
use bytes::Bytes;
use futures_util::{Sink as _, StreamExt as _};
use relay_protocol::info_frame;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as SocketError, Message,
        protocol::{Role, WebSocketConfig},
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    farewell::farewell,
    line::Line,
    pace::{Care, Progress, Pulse},
    position::{Start, position},
    reel::{Reel, Reels},
    tally::Tally,
};
use crate::{
    accounts::hidden::Hidden,
    domain::{CloseReason, Seq},
    eventlog::{Position, ReadError, Reader},
    telemetry::metrics,
};

/// What is read and sent at once. Chosen because a write of 64 KiB costs little more than its copy,
/// and because 2,000 consumers then hold 128 MiB at most.
const BATCH_BYTES: usize = 64 << 10;
/// Client messages carry nothing for us (WS-6).
const CLIENT_MESSAGE_BYTES_MAX: usize = 4 << 10;
/// How often a start is tried again when retention overtook it before its first event.
const STARTS_MAX: u32 = 16;
/// What we read and throw away from a peer that we closed, so that our last words are not lost to a
/// reset of the connection.
const LEFTOVER_BYTES_MAX: u64 = 1 << 20;
/// How long a closed peer may take to close its side.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// The same at shutdown, when every consumer is asked to go at once.
const SHUTDOWN_FAREWELL_MAX: Duration = Duration::from_millis(500);
/// Words of `#info OutdatedCursor` (CUR-6); those of the reference PDS.
const OUTDATED: &str = "Requested cursor exceeded limit. Possibly missing events";

/// Times and amounts that decide when a consumer is closed.
#[derive(Debug, Clone, Copy)]
pub struct Pacing {
    /// A quiet consumer is pinged this long after its last frame (WS-7).
    pub ping_every: Duration,
    /// It must answer within this (WS-7).
    pub pong_within: Duration,
    /// While data waits, a consumer must take [`Self::stall_bytes`] within this (DESIGN 10.12).
    pub stall_within: Duration,
    /// See [`Self::stall_within`].
    pub stall_bytes: u64,
    /// How long we try to send the last words (WS-8); then the consumer has 2 s to close its side.
    pub farewell_max: Duration,
    /// At shutdown, how long a consumer may take for what is left (OUT-7).
    pub drain_max: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            ping_every: Duration::from_secs(30),
            pong_within: Duration::from_mins(1),
            stall_within: Duration::from_mins(1),
            stall_bytes: 64 << 10,
            farewell_max: Duration::from_secs(5),
            drain_max: Duration::from_secs(4),
        }
    }
}

/// What all consumers are served from.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) reader: Reader,
    /// Accounts whose content is not replayed.
    hidden: Hidden,
    reels: Reels,
    events: Counter,
    bytes: Counter,
}

impl Feed {
    pub(super) fn new(reader: Reader, hidden: Hidden) -> Self {
        let events = counter!(metrics::FIREHOSE_EVENTS);
        let bytes = counter!(metrics::FIREHOSE_BYTES);
        Self { reader, hidden, reels: Reels::default(), events, bytes }
    }

    /// The next batch at a place, which moves behind it; `None` at the head.
    async fn next(&self, place: &mut Position) -> Result<Option<Arc<Reel>>, ReadError> {
        let (after, version) = (place.seq(), self.hidden.version());
        if let Some(reel) = self.reels.find(after, version) {
            place.pass(reel.last);
            return Ok(Some(reel));
        }
        let events = place.read(BATCH_BYTES).await?;
        let reel = Reel::of((after, version), &events, &self.hidden).map(Arc::new);
        if let Some(reel) = &reel {
            self.reels.keep(reel, self.reader.window().head);
        }
        Ok(reel)
    }
}

/// A connected consumer.
#[derive(Debug)]
pub(super) struct Consumer<S> {
    socket: WebSocketStream<Line<S>>,
    feed: Arc<Feed>,
    cursor: Option<Seq>,
    /// Head when it came: where it starts without a cursor.
    arrived: Seq,
    tally: Arc<Tally>,
    pacing: Pacing,
    closing: CancellationToken,
    progress: Progress,
    pulse: Pulse,
    /// `#info` was sent.
    informed: bool,
    /// `taken` when it was last added to the metric.
    counted: u64,
}

/// What the consumer sent; `None` when the connection is over.
type Inbound = Option<Result<Message, SocketError>>;

/// What one wait for the socket gave.
struct Step {
    inbound: Poll<Inbound>,
    sent: Option<io::Result<()>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Consumer<S> {
    /// Takes over an upgraded connection.
    pub(super) async fn new(
        socket: S,
        feed: Arc<Feed>,
        (cursor, arrived): (Option<Seq>, Seq),
        tally: Arc<Tally>,
        (pacing, closing): (Pacing, CancellationToken),
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(CLIENT_MESSAGE_BYTES_MAX)
            .write_buffer_size(0)
            .max_message_size(Some(CLIENT_MESSAGE_BYTES_MAX))
            .max_frame_size(Some(CLIENT_MESSAGE_BYTES_MAX));
        Self {
            socket: WebSocketStream::from_raw_socket(Line::new(socket), Role::Server, Some(config))
                .await,
            feed,
            cursor,
            arrived,
            tally,
            pacing,
            closing,
            progress: Progress::new(pacing.stall_within, pacing.stall_bytes),
            pulse: Pulse::new(pacing.ping_every, pacing.pong_within, Instant::now()),
            informed: false,
            counted: 0,
        }
    }

    /// Serves until one side ends it; gives why.
    pub(super) async fn serve(mut self) -> CloseReason {
        let closing = self.closing.clone();
        let dismissed = self.tally.dismissed();
        let drain_max = self.pacing.drain_max;
        let patience = async {
            closing.cancelled().await;
            tokio::time::sleep(drain_max).await;
        };
        let reason = tokio::select! {
            Err(reason) = self.follow() => reason,
            () = patience => CloseReason::Shutdown,
            () = dismissed.cancelled() => CloseReason::Disconnected,
        };
        let farewell_max =
            if closing.is_cancelled() { SHUTDOWN_FAREWELL_MAX } else { self.pacing.farewell_max };
        self.part(reason, farewell_max).await;
        self.count_bytes();
        reason
    }

    async fn follow(&mut self) -> Result<Infallible, CloseReason> {
        let mut place = self.begin().await?;
        let mut starts = 1;
        let mut started = false;
        let mut last = None;
        loop {
            if self.closing.is_cancelled() {
                // What is appended from now on is for the next connection.
                let last = *last.get_or_insert_with(|| self.feed.reader.window().head);
                if place.seq() >= last {
                    return Err(CloseReason::Shutdown);
                }
            }
            let reel = match self.feed.next(&mut place).await {
                Ok(reel) => reel,
                Err(ReadError::Overtaken) if !started && starts < STARTS_MAX => {
                    starts += 1;
                    place = self.begin().await?;
                    continue;
                }
                Err(ReadError::Overtaken) => return Err(CloseReason::TooSlow),
                Err(ReadError::Io(why)) => {
                    tracing::error!(%why, seq = place.seq().0, "a consumer could not read the log");
                    return Err(CloseReason::Internal);
                }
            };
            if let Some(reel) = reel {
                started = true;
                self.send(&reel).await?;
            } else {
                self.progress.caught_up();
                self.wait(&mut place).await?;
            }
        }
    }

    /// Finds the place to start and says `#info` if history is missing.
    async fn begin(&mut self) -> Result<Position, CloseReason> {
        let reader = &self.feed.reader;
        let mut window = reader.window();
        if self.cursor.is_none() {
            window.head = self.arrived;
        }
        let start = position(self.cursor, window, reader.has_lost());
        ::metrics::counter!(metrics::FIREHOSE_OPENED, "start" => start.label(self.cursor))
            .increment(u64::from(!self.tally.begin()));
        match start {
            Start::Future => Err(CloseReason::FutureCursor),
            Start::After(seq) => Ok(reader.after(seq)),
            Start::Outdated(seq) => {
                if !self.informed {
                    self.informed = true;
                    let frame = info_frame("OutdatedCursor", Some(OUTDATED));
                    self.socket.get_mut().queue(&Bytes::from(frame));
                    self.deliver().await?;
                }
                Ok(self.feed.reader.after(seq))
            }
        }
    }

    async fn send(&mut self, reel: &Reel) -> Result<(), CloseReason> {
        self.socket.get_mut().queue_framed(&reel.parts);
        self.deliver().await?;
        self.tally.sent(reel.last, reel.events, self.socket.get_ref().taken());
        self.feed.events.increment(reel.events);
        self.count_bytes();
        Ok(())
    }

    /// Waits until the socket took everything; hears the consumer meanwhile.
    async fn deliver(&mut self) -> Result<(), CloseReason> {
        loop {
            let now = Instant::now();
            if self.progress.waiting(now, self.socket.get_ref().taken()) {
                return Err(CloseReason::TooSlow);
            }
            let deadline = self.progress.deadline(now);
            let step = tokio::select! {
                biased;
                step = self.step() => step,
                () = sleep_until(deadline) => continue,
            };
            let heard = match &step.inbound {
                Poll::Ready(inbound) => {
                    self.hear(inbound)?;
                    true
                }
                Poll::Pending => false,
            };
            match step.sent {
                // The answer to a ping is in line only when the socket is read again.
                Some(Ok(())) if heard => {}
                Some(Ok(())) => return Ok(()),
                Some(Err(_gone)) => return Err(CloseReason::Gone),
                None => self.pulse.held_up(Instant::now()),
            }
        }
    }

    /// Polls both directions once per wake-up, so that neither starves the other.
    async fn step(&mut self) -> Step {
        let socket = &mut self.socket;
        let pulse = &mut self.pulse;
        std::future::poll_fn(|context| {
            let inbound = socket.poll_next_unpin(context);
            let sent = match socket.get_mut().poll_send(context) {
                Poll::Ready(sent) => Some(sent),
                Poll::Pending => {
                    pulse.held_up(Instant::now());
                    None
                }
            };
            if inbound.is_pending() && sent.is_none() {
                return Poll::Pending;
            }
            Poll::Ready(Step { inbound, sent })
        })
        .await
    }

    /// At the head: waits for events, the consumer, the next ping, or the end.
    async fn wait(&mut self, place: &mut Position) -> Result<(), CloseReason> {
        loop {
            let closing = self.closing.is_cancelled();
            tokio::select! {
                biased;
                () = place.ready() => return Ok(()),
                () = self.closing.cancelled(), if !closing => return Ok(()),
                inbound = self.socket.next() => self.hear(&inbound)?,
                () = sleep_until(self.pulse.deadline()) => match self.pulse.check(Instant::now()) {
                    Care::Wait => {}
                    Care::Ping => self.say(Message::Ping(Bytes::new())),
                    Care::GiveUp => return Err(CloseReason::NoPong),
                },
            }
            // Pings and the answers to theirs.
            self.deliver().await?;
            self.progress.caught_up();
        }
    }

    /// Everything from a consumer is only a sign of life (WS-6).
    fn hear(&mut self, inbound: &Inbound) -> Result<(), CloseReason> {
        match inbound {
            Some(Ok(Message::Close(_))) | None => Err(CloseReason::Gone),
            Some(Ok(_)) => {
                self.pulse.heard(Instant::now());
                Ok(())
            }
            Some(Err(SocketError::Capacity(_))) => Err(CloseReason::FrameTooLarge),
            Some(Err(_broken)) => Err(CloseReason::Gone),
        }
    }

    /// Queues a control frame; it goes out between two events.
    fn say(&mut self, message: Message) {
        // A frame after the close frame is refused, and that is as it should be.
        drop(std::pin::Pin::new(&mut self.socket).start_send(message));
    }

    /// Says why, within `at_most`, and lets the consumer close its side.
    async fn part(&mut self, reason: CloseReason, at_most: Duration) {
        let words = farewell(reason);
        let told = timeout(at_most, async {
            if let Some(error) = words.error {
                self.socket.get_mut().queue(&Bytes::from(error));
                // A control frame overtakes queued events, so the close frame waits for this one.
                self.flush().await?;
            }
            if let Some(close) = words.close {
                self.say(Message::Close(Some(close)));
            }
            self.flush().await
        })
        .await;
        if matches!(told, Ok(Ok(()))) {
            drop(timeout(LINGER_MAX.min(at_most), self.linger()).await);
        }
    }

    /// Sends what is queued without hearing the consumer.
    async fn flush(&mut self) -> io::Result<()> {
        let line = self.socket.get_mut();
        std::future::poll_fn(|context| line.poll_send(context)).await
    }

    /// Reads until the consumer has closed. Dropping a socket with unread bytes resets it, and a reset
    /// can overtake what we said.
    async fn linger(&mut self) {
        while let Some(Ok(_)) = self.socket.next().await {}
        if self.flush().await.is_err() {
            return;
        }
        let line = self.socket.get_mut();
        if line.shutdown().await.is_ok() {
            let mut leftover = line.take(LEFTOVER_BYTES_MAX);
            // Whether it ends well or not, nothing follows.
            drop(tokio::io::copy(&mut leftover, &mut tokio::io::sink()).await);
        }
    }

    fn count_bytes(&mut self) {
        let taken = self.socket.get_ref().taken();
        self.feed.bytes.increment(taken.saturating_sub(self.counted));
        self.counted = taken;
    }
}
