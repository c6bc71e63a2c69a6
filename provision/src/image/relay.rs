//! The image of the relay: the program, what it loads, certificates, and a list of what is inside.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use super::{Health, Image, LABEL, PREFIX, SCOPE, Settings, Tree, base, sbom};
use crate::run;

/// Number of the user that the relay runs as, and of its group.
pub const RELAY_USER: u64 = 10_001;
/// Largest size of the image in bytes; `provision image` fails above it.
pub const RELAY_BYTES_MAX: u64 = 60_000_000;
/// Which part of the stack it is.
const PART: &str = "relay";
/// Where the program lies in the image.
const PROGRAM: &str = "/usr/local/bin/relay";
/// Where the list of what is inside lies, in the form of `CycloneDX`.
const SBOM: &str = "/usr/share/sbom/relay.cdx.json";

/// The image of a relay that was built on this machine.
///
/// Without settings it keeps all it has in the volume `/data` and listens on 2470; metrics and health
/// (2471) and the admin API (2472) are reached from other containers, and from outside by nobody who
/// does not publish them.
///
/// The second value holds the stripped program until the image is made.
///
/// # Errors
/// When the program, a library or the checkout that it was built from is missing.
pub fn relay(program: &Path, root: &Path) -> Result<(Image, TempDir)> {
    let work = tempfile::tempdir().context("make a temporary directory")?;
    let stripped = work.path().join("relay");
    let (from, to) = (program.to_string_lossy(), stripped.to_string_lossy());
    run::quiet(run::program(root, &["strip", "--strip-all", "-o", &to, &from]))
        .context("strip the relay; `strip` is in the package binutils")?;
    // The name of the image depends on when its files changed: the copy changed when the program did.
    let changed = program.metadata().and_then(|found| found.modified());
    let changed = changed.with_context(|| format!("read {}", program.display()))?;
    std::fs::File::options().write(true).open(&stripped)?.set_modified(changed)?;

    let mut tree = Tree::default();
    base::essentials(&mut tree, "relay", RELAY_USER)?;
    base::closure(&mut tree, PROGRAM, &stripped)?;
    tree.directory("/data", 0o750, RELAY_USER);
    tree.text(SBOM, 0o644, sbom::relay(root, program)?);
    let image = Image { part: PART, tree, settings: settings() };
    Ok((image, work))
}

/// What a container of the relay is told, in the form of the OCI, without the list of what is inside.
///
/// Whoever makes an image by other means, such as Nix, gives it the same ports, volume and environment.
pub fn relay_container() -> Value {
    let mut settings = settings();
    settings.labels.retain(|(name, _)| *name != sbom_label());
    let image = Image { part: PART, tree: Tree::default(), settings };
    let mut config = image.config(&[]);
    if let Some(labels) = config["config"]["Labels"].as_object_mut() {
        // It says who made an image here.
        labels.remove(SCOPE);
    }
    config["config"].take()
}

fn sbom_label() -> String {
    format!("{LABEL}.sbom")
}

fn settings() -> Settings {
    let version = env!("CARGO_PKG_VERSION");
    let title =
        |name: &str, value: &str| (format!("org.opencontainers.image.{name}"), value.to_owned());
    Settings {
        entrypoint: vec![PROGRAM.to_owned()],
        command: vec!["serve".to_owned()],
        environment: [
            ("RELAY_DATA_DIR", "/data"),
            ("RELAY_API_BIND", ":2470"),
            ("RELAY_METRICS_LISTEN", ":2471"),
            ("RELAY_ADMIN_BIND", ":2472"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
        user: format!("{RELAY_USER}:{RELAY_USER}"),
        directory: "/data".to_owned(),
        volumes: vec!["/data".to_owned()],
        ports: vec![2470],
        health: Some(Health {
            test: vec![PROGRAM.to_owned(), "health".to_owned()],
            every: 10,
            grace: 60,
        }),
        labels: vec![
            title("title", "relay"),
            title("description", "A relay for the AT Protocol"),
            title("version", version),
            title("licenses", env!("CARGO_PKG_LICENSE")),
            title("ref.name", &format!("{PREFIX}/relay")),
            (sbom_label(), SBOM.to_owned()),
        ],
    }
}
