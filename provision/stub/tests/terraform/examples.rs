//! The examples, from nothing to a host and back.

use std::{fs, path::PathBuf};

use serde_json::{Value as Json, json};

use super::ground::{Ground, names, root, terraform_is_there};

/// Providers whose tokens an example says that it needs.
fn credentials(text: &str) -> Vec<&'static str> {
    [("hcloud", "HCLOUD_TOKEN"), ("ovh", "OVH_"), ("cloudflare", "CLOUDFLARE_")]
        .into_iter()
        .filter(|(_, variable)| {
            text.lines().any(|line| line.starts_with('#') && line.contains(variable))
        })
        .map(|(name, _)| name)
        .collect()
}

fn golden(name: &str) -> PathBuf {
    root().join("provision/stub/tests/terraform/planned").join(name).with_extension("txt")
}

/// Compares with what is kept; `UPDATE=1` keeps it anew.
fn is_as_kept(name: &str, lines: &[String]) {
    let text = format!("{}\n", lines.join("\n"));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(golden(name), text).expect("keep what is planned");
        return;
    }
    let kept = fs::read_to_string(golden(name)).unwrap_or_default();
    assert_eq!(text, kept, "{name} makes other things than before; if that is right: UPDATE=1");
}

/// Whoever copies an example gets the host that it promises, nothing to do the second time, and at the
/// end nothing that still costs money. Without more tokens than it names.
#[test]
fn every_example_is_applied_once_and_destroyed_whole() {
    if !terraform_is_there() {
        return;
    }
    std::thread::scope(|scope| {
        for name in names("examples").into_iter().filter(|name| name.ends_with(".tfvars")) {
            scope.spawn(move || applied_and_destroyed(&name));
        }
    });
}

fn applied_and_destroyed(name: &str) {
    let text =
        fs::read_to_string(root().join("terraform/examples").join(name)).expect("read the example");
    let ground = Ground::new("", &credentials(&text));
    let variables = format!("-var-file=examples/{name}");
    ground.run(&["validate"]).good();

    let planned = ground.plan(&[&variables]);
    is_as_kept(name, &planned);
    assert!(planned.iter().all(|line| line.starts_with("create ")), "{planned:#?}");
    ground.run(&["apply", "-auto-approve", &variables]).good();
    let existing = ground.providers.existing();
    // What `provision` does is no resource of a provider.
    let of_providers = planned.iter().filter(|line| !line.contains("terraform_data")).count();
    assert_eq!(existing.len(), of_providers, "{existing:#?}");
    if name.contains("robot") {
        assert_eq!(ground.robot.reverse().len(), 2);
        let status = ground.robot.firewall().get("status").cloned();
        assert_eq!(status, Some(json!("active")));
    }
    ground.providers.deeds();

    let second = ground.run(&["plan", "-detailed-exitcode", &variables]);
    assert_eq!(second.code, Some(0), "a second plan changes something: {}", second.text);
    contract_is_whole(name, &ground);

    let refused = ground.run(&["destroy", "-auto-approve", &variables]);
    let is_protected = existing.iter().any(|kind| kind == "hcloud_server");
    assert_eq!(refused.code == Some(0), !is_protected, "{}", refused.text);
    if is_protected {
        let left = ground.providers.existing();
        for kind in ["hcloud_primary_ip", "hcloud_server", "hcloud_volume"] {
            assert!(
                left.iter().any(|one| one == kind),
                "{kind} was deleted in spite of its protection"
            );
        }
        ground.run(&["apply", "-auto-approve", &variables, "-var=protect=false"]).good();
        ground.run(&["destroy", "-auto-approve", &variables, "-var=protect=false"]).good();
    }
    assert!(ground.providers.existing().is_empty(), "{:#?}", ground.providers.existing());
}

/// Everything after Terraform reads these two and nothing else.
fn contract_is_whole(name: &str, ground: &Ground) {
    let host = ground.output("host");
    let inventory = ground.output("inventory");
    let inventory = inventory.as_str().expect("a text");
    let text =
        |pointer: &str| host.pointer(pointer).and_then(Json::as_str).unwrap_or_default().to_owned();
    let deployment = text("/name");
    assert!(name.contains(&text("/provider")), "{name}: {host:#}");
    assert!(text("/data_disks/0/by_id").starts_with("/dev/disk/by-id/"), "{name}: {host:#}");
    assert!(host.pointer("/data_disks/0/size_gb").is_some_and(Json::is_u64), "{name}: {host:#}");
    assert!(
        text("/ipv6").parse::<std::net::Ipv6Addr>().is_ok_and(|ip| ip.segments()[7] != 0),
        "{name}: {host:#}"
    );
    for wanted in [
        "\"relay\":\n  \"hosts\":\n".to_owned(),
        format!("\n    \"{deployment}\":\n"),
        format!("\n      \"ansible_host\": \"{}\"\n", text("/ipv4")),
        format!("\n      \"ansible_user\": \"{}\"\n", text("/ssh_user")),
        "\n      \"ansible_port\": 22\n".to_owned(),
        format!("\n      \"relay_name\": \"{deployment}\"\n"),
        "\n      \"relay_hostname\": \"".to_owned(),
        format!("\"by_id\": \"{}\"", text("/data_disks/0/by_id")),
        format!("\n      \"provider\": \"{}\"\n", text("/provider")),
    ] {
        assert!(inventory.contains(&wanted), "{name}: `{wanted}` is not in\n{inventory}");
    }
    let settings = ground.output("settings");
    let settings = settings.as_str().expect("a text");
    assert!(settings.contains(&format!("DEPLOYMENT_NAME={deployment}\n")), "{settings}");
    assert!(
        !settings.to_lowercase().contains("token") && !settings.contains("PASSWORD"),
        "{settings}"
    );
}

/// A key that is added, a newer image or a longer text for new servers must not replace the live relay.
#[test]
fn nothing_that_a_person_changes_rebuilds_a_live_relay() {
    if !terraform_is_there() {
        return;
    }
    let ground = Ground::new("", &["hcloud", "cloudflare"]);
    let example = "-var-file=examples/hetzner-cloud-ash.tfvars";
    ground.run(&["apply", "-auto-approve", example]).good();
    ground.providers.deeds();
    for (change, wanted) in [
        (json!({"ssh_public_keys": ["ssh-ed25519 AAAAC3Nz another@laptop"]}), vec![]),
        (json!({"ssh_user": "somebody"}), vec![]),
        (
            json!({"hetzner_cloud": {"location": "ash", "server_type": "ccx33", "image": "debian-13"}}),
            vec![],
        ),
        (
            json!({"hetzner_cloud": {"location": "ash", "server_type": "ccx33", "ssh_key_names": ["mine"]}}),
            vec![],
        ),
        (json!({"hetzner_cloud": {"location": "hil", "server_type": "ccx33"}}), vec![]),
        (
            json!({"hetzner_cloud": {"location": "ash", "server_type": "cpx41"}}),
            vec!["update module.hetzner_cloud[0].hcloud_server.this"],
        ),
        (
            json!({"data_disks": [{"mount": "/data/relay", "size_gb": 900}, {"mount": "/data/postgres", "size_gb": 50}]}),
            vec!["update module.hetzner_cloud[0].hcloud_volume.data[\"data-relay\"]"],
        ),
        (
            json!({"ssh_sources": ["203.0.113.0/24"]}),
            vec!["update module.hetzner_cloud[0].hcloud_firewall.this"],
        ),
    ] {
        let file = ground.file("change.tfvars.json", &change.to_string());
        let planned = ground.plan(&[example, &format!("-var-file={file}")]);
        assert_eq!(planned, wanted, "{change}");
    }
}

/// A volume that is taken out of the list by mistake keeps its data.
#[test]
fn a_volume_that_is_no_longer_named_is_not_deleted() {
    if !terraform_is_there() {
        return;
    }
    let ground = Ground::new("", &["hcloud", "cloudflare"]);
    let example = "-var-file=examples/hetzner-cloud-ash.tfvars";
    ground.run(&["apply", "-auto-approve", example]).good();
    let one = json!({"data_disks": [{"mount": "/data/relay", "size_gb": 800}]});
    let file = ground.file("one.tfvars.json", &one.to_string());
    ground
        .run(&["apply", "-auto-approve", example, &format!("-var-file={file}")])
        .refused("protected");
    let volumes = ground.providers.existing();
    assert_eq!(volumes.iter().filter(|kind| *kind == "hcloud_volume").count(), 2, "{volumes:#?}");
}

/// A relay whose server died comes back under its old addresses, with its old disks.
#[test]
fn a_server_that_is_gone_comes_back_with_its_addresses_and_disks() {
    if !terraform_is_there() {
        return;
    }
    let ground = Ground::new("", &["hcloud", "cloudflare"]);
    let example = "-var-file=examples/hetzner-cloud-ash.tfvars";
    ground.run(&["apply", "-auto-approve", example]).good();
    let before = ground.output("host");
    assert_eq!(ground.providers.lose("hcloud_server"), 1);
    let planned = ground.plan(&[example]);
    assert_eq!(
        planned,
        [
            "create module.hetzner_cloud[0].hcloud_server.this",
            "delete+create module.hetzner_cloud[0].hcloud_volume_attachment.data[\"data-postgres\"]",
            "delete+create module.hetzner_cloud[0].hcloud_volume_attachment.data[\"data-relay\"]",
        ]
    );
    ground.run(&["apply", "-auto-approve", example]).good();
    assert_eq!(ground.output("host"), before);
}
