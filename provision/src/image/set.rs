//! All images that are wanted, made side by side where they are not there yet.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use serde::Serialize;
use tokio::{task, time::Instant};

use super::{Engine, Image, Kit, caddy, network, postgres, prometheus, relay};

/// What there is an image of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The relay.
    Relay,
    /// The database server.
    Postgres,
    /// PDS, PLC directory and a foreign consumer.
    Network,
    /// The public listener.
    Caddy,
    /// What collects the metrics.
    Prometheus,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Relay, Self::Postgres, Self::Network, Self::Caddy, Self::Prometheus];

    /// What stands after the slash in the image's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Postgres => "postgres",
            Self::Network => "network",
            Self::Caddy => "caddy",
            Self::Prometheus => "prometheus",
        }
    }

    /// The part of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }
}

/// An image that the engine has now.
#[derive(Debug, Clone, Serialize)]
pub struct Ready {
    /// Name of the part.
    pub part: &'static str,
    /// What the engine calls the image.
    pub image: String,
    /// `sha256:…`; `None` when the image was there before.
    pub id: Option<String>,
    /// Size in bytes; `None` when the image was there before.
    pub bytes: Option<u64>,
    /// Seconds that making it took; 0 when it was there.
    pub seconds: f64,
}

/// What to do with words about the progress.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// Sees that the engine has the images of these parts.
///
/// * `program` – the built relay
///
/// # Errors
/// When one cannot be made; the text says what is missing.
pub async fn provide(
    engine: &Engine,
    kit: &Arc<Kit>,
    program: &Arc<Path>,
    parts: &[Part],
    say: &Say,
) -> Result<Vec<Ready>> {
    try_join_all(parts.iter().map(|part| one(engine, kit, program, *part, say))).await
}

/// What the images of these parts are called, whether they are made or not.
///
/// # Errors
/// When a part cannot be prepared.
pub fn names(kit: &Kit, program: &Path, parts: &[Part]) -> Result<Vec<(Part, String)>> {
    parts.iter().map(|part| Ok((*part, prepare(kit, program, *part)?.0.name()))).collect()
}

async fn one(
    engine: &Engine,
    kit: &Arc<Kit>,
    program: &Arc<Path>,
    part: Part,
    say: &Say,
) -> Result<Ready> {
    let began = Instant::now();
    let (kit, program) = (Arc::clone(kit), Arc::clone(program));
    let prepared = task::spawn_blocking(move || prepare(&kit, &program, part)).await;
    let (image, work) = prepared
        .context("prepare an image")?
        .with_context(|| format!("prepare the image of {}", part.name()))?;
    let name = image.name();
    if engine.has(&name).await? {
        return Ok(Ready { part: part.name(), image: name, id: None, bytes: None, seconds: 0.0 });
    }
    say(&format!("making the image {name}"));
    let built = engine.load(image).await?;
    drop(work);
    let seconds = began.elapsed().as_secs_f64();
    let megabytes = built.bytes / 1_000_000;
    say(&format!("made {name}: {megabytes} MB in {seconds:.1} s"));
    let (id, bytes) = (Some(built.id), Some(built.bytes));
    Ok(Ready { part: part.name(), image: name, id, bytes, seconds })
}

/// The second value is what the image is made of, as long as it is needed.
fn prepare(kit: &Kit, program: &Path, part: Part) -> Result<(Image, Option<tempfile::TempDir>)> {
    Ok(match part {
        Part::Relay => {
            let (image, work) = relay(program, &kit.root)?;
            (image, Some(work))
        }
        Part::Postgres => (postgres(kit)?, None),
        Part::Network => (network(kit)?, None),
        Part::Caddy => (caddy(kit)?, None),
        Part::Prometheus => (prometheus(kit)?, None),
    })
}

/// The relay that belongs to this program: that of `RELAY_BINARY`, else the one beside it.
///
/// # Errors
/// When there is none; the text says how it is built.
pub fn built_relay(named: Option<PathBuf>) -> Result<PathBuf> {
    const HOW: &str =
        "build it with `cargo build --release -p relay --bin relay`, or name one by RELAY_BINARY";
    if let Some(named) = named {
        anyhow::ensure!(named.is_file(), "there is no relay at {}; {HOW}", named.display());
        return Ok(named);
    }
    let own = std::env::current_exe().context("find this program")?;
    // Tests lie in `deps`, examples in `examples`, beside what they are built with.
    let places = own.ancestors().skip(1).take(2).map(|place| place.join("relay"));
    let mut found = places.filter(|place| place.is_file());
    found.next().with_context(|| format!("the relay is not built; {HOW}"))
}
