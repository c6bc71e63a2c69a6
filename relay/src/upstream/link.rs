//! One open socket: reads messages, pings, and notices when the other side is gone (UP-2).

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{
    Error as WsError, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};
use tokio_util::sync::CancellationToken;

use super::{UpstreamOptions, outgrown::Outgrown};
use crate::net::{Socket, printable};

/// Longest wait for a ping to be written.
const PING_WRITE_MAX: Duration = Duration::from_secs(10);

/// Longest wait for a goodbye to be written.
const CLOSE_WRITE_MAX: Duration = Duration::from_secs(1);

/// Bytes without a message that may still be noise of the protocol.
const PART_BYTES_MIN: u64 = 4 << 10;

/// Most bytes around the contents of a ping or pong.
const CONTROL_HEAD_BYTES: u64 = 14;

/// Kept part of what a peer says when it closes.
const WORDS_CHARS_MAX: usize = 200;

/// What came out of a socket.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A binary message.
    Frame(Bytes),
    /// A text message, which no stream of this protocol holds.
    Text,
    /// A message above the limit; the rest of it was not read.
    TooLarge,
    /// The connection ended; in words.
    Closed(String),
    /// Nothing was heard for too long, or parts of a message that does not end.
    Dead,
    /// We stop.
    Stopped,
}

/// An open socket with its timer.
#[derive(Debug)]
pub(super) struct Link {
    socket: Socket,
    ping_interval: Duration,
    dead_after: Duration,
    next_ping: Instant,
    timer: Pin<Box<Sleep>>,
    /// Bytes read up to the last message, and those of pings and pongs since.
    read_before: u64,
    since_unfinished: Option<Instant>,
    outgrown: Outgrown,
}

impl Link {
    pub(super) fn new(socket: Socket, options: &UpstreamOptions) -> Self {
        let next_ping = Instant::now() + options.ping_interval;
        Self {
            socket,
            ping_interval: options.ping_interval,
            dead_after: options.dead_after,
            next_ping,
            timer: Box::pin(sleep_until(next_ping)),
            read_before: 0,
            since_unfinished: None,
            outgrown: Outgrown::default(),
        }
    }

    /// Waits for the next message. Silence is counted from the call on: while the caller was busy
    /// with the last message nobody listened, so that nobody can have been silent.
    ///
    /// Cancel safety: no message is lost.
    pub(super) async fn next(&mut self, stopping: &CancellationToken) -> Incoming {
        let mut heard = None;
        loop {
            // A socket that is always ready would hide the two other branches.
            if stopping.is_cancelled() {
                return Incoming::Stopped;
            }
            // A busy host's next message is there already, and no clock need be read for it.
            let waits = poll_fn(|context| Poll::Ready(self.socket.poll_next_unpin(context))).await;
            let message = if let Poll::Ready(message) = waits {
                message
            } else {
                let since = *heard.get_or_insert_with(Instant::now);
                tokio::select! {
                    biased;
                    message = self.socket.next() => message,
                    () = self.timer.as_mut() => {
                        if let Some(end) = self.on_timer(since).await {
                            return end;
                        }
                        continue;
                    }
                    () = stopping.cancelled() => return Incoming::Stopped,
                }
            };
            heard = None;
            match message {
                Some(Ok(Message::Binary(frame))) => {
                    self.read_before = self.socket.get_ref().bytes_read();
                    self.since_unfinished = None;
                    self.outgrown.passed(&frame);
                    return Incoming::Frame(frame);
                }
                Some(Ok(Message::Text(_))) => return Incoming::Text,
                Some(Ok(Message::Close(close))) => return Incoming::Closed(goodbye(close)),
                Some(Ok(Message::Ping(said) | Message::Pong(said))) => {
                    self.read_before += said.len() as u64 + CONTROL_HEAD_BYTES;
                }
                Some(Ok(Message::Frame(_))) => {}
                Some(Err(WsError::Capacity(_))) => return Incoming::TooLarge,
                Some(Err(error)) => {
                    let why = printable(&error.to_string(), WORDS_CHARS_MAX);
                    return Incoming::Closed(format!("the connection broke: {why}"));
                }
                None => return Incoming::Closed("the host closed the connection".to_owned()),
            }
        }
    }

    /// Gives the end of the connection if it is dead or cannot be pinged; else sets the timer anew.
    async fn on_timer(&mut self, heard: Instant) -> Option<Incoming> {
        self.outgrown.rested();
        let now = Instant::now();
        let dead_at = heard + self.dead_after;
        if now >= dead_at || self.is_strung_along(now) {
            return Some(Incoming::Dead);
        }
        if now >= self.next_ping {
            let ping = self.socket.send(Message::Ping(Bytes::new()));
            match timeout(PING_WRITE_MAX, ping).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let why = printable(&error.to_string(), WORDS_CHARS_MAX);
                    return Some(Incoming::Closed(format!("the connection broke: {why}")));
                }
                Err(_elapsed) => return Some(Incoming::Dead),
            }
            self.next_ping = now + self.ping_interval;
        }
        self.timer.as_mut().reset(self.next_ping.min(dead_at));
        None
    }

    /// Whether a message has been coming for too long. Pongs between its parts are signs of life, but
    /// each such message holds up to 5 MB of memory.
    fn is_strung_along(&mut self, now: Instant) -> bool {
        let unfinished = self.socket.get_ref().bytes_read().saturating_sub(self.read_before);
        if unfinished <= PART_BYTES_MIN {
            return false;
        }
        let since = *self.since_unfinished.get_or_insert(now);
        now.duration_since(since) >= self.dead_after
    }

    /// Says goodbye, shortly.
    pub(super) async fn close(mut self) {
        let goodbye = CloseFrame { code: CloseCode::Away, reason: "".into() };
        match timeout(CLOSE_WRITE_MAX, self.socket.close(Some(goodbye))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the host did not hear the goodbye"),
            Err(_elapsed) => tracing::debug!("the host did not take the goodbye in time"),
        }
    }
}

fn goodbye(close: Option<CloseFrame>) -> String {
    match close {
        None => "the host closed the stream".to_owned(),
        Some(close) => {
            let reason = printable(&close.reason, WORDS_CHARS_MAX);
            let code = u16::from(close.code);
            if reason.is_empty() {
                format!("the host closed the stream with code {code}")
            } else {
                format!("the host closed the stream with code {code}: {reason}")
            }
        }
    }
}
