//! Installations: whole, interrupted, refused.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use provision_stub::robot::Fault;
use serde_json::json;
use tokio::time::Instant;

use super::machine::{Machine, said};

const NO_TERRAFORM: &str = "there is no Terraform on this machine; get it from https://developer.hashicorp.com/terraform/install";
const CONFIG: &str = "DRIVE1 /dev/nvme0n1\nDRIVE2 /dev/nvme1n1\nSWRAID 1\nSWRAIDLEVEL 1\nBOOTLOADER grub\n\
                      HOSTNAME relay.example.com\nPART /boot ext4 1G\nPART swap swap 4G\nPART / ext4 all\n\
                      IMAGE /root/.oldroot/nfs/images/Debian-1211-bookworm-amd64-base.tar.gz\n";

/// Whether Terraform is there. Without it the caller skips; under `CI=true` that is a failure.
pub(crate) fn terraform_is_there() -> bool {
    let is_there = Command::new("terraform").arg("version").output().is_ok();
    if !is_there {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{NO_TERRAFORM}");
        println!("skipped: {NO_TERRAFORM}");
    }
    is_there
}

/// A rented server becomes a host with one command; its data disk is in no line of what is written, and
/// the same command a second time does nothing at all.
#[test]
fn a_server_is_installed_once_and_its_data_disk_is_left_alone() {
    let Some(machine) = Machine::new() else { return };
    let (code, text) = said(&mut machine.usual("first"));
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(machine.text("config"), CONFIG);
    assert_eq!((machine.runs(), machine.text("phase").trim()), (1, "installed"));
    let posts: Vec<_> =
        machine.robot.requests().into_iter().filter(|line| line.starts_with("POST")).collect();
    assert_eq!(posts, ["POST /key", "POST /boot/321/rescue", "POST /reset/321"]);

    let (code, text) = said(&mut machine.usual("first"));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("another word installs again"), "{text}");
    assert!(machine.robot.requests().iter().all(|line| line.starts_with("GET")));
    assert_eq!(machine.runs(), 1);
}

/// A laptop that is closed in the middle ends nothing: the next run finds the writing where it is.
#[test]
fn an_installation_that_was_interrupted_goes_on_where_it_was() {
    let Some(machine) = Machine::new() else { return };
    fs::write(machine.path("hold"), "").expect("hold the writing");
    let mut first = machine.usual("first").stderr(Stdio::null()).spawn().expect("start provision");
    let began = Instant::now();
    while machine.runs() == 0 {
        assert!(began.elapsed() < Duration::from_mins(1), "the writing did not begin");
        std::thread::yield_now();
    }
    first.kill().expect("interrupt it");
    first.wait().expect("wait for it");
    fs::remove_file(machine.path("hold")).expect("let the writing go on");

    let (code, text) = said(&mut machine.usual("first"));
    assert_eq!(code, Some(0), "{text}");
    assert_eq!((machine.runs(), machine.text("phase").trim()), (1, "installed"), "{text}");
    let resets = machine.robot.requests().iter().filter(|line| *line == "POST /reset/321").count();
    assert_eq!(resets, 1);
}

/// Answers that are lost on the way do not let anything happen twice.
#[test]
fn lost_answers_erase_and_restart_nothing_twice() {
    let Some(machine) = Machine::new() else { return };
    for request in ["POST /key", "POST /boot", "POST /reset"] {
        machine.robot.fail(request, Fault::Lost);
    }
    let (code, text) = said(&mut machine.usual("first"));
    assert_eq!(code, Some(0), "{text}");
    let resets = machine.robot.requests().iter().filter(|line| *line == "POST /reset/321").count();
    assert_eq!((resets, machine.runs()), (1, 1), "{text}");
}

/// Whatever is not as it was said stops before a disk is touched.
#[test]
fn nothing_is_erased_when_something_is_not_as_it_was_said() {
    let disk = |name: &str| format!("/dev/disk/by-id/{name}");
    for (system, data, why) in [
        ("one", "gone", "there is no disk /dev/disk/by-id/gone"),
        ("one", "alias", "are the same disk, /dev/nvme0n1"),
    ] {
        let Some(machine) = Machine::new() else { return };
        let disks = format!("{}/dev/disk/by-id/alias /dev/nvme0n1\n", machine.text("disks"));
        fs::write(machine.path("disks"), disks).expect("write the disks");
        let more = ["--confirm", "321", "--system-disk", &disk(system), "--data-disk", &disk(data)];
        let (code, text) = said(&mut machine.install("first", &more));
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(why) && text.contains("nothing was erased"), "{text}");
        assert_eq!(machine.runs(), 0);
    }
}

/// Who answers in the server's place does not get the operator's key and system.
#[test]
fn a_rescue_system_with_another_key_is_not_trusted() {
    let Some(machine) = Machine::new() else { return };
    machine.robot.machine(machine.path(""), &["00:11:22:33"]);
    let (code, text) = said(&mut machine.usual("first"));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("Nothing was erased"), "{text}");
    assert_eq!(machine.runs(), 0);
}

/// When the disk is broken, the cause is in the answer.
#[test]
fn a_failed_writing_says_why() {
    let Some(machine) = Machine::new() else { return };
    fs::write(machine.path("broken"), "").expect("break the disk");
    let (code, text) = said(&mut machine.usual("first"));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("disk is broken"), "{text}");
    assert_eq!(machine.text("phase").trim(), "rescue");
}

/// A server is not restarted by a number that was typed wrong, nor one whose contract ends.
#[test]
fn a_server_that_is_not_meant_is_not_touched() {
    let Some(machine) = Machine::new() else { return };
    let disks = ["--system-disk", "/dev/disk/by-id/one", "--data-disk", "/dev/disk/by-id/data"];
    let (code, text) = said(machine.install("first", &["--confirm", "123"]).args(disks));
    assert_eq!(code, Some(2), "{text}");
    let (code, text) =
        said(machine.install("first", &["--confirm", "321", "--raid-level", "1"]).args(disks));
    assert_eq!(code, Some(2), "{text}");
    assert!(machine.robot.requests().is_empty());

    machine.robot.cancel();
    let (code, text) = said(&mut machine.usual("first"));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("its contract ends"), "{text}");
    assert!(machine.robot.requests().iter().all(|line| line.starts_with("GET")));
}

/// Somebody of Hetzner's is in the server: nothing is written, and the next run goes on.
#[test]
fn a_refused_restart_is_told_and_tried_again_by_the_next_run() {
    let Some(machine) = Machine::new() else { return };
    let error = json!({"error": {"status": 409, "code": "RESET_MANUAL_ACTIVE", "message": "There is already a running manual reset"}});
    machine.robot.fail("POST /reset", Fault::Answer(409, vec![], error));
    let (code, text) = said(&mut machine.usual("first"));
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("RESET_MANUAL_ACTIVE") && text.contains("wait until they are done"),
        "{text}"
    );
    assert_eq!(machine.runs(), 0);
    let (code, text) = said(&mut machine.usual("first"));
    assert_eq!((code, machine.runs()), (Some(0), 1), "{text}");
}

/// The word in Terraform's variables installs the machine; the second apply has nothing to do.
#[test]
fn terraform_installs_a_server() {
    let Some(machine) = Machine::new() else { return };
    if !terraform_is_there() {
        return;
    }
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../terraform/modules/hetzner-robot");
    for file in ["main.tf", "variables.tf", "outputs.tf", "versions.tf"] {
        fs::copy(module.join(file), machine.path(file)).expect("copy the module");
    }
    let shown = |name: &str| machine.path(name).to_string_lossy().into_owned();
    let variables = json!({
        "name": "fsn", "hostname": "relay.example.com", "server_number": 321, "ipv4": "127.0.0.1",
        "ipv6": "2001:db8:321::1", "ssh_public_key_file": shown("mine.pub"), "raid_level": 1,
        "system_disks": ["/dev/disk/by-id/one", "/dev/disk/by-id/two"],
        "data_disks": [{"by_id": "/dev/disk/by-id/data", "mount": "/data/relay", "size_gb": 960}],
        "journal": shown("journal.json"), "provision": env!("CARGO_BIN_EXE_provision"), "reinstall": "321/first",
    });
    fs::write(machine.path("terraform.tfvars.json"), variables.to_string())
        .expect("write the variables");
    let terraform = |words: &[&str]| said(&mut machine.terraform(words));
    let (code, text) = terraform(&["init"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = terraform(&["apply", "-auto-approve"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!((machine.runs(), machine.text("config").as_str()), (1, CONFIG));
    let (code, text) = terraform(&["plan", "-detailed-exitcode"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(machine.robot.reverse().len(), 2);
}
