//! What the tests need from the system: looked for first, then installed by name.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use provision::run;

use crate::out;

/// A tool, how to see that it is there, and the Debian packages that bring it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    /// What people call it.
    pub(crate) name: &'static str,
    /// What needs it.
    pub(crate) why: &'static str,
    packages: &'static [&'static str],
    found: fn() -> bool,
}

/// The browser, as people call it.
pub(crate) const CHROMIUM: &str = "Chromium";
/// Its program in Debian.
pub(crate) const CHROMIUM_PROGRAM: &str = "chromium";

/// Everything but Rust itself, which is a stated prerequisite.
pub(crate) const TOOLS: &[Tool] = &[
    Tool {
        name: "C compiler",
        why: "builds libsecp256k1, SQLite and aws-lc",
        packages: &["build-essential", "cmake"],
        found: || on_path("cc") && on_path("c++") && on_path("make"),
    },
    Tool {
        name: "Postgres server",
        why: "the store's tests start a private cluster",
        packages: &["postgresql"],
        found: || postgres_bin().is_some(),
    },
    Tool {
        name: "npm",
        why: "brings the reference PDS, PLC directory and consumer",
        packages: &["npm"],
        found: || on_path("npm"),
    },
    Tool {
        name: "Python with venv",
        why: "brings Caddy and the Python firehose client, builds SQLite for Node",
        packages: &["python3", "python3-venv"],
        found: || {
            on_path("python3")
                && run::quiet(run::program(
                    Path::new("/"),
                    &["python3", "-c", "import ensurepip, venv"],
                ))
                .is_ok()
        },
    },
    Tool {
        name: "Docker",
        why: "runs the whole stack in containers",
        packages: &["docker.io"],
        found: || on_path("dockerd") || std::env::var_os("DOCKER_HOST").is_some() || engine(),
    },
    Tool {
        name: "ssh and sshd",
        why: "play the machines to which hosts are handed over, and which `provision robot` installs",
        packages: &["openssh-client", "openssh-server"],
        found: || on_path("ssh") && Path::new("/usr/sbin/sshd").is_file(),
    },
    Tool {
        name: "mmdebstrap",
        why: "makes the blank host on which a relay is deployed",
        packages: &["mmdebstrap"],
        found: || on_path("mmdebstrap"),
    },
    Tool {
        name: "tools of XFS",
        why: "disks of every kind, blank and not",
        packages: &["xfsprogs", "e2fsprogs"],
        found: || on_path("mkfs.xfs") && on_path("mkfs.ext4"),
    },
    Tool {
        name: CHROMIUM,
        why: "shows the dashboard as a browser does",
        packages: &["chromium"],
        found: || on_path(CHROMIUM_PROGRAM),
    },
    Tool {
        name: "Nix",
        why: "evaluates the NixOS modules",
        packages: &["nix-bin"],
        found: || on_path("nix-instantiate"),
    },
    Tool {
        name: "systemd-analyze",
        why: "reads the units that the NixOS modules write",
        packages: &["systemd"],
        found: || on_path("systemd-analyze"),
    },
    Tool {
        name: "shellcheck",
        why: "lints the shell scripts",
        packages: &["shellcheck"],
        found: || on_path("shellcheck"),
    },
];

/// Whether a container engine of another kind answers to Docker's client.
fn engine() -> bool {
    on_path("docker") && run::quiet(run::program(Path::new("/"), &["docker", "version"])).is_ok()
}

/// Newest directory with `initdb`, `None` when no server is installed.
pub(crate) fn postgres_bin() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<_> = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop()
}

/// Whether a program of this name can be started.
pub(crate) fn on_path(name: &str) -> bool {
    found_on_path(name).is_some()
}

/// Where a program of this name is, for those that want a whole path.
pub(crate) fn found_on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Installs the packages of the missing tools when that is possible.
///
/// Returns the tools that are still missing: empty under `strict`, where each is an error.
pub(crate) fn provide(root: &Path, strict: bool) -> Result<Vec<&'static Tool>> {
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| !(tool.found)()).collect();
    for tool in TOOLS.iter().filter(|tool| (tool.found)()) {
        out::line(&format!("  found      {}", tool.name));
    }
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let packages: Vec<&str> = missing.iter().flat_map(|tool| tool.packages).copied().collect();
    if on_path("apt-get") && is_root(root) {
        out::line(&format!("  installing {}", packages.join(" ")));
        apt(root, &["apt-get", "update", "-qq"])?;
        let mut words = vec!["apt-get", "install", "-y", "-qq", "--no-install-recommends"];
        words.extend(&packages);
        apt(root, &words)?;
    }
    let still: Vec<_> = missing.into_iter().filter(|tool| !(tool.found)()).collect();
    for tool in &still {
        out::line(&format!(
            "  missing    {} ({}); install: apt-get install {}",
            tool.name,
            tool.why,
            tool.packages.join(" ")
        ));
    }
    if strict && !still.is_empty() {
        bail!("a tool is missing, and CI=true permits none to be");
    }
    Ok(still)
}

fn apt(root: &Path, words: &[&str]) -> Result<()> {
    let mut command = run::program(root, words);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    run::quiet(command).map(drop)
}

fn is_root(root: &Path) -> bool {
    run::quiet(run::program(root, &["id", "-u"])).is_ok_and(|id| id.trim() == "0")
}
