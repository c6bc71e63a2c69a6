//! The relay's firehose as a consumer sees it: through Caddy, by its public name, over TLS.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::StreamExt as _;
use relay_protocol::{Blocks, Commit as SignedCommit, Message as Frame, VerifyingKey};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::{RELAY_NAME, Trust};

/// Longest silence of a firehose that is waited out.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// A `#commit` that came out.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The relay's number.
    pub seq: u64,
    /// Whose repository.
    pub did: String,
    /// Which revision.
    pub rev: String,
    frame: Bytes,
}

impl Commit {
    /// Checks that the account's key signed this.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn verify(&self, key: &VerifyingKey) -> Result<()> {
        let Frame::Commit(message) = Frame::decode(&self.frame).map_err(invalid)? else {
            bail!("not a #commit");
        };
        let blocks = Blocks::read(message.blocks).map_err(invalid)?;
        let block = blocks.get(&message.commit.0).map_err(invalid)?;
        let block = block.context("the commit itself is not among its blocks")?;
        let commit = SignedCommit::decode(block).map_err(invalid)?;
        ensure!(commit.did == message.repo && commit.rev == message.rev, "not what was announced");
        commit.verify(key).map_err(invalid)
    }
}

fn invalid(error: relay_protocol::Invalid) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

/// An open stream.
#[derive(Debug)]
pub struct Firehose {
    socket: WebSocketStream<TlsStream<TcpStream>>,
}

impl Firehose {
    /// Connects; `cursor` is exclusive, `None` begins with the next event.
    ///
    /// # Errors
    /// When the certificate, the handshake or the connection fails.
    pub(super) async fn connect(trust: &Trust, port: u16, cursor: Option<u64>) -> Result<Self> {
        let query = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
        let url = format!("wss://{RELAY_NAME}:{port}/xrpc/com.atproto.sync.subscribeRepos{query}");
        let opening = async { Ok(Box::pin(client_async(&url, trust.connect().await?)).await?) };
        let opened: Result<_> =
            timeout(SILENCE_MAX, Box::pin(opening)).await.context("the handshake hangs")?;
        let (socket, _) = opened.with_context(|| format!("open {url}"))?;
        Ok(Self { socket })
    }

    /// The next frame as it came.
    ///
    /// # Errors
    /// When the stream ends, breaks or is silent for a minute.
    pub async fn next_frame(&mut self) -> Result<Bytes> {
        loop {
            let message = timeout(SILENCE_MAX, self.socket.next()).await;
            match message.context("nothing came for a minute")? {
                Some(Ok(Message::Binary(frame))) => return Ok(frame),
                Some(Ok(Message::Close(why))) => bail!("the stream was closed: {why:?}"),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error).context("the stream broke"),
                None => bail!("the stream ended"),
            }
        }
    }

    /// The next `#commit`; other events are passed over.
    ///
    /// # Errors
    /// As [`Self::next_frame`], and when a frame is not what the protocol says.
    pub async fn next_commit(&mut self) -> Result<Commit> {
        loop {
            let frame = self.next_frame().await?;
            let (seq, did, rev) = match Frame::decode(&frame).map_err(invalid)? {
                Frame::Commit(commit) => {
                    (commit.host_seq, commit.repo.to_owned(), commit.rev.to_string())
                }
                Frame::Error(name, message) => bail!("the relay says {name}: {message:?}"),
                _ => continue,
            };
            return Ok(Commit { seq, did, rev, frame });
        }
    }
}
