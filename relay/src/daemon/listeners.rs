//! The three listening sockets: bound before anything else, so that a port in use costs nothing.

use std::{io::ErrorKind, net::SocketAddr};

use tokio::net::TcpListener;

use super::Fatal;
use crate::{
    api::{self, ApiState},
    config::Config,
    tasks::Tasks,
};

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

    pub(crate) fn serve(self, state: &ApiState, tasks: &Tasks) -> Addresses {
        let public = api::public_router(state);
        match self.admin {
            Some(listener) => {
                api::serve(self.api, public, tasks);
                api::serve(listener, api::admin_router(state), tasks);
            }
            None => api::serve(self.api, public.merge(api::admin_router(state)), tasks),
        }
        api::serve(self.metrics, api::metrics_router(state), tasks);
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
