//! A small HTTP client that sends exactly what it is told.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Longest time that any answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    fn parse(raw: &[u8]) -> Self {
        let text = String::from_utf8_lossy(raw);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).map_err(|why| format!("{why}: {self:?}")).unwrap()
    }

    /// Name of the error, with the shape that API-1 demands.
    pub(crate) fn error(&self) -> String {
        let json = self.json();
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        assert!(json["message"].is_string(), "{self:?}");
        assert_eq!(json.as_object().unwrap().len(), 2, "{self:?}");
        json["error"].as_str().unwrap().to_owned()
    }
}

/// Sends bytes and reads until the server closes.
pub(crate) async fn raw(at: SocketAddr, request: &str) -> Answer {
    let mut socket = TcpStream::connect(at).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.unwrap().unwrap();
    Answer::parse(&answer)
}

/// A request without a body; `headers` are whole lines.
pub(crate) async fn send(at: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Answer {
    let lines: String = headers.iter().flat_map(|line| [line, "\r\n"]).collect();
    raw(at, &format!("{method} {path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n{lines}\r\n"))
        .await
}

/// Sends bytes and reads the head of the answer only; keeps the socket open.
pub(crate) async fn open(at: SocketAddr, request: &str) -> (Answer, TcpStream) {
    let mut socket = TcpStream::connect(at).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(socket.read_u8().await.unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap();
    (Answer::parse(&answer), socket)
}

/// A POST with a body.
pub(crate) async fn post(at: SocketAddr, path: &str, headers: &[&str], body: &str) -> Answer {
    let lines: String = headers.iter().flat_map(|line| [line, "\r\n"]).collect();
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\nContent-Length: {length}\r\n\
         {lines}\r\n{body}"
    );
    raw(at, &request).await
}
