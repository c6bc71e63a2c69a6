//! Doors on this machine to what a host shows to itself alone: the relay's admin API, Prometheus.
//!
//! A door stays open when the connection is lost: who knocks meanwhile waits until `ssh` is back. Nobody
//! else on this machine is kept out; the admin API asks for its password, and Prometheus only shows.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UnixStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Remote, journal::again};
use crate::{told::Tell, tunnel::Tunnel};

/// Connections through one door at once; a browser has some six.
const CONNECTIONS_MAX: usize = 128;
/// Before somebody is let in again after that failed.
const PAUSE: Duration = Duration::from_millis(100);
/// How long who knocks waits for a lost connection.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a door leads to.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where it is, as the host sees it.
    pub far: SocketAddr,
    /// The port of this machine; otherwise that of the host if it is free, or any.
    pub near: Option<u16>,
}

/// Doors that are open.
#[derive(Debug)]
pub struct Doors {
    /// Their addresses on this machine, in the order in which they were asked for.
    pub near: Vec<SocketAddr>,
    tunnel: Tunnel,
    words: Vec<String>,
    far: Vec<String>,
    /// Near ends of the connection that there is.
    ends: watch::Sender<Vec<PathBuf>>,
    /// Ended with the value.
    _listening: JoinSet<()>,
}

impl Doors {
    /// Opens them.
    ///
    /// # Errors
    /// When there is no way to the host, or a port is in use.
    pub async fn open(remote: &Remote, wanted: &[Wanted]) -> Result<Self> {
        // Without its first word, which is the program.
        let words: Vec<String> = remote.ssh(false).into_iter().skip(1).collect();
        let far: Vec<_> = wanted.iter().map(|door| door.far.to_string()).collect();
        let tunnel = connect(remote, &words, &far).await?;
        let (ends, seen) = watch::channel(near(&tunnel, far.len()));
        let (mut listening, mut addresses) = (JoinSet::new(), Vec::new());
        for (index, door) in wanted.iter().enumerate() {
            let listener = listen(door).await?;
            addresses.push(listener.local_addr().context("ask for the port")?);
            listening.spawn(serve(listener, index, seen.clone()));
        }
        Ok(Self { near: addresses, tunnel, words, far, ends, _listening: listening })
    }

    /// Keeps them open, whatever happens to the connection.
    ///
    /// # Errors
    /// When the host does not let us in any more.
    pub async fn keep(mut self, remote: &Remote, tell: &mut Tell<'_>) -> Result<()> {
        loop {
            self.tunnel.lost().await?;
            self.ends.send_replace(Vec::new());
            loop {
                again(remote, tell).await?;
                // It may be lost again before it is there.
                if let Ok(tunnel) = connect(remote, &self.words, &self.far).await {
                    self.tunnel = tunnel;
                    break;
                }
            }
            self.ends.send_replace(near(&self.tunnel, self.far.len()));
        }
    }
}

async fn connect(remote: &Remote, words: &[String], far: &[String]) -> Result<Tunnel> {
    let far: Vec<_> = far.iter().map(String::as_str).collect();
    Tunnel::with(remote.destination(), words, &far).await
}

fn near(tunnel: &Tunnel, count: usize) -> Vec<PathBuf> {
    (0..count).map(|index| tunnel.near(index)).collect()
}

async fn listen(door: &Wanted) -> Result<TcpListener> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    if let Some(port) = door.near {
        return bind(port).await.with_context(|| format!("listen on port {port} of this machine"));
    }
    match bind(door.far.port()).await {
        Ok(listener) => Ok(listener),
        Err(_in_use) => bind(0).await.context("listen on a port of this machine"),
    }
}

/// Lets everybody through one door until it is closed.
async fn serve(listener: TcpListener, index: usize, ends: watch::Receiver<Vec<PathBuf>>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut passing = JoinSet::new();
    while let Ok(free) = Arc::clone(&room).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            // For want of files, such as: it works again when others have gone.
            sleep(PAUSE).await;
            continue;
        };
        let ends = ends.clone();
        passing.spawn(async move {
            pass(stream, index, ends).await;
            drop(free);
        });
        while passing.try_join_next().is_some() {}
    }
}

/// Carries bytes between both sides until one of them ends. A connection that is lost ends it too; a
/// browser asks again.
async fn pass(mut stream: TcpStream, index: usize, mut ends: watch::Receiver<Vec<PathBuf>>) {
    let path = async {
        let there = ends.wait_for(|ends| ends.len() > index).await.ok()?;
        there.get(index).cloned()
    };
    let Ok(Some(path)) = timeout(PATIENCE, path).await else { return };
    let Ok(mut far) = UnixStream::connect(path).await else { return };
    if copy_bidirectional(&mut stream, &mut far).await.is_err() {}
}
