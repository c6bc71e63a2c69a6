//! The socket of one consumer: shared frames go out without a copy, control frames of the WebSocket
//! library slip in between whole frames, and the bytes that the peer takes are counted.
//!
//! The library reads and answers pings and closes; what it writes waits in `control` until a frame
//! ends. Its own send buffer is not used for events, because it keeps a copy per consumer that never
//! shrinks: one 5 MB frame and 2,000 consumers would hold 10 GB.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Frames up to this size are copied together, so that many go out in one write; larger ones are
/// written from the memory that all consumers share. Chosen because a copy of 16 KiB costs less than
/// a system call.
const COPY_BYTES_MAX: usize = 16 << 10;
/// Unsent answers to pings; a peer that asks for more without reading is closed.
const CONTROL_BYTES_MAX: usize = 4 << 10;
/// Longest head of a frame that is not masked (RFC 6455 5.2).
const HEAD_BYTES_MAX: usize = 10;
/// First byte of a whole binary message (RFC 6455 5.2).
const BINARY: u8 = 0x82;

/// Bytes to be sent.
#[derive(Debug, Clone)]
pub(super) struct Part {
    bytes: Bytes,
    /// Whether it begins with the head of a data frame, so that a control frame may come before it.
    starts_frame: bool,
}

/// Puts payloads into frames, as few parts as possible.
pub(super) fn framed(payloads: &[&Bytes]) -> Vec<Part> {
    let is_small = |payload: &Bytes| payload.len() <= COPY_BYTES_MAX;
    let room = |payload: &Bytes| HEAD_BYTES_MAX + if is_small(payload) { payload.len() } else { 0 };
    let mut copied = Vec::with_capacity(payloads.iter().map(|payload| room(payload)).sum());
    let mut parts = Vec::new();
    for &payload in payloads {
        put_head(&mut copied, payload.len());
        if is_small(payload) {
            copied.extend_from_slice(payload);
            continue;
        }
        parts.push(Part { bytes: std::mem::take(&mut copied).into(), starts_frame: true });
        parts.push(Part { bytes: payload.clone(), starts_frame: false });
    }
    if !copied.is_empty() {
        parts.push(Part { bytes: copied.into(), starts_frame: true });
    }
    parts
}

/// The socket with what is to be sent.
#[derive(Debug)]
pub(super) struct Line<S> {
    socket: S,
    /// Bytes that the socket ever took.
    taken: u64,
    /// Control frames that wait for the end of a data frame.
    control: Vec<u8>,
    parts: VecDeque<Part>,
    /// Bytes of the front part that are sent.
    sent: usize,
}

impl<S> Line<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, taken: 0, control: Vec::new(), parts: VecDeque::new(), sent: 0 }
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Queues one binary message; the caller bounds how many before it sends them.
    pub(super) fn queue(&mut self, payload: &Bytes) {
        self.parts.extend(framed(&[payload]));
    }

    /// Queues what [`framed`] made; its memory is shared.
    pub(super) fn queue_framed(&mut self, parts: &[Part]) {
        self.parts.extend(parts.iter().cloned());
    }

    /// Whether a control frame may be sent now.
    fn between_frames(&self) -> bool {
        self.sent == 0 && self.parts.front().is_none_or(|part| part.starts_frame)
    }
}

/// Length forms of RFC 6455 5.2; a server does not mask.
fn put_head(out: &mut Vec<u8>, length: usize) {
    out.push(BINARY);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(small), _) if small < 126 => out.push(small),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            let length = u64::try_from(length).unwrap_or(u64::MAX);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

impl<S: AsyncWrite + Unpin> Line<S> {
    /// Sends what is queued; ready when the socket took all of it.
    ///
    /// Cancel safety: what was not taken stays queued.
    pub(super) fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.control.is_empty() && self.between_frames() {
                let bytes = std::mem::take(&mut self.control).into();
                self.parts.push_front(Part { bytes, starts_frame: false });
            }
            let Some(part) = self.parts.front() else {
                return Pin::new(&mut self.socket).poll_flush(context);
            };
            let rest = part.bytes.get(self.sent..).unwrap_or_default();
            if rest.is_empty() {
                self.parts.pop_front();
                self.sent = 0;
                continue;
            }
            let written = ready!(Pin::new(&mut self.socket).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent = self.sent.saturating_add(written);
            self.taken = self.taken.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

/// The side of the WebSocket library: it writes control frames only.
impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.control.len().saturating_add(bytes.len()) > CONTROL_BYTES_MAX {
            return Poll::Ready(Err(io::Error::other("too many unsent control frames")));
        }
        self.control.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tokio::io::{AsyncWriteExt as _, DuplexStream};
    use tokio_tungstenite::{
        WebSocketStream,
        tungstenite::{Message, protocol::Role},
    };

    use super::*;

    /// Payloads around every length form and around the limit of copying.
    fn payloads() -> Vec<Bytes> {
        [0, 1, 125, 126, 127, 65_535, 65_536, COPY_BYTES_MAX, COPY_BYTES_MAX + 1, 300_000, 3]
            .into_iter()
            .enumerate()
            .map(|(i, length)| Bytes::from(vec![u8::try_from(i).unwrap(); length]))
            .collect()
    }

    /// Sends all that is queued, with a ping whenever the socket is full, five in all.
    async fn send_with_pings(line: &mut Line<DuplexStream>) {
        let mut pings = 0;
        std::future::poll_fn(|context| {
            let ping = [0x89, 2, 7, 7];
            if pings < 5 && Pin::new(&mut *line).poll_write(context, &ping).is_ready() {
                pings += 1;
            }
            line.poll_send(context)
        })
        .await
        .unwrap();
    }

    /// So many data messages, and how many pings came with them.
    async fn receive(socket: DuplexStream, count: usize) -> (Vec<Bytes>, usize) {
        let mut client = WebSocketStream::from_raw_socket(socket, Role::Client, None).await;
        let (mut data, mut pings) = (Vec::new(), 0);
        while data.len() < count {
            match client.next().await.unwrap().unwrap() {
                Message::Binary(payload) => data.push(payload),
                Message::Ping(_) => pings += 1,
                other => panic!("{other:?}"),
            }
        }
        (data, pings)
    }

    /// WS-4: each frame arrives as one binary message whatever its length and however little the
    /// socket takes at once; control frames come between, never inside.
    #[tokio::test]
    async fn frames_of_all_lengths_arrive_whole_with_control_frames_between() {
        for room in [1_usize, 7, 4096] {
            let (ours, theirs) = tokio::io::duplex(room);
            let mut line = Line::new(ours);
            for payload in payloads() {
                line.queue(&payload);
            }
            let ((), (data, pings)) =
                tokio::join!(send_with_pings(&mut line), receive(theirs, payloads().len()));
            assert_eq!(data, payloads());
            assert!(pings > 0, "control: a ping was sent");
            let total: usize = payloads().iter().map(Bytes::len).sum();
            assert!(line.taken() > u64::try_from(total).unwrap());
        }
    }

    /// WS-4: frames that were put together for many arrive as those that were queued one by one.
    #[tokio::test]
    async fn frames_that_are_shared_arrive_whole_with_control_frames_between() {
        let (ours, theirs) = tokio::io::duplex(64);
        let mut line = Line::new(ours);
        let payloads = payloads();
        line.queue_framed(&framed(&payloads.iter().collect::<Vec<_>>()));
        let ((), (data, pings)) =
            tokio::join!(send_with_pings(&mut line), receive(theirs, payloads.len()));
        assert_eq!(data, payloads);
        assert!(pings > 0, "control: a ping was sent");
    }

    /// I5: large frames are not copied.
    #[tokio::test]
    async fn large_frames_are_sent_from_shared_memory() {
        let mut line = Line::new(tokio::io::sink());
        let large = Bytes::from(vec![0; 5_000_000]);
        for _ in 0..10 {
            let parts = framed(&[&large]);
            let shared = parts.iter().filter(|part| part.bytes.as_ptr() == large.as_ptr());
            assert_eq!(shared.count(), 1);
            line.queue_framed(&parts);
            std::future::poll_fn(|context| line.poll_send(context)).await.unwrap();
        }
        assert_eq!(line.taken(), 10 * 5_000_010);
    }

    /// I5: answers to pings that nobody reads are bounded.
    #[tokio::test]
    async fn control_frames_that_nobody_reads_end_the_connection() {
        let mut line = Line::new(tokio::io::sink());
        for _ in 0..CONTROL_BYTES_MAX / 127 {
            line.write_all(&[0; 127]).await.unwrap();
        }
        assert!(line.write_all(&[0; 127]).await.is_err());
    }
}
