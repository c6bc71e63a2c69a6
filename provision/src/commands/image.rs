//! `provision image`: container images of what is on this machine.

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use provision::image::{self, Engine, Kit, Part, RELAY_BYTES_MAX, Say};

use super::wait;
use crate::out;

const EXAMPLES: &str = "\
Examples:
  provision image                           the relay's image, for the engine of this machine
  provision image --output relay.tar        the same as a file, for `docker load` on another machine
  provision image relay postgres --json     two images; names, ids and sizes as JSON
  provision image all                       what `provision stack` needs

The relay is the one built beside this program, or that of RELAY_BINARY. The same program gives the
same image, byte for byte. Exit code 1 when an image cannot be made, 2 for wrong usage.";

/// Which images.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ImageArgs {
    /// `relay`, `postgres`, `network` (PDS and PLC directory), `caddy`, `prometheus`, or `all`.
    #[arg(default_value = "relay", value_parser = ["relay", "postgres", "network", "caddy", "prometheus", "all"])]
    parts: Vec<String>,
    /// Write the relay's image to this file instead of giving it to the engine.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// One JSON object per image.
    #[arg(long)]
    json: bool,
    /// The built relay.
    #[arg(long, env = "RELAY_BINARY", value_name = "FILE")]
    relay: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// Where the checkout is and where downloads are kept.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The checkout.
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/.."))]
    checkout: PathBuf,
    /// Where downloads are kept.
    #[arg(long, env = "PROVISION_CACHE_DIR", value_name = "DIR")]
    cache: Option<PathBuf>,
}

impl Place {
    /// Both, as they are in effect.
    pub(crate) fn paths(&self) -> Result<(PathBuf, PathBuf)> {
        let root = self.checkout.canonicalize();
        let root =
            root.with_context(|| format!("find the checkout {}", self.checkout.display()))?;
        let cache = self.cache.clone().map_or_else(provision::cache::usual_place, Ok)?;
        Ok((root, cache))
    }

    /// Opens both.
    pub(crate) fn kit(&self) -> Result<Kit> {
        let (root, cache) = self.paths()?;
        Kit::open(&root, &cache)
    }
}

/// Makes the images; `false` when the relay's is too large.
pub(crate) fn run(args: &ImageArgs) -> Result<bool> {
    let relay: Arc<Path> = image::built_relay(args.relay.clone())?.into();
    if let Some(file) = &args.output {
        ensure!(args.parts == ["relay"], "--output is for the relay's image alone");
        let (image, _work) = image::relay(&relay, &args.place.kit()?.root)?;
        let out = File::create(file).with_context(|| format!("write {}", file.display()))?;
        let built = image::write(&image, BufWriter::new(out))?;
        out::line(&format!("{} {} {}", built.name, built.id, built.bytes));
        return Ok(built.bytes <= RELAY_BYTES_MAX);
    }
    let parts: Vec<Part> = if args.parts.iter().any(|part| part == "all") {
        Part::ALL.to_vec()
    } else {
        args.parts.iter().filter_map(|name| Part::parse(name)).collect()
    };
    let kit = Arc::new(args.place.kit()?);
    let say: Say = Arc::new(out::note);
    let ready = wait::on(async {
        let engine = Engine::connect().await?;
        image::provide(&engine, &kit, &relay, &parts, &say).await
    })?;
    for one in &ready {
        if args.json {
            out::line(&serde_json::to_string(one).context("write JSON")?);
        } else {
            out::line(&one.image);
        }
    }
    let is_small = |one: &image::Ready| one.part != "relay" || one.bytes <= Some(RELAY_BYTES_MAX);
    if !ready.iter().all(is_small) {
        out::note(&format!("the relay's image is larger than {RELAY_BYTES_MAX} bytes"));
        return Ok(false);
    }
    Ok(true)
}
