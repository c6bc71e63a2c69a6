//! Certificates of an ACME authority, as Let's Encrypt is one, with the Caddyfile as it is.
//!
//! The authority is a second Caddy, which keeps one of its own. An authority asks for the challenge at
//! port 80 of the name. This one asks through the HTTP proxy that its environment names, and that is the
//! Caddy which wants the certificate: so the name is in no zone, and no port below 1024 is needed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Child,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::StreamExt as _;
use relay_protocol::Message;
use relay_simnet::Net;
use tempfile::TempDir;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message as Packet, protocol::Role},
};

use crate::{
    binaries, door,
    door::{LOOK_EVERY, PATIENCE},
    process::{RelayProcess, Setup, free_port},
    routes,
};

/// A name that no authority of the world gives a certificate for.
const NAME: &str = "relay.test";
/// Challenges are those that come over HTTP, because a proxy carries them.
const AUTHORITY: &str = include_str!("../authority.Caddyfile");
/// Where a Caddy keeps the certificate of its own authority.
const ROOT: &str = "data/caddy/pki/authorities/local/root.crt";

/// A Caddy with a directory of its own. Ends when it is dropped.
struct Caddy {
    child: Child,
    dir: TempDir,
}

impl Caddy {
    fn start(program: &Path, caddyfile: &Path, settings: &[(&str, String)]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let place = |name: &str| dir.path().join(name).display().to_string();
        let places = [
            ("XDG_DATA_HOME", place("data")),
            ("XDG_CONFIG_HOME", place("config")),
            ("HOME", place("home")),
            ("RELAY_CADDY_LOG", place("access.log")),
        ];
        let all = places.iter().chain(settings);
        let all: Vec<_> = all.map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let log = File::create(dir.path().join("log"))?;
        let mut command = door::command(program, caddyfile, &all, "run");
        let child = command.stdout(log.try_clone()?).stderr(log).spawn().context("start Caddy")?;
        Ok(Self { child, dir })
    }

    fn file(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Waits for something that the running Caddy does.
    async fn until<T>(
        &mut self,
        what: &str,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> Result<T> {
        let found = async {
            loop {
                if let Some(found) = look().await {
                    return Ok(found);
                }
                if let Some(status) = self.child.try_wait()? {
                    bail!("Caddy ended: {status}");
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await.context("it does not come");
        let log = self.dir.path().join("log");
        found
            .and_then(|found| found)
            .with_context(|| format!("{what}: {}", fs::read_to_string(log).unwrap_or_default()))
    }
}

impl Drop for Caddy {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// Starts the authority; gives where its directory is and the certificate that its own rest on.
///
/// * `proxy` – port through which it asks for challenges
async fn authority(program: &Path, proxy: u16) -> Result<(Caddy, String, PathBuf)> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), AUTHORITY)?;
    let port = free_port()?;
    let settings = [
        ("AUTHORITY_PORT", port.to_string()),
        ("AUTHORITY_HTTP_PORT", free_port()?.to_string()),
        ("HTTP_PROXY", format!("http://127.0.0.1:{proxy}")),
    ];
    let mut caddy = Caddy::start(program, file.path(), &settings)?;
    let root = caddy.file(ROOT);
    let directory = format!("https://localhost:{port}/acme/local/directory");
    let asked = async || {
        let pem = fs::read(&root).ok()?;
        let client = client(&pem, port).ok()?;
        client.get(&directory).send().await.ok()?.error_for_status().ok()
    };
    caddy.until("the directory of the authority", asked).await?;
    Ok((caddy, directory, root))
}

/// A client that trusts this authority alone and finds the name at this port of this machine.
fn client(root: &[u8], port: u16) -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
            // A stream is opened by an upgrade, which HTTP/2 does not have.
            .http1_only()
        .tls_certs_only([reqwest::Certificate::from_pem(root)?])
        .resolve(NAME, ([127, 0, 0, 1], port).into())
        .no_proxy()
        .timeout(PATIENCE)
        .build()?)
}

/// On the day of the installation nobody makes a certificate by hand: the authority asks for the name,
/// gives one, and a consumer that trusts that authority alone reads the firehose under it.
#[tokio::test]
async fn the_caddyfile_gets_a_certificate_from_an_acme_authority() -> Result<()> {
    let Some(program) = binaries::caddy() else { return Ok(()) };
    let [http, https] = [free_port()?, free_port()?];
    let (_authority, directory, root) = authority(&program, http).await?;
    let net = Net::seeded(131).await?;
    let setup = Setup { binary: Some(binaries::relay()?), ..Setup::default() };
    let relay = RelayProcess::start(&net, setup).await?;
    let settings = [
        ("RELAY_SITE", NAME.to_owned()),
        ("RELAY_UPSTREAM", relay.url().replace("http://", "")),
        ("RELAY_ADMIN_UPSTREAM", relay.admin_address()),
        ("RELAY_CADDY_BIND", "127.0.0.1".to_owned()),
        ("RELAY_HTTP_PORT", http.to_string()),
        ("RELAY_HTTPS_PORT", https.to_string()),
        ("RELAY_CADDY_METRICS_PORT", free_port()?.to_string()),
        ("RELAY_CADDY_ADMIN", format!("127.0.0.1:{}", free_port()?)),
        ("RELAY_ACME_CA", directory),
        ("RELAY_ACME_EMAIL", "ops@relay.test".to_owned()),
        // The certificate of the directory itself is checked as any other.
        ("SSL_CERT_FILE", root.display().to_string()),
    ];
    let mut caddy = Caddy::start(&program, &binaries::root().join("Caddyfile"), &settings)?;

    let client = client(&fs::read(&root)?, https)?;
    let url = format!("https://{NAME}:{https}/xrpc/_health");
    let health = async || client.get(&url).send().await.ok();
    let answer = caddy.until("an answer with a trusted certificate", health).await?;
    assert_eq!(answer.status(), 200);
    let kept = caddy.file("data/caddy/certificates");
    let issuers = fs::read_dir(&kept)?.map(|entry| entry.map(|entry| entry.file_name()));
    let issuers: Vec<_> = issuers.collect::<std::io::Result<_>>()?;
    let is_acme = |name: &std::ffi::OsString| name.to_string_lossy().contains("acme");
    assert!(issuers.iter().all(is_acme) && !issuers.is_empty(), "{issuers:?}");

    let alice = net.pds("alpha").await?.account("alice").await?;
    relay.crawl(&net).await?;
    let mut stream = stream(&client, https).await?;
    alice.post("under a name of its own").await?;
    loop {
        let frame = next_frame(&mut stream).await?;
        match Message::decode(&frame).map_err(|invalid| anyhow::anyhow!("{invalid}"))? {
            Message::Commit(commit) if commit.repo == alice.did() => return Ok(()),
            _ => {}
        }
    }
}

type Stream = WebSocketStream<reqwest::Upgraded>;

/// The firehose from its oldest event, over the same TLS.
async fn stream(client: &reqwest::Client, port: u16) -> Result<Stream> {
    let request = client.get(format!("https://{NAME}:{port}{}?cursor=0", routes::FIREHOSE));
    let answer = request
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .send()
        .await?;
    ensure!(answer.status() == 101, "{answer:?}");
    Ok(WebSocketStream::from_raw_socket(answer.upgrade().await?, Role::Client, None).await)
}

async fn next_frame(stream: &mut Stream) -> Result<bytes::Bytes> {
    loop {
        let packet = tokio::time::timeout(Duration::from_secs(30), stream.next()).await;
        match packet.context("nothing comes")?.context("the stream ended")?? {
            Packet::Binary(frame) => return Ok(frame),
            Packet::Close(why) => bail!("the stream was closed: {why:?}"),
            _ => {}
        }
    }
}
