//! A server of a test, at a free port of this machine.

use std::net::SocketAddr;

use axum::Router;
use tokio::net::TcpListener;

/// Ends with the test.
#[derive(Debug)]
pub(crate) struct Served {
    address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Served {
    #[expect(clippy::disallowed_methods, reason = "a server of a test ends with it")]
    pub(crate) async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, server }
    }

    /// As settings and commands name it.
    pub(crate) fn name(&self) -> String {
        format!("localhost:{}", self.address.port())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}
