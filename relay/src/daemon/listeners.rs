//! The three listening sockets: bound before anything else, so that a port in use costs nothing.

use std::net::SocketAddr;

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
}

impl Listeners {
    pub(crate) fn bind(config: &Config) -> Result<Self, Fatal> {
        let shared = config.admin_bind == config.api_bind && config.api_bind.port() != 0;
        Ok(Self {
            api: listen(config.api_bind, "API", "RELAY_API_BIND")?,
            admin: if shared {
                None
            } else {
                Some(listen(config.admin_bind, "admin", "RELAY_ADMIN_BIND")?)
            },
            metrics: listen(config.metrics_bind, "metrics", "RELAY_METRICS_LISTEN")?,
        })
    }

    pub(crate) fn serve(self, state: &ApiState, tasks: &Tasks) -> Result<Addresses, Fatal> {
        let address = |listener: &TcpListener| listener.local_addr().map_err(Fatal::new);
        let api_at = address(&self.api)?;
        let metrics_at = address(&self.metrics)?;
        let admin_at = self.admin.as_ref().map_or(Ok(api_at), address)?;
        let public = api::public_router(state);
        match self.admin {
            Some(listener) => {
                api::serve(self.api, public, tasks);
                api::serve(listener, api::admin_router(state), tasks);
            }
            None => api::serve(self.api, public.merge(api::admin_router(state)), tasks),
        }
        api::serve(self.metrics, api::metrics_router(state), tasks);
        Ok(Addresses { api: api_at, admin: admin_at, metrics: metrics_at })
    }
}

fn listen(address: SocketAddr, what: &str, setting: &str) -> Result<TcpListener, Fatal> {
    let bound = || -> std::io::Result<TcpListener> {
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket)
    };
    bound().map_err(|error| {
        let hint = if error.kind() == std::io::ErrorKind::AddrInUse {
            "another program listens there; stop it, or"
        } else {
            "this machine does not permit it;"
        };
        Fatal::new(format_args!(
            "the {what} address {address} cannot be used ({error}): {hint} set {setting} to another address"
        ))
    })
}
