//! Terraform's providers as far as the project uses them: the schemas and the behaviour of real
//! releases, without their APIs.
//!
//! Terraform connects to any process that `TF_REATTACH_PROVIDERS` names, and then neither downloads nor
//! locks that provider. What was applied is remembered, so that `apply`, a second `plan`, a change and
//! `destroy` run as they would; what an API would tell is invented.
//!
//! What the real providers do besides and this does not: `user_data` is kept as it is instead of as a
//! digest, sets with an unknown element stay sets, and addresses in firewalls are not rewritten.

mod facts;
mod plan;
mod rules;
mod service;
mod value;
mod wire;
mod world;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::wrappers::TcpListenerStream;

use facts::Facts;
use service::Service;
pub use world::Deed;
use world::World;

/// The facts of all providers, by their name.
pub const DATA: [(&str, &str); 3] = [
    ("hcloud", include_str!("../data/hcloud.json")),
    ("ovh", include_str!("../data/ovh.json")),
    ("cloudflare", include_str!("../data/cloudflare.json")),
];

/// All providers, running until this value is dropped.
#[derive(Debug)]
pub struct Providers {
    all: BTreeMap<&'static str, (SocketAddr, Arc<Inner>)>,
    // Ends the servers with it.
    _runtime: Runtime,
}

/// One provider.
#[derive(Debug)]
pub(crate) struct Inner {
    facts: Facts,
    /// Whether there are credentials in the environment.
    has_credentials: bool,
    world: Mutex<World>,
}

impl Providers {
    /// Starts them on free ports.
    ///
    /// * `with_credentials` – providers whose tokens are in the environment, such as `hcloud`
    ///
    /// # Errors
    /// When there is no port, or the facts cannot be read.
    pub fn start(with_credentials: &[&str]) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("start a runtime")?;
        let mut all = BTreeMap::new();
        for (name, text) in DATA {
            let world = World::new(world::fixtures());
            let inner = Arc::new(Inner {
                facts: Facts::read(text).with_context(|| format!("{name}.json"))?,
                has_credentials: with_credentials.contains(&name),
                world: Mutex::new(world),
            });
            let listener =
                runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("find a port")?;
            let address = listener.local_addr().context("find a port")?;
            let server =
                tonic::transport::Server::builder().add_service(Service(Arc::clone(&inner)));
            runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
            all.insert(name, (address, inner));
        }
        Ok(Self { all, _runtime: runtime })
    }

    /// The value of `TF_REATTACH_PROVIDERS`.
    pub fn reattach(&self) -> String {
        let entry = |(address, inner): &(SocketAddr, Arc<Inner>)| {
            // Without `Test` Terraform would end this process.
            let value = json!({"Protocol": "grpc", "ProtocolVersion": 6, "Test": true,
                "Pid": std::process::id(),
                "Addr": {"Network": "tcp", "String": address.to_string()}});
            (inner.facts.address.clone(), value)
        };
        Json::Object(self.all.values().map(entry).collect()).to_string()
    }

    /// Everything that was done at all of them since this was asked last, each provider in its order.
    pub fn deeds(&self) -> Vec<Deed> {
        self.inners().flat_map(|inner| std::mem::take(&mut inner.world.lock().deeds)).collect()
    }

    /// The kinds of all resources that exist now, sorted.
    pub fn existing(&self) -> Vec<String> {
        let mut all: Vec<_> = self.inners().flat_map(|inner| inner.world.lock().kinds()).collect();
        all.sort();
        all
    }

    /// Takes all resources of this kind away behind Terraform's back; tells how many there were.
    pub fn lose(&self, kind: &str) -> usize {
        self.inners().map(|inner| inner.world.lock().lose(kind)).sum()
    }

    fn inners(&self) -> impl Iterator<Item = &Arc<Inner>> {
        self.all.values().map(|(_, inner)| inner)
    }
}
