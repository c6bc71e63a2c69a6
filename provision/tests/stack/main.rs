//! Containers for real: images, the whole stack, and what happens to both when something breaks.
//!
//! All of this needs a container engine, so it is ignored unless asked for: `just stage build,stack`.

#![expect(clippy::print_stderr, reason = "a failing test shows what it did")]

mod compose;
mod faults;
mod image;
mod interrupts;
mod lifecycle;
mod limits;
mod operations;
mod orders;
mod page;
mod refusals;
mod slow;
mod traffic;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use provision::{
    image::{Engine, Kit, Part, Ready, Say, built_relay},
    stack::{Options, Profile},
};

/// Tells progress where a failing test shows it.
fn say() -> Say {
    Arc::new(|text| eprintln!("{text}"))
}

/// Options of a stack with a name that no other test and no other run has.
fn options(test: &str, profile: Profile) -> Options {
    let name = format!("test-{test}-{}", std::process::id());
    Options { profile, relay: named_relay(), cache: cache(), say: say(), ..Options::named(name) }
}

/// The relay of `RELAY_BINARY`, if it is set.
fn named_relay() -> Option<std::path::PathBuf> {
    std::env::var_os("RELAY_BINARY").map(Into::into)
}

/// The directory of `PROVISION_CACHE_DIR`, if it is set.
fn cache() -> Option<std::path::PathBuf> {
    std::env::var_os("PROVISION_CACHE_DIR").map(Into::into)
}

/// The number that a variable of the environment has, if it is set.
fn number<T: std::str::FromStr>(name: &str) -> Result<Option<T>> {
    let Some(value) = std::env::var_os(name) else { return Ok(None) };
    let number = value.to_str().and_then(|value| value.parse().ok());
    Ok(Some(number.with_context(|| format!("{name} is {}", value.display()))?))
}

/// Sees that the engine has an image.
async fn provided(engine: &Engine, part: Part) -> Result<Ready> {
    let cache = cache().map_or_else(provision::cache::usual_place, Ok)?;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let kit = Arc::new(Kit::open(&root, &cache)?);
    let relay = built_relay(named_relay())?.into();
    let mut ready = provision::image::provide(engine, &kit, &relay, &[part], &say()).await?;
    Ok(ready.remove(0))
}
