//! TLS of a run: an authority made for it, servers with its certificates, and a terminator.
//!
//! Nothing is trusted beyond the run: a relay process is given the authority's certificate as its
//! only root (`SSL_CERT_FILE`), a [`crate::Consumer`] takes it from [`Authority`].

use crate::server::{Connections, spawn};
use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject as _,
    },
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional_with_sizes},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Names that the servers of a run answer to.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// Buffer of one direction in a terminator.
const COPY_BYTES: usize = 64 << 10;

/// A certificate authority for one run. Clones are the same authority.
#[derive(Clone)]
pub struct Authority {
    pem: Arc<str>,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Authority")
    }
}

impl Authority {
    /// Makes an authority and a certificate for `localhost`.
    ///
    /// # Errors
    /// When no keys can be made.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "simulated authority");
        let key = KeyPair::generate()?;
        let root = params.self_signed(&key)?;
        let issuer = Issuer::new(params, key);

        let key = KeyPair::generate()?;
        let names: Vec<String> = NAMES.iter().map(|&name| name.to_owned()).collect();
        let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        let provider = provider();
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(root.der().to_vec()))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            pem: Arc::from(root.pem()),
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
        })
    }

    /// The certificate of the authority, for `SSL_CERT_FILE`.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes the certificate of the authority to a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.pem()).with_context(|| format!("write {}", path.display()))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }
}

/// Whom a client believes: an authority of a run, or one that another program made.
#[derive(Clone)]
pub struct Trust {
    connector: TlsConnector,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Trust")
    }
}

impl From<&Authority> for Trust {
    fn from(authority: &Authority) -> Self {
        Self { connector: authority.connector.clone() }
    }
}

impl Trust {
    /// Trusts the certificates in this PEM text, and nobody else.
    ///
    /// # Errors
    /// When there is no certificate in it.
    pub fn in_pem(pem: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate.context("read a certificate")?)?;
        }
        anyhow::ensure!(!roots.is_empty(), "there is no certificate in the PEM text");
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(client)) })
    }

    /// Sends bytes to `host:port` as they are, and gives what comes until the other side is done.
    /// For requests that no HTTP client would send.
    ///
    /// # Errors
    /// When there is no connection, or its certificate is not trusted.
    pub async fn exchange(&self, address: &str, request: &[u8]) -> Result<Vec<u8>> {
        let stream = TcpStream::connect(address).await.context("connect")?;
        let name = address.rsplit_once(':').map_or(address, |(name, _)| name).to_owned();
        let name = ServerName::try_from(name).context("a name for TLS")?;
        let mut stream = self.connector.connect(name, stream).await.context("TLS")?;
        stream.write_all(request).await.context("send the request")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.context("read the answer")?;
        Ok(answer)
    }

    pub(crate) fn connector(&self) -> &TlsConnector {
        &self.connector
    }
}

/// The provider of the process if it has one, so that a run measures what a relay uses.
fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default()
        .map_or_else(|| Arc::new(aws_lc_rs::default_provider()), Arc::clone)
}

/// Takes TLS off connections and hands them on, as a web server in front of a relay does. Stops when
/// it is dropped.
#[derive(Debug)]
pub struct Terminator {
    addr: SocketAddr,
    connections: Connections,
    accepting: AbortHandle,
}

impl Terminator {
    /// Starts one in front of `target`.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(authority: &Authority, target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("take a port")?;
        let addr = listener.local_addr()?;
        let connections = Connections::default();
        let (tasks, acceptor) = (connections.clone(), authority.acceptor());
        let accepting = spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                tasks.spawn(terminate(acceptor.clone(), stream, target));
            }
        });
        Ok(Self { addr, connections, accepting })
    }

    /// `wss://localhost:<port>`.
    pub fn url(&self) -> String {
        format!("wss://localhost:{}", self.addr.port())
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        self.accepting.abort();
        self.connections.cut();
    }
}

async fn terminate(acceptor: TlsAcceptor, stream: TcpStream, target: SocketAddr) {
    let passing = async {
        stream.set_nodelay(true)?;
        let mut outside = acceptor.accept(stream).await?;
        let mut inside = TcpStream::connect(target).await?;
        inside.set_nodelay(true)?;
        copy_bidirectional_with_sizes(&mut outside, &mut inside, COPY_BYTES, COPY_BYTES).await
    };
    if let Err(error) = passing.await {
        tracing::debug!(%error, "terminator: connection ended");
    }
}
