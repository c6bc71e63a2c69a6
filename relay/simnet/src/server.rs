//! An HTTP server on a free port of the loopback, with or without TLS, that can be cut, stopped and
//! started again.

use crate::{pds::Intercept, tls::Authority};
use anyhow::{Context, Result};
use axum::Router;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

/// Locks although another test thread may have panicked while it held the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tasks of open connections; they end with their server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections(Arc<Mutex<JoinSet<()>>>);

impl Connections {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.0);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Ends all connections at once, without a close frame.
    pub(crate) fn cut(&self) {
        lock(&self.0).abort_all();
    }
}

/// A server; stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    addr: SocketAddr,
    connections: Connections,
    accepting: Mutex<Option<AbortHandle>>,
    router: Router,
    tls: Option<Authority>,
    intercept: Option<Arc<dyn Intercept>>,
}

impl Server {
    /// Takes a free port. Nothing is answered before [`Self::start`].
    pub(crate) async fn bind() -> Result<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("take a port")?;
        let addr = listener.local_addr().context("read the port")?;
        Ok((listener, addr))
    }

    /// Answers on a listener.
    pub(crate) fn start(
        listener: TcpListener,
        addr: SocketAddr,
        connections: Connections,
        router: Router,
    ) -> Self {
        Self::start_with(listener, addr, (connections, router), (None, None))
    }

    /// The same.
    ///
    /// * `tls` – whose certificate is shown, if there is TLS
    /// * `intercept` – takes connections away from HTTP
    pub(crate) fn start_with(
        listener: TcpListener,
        addr: SocketAddr,
        (connections, router): (Connections, Router),
        (tls, intercept): (Option<Authority>, Option<Arc<dyn Intercept>>),
    ) -> Self {
        let accepting = Mutex::new(None);
        let server = Self { addr, connections, accepting, router, tls, intercept };
        server.accept(listener);
        server
    }

    fn accept(&self, listener: TcpListener) {
        let (connections, router) = (self.connections.clone(), self.router.clone());
        let tls = self.tls.as_ref().map(Authority::acceptor);
        let intercept = self.intercept.clone();
        let task = spawn(async move {
            loop {
                // An accept error is one of that connection, or of too many open files.
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let intercept = intercept.clone();
                connections.spawn(serve(stream, router.clone(), (tls.clone(), intercept)));
            }
        });
        *lock(&self.accepting) = Some(task);
    }

    /// Ends all connections; new ones are accepted.
    pub(crate) fn cut(&self) {
        self.connections.cut();
    }

    /// Ends all connections; new ones are refused by the operating system.
    pub(crate) fn stop(&self) {
        if let Some(task) = lock(&self.accepting).take() {
            task.abort();
        }
        self.connections.cut();
    }

    /// Answers again, on the same port.
    ///
    /// # Errors
    /// When another process has taken the port meanwhile.
    pub(crate) async fn resume(&self) -> Result<()> {
        if lock(&self.accepting).is_some() {
            return Ok(());
        }
        let mut attempts = 0;
        let listener = loop {
            // The aborted task gives the port back when the runtime gets to it.
            match TcpListener::bind(self.addr).await {
                Ok(listener) => break listener,
                Err(error) if attempts > 1_000 => {
                    return Err(error).with_context(|| format!("take port {} again", self.addr));
                }
                Err(_) => {
                    attempts += 1;
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            }
        };
        self.accept(listener);
        Ok(())
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(
    mut stream: TcpStream,
    router: Router,
    (tls, intercept): (Option<TlsAcceptor>, Option<Arc<dyn Intercept>>),
) {
    // Without this small frames wait for the acknowledgement of earlier ones.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    if let Some(intercept) = intercept.filter(|intercept| intercept.is_due())
        && intercept.take(&mut stream).await
    {
        return;
    }
    match tls {
        None => answer(stream, router).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => answer(stream, router).await,
            Err(error) => tracing::debug!(%error, "simulated server: no TLS"),
        },
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "simulated server: connection ended");
    }
}

/// Starts a task of the simulation.
#[expect(clippy::disallowed_methods, reason = "the simulation has its own tasks, ended on drop")]
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    tokio::spawn(task).abort_handle()
}
