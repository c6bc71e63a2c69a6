//! The three listening sockets: bound before anything else, so that a port in use costs nothing.

use std::{io::ErrorKind, net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;

use super::Fatal;
use crate::{
    api::{self, ApiState, Room},
    clients::TrustedProxies,
    config::Config,
    tasks::Tasks,
};

/// Most connections to the admin API, and to the metrics: they stay open when clients have taken all
/// that is for clients, so that one can ask what is wrong.
const INSIDE_MAX: usize = 32;

/// Where the sockets listen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) api: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

/// Bound sockets that nobody serves yet.
#[derive(Debug)]
pub(crate) struct Listeners {
    api: TcpListener,
    /// `None` when the admin API shares the address of the public one (DESIGN 10.15).
    admin: Option<TcpListener>,
    metrics: TcpListener,
    addresses: Addresses,
}

impl Listeners {
    pub(crate) fn bind(config: &Config) -> Result<Self, Fatal> {
        let shared = config.admin_bind == config.api_bind && config.api_bind.port() != 0;
        let (api, api_at) = listen(config.api_bind, "API", "RELAY_API_BIND")?;
        let (admin, admin_at) = if shared {
            (None, api_at)
        } else {
            let (admin, at) = listen(config.admin_bind, "admin", "RELAY_ADMIN_BIND")?;
            (Some(admin), at)
        };
        let (metrics, metrics_at) = listen(config.metrics_bind, "metrics", "RELAY_METRICS_LISTEN")?;
        let addresses = Addresses { api: api_at, admin: admin_at, metrics: metrics_at };
        Ok(Self { api, admin, metrics, addresses })
    }

    /// * `room` – connections that the public listener may have
    /// * `proxies` – whose word about their clients is taken; nobody has a proxy before metrics
    pub(crate) fn serve(
        self,
        state: &ApiState,
        room: Room,
        proxies: &TrustedProxies,
        tasks: &Tasks,
    ) -> Addresses {
        state.keep_history(tasks);
        let public = api::public_router(state);
        let inside: Room = Arc::new(|| INSIDE_MAX);
        if let Some(listener) = self.admin {
            let admin = api::admin_router(state);
            api::serve(self.api, public, room, proxies, tasks);
            api::serve(listener, admin, Arc::clone(&inside), proxies, tasks);
        } else {
            let both = public.merge(api::admin_router(state));
            api::serve(self.api, both, room, proxies, tasks);
        }
        let nobody = TrustedProxies::default();
        api::serve(self.metrics, api::metrics_router(state), inside, &nobody, tasks);
        self.addresses
    }
}

fn listen(
    address: SocketAddr,
    what: &str,
    setting: &str,
) -> Result<(TcpListener, SocketAddr), Fatal> {
    let bound = || -> std::io::Result<(TcpListener, SocketAddr)> {
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound().map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::AddrInUse => "another program listens there; stop it, or",
            ErrorKind::AddrNotAvailable => "this machine does not have it;",
            ErrorKind::PermissionDenied => "this user may not; take a port above 1023, or",
            _ => "this machine does not permit it;",
        };
        Fatal::new(format_args!(
            "the {what} address {address} cannot be used ({error}): {hint} set {setting} to another address"
        ))
    })
}
