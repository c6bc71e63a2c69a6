//! An authority that gives certificates by ACME, as Let's Encrypt does: a second Caddy on this side. It
//! asks for the challenge at port 80 of the public name, through the host's firewall.

use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use anyhow::{Context as _, Result};
use provision::run;

use crate::{disks::Mounts, host::wait, root};

const CADDYFILE: &str = include_str!("../authority.Caddyfile");

/// It ends when it is dropped.
pub(crate) struct Authority {
    caddy: Child,
    dir: tempfile::TempDir,
    port: u16,
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

impl Authority {
    /// Starts it where the public name is known.
    pub(crate) fn start(mounts: &Mounts, caddy: &Path) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("Caddyfile");
        fs::write(&file, CADDYFILE)?;
        let (file, caddy) = (file.to_string_lossy(), caddy.to_string_lossy());
        let port = free_port()?;
        let enter = mounts.enter();
        let words = [&*caddy, "run", "--adapter", "caddyfile", "--config", &file];
        let all: Vec<_> = enter.iter().map(String::as_str).chain(words).collect();
        let mut command = run::program(&root(), &all);
        let log = File::create(dir.path().join("log"))?;
        command
            .env("AUTHORITY_PORT", port.to_string())
            .env("AUTHORITY_HTTP_PORT", free_port()?.to_string())
            .env("XDG_DATA_HOME", dir.path().join("data"))
            .env("XDG_CONFIG_HOME", dir.path().join("config"))
            .env("HOME", dir.path())
            .stdout(Stdio::null())
            .stderr(log);
        let caddy = command.spawn().context("start Caddy")?;
        let authority = Self { caddy, dir, port };
        wait("the authority has its own certificate", || {
            let listens = TcpStream::connect(("127.0.0.1", port)).is_ok();
            Ok(listens && authority.root().is_file())
        })
        .with_context(|| {
            fs::read_to_string(authority.dir.path().join("log")).unwrap_or_default()
        })?;
        Ok(authority)
    }

    /// The certificate that its own rest on.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("data/caddy/pki/authorities/local/root.crt")
    }

    /// The port on which it listens, on this side's loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where it is asked for certificates.
    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/acme/local/directory", self.port)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        if let Err(error) = self.caddy.kill().and_then(|()| self.caddy.wait()) {
            eprintln!("the authority did not end: {error}");
        }
    }
}
