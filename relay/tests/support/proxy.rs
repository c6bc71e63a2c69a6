//! A door between a relay and its Postgres that can be slow, shut, mute, or fall at a chosen byte.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Where the next connection that says the word falls.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fall {
    /// So many bytes behind the beginning of the word; the server gets what was before.
    Behind(usize),
    /// When the server answers the packet with the word: it has done what it was told, and nobody
    /// hears of it.
    Unanswered,
    /// At the packet with the word, which does not arrive any more: the connection stays open and
    /// carries nothing.
    Muted,
}

/// Forwards connections to a server on a Unix socket.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    script: Arc<Script>,
    _accepting: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Script {
    delay_us: AtomicU64,
    fall: Mutex<Option<(&'static [u8], Fall)>>,
    fallen: AtomicU64,
    /// Cancelled by a cut.
    open: Mutex<CancellationToken>,
    /// Cancelled when all that are open fall silent.
    speaking: Mutex<CancellationToken>,
}

impl Proxy {
    /// Listens on a free port.
    pub(crate) async fn start(server: PathBuf) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let script = Arc::new(Script::default());
        let mut accepting = JoinSet::new();
        let shared = Arc::clone(&script);
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let (script, server) = (Arc::clone(&shared), server.clone());
                connections.spawn(async move { forward(client, server, script).await });
            }
        });
        Self { port, script, _accepting: accepting }
    }

    /// Where it listens, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Holds each packet back for so long, in both directions.
    pub(crate) fn delay(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.script.delay_us.store(micros, Ordering::Relaxed);
    }

    /// Cuts the next connection whose client says this word.
    pub(crate) fn fall(&self, word: &'static [u8], fall: Fall) {
        *lock(&self.script.fall) = Some((word, fall));
    }

    /// How many connections fell.
    pub(crate) fn fallen(&self) -> u64 {
        self.script.fallen.load(Ordering::Relaxed)
    }

    /// All open connections stay open and carry nothing any more, as behind a network that swallows
    /// packets; new ones work.
    pub(crate) fn mute(&self) {
        std::mem::take(&mut *lock(&self.script.speaking)).cancel();
    }

    /// Cuts all connections at once.
    pub(crate) fn cut(&self) {
        std::mem::take(&mut *lock(&self.script.open)).cancel();
    }
}

/// One connection until either side ends or it falls.
async fn forward(client: TcpStream, server: PathBuf, script: Arc<Script>) {
    let open = lock(&script.open).clone();
    let speaking = lock(&script.speaking).child_token();
    let Ok(server) = UnixStream::connect(server).await else { return };
    client.set_nodelay(true).expect("no delay");
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let unanswered = CancellationToken::new();
    let there = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = from_client.read(&mut buffer).await.unwrap_or(0);
            let said = &buffer[..read];
            let left = script.listen(said, (&unanswered, &speaking));
            if speaking.is_cancelled() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(script.delay()).await;
            let kept = left.map_or(said, |left| &said[..left.min(read)]);
            if to_server.write_all(kept).await.is_err() || left.is_some() || read == 0 {
                return;
            }
        }
    };
    let back = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = from_server.read(&mut buffer).await.unwrap_or(0);
            tokio::time::sleep(script.delay()).await;
            if read == 0
                || unanswered.is_cancelled()
                || to_client.write_all(&buffer[..read]).await.is_err()
            {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
        () = open.cancelled() => {}
        () = speaking.cancelled() => open.cancelled().await,
    }
}

impl Script {
    fn delay(&self) -> Duration {
        Duration::from_micros(self.delay_us.load(Ordering::Relaxed))
    }

    /// Looks for the word; gives how much is still forwarded when the connection falls now.
    fn listen(
        &self,
        said: &[u8],
        (unanswered, silent): (&CancellationToken, &CancellationToken),
    ) -> Option<usize> {
        let mut fall = lock(&self.fall);
        let (word, how) = (*fall)?;
        let start = said.windows(word.len()).position(|window| window == word)?;
        *fall = None;
        self.fallen.fetch_add(1, Ordering::Relaxed);
        match how {
            Fall::Behind(bytes) => Some(start + bytes),
            Fall::Unanswered => {
                unanswered.cancel();
                None
            }
            Fall::Muted => {
                silent.cancel();
                None
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
