//! The relay in a container of Docker, by what the role places on a host. On a host itself there is
//! podman, in [`crate::debian_13`].

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use provision::run;
use serde_json::json;

use crate::{ansible::play, disks::run, host::wait, root};

/// Whom everybody has: `nobody`.
const USER: &str = "nobody";
const NOBODY: u32 = 65_534;

/// What the role places, for one engine.
fn written(dir: &Path, engine: &str) -> Result<()> {
    let shown = |name: &str| dir.join(name).to_string_lossy().into_owned();
    // What is given on the command line counts more than what the role says.
    let variables = json!({
        "target": shown(""),
        "relay_engine_found": engine,
        "relay_programs": shown("programs"),
        "relay_user": USER,
        "relay_data": shown("data"),
        "relay_etc": "/etc/relay",
        "relay_hostname": "relay.example.com",
        "relay_uses_postgres": false,
        "relay_container_program": shown("relay-container"),
        "relay_container_name": format!("relay-test-{}", std::process::id()),
        "relay_container_secrets": shown("relay.toml"),
    });
    let inventory = json!({ "all": { "hosts": { "here": {
        "ansible_connection": "local",
        "ansible_python_interpreter": "/usr/bin/python3",
    } } } });
    let path = dir.join("inventory.json");
    fs::write(&path, inventory.to_string())?;
    let book = root().join("provision/tests/deploy/container.yml");
    let variables = variables.to_string();
    let words = [&*book.to_string_lossy(), "--extra-vars", &variables];
    let played = play(&[], &path, &words)?;
    ensure!(played.counts("here").1 == 0, "{}", played.failure("here"));
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The banned domains, as the relay answers.
fn domains(admin: &str) -> Result<String> {
    let mut stream = TcpStream::connect(admin)?;
    let lines = ["GET /admin/v1/domains HTTP/1.0", "Authorization: Bearer of-a-file-alone", "", ""];
    stream.write_all(lines.join("\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A container that ends with the value.
struct Running {
    child: Child,
    program: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let program = self.program.to_string_lossy();
        let removed = run(&[&program, "remove"]);
        if removed.is_err() || self.child.wait().is_err() {
            eprintln!("the container did not end: {removed:?}");
        }
    }
}

/// A unit that systemd does not understand, or a script that a shell does not, is found out on a host.
#[test]
#[ignore = "needs Ansible: just stage build,deploy"]
fn units_and_scripts_of_both_engines_are_understood() -> Result<()> {
    for engine in ["podman", "docker"] {
        let dir = tempfile::tempdir()?;
        written(dir.path(), engine)?;
        for script in ["relay-container", "relay-image"] {
            run(&["shellcheck", &dir.path().join(script).to_string_lossy()])?;
        }
        let unit = dir.path().join("relay-container.service");
        fs::set_permissions(&unit, fs::Permissions::from_mode(0o644))?;
        run(&["systemd-analyze", "verify", "--man=no", &unit.to_string_lossy()])?;
        let text = fs::read_to_string(&unit)?;
        let has_watchdog = text.contains("Type=notify") && text.contains("WatchdogSec=60");
        assert_eq!(has_watchdog, engine == "podman", "{text}");
    }
    Ok(())
}

/// Whoever has Docker gets the relay of the archive, as the user of the data, on this machine's own
/// addresses only, with secrets from a file; and it ends when it is told to.
#[test]
#[ignore = "needs root, a container engine and Ansible: just stage build,deploy"]
fn docker_runs_the_relay_of_an_archive() -> Result<()> {
    let dir = tempfile::Builder::new().prefix("relay-container-").tempdir()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    written(dir.path(), "docker")?;
    let [data, image, secrets] =
        ["data", "programs/one", "relay.toml"].map(|name| dir.path().join(name));
    fs::create_dir(&data)?;
    fs::create_dir_all(&image)?;
    symlink(&image, dir.path().join("programs/current"))?;
    fs::write(data.join("policy.toml"), "")?;
    fs::write(&secrets, "admin_passwords = \"of-a-file-alone\"\n")?;
    for path in [&data, &secrets] {
        chown(path, Some(NOBODY), Some(NOBODY))?;
    }
    let relay = std::env::var_os("RELAY_BINARY").context("RELAY_BINARY is not set")?;
    let relay = relay.to_string_lossy();
    let archive = image.join("image.tar").to_string_lossy().into_owned();
    let provision = env!("CARGO_BIN_EXE_provision");
    run(&[provision, "image", "--relay", &relay, "--output", &archive])?;
    let taken = dir.path().join("relay-image").to_string_lossy().into_owned();
    run(&[&taken, &image.to_string_lossy()])?;

    let [api, metrics, admin] =
        [free_port()?, free_port()?, free_port()?].map(|port| format!("127.0.0.1:{port}"));
    let program = dir.path().join("relay-container");
    let shown = program.to_string_lossy().into_owned();
    let mut command = run::program(Path::new("/"), &[&shown, "serve"]);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs([("RELAY_API_BIND", &api), ("RELAY_METRICS_LISTEN", &metrics)])
        .env("RELAY_ADMIN_BIND", &admin)
        .env("RELAY_DATA_DIR", &data)
        .env("RELAY_POLICY_FILE", data.join("policy.toml"))
        .env("RELAY_CONFIG", "/run/relay/relay.toml")
        .stdin(Stdio::null());
    let child = command.spawn().context("start what runs the container")?;
    let mut running = Running { child, program: program.clone() };
    let mut waiting = run::program(Path::new("/"), &[&shown, "wait"]);
    waiting.env("RELAY_API_BIND", &api);
    run::quiet(waiting)?;

    let name = format!("relay-test-{}", std::process::id());
    let format = "{{.Config.User}} {{.HostConfig.NetworkMode}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}";
    let said = run(&["docker", "inspect", "--format", format, &name])?;
    assert_eq!(said.trim(), "65534:65534 host true [ALL]");
    let environment = run(&["docker", "inspect", "--format", "{{.Config.Env}}", &name])?;
    assert!(!environment.contains("of-a-file-alone"), "{environment}");
    assert!(data.join("relay.sqlite").is_file(), "the data lie elsewhere");
    // It reads its policy file again, and goes on.
    fs::write(data.join("policy.toml"), "banned_domains = [\"spam.example\"]\n")?;
    run(&[&shown, "reload"])?;
    wait("the policy is read again", || Ok(domains(&admin)?.contains("spam.example")))?;
    run(&[&shown, "stop"])?;
    wait("it has ended", || Ok(running.child.try_wait()?.is_some()))?;
    let ended = run(&["docker", "ps", "--quiet", "--filter", &format!("name={name}")])?;
    assert_eq!(ended, "");
    Ok(())
}
