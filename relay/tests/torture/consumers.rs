//! Consumers that behave badly.

use std::time::Duration;

use anyhow::{Context as _, Result};
use relay_simnet::{Consumer, Start};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

/// Events that one reads before it leaves.
const EVENTS: usize = 3;

/// So many connect at once and leave after some events; gives how many got in.
pub(crate) async fn storm(url: &str, consumers: usize) -> Result<usize> {
    let mut all = JoinSet::new();
    for _ in 0..consumers {
        let url = url.to_owned();
        all.spawn(async move {
            let mut consumer = Consumer::connect(&url, Start::Live).await?;
            consumer.take(EVENTS).await.map(drop)
        });
    }
    let outcomes = all.join_all().await;
    Ok(outcomes.iter().filter(|outcome| outcome.is_ok()).count())
}

/// Reads one byte per second from the oldest event on, until it is thrown out.
pub(crate) async fn slow_reader(url: &str) -> Result<()> {
    let authority = url.strip_prefix("http://").context("an address")?;
    let mut socket = TcpStream::connect(authority).await?;
    let request = format!(
        "GET /xrpc/com.atproto.sync.subscribeRepos?cursor=0 HTTP/1.1\r\nHost: {authority}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await?;
    while socket.read(&mut [0]).await? > 0 {
        // This pause is the fault itself.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
