//! Connections to servers on this machine: what the guard lets through, and what limits hold.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Result, anyhow};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::{SinkExt, StreamExt};
use relay_protocol::Hostname;
use relay_simnet::Upgrade;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::{domain::HostSeq, tasks::Tasks};

fn options(allow_insecure: bool) -> NetOptions {
    let user_agent = "test/1 (atproto-relay; https://example.com)".to_owned();
    NetOptions { allow_insecure, user_agent, ..NetOptions::default() }
}

fn strict() -> Result<Net> {
    Ok(Net::new(options(false))?)
}

fn dev() -> Result<Net> {
    Ok(Net::new(options(true))?)
}

/// A server that answers every connection with these bytes, after it has read something.
async fn answering(tasks: &Tasks, answer: impl Into<Vec<u8>>) -> Result<SocketAddr> {
    let (listener, answer) = (TcpListener::bind("127.0.0.1:0").await?, answer.into());
    let address = listener.local_addr()?;
    tasks.start(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            if stream.read(&mut request).await.is_ok_and(|read| read > 0)
                && stream.write_all(&answer).await.is_ok()
            {
                drop(stream.shutdown().await);
            }
        }
    });
    Ok(address)
}

fn with_body(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// SEC-1, DESIGN 10.16: a name is judged by the address it leads to, when it is connected to.
#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_refused_outside_of_development() -> Result<()> {
    let tasks = Tasks::default();
    let address = answering(&tasks, with_body("200 OK", "hello")).await?;

    let refused = strict()?.get("https://localhost/", 100).await.unwrap_err();
    let host = Hostname::parse("https://localhost:443", true)?;
    let not_dialled = strict()?.dial(&host, None).await.unwrap_err();

    assert!(matches!(&refused, NetError::Refused(_)), "{refused}");
    assert!(matches!(&not_dialled, DialError::Refused(_)), "{not_dialled}");
    for sentence in [refused.to_string(), not_dialled.to_string()] {
        assert!(sentence.contains("not public (loopback)") && sentence.contains("--dev"));
    }
    let answer = dev()?.get(&format!("http://localhost:{}/", address.port()), 100).await?;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
    Ok(())
}

/// SEC-1: what the operator set is not the guess of a stranger.
#[tokio::test]
async fn a_configured_host_may_be_on_this_machine() -> Result<()> {
    let tasks = Tasks::default();
    let address = answering(&tasks, with_body("200 OK", "{}")).await?;
    let url = format!("http://{address}/");

    assert!(matches!(strict()?.get(&url, 100).await, Err(NetError::Refused(_))));
    assert_eq!(strict()?.get_configured(&url, 100).await?.status, 200);
    Ok(())
}

/// UP-1, UP-12, DESIGN 10.16: plain ws only in development mode.
#[tokio::test]
async fn a_plain_host_is_dialled_in_development_only() -> Result<()> {
    let simnet = relay_simnet::Net::seeded(1).await?;
    let pds = simnet.pds("alpha").await?;
    let host = Hostname::parse(&pds.hostname(), true)?;

    let refused = strict()?.dial(&host, None).await.unwrap_err().to_string();
    assert!(refused.contains("not be encrypted") && refused.contains("--dev"), "{refused}");

    let dialled = dev()?.dial(&host, Some(HostSeq(0))).await?;
    assert_eq!(dialled.server_header.as_deref(), Some("simulated-pds/1"));
    let seen = pds.seen();
    let request = seen.first().ok_or_else(|| anyhow!("no request"))?;
    assert_eq!(request.path, "/xrpc/com.atproto.sync.subscribeRepos");
    assert_eq!(request.query, "cursor=0");
    assert!(request.user_agent.contains("(atproto-relay"));
    Ok(())
}

/// UP-10, UP-12, T20: an answer that is no upgrade becomes a sentence; redirects are not followed.
#[tokio::test]
async fn other_answers_than_an_upgrade_are_told_in_words() -> Result<()> {
    let simnet = relay_simnet::Net::seeded(1).await?;
    let (pds, elsewhere) = (simnet.pds("alpha").await?, simnet.pds("beta").await?);
    let host = Hostname::parse(&pds.hostname(), true)?;
    let target = format!("{}/xrpc/com.atproto.sync.subscribeRepos", elsewhere.stream_url());
    let rows = [
        (Upgrade::Status { status: 429, retry_after: Some(7), html: false }, 429, Some(7), "429"),
        (Upgrade::Status { status: 502, retry_after: None, html: true }, 502, None, "Bad Gateway"),
        (Upgrade::Redirect(target), 0, None, "redirects are not followed (to ws://"),
    ];
    for (upgrade, expected_status, seconds, words) in rows {
        pds.answer_next(upgrade);
        let error = dev()?.dial(&host, None).await.unwrap_err();
        let DialError::Http { status, retry_after, words: sentence } = error else {
            panic!("{error}")
        };
        assert!(status == expected_status || (300..400).contains(&status), "{status}");
        assert_eq!(retry_after, seconds.map(Duration::from_secs));
        assert!(sentence.contains(words) && !sentence.contains('<'), "{sentence}");
    }
    assert!(elsewhere.cursors().is_empty());
    assert!(dev()?.dial(&host, None).await.is_ok());
    Ok(())
}

/// SEC-2, RES-1: size, header and redirect limits of a GET.
#[tokio::test]
async fn answers_are_bounded_and_redirects_not_followed() -> Result<()> {
    let tasks = Tasks::default();
    let get = async |answer: String, bytes_max| -> Result<_> {
        let address = answering(&tasks, answer).await?;
        Ok(dev()?.get(&format!("http://{address}/"), bytes_max).await)
    };
    let body = "x".repeat(1_000);
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{body}");
    let headers = |count| {
        let lines = "X-One: more\r\n".repeat(count);
        format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n")
    };
    assert_eq!(get(with_body("200 OK", &body), 1_000).await??.body.len(), 1_000);
    assert_eq!(get(endless.clone(), 1_000).await??.body.len(), 1_000);
    for too_long in [get(with_body("200 OK", &body), 999).await?, get(endless, 999).await?] {
        assert!(too_long.unwrap_err().to_string().contains("longer than 999 bytes"));
    }
    assert_eq!(get(headers(60), 10).await??.status, 200);
    assert!(get(headers(200), 10).await?.is_err());
    let there = answering(&tasks, with_body("200 OK", "there")).await?;
    let redirect = with_body(&format!("302 Found\r\nLocation: http://{there}/"), "");
    assert_eq!(get(redirect, 10).await??.status, 302);
    let slow_down = with_body("429 Too Many\r\nRetry-After: 9\r\nServer: a (atproto-relay)", "");
    let answer = get(slow_down, 10).await??;
    assert_eq!(answer.retry_after, Some(Duration::from_secs(9)));
    assert_eq!(answer.server.as_deref(), Some("a (atproto-relay)"));
    Ok(())
}

/// SEC-1: a large answer comes in pieces, an error with its words; a private address is refused as ever.
#[tokio::test]
async fn a_download_is_guarded_as_all_requests_are() -> Result<()> {
    let tasks = Tasks::default();
    let body = "x".repeat(1 << 20);
    let url = |address: SocketAddr| format!("http://localhost:{}/", address.port());
    let large = url(answering(&tasks, with_body("200 OK", &body)).await?);
    let none = url(answering(&tasks, with_body("400 Bad Request", r#"{"error":"No"}"#)).await?);
    let mut half = with_body("200 OK", &body);
    half.truncate(body.len() / 2);
    let cut = url(answering(&tasks, half).await?);

    let Downloaded::Body(mut download) = dev()?.download(&large).await? else {
        return Err(anyhow!("no body"));
    };
    let (mut received, mut pieces) = (0, 0);
    while let Some(piece) = download.next().await? {
        (received, pieces) = (received + piece.len(), pieces + 1);
    }
    assert!(received == body.len() && pieces > 1, "{received} bytes in {pieces} pieces");
    let Downloaded::Refused(refused) = dev()?.download(&none).await? else {
        return Err(anyhow!("not refused"));
    };
    assert_eq!((refused.status, &refused.body[..]), (400, &br#"{"error":"No"}"#[..]));
    let Downloaded::Body(mut download) = dev()?.download(&cut).await? else {
        return Err(anyhow!("no body"));
    };
    let broken = loop {
        match download.next().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert!(broken.is_err(), "half of it is not the whole");
    let private = strict()?.download("https://localhost/").await.unwrap_err();
    assert!(matches!(&private, NetError::Refused(_)), "{private}");
    Ok(())
}

/// SEC-2, RES-1, UP-1, T20: nobody holds us longer than 5 s with an answer, 10 s with a handshake.
#[tokio::test]
async fn a_server_that_never_answers_is_left() -> Result<()> {
    let simnet = relay_simnet::Net::seeded(1).await?;
    let pds = simnet.pds("alpha").await?;
    let host = Hostname::parse(&pds.hostname(), true)?;
    pds.answer_all(Upgrade::Silence);
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", silent.local_addr()?);
    let net = dev()?;

    let (answer, socket) = tokio::join!(net.get(&url, 10), net.dial(&host, None));

    assert_eq!(answer.unwrap_err().to_string(), "no answer in 5 s");
    assert_eq!(socket.unwrap_err().to_string(), "the handshake did not end in 10 s");
    pds.answer_all(Upgrade::Accept);
    assert!(net.dial(&host, None).await.is_ok());
    Ok(())
}

/// A name server over UDP and TCP on one port.
///
/// * `answers` – addresses of the n-th question for an A record; the last ones stay
/// * `truncated` – answers over UDP say that the rest must be fetched over TCP
struct NameServer {
    address: SocketAddr,
    questions: Arc<AtomicUsize>,
    tcp_connections: Arc<AtomicUsize>,
}

impl NameServer {
    async fn start(tasks: &Tasks, answers: Vec<Vec<Ipv4Addr>>, truncated: bool) -> Result<Self> {
        let tcp = TcpListener::bind("127.0.0.1:0").await?;
        let address = tcp.local_addr()?;
        let udp = UdpSocket::bind(address).await?;
        let (questions, tcp_connections) = (Arc::default(), Arc::default());
        let asked: Arc<AtomicUsize> = Arc::clone(&questions);
        tasks.start(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = udp.recv_from(&mut question).await {
                let answer = dns_answer(&question[..length], &answers, &asked, truncated);
                drop(udp.send_to(&answer, from).await);
            }
        });
        let connected: Arc<AtomicUsize> = Arc::clone(&tcp_connections);
        tasks.start(async move {
            while let Ok((stream, _)) = tcp.accept().await {
                connected.fetch_add(1, Ordering::Relaxed);
                drop(stream);
            }
        });
        Ok(Self { address, questions, tcp_connections })
    }

    fn asked_by(&self, udp_only: bool, allow_insecure: bool) -> Result<Net> {
        let name_servers = vec![self.address];
        Ok(Net::new(NetOptions { name_servers, udp_only, ..options(allow_insecure) })?)
    }
}

/// A DNS answer: the question again, then addresses if it asked for an A record.
fn dns_answer(
    question: &[u8],
    answers: &[Vec<Ipv4Addr>],
    asked: &AtomicUsize,
    truncated: bool,
) -> Vec<u8> {
    let name_end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap();
    let is_a = question[name_end + 1..name_end + 3] == [0, 1];
    let found = if is_a {
        let nth = asked.fetch_add(1, Ordering::Relaxed);
        answers.get(nth).or(answers.last()).cloned().unwrap_or_default()
    } else {
        Vec::new()
    };
    let flags = if truncated { [0x83, 0x80] } else { [0x81, 0x80] };
    let count = u8::try_from(found.len()).unwrap();
    let mut answer = question[..2].to_vec();
    answer.extend(flags);
    answer.extend([0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(&question[12..name_end + 5]);
    for address in found {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}

const PUBLIC: Ipv4Addr = Ipv4Addr::new(93, 184, 215, 14);

/// SEC-1, T21: a public name with a private address is refused, whoever answers for it.
#[tokio::test]
async fn a_public_name_with_a_private_address_is_refused() -> Result<()> {
    let tasks = Tasks::default();
    let private = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 0, 0, 1)].to_vec();
    let server = NameServer::start(&tasks, vec![private], false).await?;
    let net = server.asked_by(true, false)?;

    let refused = net.get("https://pds.example.com/", 10).await.unwrap_err();

    assert!(matches!(&refused, NetError::Refused(why) if why.contains("10.0.0.1")), "{refused}");
    let host = Hostname::parse("pds.example.com", false)?;
    assert!(matches!(net.dial(&host, None).await, Err(DialError::Refused(_))));
    Ok(())
}

/// SEC-1, T21: a name that changes its mind after the check changes nothing, since the checked
/// address is the one that is connected to; each connection asks once.
#[tokio::test]
async fn a_name_is_resolved_once_per_connection_and_private_addresses_left_out() -> Result<()> {
    let tasks = Tasks::default();
    let answers = vec![vec![PUBLIC, Ipv4Addr::LOCALHOST], vec![Ipv4Addr::LOCALHOST]];
    let server = NameServer::start(&tasks, answers, false).await?;
    let resolver = Resolver::new(&[server.address], true)?;
    let guard = Guard { allow_insecure: false };

    let first = resolver.lookup_allowed("pds.example.com", 443, guard).await?;
    let second = resolver.lookup_allowed("pds.example.com", 443, guard).await;

    assert_eq!(first, [SocketAddr::from((PUBLIC, 443))]);
    assert!(matches!(second, Err(NetError::Refused(_))));
    assert_eq!(server.questions.load(Ordering::Relaxed), 2);
    Ok(())
}

/// SEC-1, T21: a name that was public when it was checked and leads into this machine a moment later is
/// refused by every kind of connection: each asks for itself and connects to what it was told.
#[tokio::test]
async fn a_name_that_is_rebound_after_its_check_is_refused_by_every_kind_of_connection()
-> Result<()> {
    let tasks = Tasks::default();
    let server =
        NameServer::start(&tasks, vec![vec![PUBLIC], vec![Ipv4Addr::LOCALHOST]], false).await?;
    let checked = Resolver::new(&[server.address], true)?;
    let guard = Guard { allow_insecure: false };
    let found = checked.lookup_allowed("pds.example.com", 443, guard).await?;
    assert_eq!(found, [SocketAddr::from((PUBLIC, 443))], "the check was content");
    let net = server.asked_by(true, false)?;
    let host = Hostname::parse("pds.example.com", false)?;

    let got = net.get("https://pds.example.com/", 10).await.unwrap_err();
    let dialled = net.dial(&host, None).await.unwrap_err();

    assert!(matches!(&got, NetError::Refused(why) if why.contains("127.0.0.1")), "{got}");
    assert!(matches!(&dialled, DialError::Refused(why) if why.contains("127.0.0.1")), "{dialled}");
    assert_eq!(server.questions.load(Ordering::Relaxed), 3, "nothing was remembered");
    Ok(())
}

/// Settings `RESOLVE_ADDRESS` and `FORCE_DNS_UDP`: who is asked, and whether over TCP too.
#[tokio::test]
async fn the_name_servers_of_the_settings_are_asked() -> Result<()> {
    let tasks = Tasks::default();
    let server = NameServer::start(&tasks, vec![vec![Ipv4Addr::LOCALHOST]], false).await?;
    let there = answering(&tasks, with_body("200 OK", "found")).await?;
    let url = format!("http://only-this-server-knows.test:{}/", there.port());

    assert_eq!(server.asked_by(true, true)?.get(&url, 10).await?.status, 200);
    assert!(matches!(dev()?.get(&url, 10).await, Err(NetError::Failed(_))));

    let short = NameServer::start(&tasks, vec![vec![Ipv4Addr::LOCALHOST]], true).await?;
    drop(short.asked_by(true, true)?.get(&url, 10).await);
    assert_eq!(short.tcp_connections.load(Ordering::Relaxed), 0);
    drop(short.asked_by(false, true)?.get(&url, 10).await);
    assert!(short.tcp_connections.load(Ordering::Relaxed) > 0);
    Ok(())
}

/// Certificate of a root that signs nothing but [`CERTIFICATE`]; valid until 2120.
const ROOT: &str = "\
    MIIBNjCB3qADAgECAgEBMAoGCCqGSM49BAMCMBoxGDAWBgNVBAMMD3JlbGF5IHRlc3Qgcm9vdDAgFw0yMDAxMDEw\
    MDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowGjEYMBYGA1UEAwwPcmVsYXkgdGVzdCByb290MFkwEwYHKoZIzj0CAQYI\
    KoZIzj0DAQcDQgAEDUtfdJhKycPuX1oqGuu6Tux65W/n6b0O221LAK1Ik8METSlp8UWodcrcqT60xLtCjKtT+s4s\
    Vt3q/vlQOW4QrqMTMBEwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiBC6vUfBQCuFATR9inshFfo\
    DCaXiQEBYqhFfFGVHoIWCAIgT3Xc89MNkYOASG2+wp/Fr+C4Kw6EzlawYsMak36Sxn4=\
    ";

/// Certificate of `localhost`, signed by [`ROOT`].
const CERTIFICATE: &str = "\
    MIIBRDCB66ADAgECAgECMAoGCCqGSM49BAMCMBoxGDAWBgNVBAMMD3JlbGF5IHRlc3Qgcm9vdDAgFw0yMDAxMDEw\
    MDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFDESMBAGA1UEAwwJbG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZIzj0D\
    AQcDQgAEBUq6sKACGO4S+WH14vF/okNdGEh+idRJFjrYkOl9k0IhsXS3QlK6iigiwzod8YpHLvvMGbpFaLYLp+ZG\
    43TUlqMmMCQwFAYDVR0RBA0wC4IJbG9jYWxob3N0MAwGA1UdEwEB/wQCMAAwCgYIKoZIzj0EAwIDSAAwRQIgBSt7\
    ekgm7QE3UPOAzZ0S8nBHAe9srNbacNbwhYpnVEICIQCcRE5wLqg7hin7FM2fvioYcwTcg241j0eaP/2dIC3Siw==\
    ";

/// Key of [`CERTIFICATE`]; made for these tests, protects nothing.
const KEY: &str = "\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgE2ezYQHxmuA7eWu9W0JCnLa+lKCH/EltIfq61ZMW\
    5tuhRANCAAQFSrqwoAIY7hL5YfXi8X+iQ10YSH6J1EkWOtiQ6X2TQiGxdLdCUrqKKCLDOh3xikcu+8wZukVotgun\
    5kbjdNSW\
    ";

fn decoded(base64: &str) -> Result<Vec<u8>> {
    Ok(BASE64_STANDARD.decode(base64)?)
}

/// A host with TLS that sends one message to every subscriber.
async fn secure_host(tasks: &Tasks) -> Result<Hostname> {
    let chain = vec![CertificateDer::from(decoded(CERTIFICATE)?)];
    let key = PrivateKeyDer::try_from(decoded(KEY)?).map_err(|error| anyhow!(error))?;
    install_crypto();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let host = format!("https://localhost:{}", listener.local_addr()?.port());
    tasks.start(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let accepted = Box::pin(tokio_tungstenite::accept_async(stream)).await;
            let Ok(mut socket) = accepted else { continue };
            drop(socket.send(Message::binary("over TLS")).await);
        }
    });
    Ok(Hostname::parse(&host, true)?)
}

/// SEC-1, UP-1: the certificate must lead to a root of the machine and name the host.
#[tokio::test]
async fn only_a_host_with_a_trusted_certificate_is_subscribed_to() -> Result<()> {
    let tasks = Tasks::default();
    let host = secure_host(&tasks).await?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(decoded(ROOT)?))?;
    let trusting = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();

    let untrusted = dev()?.dial(&host, None).await.unwrap_err();
    let mut dialled = Net::with_tls(options(true), trusting)?.dial(&host, None).await?;

    assert!(matches!(&untrusted, DialError::Failed(why) if why.contains("TLS")), "{untrusted}");
    let first = dialled.socket.next().await.ok_or_else(|| anyhow!("closed"))??;
    assert_eq!(first, Message::binary("over TLS"));
    Ok(())
}

/// I6: a peer that speaks no TLS, or no HTTP, gives an error and no panic.
#[tokio::test]
async fn a_peer_that_speaks_something_else_is_an_error() -> Result<()> {
    let tasks = Tasks::default();
    for noise in ["SSH-2.0-OpenSSH_9.9\r\n", "", "HTTP/1.1 abc\r\n\r\n", "\u{16}\u{3}\u{1}"] {
        let port = answering(&tasks, noise).await?.port();
        for scheme in ["http", "https"] {
            let host = Hostname::parse(&format!("{scheme}://localhost:{port}"), true)?;
            let error = dev()?.dial(&host, None).await.unwrap_err();
            assert!(matches!(error, DialError::Failed(_)), "{noise:?}: {error}");
            let got = dev()?.get(&format!("{scheme}://localhost:{port}/"), 10).await;
            assert!(matches!(got, Err(NetError::Failed(_))), "{noise:?}");
        }
    }
    Ok(())
}

/// Setting errors are sentences: a user agent that cannot be a header.
#[test]
fn a_user_agent_that_cannot_be_sent_stops_the_start() {
    let user_agent = "two\nlines".to_owned();
    let error = Net::new(NetOptions { user_agent, ..options(true) }).unwrap_err();
    assert!(error.to_string().contains("HTTP client") || error.to_string().contains("user agent"));
    assert!(Net::new(options(true)).is_ok());
}
