//! The connection below a subscription: with or without TLS, counted, and read ahead when a host sends
//! faster than it is read.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// Bytes that are read at once from a host that is behind: some eight messages with one call of the kernel
/// and one acknowledgement.
const AHEAD_BYTES: usize = 32 << 10;

/// A connection with or without TLS, which counts what was read.
#[derive(Debug)]
pub struct Stream {
    carrier: Carrier,
    read: u64,
    ahead: Ahead,
}

#[derive(Debug)]
pub(super) enum Carrier {
    /// Development mode only.
    Plain(TcpStream),
    /// Certificate checked against the roots of the machine.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(super) fn over(carrier: Carrier) -> Self {
        Self { carrier, read: 0, ahead: Ahead::default() }
    }

    /// Bytes that the reader has got so far.
    pub const fn bytes_read(&self) -> u64 {
        self.read
    }
}

/// What was read beyond the room of the reader.
///
/// The reader's room is small, because thousands of sockets have one each. While more waits than fits in
/// it, the kernel is asked for much at once, and the reader gets it in parts.
#[derive(Debug, Default)]
struct Ahead {
    /// Empty unless the host is behind.
    bytes: Box<[u8]>,
    /// The part that the reader has not got.
    start: usize,
    end: usize,
    /// The last read filled all the room that there was.
    is_behind: bool,
}

impl Ahead {
    fn poll_read(
        &mut self,
        stream: &mut TcpStream,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.start == self.end {
            if !self.is_behind {
                self.bytes = Box::default();
                ready!(Pin::new(stream).poll_read(context, into))?;
                self.is_behind = into.remaining() == 0;
                return Poll::Ready(Ok(()));
            }
            if self.bytes.is_empty() {
                self.bytes = vec![0; AHEAD_BYTES].into_boxed_slice();
            }
            (self.start, self.end) = (0, 0);
            let mut room = ReadBuf::new(&mut self.bytes);
            let polled = Pin::new(stream).poll_read(context, &mut room);
            self.end = room.filled().len();
            // Half of it is more than the reader can take at once.
            self.is_behind = self.end > AHEAD_BYTES / 2;
            if self.end == 0 {
                self.bytes = Box::default();
                return polled;
            }
        }
        let waiting = self.bytes.get(self.start..self.end).unwrap_or_default();
        let part = waiting.get(..into.remaining()).unwrap_or(waiting);
        into.put_slice(part);
        self.start += part.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let polled = match &mut this.carrier {
            Carrier::Plain(stream) => this.ahead.poll_read(stream, context, into),
            Carrier::Tls(stream) => Pin::new(stream).poll_read(context, into),
        };
        this.read += (into.filled().len() - before) as u64;
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().carrier {
            Carrier::Plain(stream) => Pin::new(stream).poll_write(context, from),
            Carrier::Tls(stream) => Pin::new(stream).poll_write(context, from),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().carrier {
            Carrier::Plain(stream) => Pin::new(stream).poll_flush(context),
            Carrier::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().carrier {
            Carrier::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Carrier::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, future::join};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Room of the reader.
    const ROOM: usize = 4 << 10;

    /// UP-9: what was read ahead comes out whole and in order, takes memory only while the host is
    /// behind, and the end of the stream is seen after it.
    #[tokio::test]
    async fn a_host_that_is_behind_is_read_ahead_and_nothing_is_lost() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (host, here) = join(listener.accept(), connecting).await;
        let (mut host, mut here) = (host.unwrap().0, Stream::over(Carrier::Plain(here.unwrap())));
        let sent: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();

        let (mut got, mut room, mut was_ahead) = (Vec::new(), [0; ROOM], false);
        let reading = async {
            while got.len() < sent.len() {
                let read = here.read(&mut room).await.unwrap();
                assert!(read > 0, "the stream ends early");
                got.extend_from_slice(&room[..read]);
                was_ahead |= here.ahead.end > here.ahead.start;
            }
        };
        let (written, ()) = join(host.write_all(&sent), reading).await;
        written.unwrap();
        assert!(got == sent, "the bytes differ");
        assert!(was_ahead, "nothing was read ahead: this proves nothing");
        assert_eq!(here.bytes_read(), sent.len() as u64);

        assert!(here.read(&mut room).now_or_never().is_none(), "nothing more is there");
        assert!(here.ahead.bytes.is_empty(), "a silent host holds no memory");
        drop(host);
        assert_eq!(here.read(&mut room).await.unwrap(), 0, "the end of the stream");
    }
}
