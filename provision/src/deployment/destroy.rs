//! Takes a deployment down.

use anyhow::{Context as _, Result, ensure};
use tokio::task::spawn_blocking;

use super::{Deployment, playbook::play, stop::Stop};
use crate::{
    infra::{self, Infra},
    told::{Tell, Told},
};

/// Does it; gives what is to be said at the end. Where Terraform made the host it is deleted, elsewhere
/// what was set up on it is taken down and its data disks stay.
///
/// # Errors
/// What failed; it can be run again.
pub async fn run(deployment: &Deployment, stop: &Stop, tell: &mut Tell<'_>) -> Result<String> {
    let name = deployment.name();
    let made = infra::variables(deployment).is_some();
    let provider = deployment.host().map(|host| host.provider).unwrap_or_default();
    // A host that is not deleted would go on to serve.
    let stays = !made || provider != "hetzner-cloud";
    if stays && deployment.inventory().is_file() {
        let played = play(deployment, "destroy.yml", &[], stop, tell).await?;
        let why = played.failure.as_deref().unwrap_or("it did not reach its end");
        ensure!(played.is_good, "{why} (all that was said: {})", played.log.display());
        tell(Told::Note(format!(
            "the host of {name} serves no more; its data disks are as they were"
        )));
    }
    if made {
        let terraform = Infra::of(deployment)?;
        let ended = spawn_blocking(move || {
            infra::terraform_is_there()?;
            terraform.init()?;
            terraform.destroy()
        });
        ensure!(ended.await.context("run Terraform")??, "Terraform failed: see what it says above");
    }
    let shown = deployment.directory().display();
    Ok(format!(
        "{name} is down. {shown} stays, with its settings and secrets; remove it when nobody needs them."
    ))
}
