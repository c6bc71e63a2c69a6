//! What stands before and behind the subscriptions in these tests.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
    },
};

use super::*;
use crate::{
    hosts::{HostOptions, HostView},
    net::NetOptions,
    store::{Store, StoreError},
};

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Options with a short first wait after a failure.
pub(super) fn quick() -> UpstreamOptions {
    UpstreamOptions { first_retry: Duration::from_millis(20), ..UpstreamOptions::default() }
}

/// A stand-in for the shards.
#[derive(Debug, Clone)]
pub(super) struct Shards {
    arrivals: mpsc::Sender<Arrival>,
    open: Arc<watch::Sender<bool>>,
    settles: Arc<AtomicBool>,
    /// DID and seq at which handing over panics, once.
    panics_at: Arc<Mutex<Option<(String, u64)>>>,
}

impl Inlet for Shards {
    async fn offer(&self, arrival: Arrival) -> Result<(), Stopped> {
        let strikes =
            |at: &mut (String, u64)| at.0 == arrival.did.as_str() && at.1 == arrival.host_seq.0;
        assert!(self.panics_at.lock().take_if(strikes).is_none(), "a bug that this test planted");
        let mut open = self.open.subscribe();
        if open.wait_for(|open| *open).await.is_err() {
            return Err(Stopped);
        }
        if self.settles.load(Ordering::Relaxed) {
            arrival.host.settle(arrival.epoch, arrival.host_seq);
        }
        self.arrivals.send(arrival).await.map_err(|_closed| Stopped)
    }
}

/// A simulated host, the hosts room, and subscriptions between it and the stand-in.
pub(super) struct Scene {
    pub(super) simnet: relay_simnet::Net,
    pub(super) pds: relay_simnet::Pds,
    pub(super) hosts: Hosts,
    pub(super) tasks: Tasks,
    pub(super) clock: Clock,
    store: Store,
    net: Net,
    drops: Arc<Drops>,
    options: UpstreamOptions,
    shards: Shards,
    arrivals: mpsc::Receiver<Arrival>,
    upstream: Option<Upstream>,
    _dir: TempDir,
}

impl Scene {
    pub(super) async fn new(options: UpstreamOptions) -> Result<Self> {
        let simnet = relay_simnet::Net::seeded(5).await?;
        let pds = simnet.pds("alpha").await?;
        let dir = tempfile::tempdir()?;
        let url = format!("sqlite://{}", dir.path().join("relay.sqlite").display());
        let store = Store::open(&url, 2).await?;
        let clock = Clock::manual(1_700_000_000_000_000);
        let net = net(true)?;
        let hosts = {
            let options = HostOptions { dev: true, ..HostOptions::default() };
            Hosts::load(store.clone(), net.clone(), clock.clone(), options).await?
        };
        let (sender, arrivals) = mpsc::channel(1_000);
        let shards = Shards {
            arrivals: sender,
            open: Arc::new(watch::Sender::new(true)),
            settles: Arc::new(AtomicBool::new(true)),
            panics_at: Arc::default(),
        };
        Ok(Self {
            simnet,
            pds,
            hosts,
            tasks: Tasks::default(),
            clock,
            store,
            net,
            drops: Arc::default(),
            options,
            shards,
            arrivals,
            upstream: None,
            _dir: dir,
        })
    }

    /// Events stay unsettled from now on.
    pub(super) fn keep_unsettled(&self) {
        self.shards.settles.store(false, Ordering::Relaxed);
    }

    /// Nothing is taken any more.
    pub(super) fn close_inlet(&self) {
        self.shards.open.send_replace(false);
    }

    pub(super) fn open_inlet(&self) {
        self.shards.open.send_replace(true);
    }

    pub(super) fn panic_at(&self, did: &str, seq: u64) {
        *self.shards.panics_at.lock() = Some((did.to_owned(), seq));
    }

    /// Starts the subscriptions if there are none; asks to crawl the host.
    pub(super) async fn subscribe(&mut self) -> Result<()> {
        if self.upstream.is_none() {
            self.start();
        }
        self.hosts.admit(&self.pds.hostname(), true).await?;
        Ok(())
    }

    pub(super) fn start(&mut self) {
        let parts = UpstreamParts {
            hosts: self.hosts.clone(),
            inlet: self.shards.clone(),
            net: self.net.clone(),
            drops: Arc::clone(&self.drops),
            clock: self.clock.clone(),
            options: self.options,
        };
        self.upstream = Some(Upstream::start(parts, &self.tasks));
    }

    pub(super) fn upstream(&self) -> &Upstream {
        self.upstream.as_ref().unwrap()
    }

    /// Reads the hosts from the store again, in this mode; the subscriptions are not started.
    pub(super) async fn reload(&mut self, dev: bool) -> Result<()> {
        if let Some(upstream) = self.upstream.take() {
            upstream.stop().await;
        }
        self.save().await?;
        self.net = net(dev)?;
        let (store, net, clock) = (self.store.clone(), self.net.clone(), self.clock.clone());
        self.hosts =
            Hosts::load(store, net, clock, HostOptions { dev, ..HostOptions::default() }).await?;
        while self.arrivals.try_recv().is_ok() {}
        Ok(())
    }

    async fn save(&self) -> Result<(), StoreError> {
        self.hosts.flush().await?;
        self.store.save_cursors(&self.hosts.take_moved_marks()).await
    }

    /// Bans the host in the store, as an operator does, and reads the hosts again.
    pub(super) async fn ban(&mut self) -> Result<()> {
        self.save().await?;
        let mut rows = self.store.hosts().await?;
        rows.retain(|row| row.hostname == self.pds.hostname());
        for row in &mut rows {
            row.status = HostStatus::Banned;
        }
        self.store.save_hosts(&rows).await?;
        self.reload(true).await
    }

    /// Stops, saves, and starts from what the store holds.
    pub(super) async fn restart(&mut self) -> Result<()> {
        self.reload(true).await?;
        self.start();
        Ok(())
    }

    /// The next arrivals.
    pub(super) async fn take(&mut self, count: u64) -> Result<Vec<Arrival>> {
        let mut taken = Vec::new();
        while (taken.len() as u64) < count {
            let next = timeout(PATIENCE, self.arrivals.recv()).await;
            let next = next.with_context(|| format!("{} of {count} arrived", taken.len()))?;
            taken.push(next.context("the stand-in is closed")?);
        }
        Ok(taken)
    }

    pub(super) fn view(&self) -> Result<HostView> {
        self.hosts.view(&self.pds.hostname()).context("the host is not known")
    }

    /// The view of the host as soon as it fits.
    pub(super) async fn view_when(&self, fits: impl Fn(&HostView) -> bool) -> Result<HostView> {
        let fitting = async {
            loop {
                if let Ok(view) = self.view()
                    && fits(&view)
                {
                    return view;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, fitting).await.with_context(|| format!("{:?}", self.view()))
    }

    /// Drops with this label.
    pub(super) fn dropped(&self, label: &str) -> u64 {
        let totals = self.drops.totals();
        totals.iter().filter(|(reason, _)| reason.label() == label).map(|(_, count)| count).sum()
    }

    /// All drops.
    pub(super) fn dropped_in_all(&self) -> u64 {
        self.drops.totals().iter().map(|(_, count)| count).sum()
    }
}

fn net(dev: bool) -> Result<Net> {
    let user_agent = "test/1 (atproto-relay)".to_owned();
    Ok(Net::new(NetOptions { allow_insecure: dev, user_agent, ..NetOptions::default() })?)
}

/// A host made by hand.
pub(super) struct HandMade {
    pub(super) name: String,
    queries: Arc<Mutex<Vec<String>>>,
    asked: watch::Receiver<usize>,
}

impl HandMade {
    /// Waits until it was asked for its stream so often.
    pub(super) async fn asked(&self, times: usize) -> Result<()> {
        let mut asked = self.asked.clone();
        timeout(PATIENCE, asked.wait_for(|asked| *asked >= times)).await??;
        Ok(())
    }

    /// The queries of the requests for the stream, in order.
    pub(super) fn queries(&self) -> Vec<String> {
        self.queries.lock().clone()
    }
}

/// A host that accepts a stream and then neither sends nor reads, so that it answers no ping.
pub(super) async fn mute_host(tasks: &Tasks) -> Result<HandMade> {
    hand_made(tasks, |_, socket| async move {
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await
}

/// In a script: here the host ends the connection.
pub(super) const CLOSE: Vec<u8> = Vec::new();

/// A host that sends these frames, those of the n-th connection to the n-th one, and then waits.
pub(super) async fn scripted_host(tasks: &Tasks, script: Vec<Vec<Vec<u8>>>) -> Result<HandMade> {
    let script = Arc::new(Mutex::new(VecDeque::from(script)));
    hand_made(tasks, move |_, mut socket| {
        let frames = script.lock().pop_front().unwrap_or_default();
        async move {
            for frame in frames {
                if frame == CLOSE || socket.send(Message::binary(frame)).await.is_err() {
                    return;
                }
            }
            while let Some(Ok(_)) = socket.next().await {}
        }
    })
    .await
}

async fn hand_made<F, S>(tasks: &Tasks, serve: F) -> Result<HandMade>
where
    F: Fn(usize, WebSocketStream<TcpStream>) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let name = format!("localhost:{}", listener.local_addr()?.port());
    let (count, asked) = watch::channel(0);
    let queries: Arc<Mutex<Vec<String>>> = Arc::default();
    let (seen, spawner) = (Arc::clone(&queries), tasks.clone());
    tasks.start(async move {
        while let Ok((stream, _)) = listener.accept().await {
            #[expect(clippy::result_large_err, reason = "the type is that of the library")]
            let note = |request: &Request, response: Response| {
                seen.lock().push(request.uri().query().unwrap_or_default().to_owned());
                Ok(response)
            };
            let Ok(socket) = accept_hdr_async(stream, note).await else { continue };
            count.send_modify(|count| *count += 1);
            spawner.start(serve(*count.borrow(), socket));
        }
    });
    Ok(HandMade { name, queries, asked })
}
