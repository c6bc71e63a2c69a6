//! Container images made of what this machine has: no registry and no Dockerfile is needed.
//!
//! Comes in: an [`Image`], which is a [`Tree`] of files and the settings of the container. Goes out:
//! an archive that `docker load` and `podman load` read. The same files give the same bytes and the
//! same image id: entries are sorted, times are those of [`EPOCH`], owners are numbers.

mod archive;
mod base;
mod engine;
mod parts;
mod relay;
mod sbom;
mod set;
mod tree;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use self::{
    archive::{Built, write},
    base::{closure, shared_libraries},
    engine::{Engine, NO_ENGINE},
    parts::{Kit, caddy, network, postgres, prometheus},
    relay::{RELAY_BYTES_MAX, RELAY_USER, relay, relay_container},
    set::{Part, Ready, Say, built_relay, names, provide},
    tree::{Entry, Source, Tree},
};

/// Time of every file and image, in seconds since 1970: an image does not depend on when it was made.
pub const EPOCH: u64 = 0;
/// The same for the settings of an image.
const CREATED: &str = "1970-01-01T00:00:00Z";
/// What all images made here are called, before the slash.
pub const PREFIX: &str = "atproto-relay";
/// Label of everything made here; its value is the part's name.
pub const LABEL: &str = "dev.atproto-relay.part";
/// Label of what is made here for one scope: what `PROVISION_STACK_SCOPE` names, if it names any.
pub const SCOPE: &str = "dev.atproto-relay.scope";
/// Hexadecimal digits of a tag: enough to tell images apart, few enough to read.
const TAG_CHARS: usize = 16;
const NANOS: u64 = 1_000_000_000;

/// How an engine asks a container whether it is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The program and its arguments; no shell is between.
    pub test: Vec<String>,
    /// Seconds between two questions.
    pub every: u64,
    /// Seconds from the start in which a failure does not count.
    pub grace: u64,
}

/// Settings of the containers of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The program.
    pub entrypoint: Vec<String>,
    /// Its arguments, which a person may replace.
    pub command: Vec<String>,
    /// Environment, in order.
    pub environment: Vec<(String, String)>,
    /// `user:group`, as numbers.
    pub user: String,
    /// Where the program starts.
    pub directory: String,
    /// What is kept apart from the container.
    pub volumes: Vec<String>,
    /// TCP ports that it listens on.
    pub ports: Vec<u16>,
    /// `None` when nothing in the image can ask.
    pub health: Option<Health>,
    /// Besides [`LABEL`].
    pub labels: Vec<(String, String)>,
}

/// An image before it is made.
#[derive(Debug, Clone)]
pub struct Image {
    /// Which part of the stack it is: what stands after the slash.
    pub part: &'static str,
    /// Its files.
    pub tree: Tree,
    /// Its settings.
    pub settings: Settings,
}

impl Image {
    /// `atproto-relay/PART:HASH`. The hash is one of the settings, and of paths, sizes and times of
    /// the files: an image whose name is there need not be made again.
    pub fn name(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.config(&[]).to_string());
        self.tree.fingerprint(&mut hash);
        let digits: String = hex(&hash.finalize()).chars().take(TAG_CHARS).collect();
        format!("{PREFIX}/{}:{digits}", self.part)
    }

    /// The configuration of the image in the form of the OCI.
    ///
    /// * `layers` – digests of the uncompressed layers
    fn config(&self, layers: &[String]) -> Value {
        let settings = &self.settings;
        let named = |(name, value): &(String, String)| (name.clone(), json!(value));
        let mut labels: serde_json::Map<_, _> = settings.labels.iter().map(named).collect();
        labels.insert(LABEL.to_owned(), json!(self.part));
        if !scope().is_empty() {
            labels.insert(SCOPE.to_owned(), json!(scope()));
        }
        let set = |names: Vec<String>| -> Value {
            names
                .into_iter()
                .map(|name| (name, json!({})))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let mut config = json!({
            "User": settings.user,
            "ExposedPorts": set(settings.ports.iter().map(|port| format!("{port}/tcp")).collect()),
            "Env": settings.environment.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
            "Entrypoint": settings.entrypoint,
            "Cmd": settings.command,
            "Volumes": set(settings.volumes.clone()),
            "WorkingDir": settings.directory,
            "Labels": labels,
            "StopSignal": "SIGTERM",
        });
        if let Some(health) = &settings.health {
            let test: Vec<_> =
                std::iter::once("CMD").chain(health.test.iter().map(String::as_str)).collect();
            config["Healthcheck"] = json!({
                "Test": test,
                "Interval": health.every * NANOS,
                "Timeout": 5 * NANOS,
                "StartPeriod": health.grace * NANOS,
                "Retries": 3,
            });
        }
        json!({
            "architecture": architecture(),
            "os": "linux",
            "created": CREATED,
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": layers },
            "history": layers.iter().map(|_| json!({
                "created": CREATED,
                "created_by": format!("provision image {}", self.part),
            })).collect::<Vec<_>>(),
        })
    }
}

/// Whose stacks and images are meant; empty unless somebody wants several sorts on one machine.
pub fn scope() -> String {
    let set = std::env::var_os("PROVISION_STACK_SCOPE");
    set.map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The machine's name in the words of the OCI.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
