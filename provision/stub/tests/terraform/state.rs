//! State in a bucket, as terraform/README.md has it for a team.

use std::fs;

use provision_stub::bucket::Bucket;

use super::ground::{Ground, root, terraform_is_there};

const STATE: &str = "relay-state/home.tfstate";
const LOCK: &str = "relay-state/home.tfstate.tflock";
/// What somebody else's Terraform writes while it works.
const THEIRS: &str = r#"{"ID":"6a5e","Operation":"OperationTypeApply","Who":"colleague@office","Version":"1.11.4","Created":"2026-01-01T00:00:00Z"}"#;

/// The text that a team copies, with the address of a bucket that is there.
fn documented(bucket: &Bucket) -> String {
    let readme = fs::read_to_string(root().join("terraform/README.md")).expect("read the README");
    let block = readme.split("```hcl\n").nth(1).and_then(|rest| rest.split("```").next());
    let block = block.expect("the README has a block for the bucket");
    assert!(block.contains("https://s3.example.com"), "{block}");
    block.replace("https://s3.example.com", &bucket.url())
}

/// Two people do not apply at once, and nothing of the state stays on a laptop.
#[test]
fn state_in_a_bucket_is_locked_while_somebody_works() {
    if !terraform_is_there() {
        return;
    }
    let bucket = Bucket::start().expect("start a bucket");
    let ground = Ground::new("", &[]);
    ground.file("terraform/backend_override.tf", &documented(&bucket));
    ground.run(&["init", "-reconfigure", "-backend-config=key=home.tfstate"]).good();
    let example = "-var-file=examples/existing-host.tfvars";

    bucket.put(LOCK, THEIRS);
    ground.run(&["apply", "-auto-approve", example]).refused("colleague@office");
    assert_eq!(bucket.names(), [LOCK]);
    bucket.delete(LOCK);
    ground.run(&["apply", "-auto-approve", example]).good();
    assert_eq!(bucket.names(), [STATE], "the lock was left behind, or there is no state");
    assert!(bucket.text(STATE).expect("the state").contains("192.0.2.7"));
    assert!(!ground.path("terraform/terraform.tfstate").exists());
}
