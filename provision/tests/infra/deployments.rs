//! Deployments of a checkout, one beside the other.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use provision_stub::terraform::Providers;
use rustix::process::{Pid, Signal, kill_process};
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
        said(&mut self.provision(&[&["infra"], words].concat()))
    }

    fn provision(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_provision"));
        command
            .args(words)
            .current_dir(self.dir.path())
            .env("TF_REATTACH_PROVIDERS", self.providers.reattach())
            .env("TF_CLI_CONFIG_FILE", "/nowhere")
            .env("CHECKPOINT_DISABLE", "1")
            .env("TF_CLI_ARGS", "-no-color")
            .stdin(Stdio::null());
        command
    }

    /// Types a verb, and ends it as soon as it says these words.
    fn interrupted(&self, words: &[&str], at: &str) -> (Option<i32>, String) {
        let mut command = self.provision(words);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("start provision");
        let mut lines = BufReader::new(child.stderr.take().expect("its words")).lines();
        let mut text = String::new();
        for line in lines.by_ref() {
            let line = line.expect("read its words");
            text = text + &line + "\n";
            if line.contains(at) {
                break;
            }
        }
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a number");
        kill_process(id, Signal::TERM).expect("ask it to end");
        text.extend(lines.map(|line| line.expect("read its words") + "\n"));
        (child.wait().expect("wait for it").code(), text)
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

/// From the credentials of a provider: `init` fills in an example, `deploy` makes the host and waits for it,
/// says who to wait for, and after Ctrl-C goes on without asking the provider again.
#[test]
fn a_host_is_made_on_the_way_to_a_relay_and_waited_for() {
    if !terraform_is_there() {
        return;
    }
    let checkout = Checkout::new();
    let init = ["deployment", "init", "hil.example.com", "--provider", "hetzner-cloud"];
    let contact = ["--contact", "mailto:ops@example.com"];
    let (code, text) = said(&mut checkout.provision(&[&init[..], &contact].concat()));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("HCLOUD_TOKEN") && text.contains("Next: just deploy hil"), "{text}");
    // No traffic goes to the address that the provider in the test gives.
    let home = checkout.dir.path().join("deployments/hil/group_vars");
    fs::create_dir_all(&home).expect("make a directory");
    fs::write(home.join("relay.yml"), "ansible_ssh_common_args: -o ProxyCommand=false\n")
        .expect("write variables");
    let me = env!("CARGO_BIN_EXE_provision");
    let deploy = ["deployment", "deploy", "hil", "--yes", "--relay", me];

    let (code, text) = checkout.interrupted(&deploy, "waiting for ssh of relay-admin@");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("interrupted at the step `ssh`"), "{text}");
    assert!(checkout.providers.existing().iter().any(|kind| kind == "hcloud_server"));
    checkout.providers.deeds();
    let (code, text) = checkout.interrupted(&deploy, "waiting for ssh of relay-admin@");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("host      done before"), "{text}");
    assert!(checkout.providers.deeds().is_empty());

    let list = said(&mut checkout.provision(&["deployment", "list"])).1;
    assert!(list.contains("hil.example.com") && list.contains("not deployed"), "{list}");
    let destroy = ["deployment", "destroy", "hil", "--confirm", "hil"];
    let (code, text) = said(&mut checkout.provision(&destroy));
    assert_eq!(code, Some(0), "{text}");
    assert!(!checkout.providers.existing().iter().any(|kind| kind == "hcloud_server"));
    assert!(checkout.dir.path().join("deployments/hil/secrets/admin-password").is_file());
}
