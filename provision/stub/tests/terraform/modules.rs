//! Each module alone.

use super::ground::{Ground, names, root, terraform_is_there};

/// Somebody who changes a line finds it where `terraform fmt` would put it.
#[test]
fn everything_is_formatted() {
    if !terraform_is_there() {
        return;
    }
    let ran = std::process::Command::new("terraform")
        .args(["fmt", "-check", "-recursive", "-diff"])
        .current_dir(root().join("terraform"))
        .env("TF_CLI_CONFIG_FILE", "/dev/null")
        .output()
        .expect("run Terraform");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}

/// A module that nobody tests would be found out on somebody's live relay.
#[test]
fn every_module_has_its_files_and_tests() {
    for module in names("modules") {
        let have = names(&format!("modules/{module}"));
        for file in ["README.md", "main.tf", "outputs.tf", "tests", "variables.tf", "versions.tf"] {
            assert!(have.iter().any(|name| name == file), "{module} has no {file}");
        }
        assert!(!names(&format!("modules/{module}/tests")).is_empty(), "{module} has no tests");
    }
}

/// The module's own tests: what is planned for good variables, and what is said to bad ones.
#[test]
fn every_module_is_valid_and_passes_its_tests() {
    if !terraform_is_there() {
        return;
    }
    std::thread::scope(|scope| {
        for module in names("modules") {
            scope.spawn(move || {
                let ground =
                    Ground::new(&format!("modules/{module}"), &["hcloud", "ovh", "cloudflare"]);
                ground.run(&["validate"]).good();
                let text = ground.run(&["test"]).good();
                assert!(
                    text.contains("Success!") && !text.contains("Success! 0 passed"),
                    "{module}: {text}"
                );
                assert!(ground.providers.deeds().is_empty(), "{module}: a plan did something");
            });
        }
    });
}
