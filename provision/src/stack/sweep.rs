//! What stacks there are, and their end. Everything is found by its labels, so that nothing stays, also
//! of a stack whose start was cut short.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
};

use anyhow::{Context, Result};
use bollard::{
    errors::Error,
    models::ContainerSummary,
    query_parameters::{
        ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptionsBuilder,
        ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
        RemoveVolumeOptions,
    },
};
use futures_util::future::try_join_all;
use serde::Serialize;

use super::{LABEL, secrets};
use crate::image::{self, Engine, SCOPE, scope};

/// A container of a stack.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Whose it is.
    pub stack: String,
    /// Which one.
    pub service: String,
    /// `dev` or `prod-like`.
    pub profile: String,
    /// In the engine's words, with health.
    pub status: String,
    /// Ports of this machine, and those inside that they lead to.
    pub ports: Vec<(u16, u16)>,
}

/// Things of stacks, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Containers, also ended ones.
    pub containers: usize,
    /// Networks.
    pub networks: usize,
    /// Volumes.
    pub volumes: usize,
    /// Images that were made here in this scope, whether a stack uses them or not.
    pub images: usize,
}

/// Things of one stack, or of all in this scope.
fn filter(stack: Option<&str>) -> HashMap<String, Vec<String>> {
    let scope = format!("{SCOPE}={}", scope());
    let one = stack.map(|stack| format!("{LABEL}={stack}"));
    HashMap::from([("label".to_owned(), one.into_iter().chain([scope]).collect())])
}

async fn containers(engine: &Engine, stack: Option<&str>) -> Result<Vec<ContainerSummary>> {
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filter(stack)).build();
    engine.docker().list_containers(Some(options)).await.context("list the containers")
}

async fn networks(engine: &Engine, stack: Option<&str>) -> Result<Vec<String>> {
    let options = ListNetworksOptionsBuilder::default().filters(&filter(stack)).build();
    let list = engine.docker().list_networks(Some(options)).await.context("list the networks")?;
    Ok(list.into_iter().filter_map(|network| network.id).collect())
}

async fn volumes(engine: &Engine, stack: Option<&str>) -> Result<Vec<String>> {
    let options = ListVolumesOptionsBuilder::default().filters(&filter(stack)).build();
    let list = engine.docker().list_volumes(Some(options)).await.context("list the volumes")?;
    Ok(list.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect())
}

async fn images(engine: &Engine) -> Result<Vec<String>> {
    let made_here = HashMap::from([("label".to_owned(), vec![image::LABEL.to_owned()])]);
    let options = ListImagesOptionsBuilder::default().filters(&made_here).build();
    let list = engine.docker().list_images(Some(options)).await.context("list the images")?;
    // Those of no scope lack the label, which no filter of the engine asks for.
    let is_of_scope = |labels: &HashMap<String, String>| {
        labels.get(SCOPE).map(String::as_str).unwrap_or_default() == scope()
    };
    Ok(list.into_iter().filter(|image| is_of_scope(&image.labels)).map(|image| image.id).collect())
}

/// Counts what there is of one stack, or of all in this scope.
///
/// # Errors
/// When the engine does not answer.
pub async fn count(engine: &Engine, stack: Option<&str>) -> Result<Counts> {
    Ok(Counts {
        containers: containers(engine, stack).await?.len(),
        networks: networks(engine, stack).await?.len(),
        volumes: volumes(engine, stack).await?.len(),
        images: images(engine).await?.len(),
    })
}

/// The containers of one stack or of all, by name.
///
/// # Errors
/// When the engine does not answer.
pub async fn list(engine: &Engine, stack: Option<&str>) -> Result<Vec<Line>> {
    let mut lines: Vec<_> = containers(engine, stack).await?.into_iter().map(line).collect();
    lines.sort_by(|a, b| (&a.stack, &a.service).cmp(&(&b.stack, &b.service)));
    Ok(lines)
}

fn line(container: ContainerSummary) -> Line {
    let mut labels = container.labels.unwrap_or_default();
    let mut label = |name: &str| labels.remove(name).unwrap_or_default();
    let published = container.ports.unwrap_or_default().into_iter();
    let ports: BTreeMap<_, _> =
        published.filter_map(|port| Some((port.private_port, port.public_port?))).collect();
    Line {
        stack: label(LABEL),
        service: label(image::LABEL),
        profile: label(&format!("{LABEL}.profile")),
        status: container.status.unwrap_or_default(),
        ports: ports.into_iter().map(|(inside, outside)| (outside, inside)).collect(),
    }
}

/// Removes all of one stack; there may be nothing.
///
/// # Errors
/// When the engine does not remove something.
pub async fn down(engine: &Engine, stack: &str) -> Result<()> {
    remove(engine, Some(stack)).await?;
    forget(stack)
}

/// Removes all stacks of this scope.
///
/// # Errors
/// As [`down`].
pub async fn down_all(engine: &Engine) -> Result<()> {
    let mut names: Vec<_> =
        list(engine, None).await?.into_iter().map(|container| container.stack).collect();
    names.sort();
    names.dedup();
    remove(engine, None).await?;
    names.iter().try_for_each(|name| forget(name))
}

/// Removes the images that were made here in this scope, apart from those that a container uses.
///
/// # Errors
/// When the engine does not remove one.
pub async fn remove_images(engine: &Engine) -> Result<()> {
    for id in images(engine).await? {
        let options = RemoveImageOptionsBuilder::default().build();
        match engine.docker().remove_image(&id, Some(options), None).await {
            Ok(_) | Err(Error::DockerResponseServerError { status_code: 409, .. }) => {}
            Err(error) => return Err(error).with_context(|| format!("remove the image {id}")),
        }
    }
    Ok(())
}

async fn remove(engine: &Engine, stack: Option<&str>) -> Result<()> {
    let docker = engine.docker();
    let found = containers(engine, stack).await?;
    try_join_all(found.into_iter().filter_map(|container| container.id).map(|id| async move {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        gone(docker.remove_container(&id, Some(options)).await)
            .with_context(|| format!("remove the container {id}"))
    }))
    .await?;
    for id in networks(engine, stack).await? {
        gone(docker.remove_network(&id).await)
            .with_context(|| format!("remove the network {id}"))?;
    }
    for name in volumes(engine, stack).await? {
        gone(docker.remove_volume(&name, None::<RemoveVolumeOptions>).await)
            .with_context(|| format!("remove the volume {name}"))?;
    }
    Ok(())
}

/// What somebody else removed meanwhile is gone too.
fn gone(outcome: Result<(), Error>) -> Result<(), Error> {
    use Error::DockerResponseServerError;
    match outcome {
        Err(DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        Err(DockerResponseServerError { status_code: 409, message })
            if message.contains("already in progress") =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Removes secrets and certificate.
fn forget(stack: &str) -> Result<()> {
    let directory = secrets::directory(stack)?;
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}
