//! The container engine: is it there, does it have an image, take one.

use std::io::{self, BufWriter, Write};

use anyhow::{Context, Result, anyhow};
use bollard::{Docker, errors::Error, query_parameters::ImportImageOptions};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::{sync::mpsc, task};

use super::{Built, Image, write};

/// What a person does who has no engine.
pub const NO_ENGINE: &str = "no container engine answers. Start Docker (`systemctl start docker`), or \
    install it (Debian: `apt-get install docker.io`), or name another one by DOCKER_HOST, such as \
    unix:///run/user/1000/podman/podman.sock";
/// Bytes that travel at once.
const CHUNK: usize = 256 << 10;
/// Chunks under way at most.
const CHUNKS_MAX: usize = 8;

/// A container engine that answers.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
}

impl Engine {
    /// Connects to the engine of `DOCKER_HOST`, else to the one of this machine.
    ///
    /// # Errors
    /// When none answers; the text says what to do.
    pub async fn connect() -> Result<Self> {
        let answers = async {
            let docker = Docker::connect_with_defaults()?;
            docker.negotiate_version().await
        };
        let docker = answers.await.map_err(|error| anyhow!("{error}")).context(NO_ENGINE)?;
        Ok(Self { docker })
    }

    /// The client of the engine.
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Whether an image of this name is there.
    ///
    /// # Errors
    /// When the engine gives no answer.
    pub async fn has(&self, name: &str) -> Result<bool> {
        match self.docker.inspect_image(name).await {
            Ok(_) => Ok(true),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("look for the image {name}")),
        }
    }

    /// Makes an image and gives it to the engine.
    ///
    /// # Errors
    /// When it cannot be made, or the engine does not take it.
    pub async fn load(&self, image: Image) -> Result<Built> {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        let part = image.part;
        let made = task::spawn_blocking(move || {
            write(&image, BufWriter::with_capacity(CHUNK, Pipe(sender)))
        });
        let chunks = stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|chunk: Bytes| (Ok::<_, io::Error>(chunk), receiver))
        });
        let mut answers =
            self.docker.import_image_stream(ImportImageOptions::default(), chunks, None);
        let mut refused = None;
        while let Some(answer) = answers.next().await {
            if let Err(error) = answer {
                refused.get_or_insert(error);
            }
        }
        drop(answers);
        let built = made.await.context("make the image")?;
        if let Some(error) = refused {
            // An archive that broke off is refused too; then its own error says why.
            built.with_context(|| format!("make the image of {part}"))?;
            return Err(error).with_context(|| format!("load the image of {part}"));
        }
        built.with_context(|| format!("make the image of {part}"))
    }
}

/// Hands what is written to the engine.
struct Pipe(mpsc::Sender<Bytes>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.blocking_send(Bytes::copy_from_slice(bytes)).map_err(|_closed| {
            io::Error::new(io::ErrorKind::BrokenPipe, "the engine takes no more of the image")
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
