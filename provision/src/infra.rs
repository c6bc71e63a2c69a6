//! Hosts of deployments: Terraform with the state and the variables of one deployment, and the files
//! that what comes after it reads.
//!
//! A deployment is a directory `deployments/NAME` of the checkout, with `terraform.tfvars` (or
//! `terraform.tfvars.json`). State, `inventory.yml` and `settings.env` are written beside it; none of
//! them holds a secret.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    deployment::Deployment,
    files::{self, Change},
    run,
};

/// Names of the file of variables; the first that is there is taken.
const VARIABLES: [&str; 2] = ["terraform.tfvars", "terraform.tfvars.json"];
const NO_TERRAFORM: &str = "Terraform is not installed; get 1.11 or newer from \
                            https://developer.hashicorp.com/terraform/install";

/// The host of one deployment, as Terraform makes it.
#[derive(Debug)]
pub struct Infra {
    deployment: Deployment,
    terraform: PathBuf,
    variables: PathBuf,
}

/// A file that was written, and what became of it.
#[derive(Debug)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// What became of it.
    pub change: Change,
}

impl Infra {
    /// Finds it.
    ///
    /// # Errors
    /// When the checkout has no `terraform`, or the deployment no variables.
    pub fn of(deployment: &Deployment) -> Result<Self> {
        let terraform = deployment.checkout().join("terraform");
        ensure!(
            terraform.join("main.tf").is_file(),
            "there is no terraform/main.tf in {}; run this in the checkout",
            deployment.checkout().display()
        );
        let variables = variables(deployment).with_context(|| {
            let shown = deployment.directory().display();
            format!(
                "{shown} has no terraform.tfvars; copy one of terraform/examples there, and edit it"
            )
        })?;
        Ok(Self { deployment: deployment.clone(), terraform, variables })
    }

    /// Lets Terraform load what it needs; done again, it does nothing.
    ///
    /// # Errors
    /// When Terraform is not there or fails; so for all that follows.
    pub fn init(&self) -> Result<()> {
        let mut command = self.command("init");
        // A checkout whose state lies in a bucket keeps each deployment under its own key.
        let place = if self.terraform.join("backend_override.tf").is_file() {
            format!("key={}.tfstate", self.deployment.name())
        } else {
            format!("path={}", self.deployment.file("terraform.tfstate").display())
        };
        command.arg(format!("-backend-config={place}"));
        run::quiet(command).map(drop)
    }

    /// Shows what would be done; `false` when it cannot be planned.
    ///
    /// # Errors
    /// See [`Infra::init`].
    pub fn plan(&self, more: &[String]) -> Result<bool> {
        run::streamed(self.with_variables("plan", more))
    }

    /// Makes the host as its variables say; `false` when it failed, and can be run again.
    ///
    /// * `asks` – whether the person at the terminal sees the plan and says yes first
    ///
    /// # Errors
    /// See [`Infra::init`].
    pub fn apply(&self, more: &[String], asks: bool) -> Result<bool> {
        let mut command = self.with_variables("apply", more);
        if asks {
            command.stdin(Stdio::inherit());
        } else {
            command.arg("-auto-approve");
        }
        run::streamed(command)
    }

    /// Takes the provider's protection away and then everything that was made; `false` when it failed.
    ///
    /// # Errors
    /// See [`Infra::init`].
    pub fn destroy(&self) -> Result<bool> {
        let open = ["-var=protect=false".to_owned()];
        if !self.apply(&open, false)? {
            return Ok(false);
        }
        let mut command = self.with_variables("destroy", &open);
        command.arg("-auto-approve");
        run::streamed(command)
    }

    /// Writes `inventory.yml` and `settings.env` from what Terraform hands on.
    ///
    /// # Errors
    /// When there is no host yet, or a file cannot be written.
    pub fn write(&self) -> Result<Vec<Written>> {
        let mut command = self.command("output");
        command.arg("-json");
        let outputs: Value =
            serde_json::from_str(&run::quiet(command)?).context("read the outputs of Terraform")?;
        let mut written = Vec::new();
        for (output, file) in [("inventory", "inventory.yml"), ("settings", "settings.env")] {
            let text = outputs.pointer(&format!("/{output}/value")).and_then(Value::as_str);
            let Some(text) = text else {
                bail!(
                    "deployment {} has no host yet; type: provision infra apply {}",
                    self.deployment.name(),
                    self.deployment.name()
                )
            };
            let path = self.deployment.file(file);
            let change = files::write(&path, text, 0o644)?;
            written.push(Written { path, change });
        }
        Ok(written)
    }

    /// What has to be entered in the DNS by hand; empty when nothing has.
    ///
    /// # Errors
    /// See [`Infra::init`].
    pub fn records_by_hand(&self) -> Result<String> {
        let mut command = self.command("output");
        command.args(["-raw", "dns_by_hand"]);
        run::quiet(command)
    }

    fn with_variables(&self, verb: &str, more: &[String]) -> Command {
        let mut command = self.command(verb);
        command.arg("-input=false").arg(format!("-var-file={}", self.variables.display()));
        command.arg(format!("-var=name={}", self.deployment.name())).args(more);
        command
    }

    fn command(&self, verb: &str) -> Command {
        let chdir = format!("-chdir={}", self.terraform.display());
        let mut command = run::program(&self.terraform, &["terraform", &chdir, verb]);
        // Each deployment remembers where its own state lies.
        command.env("TF_DATA_DIR", self.deployment.file(".terraform")).env("TF_IN_AUTOMATION", "1");
        if let Ok(me) = std::env::current_exe() {
            // Modules for which there is no provider call this program.
            command.env("TF_VAR_provision", me);
        }
        let named = std::env::var_os("TF_CLI_CONFIG_FILE").map(PathBuf::from);
        if named.is_some_and(|path| !path.is_file()) {
            // Terraform warns about it at each step.
            command.env_remove("TF_CLI_CONFIG_FILE");
        }
        command
    }
}

/// The variables of a deployment; none when its host is there already, and no provider has to do anything.
#[must_use]
pub fn variables(deployment: &Deployment) -> Option<PathBuf> {
    VARIABLES.map(|name| deployment.file(name)).into_iter().find(|path| path.is_file())
}

/// Sees that Terraform can be started.
///
/// # Errors
/// A sentence that says where to get it.
pub fn terraform_is_there() -> Result<()> {
    run::quiet(run::program(Path::new("/"), &["terraform", "version"]))
        .map(drop)
        .context(NO_TERRAFORM)
}
