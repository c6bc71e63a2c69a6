//! The relay's image as a person runs it, without a stack.

use std::{io::Read as _, time::Duration};

use anyhow::{Context as _, Result};
use bollard::{
    Docker,
    container::LogOutput,
    exec::{CreateExecOptions, StartExecResults},
    models::{ContainerCreateBody, HealthStatusEnum, HostConfig, Mount, MountType},
    query_parameters::{
        CreateContainerOptions, DownloadFromContainerOptionsBuilder, InspectContainerOptions,
        RemoveContainerOptionsBuilder, RemoveImageOptions, RemoveVolumeOptions,
        StartContainerOptions, StopContainerOptionsBuilder,
    },
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use provision::image::{
    Engine, Image, Part, RELAY_BYTES_MAX, Settings, Tree, built_relay, closure, relay,
    shared_libraries, write,
};
use tokio::time::{Instant, sleep};

use crate::{named_relay, provided};

/// Longest that the image's own check may take to say that the relay is well.
const PATIENCE: Duration = Duration::from_mins(1);

/// A person who downloads the image does not wait for it, and two who build it get the same.
#[test]
#[ignore = "needs the built relay: just stage build,stack"]
fn the_relay_image_is_small_and_the_same_every_time() -> Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let program = built_relay(named_relay())?;
    let (first, _work) = relay(&program, &root)?;
    let (second, _work) = relay(&program, &root)?;
    let (mut one, mut two) = (Vec::new(), Vec::new());
    let built = write(&first, &mut one)?;
    assert_eq!(built, write(&second, &mut two)?);
    assert!(one == two, "two archives of one program differ");
    assert!(built.bytes < RELAY_BYTES_MAX, "{} bytes", built.bytes);
    assert!(!first.tree.contains("/bin/sh"), "a shell is in the image");
    assert!(first.tree.contains("/usr/share/sbom/relay.cdx.json"));
    eprintln!("the relay's image: {} bytes, {}", built.bytes, built.id);
    Ok(())
}

/// A person types `docker run IMAGE` and has a relay: no settings, no rights, nothing to write on but
/// its volume. It stops when it is told to, and another container goes on with the volume.
#[tokio::test]
#[ignore = "needs a container engine: just stage build,stack"]
async fn the_relay_image_runs_without_settings_and_without_rights() -> Result<()> {
    let engine = Engine::connect().await?;
    let image = provided(&engine, Part::Relay).await?.image;
    let docker = engine.docker();
    let volume = format!("test-image-{}", std::process::id());

    let first = run(docker, &image, &volume).await?;
    let outcome = seen(docker, &first, &image).await;
    remove(docker, &first).await?;
    let password = outcome?;

    let second = run(docker, &image, &volume).await?;
    let outcome = async {
        well(docker, &second).await?;
        file(docker, &second, "/data/admin-password").await
    };
    let again = outcome.await;
    remove(docker, &second).await?;
    docker.remove_volume(&volume, None::<RemoveVolumeOptions>).await?;
    assert_eq!(password, again?, "the volume was not kept");
    Ok(())
}

/// Who builds on a base of somebody else gets the same relay: user, volume, health, signals, settings.
#[tokio::test]
#[ignore = "needs a container engine: just stage build,stack"]
async fn the_dockerfile_makes_an_image_that_behaves_the_same() -> Result<()> {
    let engine = Engine::connect().await?;
    let docker = engine.docker();
    let ours = provided(&engine, Part::Relay).await?.image;
    // A base with the C library and nothing else to say.
    let mut tree = Tree::default();
    closure(&mut tree, "/usr/bin/true", std::path::Path::new("/usr/bin/true"))?;
    for library in shared_libraries(&built_relay(named_relay())?)? {
        tree.file(&library.to_string_lossy(), 0o755, &library)?;
    }
    let base = Image { part: "test-base", tree, settings: Settings::default() };
    let base = engine.load(base).await?.name;
    let work = tempfile::tempdir()?;
    std::fs::create_dir(work.path().join("data"))?;
    std::fs::copy(built_relay(named_relay())?, work.path().join("relay"))?;
    let certificates = "/etc/ssl/certs/ca-certificates.crt";
    std::fs::copy(certificates, work.path().join("ca-certificates.crt"))?;
    let name = format!("test-dockerfile:{}", std::process::id());
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/relay.Dockerfile");
    let argument = format!("BASE={base}");
    let output = std::process::Command::new("docker")
        .args(["build", "--quiet", "-f", file, "--build-arg", &argument, "--tag", &name, "."])
        .current_dir(work.path())
        .env("DOCKER_BUILDKIT", "0")
        .output()
        .context("start docker")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let volume = format!("test-dockerfile-{}", std::process::id());
    let id = run(docker, &name, &volume).await?;
    let runs = well(docker, &id).await;
    remove(docker, &id).await?;
    docker.remove_volume(&volume, None::<RemoveVolumeOptions>).await?;
    let theirs = settings(docker, &name).await;
    for image in [&name, &base] {
        docker.remove_image(image, None::<RemoveImageOptions>, None).await?;
    }
    runs?;
    assert_eq!(settings(docker, &ours).await?, theirs?);
    Ok(())
}

/// What an image says of its containers, labels apart.
async fn settings(docker: &Docker, image: &str) -> Result<serde_json::Value> {
    let found = docker.inspect_image(image).await?.config.context("no settings")?;
    let mut all = serde_json::to_value(found)?;
    let wanted = [
        "User",
        "Env",
        "Entrypoint",
        "Cmd",
        "Volumes",
        "WorkingDir",
        "ExposedPorts",
        "StopSignal",
        "Healthcheck",
    ];
    let fields = all.as_object_mut().context("no object")?;
    fields.retain(|name, _| wanted.contains(&name.as_str()));
    if let Some(environment) = fields.get_mut("Env").and_then(serde_json::Value::as_array_mut) {
        environment.retain(|one| one.as_str().is_some_and(|one| one.starts_with("RELAY_")));
    }
    Ok(all)
}

/// What is asked of the running container; gives the password that it made.
async fn seen(docker: &Docker, id: &str, image: &str) -> Result<String> {
    well(docker, id).await?;
    let health = exec(docker, id, &["/usr/local/bin/relay", "health"]).await?;
    assert!(health.contains("\"status\":\"ok\""), "{health}");
    let shell = exec(docker, id, &["/bin/sh", "-c", "true"]).await.unwrap_or_default();
    assert!(shell.is_empty() || shell.contains("no such file"), "a shell answered: {shell}");

    let found = docker.inspect_image(image).await?.config.context("no settings")?;
    assert_eq!(found.user.as_deref(), Some("10001:10001"));
    assert_eq!(found.stop_signal.as_deref(), Some("SIGTERM"));
    let labels = found.labels.unwrap_or_default();
    assert_eq!(labels["org.opencontainers.image.title"], "relay");
    let sbom = file(docker, id, &labels["dev.atproto-relay.part.sbom"]).await?;
    assert!(sbom.contains("pkg:cargo/rustls@") && sbom.contains("pkg:deb/debian/libc6@"), "{sbom}");

    let password = file(docker, id, "/data/admin-password").await?;
    let options = StopContainerOptionsBuilder::default().t(30).build();
    docker.stop_container(id, Some(options)).await?;
    let state = docker.inspect_container(id, None::<InspectContainerOptions>).await?.state;
    let code = state.and_then(|state| state.exit_code);
    assert_eq!(code, Some(0), "137 would mean that it did not hear SIGTERM");
    Ok(password)
}

pub(crate) async fn run(docker: &Docker, image: &str, volume: &str) -> Result<String> {
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        host_config: Some(HostConfig {
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            mounts: Some(vec![Mount {
                target: Some("/data".to_owned()),
                source: Some(volume.to_owned()),
                typ: Some(MountType::VOLUME),
                ..Mount::default()
            }]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let id = docker.create_container(None::<CreateContainerOptions>, body).await?.id;
    docker.start_container(&id, None::<StartContainerOptions>).await?;
    Ok(id)
}

pub(crate) async fn remove(docker: &Docker, id: &str) -> Result<()> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    Ok(docker.remove_container(id, Some(options)).await?)
}

/// Waits until the image's own check says so.
pub(crate) async fn well(docker: &Docker, id: &str) -> Result<()> {
    let began = Instant::now();
    loop {
        let found = docker.inspect_container(id, None::<InspectContainerOptions>).await?;
        let health = found.state.and_then(|state| state.health).and_then(|health| health.status);
        if health == Some(HealthStatusEnum::HEALTHY) {
            return Ok(());
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "not well: {health:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

async fn exec(docker: &Docker, id: &str, words: &[&str]) -> Result<String> {
    let options = CreateExecOptions {
        cmd: Some(words.to_vec()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    };
    let made = docker.create_exec(id, options).await?;
    let StartExecResults::Attached { mut output, .. } = docker.start_exec(&made.id, None).await?
    else {
        anyhow::bail!("not attached");
    };
    let mut text = String::new();
    while let Some(chunk) = output.next().await {
        let chunk: LogOutput = chunk?;
        text.push_str(&chunk.to_string());
    }
    Ok(text)
}

/// A file of a container.
async fn file(docker: &Docker, id: &str, path: &str) -> Result<String> {
    let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
    let chunks: Vec<_> = docker.download_from_container(id, Some(options)).try_collect().await?;
    let bytes = chunks.concat();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut text = String::new();
    let mut entry = archive.entries()?.next().context("an empty archive")??;
    entry.read_to_string(&mut text)?;
    Ok(text)
}
