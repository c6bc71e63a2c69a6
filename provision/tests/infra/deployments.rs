//! Deployments of a checkout, one beside the other.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use provision_stub::terraform::Providers;
use tempfile::TempDir;

use super::{installing::terraform_is_there, machine::said};

/// A checkout with the project's Terraform, and nothing else.
struct Checkout {
    dir: TempDir,
    providers: Providers,
}

impl Checkout {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("make a directory");
        copy(&terraform(), &dir.path().join("terraform"));
        let providers = Providers::start(&["hcloud", "cloudflare"]).expect("start the providers");
        Self { dir, providers }
    }

    /// A deployment made from an example.
    fn deployment(&self, name: &str, example: &str) {
        let directory = self.dir.path().join("deployments").join(name);
        fs::create_dir_all(&directory).expect("make a directory");
        let example = terraform().join("examples").join(example);
        fs::copy(example, directory.join("terraform.tfvars")).expect("copy an example");
    }

    fn infra(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_provision"));
        command
            .arg("infra")
            .args(words)
            .current_dir(self.dir.path())
            .env("TF_REATTACH_PROVIDERS", self.providers.reattach())
            .env("TF_CLI_CONFIG_FILE", "/nowhere")
            .env("CHECKPOINT_DISABLE", "1")
            .env("TF_CLI_ARGS", "-no-color")
            .stdin(Stdio::null());
        said(&mut command)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.dir.path().join("deployments").join(path)).unwrap_or_default()
    }
}

fn terraform() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../terraform")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("make a directory");
    for entry in fs::read_dir(from).expect("list a directory") {
        let entry = entry.expect("list a directory");
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(".terraform") {
            continue;
        }
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(name));
        } else {
            fs::copy(entry.path(), to.join(name)).expect("copy a file");
        }
    }
}

/// Two relays of one checkout have their own state, inventory and end; what Ansible reads is there after
/// one command, and the second changes nothing.
#[test]
fn two_deployments_of_one_checkout_do_not_know_each_other() {
    if !terraform_is_there() {
        return;
    }
    let checkout = Checkout::new();
    checkout.deployment("one", "hetzner-cloud-hil.tfvars");
    checkout.deployment("two", "hetzner-cloud-ash.tfvars");
    for name in ["one", "two"] {
        let (code, text) = checkout.infra(&["apply", name, "--yes"]);
        assert_eq!(code, Some(0), "{text}");
        let inventory = checkout.text(&format!("{name}/inventory.yml"));
        assert!(inventory.contains(&format!("\"relay_name\": \"{name}\"")), "{inventory}");
        assert!(
            checkout
                .text(&format!("{name}/settings.env"))
                .contains(&format!("DEPLOYMENT_NAME={name}\n"))
        );
    }
    let servers =
        || checkout.providers.existing().iter().filter(|kind| *kind == "hcloud_server").count();
    assert_eq!(servers(), 2);
    checkout.providers.deeds();
    let (code, text) = checkout.infra(&["apply", "one", "--yes"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("0 added, 0 changed, 0 destroyed") && text.contains("unchanged "),
        "{text}"
    );
    assert!(checkout.providers.deeds().is_empty());

    let (code, text) = checkout.infra(&["destroy", "one", "--confirm", "two"]);
    assert_eq!((code, servers()), (Some(2), 2), "{text}");
    let (code, text) = checkout.infra(&["destroy", "one", "--confirm", "one"]);
    assert_eq!((code, servers()), (Some(0), 1), "{text}");
    let (code, text) = checkout.infra(&["plan", "two"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("No changes"), "{text}");
}

/// A host that is there: nothing is made, the inventory is written, and the records to enter are printed.
#[test]
fn a_host_that_is_there_gets_its_inventory_and_its_records_are_printed() {
    if !terraform_is_there() {
        return;
    }
    let checkout = Checkout::new();
    let (code, text) = checkout.infra(&["apply", "home"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("copy one of terraform/examples"), "{text}");
    let (code, text) = checkout.infra(&["apply", "../home"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("is no name of a deployment"), "{text}");

    checkout.deployment("home", "existing-host.tfvars");
    let (code, text) = checkout.infra(&["write", "home"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("has no host yet; type: provision infra apply home"), "{text}");
    let (code, text) = checkout.infra(&["apply", "home", "--yes"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("relay.example.com. 300 IN A 192.0.2.7"), "{text}");
    assert!(checkout.text("home/inventory.yml").contains("\"ansible_host\": \"192.0.2.7\""));
    assert!(checkout.providers.deeds().is_empty());
}
