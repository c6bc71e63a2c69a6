//! From names to addresses, by the machine's resolver or by the name servers of the settings.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{NetError, guard::Guard};

/// Longest wait for a name server; part of every connect deadline.
const RESOLVE_MAX: Duration = Duration::from_secs(3);

/// What is said of a name that nobody has, or that is not that of a machine.
const NO_ADDRESS: &str = "the name has no address";

/// Addresses of one name that are looked at; a longer list is somebody's game.
const ADDRESSES_MAX: usize = 16;

/// Resolves names; cheap to clone.
#[derive(Clone)]
pub(super) enum Resolver {
    /// `getaddrinfo` of the machine.
    Machine,
    /// Name servers of the settings.
    Servers(Box<TokioResolver>),
}

impl Resolver {
    /// Builds one; no name servers means the machine's own resolver.
    pub(super) fn new(servers: &[SocketAddr], udp_only: bool) -> Result<Self, NetError> {
        if servers.is_empty() {
            return Ok(Self::Machine);
        }
        let servers = servers.iter().map(|server| {
            let mut connections = vec![ConnectionConfig::udp()];
            if !udp_only {
                connections.push(ConnectionConfig::tcp());
            }
            for connection in &mut connections {
                connection.port = server.port();
            }
            NameServerConfig::new(server.ip(), true, connections)
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().timeout = RESOLVE_MAX / 2;
        builder.options_mut().attempts = 2;
        let resolver = builder.build().map_err(|error| {
            NetError::Failed(format!("the name servers cannot be used: {error}"))
        })?;
        Ok(Self::Servers(Box::new(resolver)))
    }

    /// All addresses of a name or of an IP literal, unchecked.
    pub(super) async fn lookup(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, NetError> {
        let failed = |why: &str| NetError::Failed(format!("cannot resolve {host}: {why}"));
        let found = tokio::time::timeout(RESOLVE_MAX, self.ask(host, port))
            .await
            .map_err(|_elapsed| failed("no answer from the name server in 3 s"))?
            .map_err(|why| failed(&why))?;
        if found.is_empty() { Err(failed(NO_ADDRESS)) } else { Ok(found) }
    }

    async fn ask(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        match self {
            Self::Machine => tokio::net::lookup_host((host, port))
                .await
                .map(|found| found.take(ADDRESSES_MAX).collect())
                .map_err(|error| error.to_string()),
            // The dot at the end keeps search domains of the machine out of it.
            Self::Servers(resolver) => resolver
                .lookup_ip(format!("{}.", host.trim_end_matches('.')))
                .await
                .map(|found| {
                    found.iter().take(ADDRESSES_MAX).map(|ip| SocketAddr::new(ip, port)).collect()
                })
                .map_err(|error| {
                    // The library would print its whole question.
                    let is_unknown = error.is_no_records_found() || error.is_nx_domain();
                    if is_unknown { NO_ADDRESS.to_owned() } else { error.to_string() }
                }),
        }
    }

    /// The addresses of a name that may be reached.
    pub(super) async fn lookup_allowed(
        &self,
        host: &str,
        port: u16,
        guard: Guard,
    ) -> Result<Vec<SocketAddr>, NetError> {
        let mut refusal = None;
        let mut allowed = Vec::new();
        for address in self.lookup(host, port).await? {
            match guard.address(address.ip()) {
                Ok(()) => allowed.push(address),
                Err(error) => refusal = Some(error),
            }
        }
        match refusal {
            Some(refusal) if allowed.is_empty() => Err(refusal),
            _ => Ok(allowed),
        }
    }
}

/// The resolver as the HTTP client wants it: it connects to the addresses given here, which are
/// checked, so that the name is not resolved a second time.
pub(super) struct Dns {
    pub(super) resolver: Resolver,
    /// `None` for hosts that the operator chose.
    pub(super) guard: Option<Guard>,
}

impl Resolve for Dns {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, guard) = (self.resolver.clone(), self.guard);
        Box::pin(async move {
            let found = match guard {
                Some(guard) => resolver.lookup_allowed(name.as_str(), 0, guard).await?,
                None => resolver.lookup(name.as_str(), 0).await?,
            };
            Ok::<Addrs, _>(Box::new(found.into_iter()))
        })
    }
}
