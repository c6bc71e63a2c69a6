//! A copy of the project's Terraform in a directory of its own, and providers for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use provision_stub::{
    robot::{PASSWORD, Robot, USER},
    terraform::Providers,
};
use serde_json::Value as Json;
use tempfile::TempDir;

const NO_TERRAFORM: &str = "there is no Terraform 1.11 or newer on this machine; get it from \
                            https://developer.hashicorp.com/terraform/install";

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Whether Terraform is there. Without it the caller skips; under `CI=true` that is a failure.
pub(crate) fn terraform_is_there() -> bool {
    let version = Command::new("terraform").arg("version").env("CHECKPOINT_DISABLE", "1").output();
    let text = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let number = text.ok().and_then(|text| {
        let mut numbers =
            text.lines().find_map(|line| line.strip_prefix("Terraform v"))?.split('.');
        Some((numbers.next()?.parse::<u32>().ok()?, numbers.next()?.parse::<u32>().ok()?))
    });
    if number.is_some_and(|number| number >= (1, 11)) {
        return true;
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{NO_TERRAFORM}");
    println!("skipped: {NO_TERRAFORM}");
    false
}

/// The program `provision`: `PROVISION_BINARY`, else the one beside which this test was built.
fn provision() -> PathBuf {
    std::env::var_os("PROVISION_BINARY").map_or_else(
        || {
            let me = std::env::current_exe().expect("where is this test?");
            me.ancestors().nth(2).expect("where is this test?").join("provision")
        },
        PathBuf::from,
    )
}

/// A place to run Terraform in.
pub(crate) struct Ground {
    copy: TempDir,
    /// Below the copy.
    directory: PathBuf,
    pub(crate) providers: Providers,
    pub(crate) robot: Robot,
}

/// What a run of Terraform said and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Ran {
    /// Fails the test unless it went well.
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.text);
        self.text
    }

    /// Fails the test unless it was refused with these words.
    pub(crate) fn refused(self, why: &str) {
        assert_eq!(self.code, Some(1), "{}", self.text);
        // Terraform breaks long sentences and draws a line beside them.
        let plain: Vec<&str> = self
            .text
            .split(|c: char| c.is_whitespace() || c == '│')
            .filter(|word| !word.is_empty())
            .collect();
        let plain = plain.join(" ");
        assert!(plain.contains(why), "`{why}` is not in:\n{plain}");
    }
}

impl Ground {
    /// A copy in which `directory` (such as `modules/dns`, empty for the root) is initialised.
    pub(crate) fn new(directory: &str, with_credentials: &[&str]) -> Self {
        let copy = tempfile::tempdir().expect("make a directory");
        copy_tree(&root().join("terraform"), &copy.path().join("terraform"))
            .expect("copy the Terraform");
        let directory = copy.path().join("terraform").join(directory);
        let providers = Providers::start(with_credentials).expect("start the providers");
        let robot = Robot::start().expect("start the Robot web service");
        robot.address("203.0.113.10");
        let keys = copy.path().join("home/.ssh");
        fs::create_dir_all(&keys).expect("make a home");
        fs::write(keys.join("id_ed25519.pub"), "ssh-ed25519 AAAAC3Nz operator@laptop\n")
            .expect("write a key");
        let ground = Self { copy, directory, providers, robot };
        ground.run(&["init"]).good();
        ground
    }

    /// Runs Terraform.
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        let (verb, rest) = words.split_first().expect("a verb");
        let mut command = Command::new("terraform");
        command.arg(verb);
        if matches!(*verb, "init" | "plan" | "apply" | "destroy") {
            command.arg("-input=false");
        }
        command
            .args(rest)
            .args((*verb != "fmt" && *verb != "show" && *verb != "output").then_some("-no-color"));
        let output = command
            .current_dir(&self.directory)
            .env("TF_REATTACH_PROVIDERS", self.providers.reattach())
            .env("TF_CLI_CONFIG_FILE", "/dev/null")
            .env("TF_IN_AUTOMATION", "1")
            .env("CHECKPOINT_DISABLE", "1")
            .env_remove("TF_DATA_DIR")
            .env("HOME", self.copy.path().join("home"))
            .env("TF_VAR_provision", provision())
            .env("AWS_ACCESS_KEY_ID", "stub")
            .env("AWS_SECRET_ACCESS_KEY", "stub")
            .env("ROBOT_URL", self.robot.url())
            .env("ROBOT_USER", USER)
            .env("ROBOT_PASSWORD", PASSWORD)
            .output()
            .expect("run Terraform");
        let text =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat();
        Ran { code: output.status.code(), text }
    }

    /// Plans, and tells what would happen as `action address`, sorted; what stays is left out.
    pub(crate) fn plan(&self, words: &[&str]) -> Vec<String> {
        let all = [&["plan", "-out=planned"], words].concat();
        self.run(&all).good();
        let shown: Json = serde_json::from_str(&self.run(&["show", "-json", "planned"]).good())
            .expect("read the plan");
        let changes = shown.get("resource_changes").and_then(Json::as_array);
        let mut lines: Vec<String> = changes.into_iter().flatten().filter_map(line).collect();
        lines.sort();
        lines
    }

    /// What Terraform hands on, by its name.
    pub(crate) fn output(&self, name: &str) -> Json {
        let all: Json =
            serde_json::from_str(&self.run(&["output", "-json"]).good()).expect("read the outputs");
        all.pointer(&format!("/{name}/value")).cloned().expect("an output of this name")
    }

    /// A path in the copy.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.copy.path().join(name)
    }

    /// Writes a file beside the modules, such as variables; gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("write a file");
        path.to_string_lossy().into_owned()
    }
}

fn line(change: &Json) -> Option<String> {
    let address = change.get("address")?.as_str()?;
    let actions = change.pointer("/change/actions")?.as_array()?;
    let actions: Vec<&str> = actions.iter().filter_map(Json::as_str).collect();
    let is_nothing = matches!(actions.as_slice(), ["no-op" | "read"]);
    (!is_nothing).then(|| format!("{} {address}", actions.join("+")))
}

/// Copies directories and files, but nothing that Terraform made.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(".terraform")
            || name.to_string_lossy().contains("tfstate")
        {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &to.join(&name))?;
        } else {
            fs::copy(entry.path(), to.join(&name))?;
        }
    }
    Ok(())
}

/// The names in a directory of `terraform`, sorted.
pub(crate) fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join("terraform").join(directory)).expect("list a directory");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("list a directory").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The names of the files of code in a directory of `terraform`, sorted.
pub(crate) fn code(directory: &str) -> Vec<String> {
    let is_code =
        |name: &String| Path::new(name).extension().is_some_and(|extension| extension == "tf");
    names(directory).into_iter().filter(is_code).collect()
}
