//! Small servers that answer what a test wants.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// Answers all that comes; ends when it is dropped.
pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Answers every HTTP request with these bytes.
    pub(crate) async fn http(answer: impl Into<String>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (at, answer) = (listener.local_addr()?, answer.into());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Who goes away early has seen enough.
                drop(exchange(stream, &answer).await);
            }
        });
        Ok(Self { at, _tasks: tasks })
    }

    /// The same over TLS with a certificate.
    pub(crate) async fn https(certificate: &Certificate, answer: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (at, answer) = (listener.local_addr()?, answer.to_owned());
        let acceptor = TlsAcceptor::from(Arc::clone(&certificate.server));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(secure) = acceptor.accept(stream).await {
                    drop(exchange(secure, &answer).await);
                }
            }
        });
        Ok(Self { at, _tasks: tasks })
    }

    /// A name server that knows one name.
    pub(crate) async fn names(zone: Zone) -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let at = socket.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                let answer = zone.answer(&question[..length]);
                if socket.send_to(&answer, from).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self { at, _tasks: tasks })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.at)
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// An answer with a status, headers and no body.
pub(crate) fn answer(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n")
}

/// What a name server knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Zone {
    pub(crate) addresses: Vec<IpAddr>,
    /// The name of every address.
    pub(crate) name: Option<&'static str>,
}

impl Zone {
    fn answer(&self, question: &[u8]) -> Vec<u8> {
        let zero = question.iter().skip(12).position(|byte| *byte == 0).expect("a name");
        let end = 12 + zero + 5;
        let kind = question[end - 3];
        let records: Vec<Vec<u8>> = match kind {
            1 => self.addresses.iter().filter_map(v4).collect(),
            28 => self.addresses.iter().filter_map(v6).collect(),
            12 => self.name.iter().map(|name| labels(name)).collect(),
            _ => Vec::new(),
        };
        let mut answer = question[..2].to_vec();
        answer.extend([0x81, 0x80, 0, 1, 0, u8::try_from(records.len()).expect("few"), 0, 0, 0, 0]);
        answer.extend(&question[12..end]);
        for record in records {
            answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0]);
            answer.push(u8::try_from(record.len()).expect("short"));
            answer.extend(record);
        }
        answer
    }
}

fn v4(address: &IpAddr) -> Option<Vec<u8>> {
    if let IpAddr::V4(address) = address { Some(address.octets().to_vec()) } else { None }
}

fn v6(address: &IpAddr) -> Option<Vec<u8>> {
    if let IpAddr::V6(address) = address { Some(address.octets().to_vec()) } else { None }
}

fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("short"));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// A certificate for `localhost`, and its authority.
pub(crate) struct Certificate {
    server: Arc<ServerConfig>,
    /// The authority, as `SSL_CERT_FILE` takes it.
    pub(crate) authority: String,
}

impl Certificate {
    /// Of an authority that nobody knows, valid for so many seconds before and after now.
    pub(crate) fn new(name: &str, before_s: i64, after_s: i64) -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        let now =
            std::time::UNIX_EPOCH + std::time::Duration::from_millis(provision::moment::now_ms());
        let at = |seconds: i64| {
            let length = std::time::Duration::from_secs(seconds.unsigned_abs());
            if seconds < 0 { now - length } else { now + length }
        };
        params.not_before = at(-before_s).into();
        params.not_after = at(after_s).into();
        let certificate = params.signed_by(&key, &authority)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)?;
        Ok(Self { server: Arc::new(server), authority: authority.pem() })
    }
}
