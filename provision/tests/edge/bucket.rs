//! S3-compatible storage on this machine, which checks signatures, and a door before it that can fall shut.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result, ensure};
use hyper_util::rt::TokioIo;
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp},
    task::JoinSet,
};

pub(crate) const KEY: &str = "AKEXAMPLE";
/// What must never be seen.
pub(crate) const SECRET: &str = "pomegranate-secret";
/// The bucket that is there.
const NAME: &str = "backups";

/// Storage with one bucket. Ends when it is dropped.
pub(crate) struct Bucket {
    address: SocketAddr,
    root: TempDir,
    _serving: JoinSet<Result<()>>,
}

impl Bucket {
    pub(crate) async fn start() -> Result<Self> {
        let root = tempfile::tempdir()?;
        std::fs::create_dir(root.path().join(NAME))?;
        let files = s3s_fs::FileSystem::new(root.path());
        let files = files.map_err(|error| anyhow::anyhow!("open the storage: {error:?}"))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = builder.build();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut sessions = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await?;
                let server = hyper::server::conn::http1::Builder::new();
                sessions.spawn(server.serve_connection(TokioIo::new(socket), service.clone()));
            }
        });
        Ok(Self { address, root, _serving: serving })
    }

    /// The address of a place of backups in it.
    pub(crate) fn place() -> String {
        format!("s3://{NAME}/relay/main")
    }

    /// Where the objects of a backup lie on this machine.
    pub(crate) fn objects(&self, backup: &str) -> Result<PathBuf> {
        let name = backup.rsplit('/').next().context("a name")?;
        let path = self.root.path().join(NAME).join("relay/main").join(name);
        ensure!(path.is_dir(), "there is no {}", path.display());
        Ok(path)
    }

    /// Parts of uploads that were not finished.
    pub(crate) fn parts(&self) -> Result<usize> {
        let mut found = 0;
        for entry in std::fs::read_dir(self.root.path())? {
            found += usize::from(entry?.file_name().to_string_lossy().contains(".part-"));
        }
        Ok(found)
    }

    /// The environment with which it is reached.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        environment(self.address)
    }
}

/// The environment for storage that listens there.
pub(crate) fn environment(address: SocketAddr) -> Vec<(&'static str, String)> {
    [
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", &format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec()
}

/// Lets so many bytes through to the storage, then cuts every connection and takes no more.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    _serving: JoinSet<Result<()>>,
}

impl Door {
    pub(crate) async fn before(bucket: &Bucket, bytes: u64) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (address, inner) = (listener.local_addr()?, bucket.address);
        let left = Arc::new(AtomicU64::new(bytes));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut sessions: JoinSet<Result<()>> = JoinSet::new();
            loop {
                let (outer, _) = tokio::select! {
                    accepted = listener.accept() => accepted?,
                    ended = sessions.join_next(), if !sessions.is_empty() => {
                        drop(ended);
                        if left.load(Ordering::SeqCst) == 0 {
                            return Ok(());
                        }
                        continue;
                    }
                };
                let left = Arc::clone(&left);
                sessions.spawn(async move {
                    let inner = TcpStream::connect(inner).await?;
                    let ((from, mut back), (mut answers, to)) = (outer.into_split(), inner.into_split());
                    tokio::select! {
                        passed = pass(from, to, &left) => passed,
                        copied = tokio::io::copy(&mut answers, &mut back) => copied.map(drop).map_err(Into::into),
                    }
                });
            }
        });
        Ok(Self { address, _serving: serving })
    }
}

async fn pass(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    left: &AtomicU64,
) -> Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut buffer).await?;
        let bytes = u64::try_from(read)?;
        let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            Some(left.saturating_sub(bytes))
        });
        if read == 0 || before.unwrap_or_default() <= bytes {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
    }
}
