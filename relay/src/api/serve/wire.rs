//! The socket under the HTTP library, and what is said when the library itself refuses a request.
//!
//! A head that cannot be read, or is too large, never comes to a handler: the library answers with a
//! bare status and closes. Such an answer is replaced here, so that also it names the software and
//! says in JSON what was wrong (API-1, WS-11).

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::api::SERVER;

/// A socket that exchanges bare refusals for whole ones.
#[derive(Debug)]
pub(super) struct Wire<S> {
    socket: S,
    /// The whole refusal and how much of it the socket has taken.
    refusal: Option<(Vec<u8>, usize)>,
}

impl<S> Wire<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, refusal: None }
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Sends the refusal in place of `bare` bytes of the library.
    fn poll_refuse(&mut self, cx: &mut Context<'_>, bare: usize) -> Poll<io::Result<usize>> {
        while let Some((words, sent)) = &mut self.refusal {
            let left = words.get(*sent..).unwrap_or_default();
            if left.is_empty() {
                self.refusal = None;
                break;
            }
            match ready!(Pin::new(&mut self.socket).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => *sent = sent.saturating_add(taken),
            }
        }
        Poll::Ready(Ok(bare))
    }

    /// Whether these bytes are to be replaced; then the replacement is ready.
    fn is_replaced(&mut self, bytes: &[u8]) -> bool {
        if self.refusal.is_none() {
            self.refusal = bare_refusal(bytes).map(|status| (whole_refusal(status), 0));
        }
        self.refusal.is_some()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_replaced(bytes) {
            return self.poll_refuse(cx, bytes.len());
        }
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        if first.is_some_and(|first| self.is_replaced(first)) {
            return self.poll_refuse(cx, slices.iter().map(|slice| slice.len()).sum());
        }
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// The status, if these bytes are a refusal of the library: no body and no `Server`. Every answer of a
/// handler names its server, and frames of the firehose begin otherwise.
fn bare_refusal(bytes: &[u8]) -> Option<u16> {
    let status = bytes.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    let status = std::str::from_utf8(status).ok()?.parse().ok()?;
    let says = |header: &[u8]| {
        bytes.windows(header.len()).any(|window| window.eq_ignore_ascii_case(header))
    };
    let is_bare = matches!(status, 400 | 414 | 431)
        && bytes.ends_with(b"\r\n\r\n")
        && says(b"\r\ncontent-length: 0\r\n")
        && !says(b"\r\nserver:");
    is_bare.then_some(status)
}

fn whole_refusal(status: u16) -> Vec<u8> {
    let (line, why) = match status {
        414 => ("414 URI Too Long", "the path of the request is too long"),
        431 => ("431 Request Header Fields Too Large", "the head of the request is too large"),
        _ => ("400 Bad Request", "this is not an HTTP request that can be read"),
    };
    let body = json!({ "error": "InvalidRequest", "message": why }).to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {line}\r\nserver: {SERVER}\r\ncontent-type: application/json\r\n\
         access-control-allow-origin: *\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const BARE: &[u8] =
        b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

    async fn through(written: &[u8], room: usize) -> Vec<u8> {
        let (ours, mut theirs) = tokio::io::duplex(room);
        let mut wire = Wire::new(ours);
        let mut read = Vec::new();
        let write = async {
            wire.write_all(written).await.unwrap();
            drop(wire);
        };
        let ((), result) = tokio::join!(write, theirs.read_to_end(&mut read));
        result.unwrap();
        read
    }

    /// WS-11, API-1: also in a socket that takes a few bytes at a time.
    #[tokio::test]
    async fn a_bare_refusal_becomes_a_whole_one() {
        for room in [7, 4096] {
            let told = String::from_utf8(through(BARE, room).await).unwrap();
            let (head, body) = told.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 431 "), "{told}");
            assert!(head.contains(&format!("server: {SERVER}\r\n")), "{told}");
            assert!(head.contains(&format!("content-length: {}", body.len())), "{told}");
            assert_eq!(body, json!({"error": "InvalidRequest", "message": "the head of the request is too large"}).to_string());
        }
    }

    /// Everything else goes through as it is.
    #[tokio::test]
    async fn other_bytes_are_not_touched() {
        let rows: [&[u8]; 4] = [
            b"HTTP/1.1 400 Bad Request\r\nServer: relay/1\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 12\r\n\r\n",
            b"\x82\x7e",
        ];
        for bytes in rows {
            assert_eq!(through(bytes, 64).await, bytes);
        }
    }
}
