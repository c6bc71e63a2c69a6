//! Whom the stack's clients trust: the authority that its Caddy made.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::RELAY_NAME;

/// Longest that one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(30);

/// The authority and where the relay is.
#[derive(Clone)]
pub struct Trust {
    connector: TlsConnector,
    pem: Arc<[u8]>,
    port: u16,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Trust").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Trust {
    /// Trusts this certificate alone.
    ///
    /// * `port` – of this machine, where Caddy listens
    ///
    /// # Errors
    /// When it is no certificate.
    pub fn new(pem: &[u8], port: u16) -> Result<Self> {
        let certificate = CertificateDer::from_pem_slice(pem).context("read the certificate")?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate).context("trust the certificate")?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("set up TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { connector: Arc::new(config).into(), pem: pem.into(), port })
    }

    /// Where Caddy listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// A client for HTTP that knows the relay's name.
    pub(super) fn client(&self) -> Result<reqwest::Client> {
        let certificate = reqwest::Certificate::from_pem(&self.pem).context("the certificate")?;
        reqwest::Client::builder()
            .tls_certs_only([certificate])
            .resolve(RELAY_NAME, self.address())
            .timeout(REQUEST_MAX)
            .build()
            .context("make the client")
    }

    /// Connects to the relay by its public name.
    pub(super) async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address()).await.context("connect to Caddy")?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(RELAY_NAME).context("a name for TLS")?;
        self.connector.connect(name, stream).await.context("TLS with Caddy")
    }
}
