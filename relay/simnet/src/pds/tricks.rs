//! Streams and answers that lead nowhere, byte by byte where WebSocket and HTTP would not do it.

use super::{OBSERVER, Shared, Upgrade, subscription::Socket};
use crate::{Adversary, StreamTrick, server::lock};
use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt, future::BoxFuture};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

/// Between two bytes of an answer that dribbles.
const DRIBBLE: Duration = Duration::from_secs(1);

/// Between two bytes of a frame that never ends.
const TRICKLE: Duration = Duration::from_millis(100);

/// One part of an endless message.
const PART_BYTES: usize = 64 << 10;

/// One part of a slow message: at ten in a second it would take minutes to be too large.
const SLOW_PART_BYTES: usize = 2 << 10;

/// What an endless frame announces: just below the limit (MSG-1).
const ANNOUNCED: u64 = 4_900_000;

/// What a huge frame announces.
const HUGE: u64 = 1 << 40;

/// Longest beginning of a request that is looked at.
const REQUEST_BYTES: usize = 2_048;

/// Takes connections away from HTTP before it has read anything.
pub(crate) trait Intercept: std::fmt::Debug + Send + Sync {
    /// Whether the next connection may be one; costs nothing when it is not.
    fn is_due(&self) -> bool;
    /// Whether this connection was taken; then it is used up.
    fn take<'a>(&'a self, stream: &'a mut TcpStream) -> BoxFuture<'a, bool>;
}

impl Intercept for Shared {
    fn is_due(&self) -> bool {
        let script = lock(&self.script);
        let next = script.upgrades.front().map_or(&script.upgrade, |(upgrade, _)| upgrade);
        matches!(next, Upgrade::Dribble | Upgrade::EndlessHead)
    }

    fn take<'a>(&'a self, stream: &'a mut TcpStream) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let mut begin = [0; REQUEST_BYTES];
            let Ok(length) = stream.peek(&mut begin).await else { return true };
            let begin = String::from_utf8_lossy(begin.get(..length).unwrap_or_default());
            if !begin.contains("subscribeRepos") {
                return false;
            }
            let counts = !begin.contains(OBSERVER);
            let cursor = begin.split_once("cursor=").map_or("", |(_, rest)| {
                rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default()
            });
            if counts {
                lock(&self.requests).cursors.push(cursor.to_owned());
            }
            let ended = match self.next_upgrade(counts) {
                Upgrade::Dribble => dribble(stream).await,
                _ => endless_head(stream).await,
            };
            tracing::debug!(?ended, "simulated host: the peer had enough of the answer");
            true
        })
    }
}

/// A head that would be an upgrade, one byte per second.
async fn dribble(stream: &mut TcpStream) -> std::io::Result<()> {
    let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nX-Slow: ";
    for byte in head.iter().chain(std::iter::repeat(&b'z')) {
        stream.write_all(&[*byte]).await?;
        let gone = async {
            while stream.read(&mut [0; 512]).await? > 0 {}
            Ok(())
        };
        match tokio::time::timeout(DRIBBLE, gone).await {
            Ok(gone) => return gone,
            Err(_elapsed) => {}
        }
    }
    Ok(())
}

/// Header lines as fast as they are read.
async fn endless_head(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n").await?;
    let line = format!("X-More: {}\r\n", "y".repeat(1_000));
    loop {
        stream.write_all(line.as_bytes()).await?;
    }
}

impl Shared {
    pub(super) fn next_trick(&self) -> Option<StreamTrick> {
        lock(&self.script).tricks.pop_front()
    }

    /// Plays a trick on a subscriber until it leaves.
    pub(super) async fn play_on(
        self: &Arc<Self>,
        socket: &mut Socket,
        trick: StreamTrick,
    ) -> Result<(), Error> {
        let ledger = lock(&self.stream).ledger();
        ledger.struck(Adversary::Stream(trick));
        if let Some(reason) = trick.reason() {
            ledger.broke(reason);
        }
        match trick {
            StreamTrick::EndlessMessage => endless_message(socket, PART_BYTES, None).await,
            StreamTrick::SlowMessage => {
                endless_message(socket, SLOW_PART_BYTES, Some(TRICKLE)).await
            }
            StreamTrick::EndlessFrame => announced(socket, ANNOUNCED).await,
            StreamTrick::HugeFrame => announced(socket, HUGE).await,
        }
    }
}

/// Parts of a message without the last one. Pings are answered all the while.
async fn endless_message(
    socket: &mut Socket,
    part_bytes: usize,
    pause: Option<Duration>,
) -> Result<(), Error> {
    let part = Bytes::from(vec![0x5a; part_bytes]);
    let mut code = Data::Binary;
    loop {
        let frame = Frame::message(part.clone(), OpCode::Data(code), false);
        socket.send(Message::Frame(frame)).await?;
        code = Data::Continue;
        let read = match pause {
            Some(pause) => tokio::time::timeout(pause, socket.next()).await.ok(),
            None => socket.next().now_or_never(),
        };
        match read {
            None | Some(Some(Ok(_))) => {}
            Some(Some(Err(error))) => return Err(error),
            Some(None) => return Ok(()),
        }
    }
}

/// The head of one frame, and then a byte now and then.
async fn announced(socket: &mut Socket, length: u64) -> Result<(), Error> {
    socket.flush().await?;
    let raw = socket.get_mut();
    let head = [&[0x82, 127][..], &length.to_be_bytes()].concat();
    raw.write_all(&head).await?;
    loop {
        raw.write_all(&[0x5a]).await?;
        raw.flush().await?;
        let gone = async {
            while raw.read(&mut [0; 512]).await? > 0 {}
            Ok::<_, Error>(())
        };
        match tokio::time::timeout(TRICKLE, gone).await {
            Ok(gone) => return gone,
            Err(_elapsed) => {}
        }
    }
}
