//! A server that is rented and holds data: no change may erase it, no destroy may end its contract.

use serde_json::{Value as Json, json};

use super::ground::{Ground, terraform_is_there};

const EXAMPLE: &str = "-var-file=examples/ovh-baremetal.tfvars";
const WORD: &str = "ns1.ip-192-0-2.eu/first";
const TASK: &str = "module.ovh_baremetal[0].ovh_dedicated_server_reinstall_task.this";

/// All that the module may ever touch; none of it holds data or a contract.
const HARMLESS: [&str; 5] = [
    "ovh_dedicated_server_reinstall_task",
    "ovh_domain_zone_record",
    "ovh_ip_firewall",
    "ovh_ip_firewall_rule",
    "ovh_ip_reverse",
];

/// Other values for every variable that reaches the module.
fn changes() -> Vec<Json> {
    let disk = |id: &str| json!([{"mount": "/data/other", "size_gb": 10, "by_id": format!("/dev/disk/by-id/{id}")}]);
    let server = |more: Json| {
        let mut all = json!({"service_name": "ns1.ip-192-0-2.eu"});
        if let (Some(all), Json::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
        json!({"ovh_baremetal": all})
    };
    vec![
        json!({"name": "other"}),
        json!({"hostname": "other.example.com"}),
        json!({"ssh_user": "root"}),
        json!({"ssh_port": 2222}),
        json!({"ssh_public_keys": ["ssh-ed25519 AAAAC3Nz another@laptop"]}),
        json!({"ssh_sources": ["203.0.113.0/24"]}),
        json!({"protect": false}),
        json!({"data_disks": disk("other")}),
        server(json!({"os": "debian13_64"})),
        server(json!({"ipv6": null})),
        server(json!({"edge_firewall": false})),
        server(json!({"system": {"disk_group": 2}})),
        server(json!({"system": {"disks": 2, "raid_level": 1}})),
        server(
            json!({"system": {"layout": [{"mount_point": "/", "file_system": "xfs", "size": 0}]}}),
        ),
    ]
}

fn variables(ground: &Ground, change: &Json) -> String {
    format!("-var-file={}", ground.file("change.tfvars.json", &change.to_string()))
}

/// The relay that runs is never erased by an edit, whether its system was installed by Terraform or not.
#[test]
fn no_change_of_any_variable_erases_the_server_unless_the_word_is_typed() {
    if !terraform_is_there() {
        return;
    }
    let ground = Ground::new("", &["ovh"]);
    ground.run(&["apply", "-auto-approve", EXAMPLE]).good();
    let none = |why: &str, change: &Json, planned: &[String]| {
        let erases =
            planned.iter().any(|line| line.contains("reinstall_task") && line.contains("create"));
        assert!(!erases, "{why}: {change}: {planned:#?}");
    };
    for change in changes() {
        none("never installed", &change, &ground.plan(&[EXAMPLE, &variables(&ground, &change)]));
    }
    let typed = format!("-var=reinstall={WORD}");
    assert_eq!(ground.plan(&[EXAMPLE, &typed]), [format!("create {TASK}[\"{WORD}\"]")]);
    ground.run(&["apply", "-auto-approve", EXAMPLE, &typed]).good();
    for change in changes() {
        let file = variables(&ground, &change);
        none("the word is still there", &change, &ground.plan(&[EXAMPLE, &file, &typed]));
        none("the word was taken back", &change, &ground.plan(&[EXAMPLE, &file]));
    }
    let new = format!("-var=reinstall={WORD}-again");
    let planned = ground.plan(&[EXAMPLE, &new]);
    assert!(planned.contains(&format!("create {TASK}[\"{WORD}-again\"]")), "{planned:#?}");
}

/// Taking the word back is one line in the plan, and nothing on the server.
#[test]
fn a_word_that_is_taken_back_is_only_forgotten() {
    if !terraform_is_there() {
        return;
    }
    let ground = Ground::new("", &["ovh"]);
    ground.run(&["apply", "-auto-approve", EXAMPLE, &format!("-var=reinstall={WORD}")]).good();
    let deeds = ground.providers.deeds();
    let installs: Vec<_> =
        deeds.iter().filter(|deed| deed.kind == "ovh_dedicated_server_reinstall_task").collect();
    assert_eq!(installs.len(), 1, "{deeds:#?}");
    assert_eq!(installs[0].state.pointer("/storage/0/partitioning/0/disks"), Some(&json!(1)));
    ground.run(&["apply", "-auto-approve", EXAMPLE]).good();
    let deeds = ground.providers.deeds();
    assert_eq!(deeds.len(), 1, "{deeds:#?}");
    // With a boot that is set for this moment the provider would restart the server.
    assert_eq!(deeds[0].what, "delete");
    assert_eq!(deeds[0].state.get("bootid_on_destroy"), Some(&Json::Null));
}

/// Whoever destroys a deployment loses records and rules, and keeps the server that is paid for.
#[test]
fn destroying_a_deployment_never_ends_a_contract() {
    if !terraform_is_there() {
        return;
    }
    let ground = Ground::new("", &["ovh"]);
    ground.run(&["apply", "-auto-approve", EXAMPLE, &format!("-var=reinstall={WORD}")]).good();
    ground.run(&["destroy", "-auto-approve", EXAMPLE]).good();
    let deeds = ground.providers.deeds();
    assert!(deeds.iter().any(|deed| deed.what == "delete"));
    for deed in deeds {
        assert!(HARMLESS.contains(&deed.kind.as_str()), "{deed:#?}");
    }
}

/// The same for a server of Hetzner's: the word is the only thing that installs.
#[test]
fn no_change_of_any_variable_erases_a_server_of_robot() {
    if !terraform_is_there() {
        return;
    }
    let example = "-var-file=examples/hetzner-robot.tfvars";
    let ground = Ground::new("", &[]);
    ground.run(&["apply", "-auto-approve", example]).good();
    let server = |more: Json| {
        let mut all = json!({"server_number": 321, "ipv4": "203.0.113.10", "ipv6": "2001:db8:321::1",
            "raid_level": 1, "system_disks": ["/dev/disk/by-id/a", "/dev/disk/by-id/b"]});
        if let (Some(all), Json::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
        json!({"hetzner_robot": all})
    };
    for change in [
        json!({"hostname": "other.example.com"}),
        json!({"ssh_user": "somebody"}),
        json!({"ssh_port": 2222}),
        json!({"ssh_sources": ["203.0.113.0/24"]}),
        json!({"data_disks": [{"mount": "/data/other", "size_gb": 10, "by_id": "/dev/disk/by-id/other"}]}),
        server(json!({})),
        server(json!({"os": "debian-13"})),
        server(json!({"ipv6": null})),
    ] {
        let planned = ground.plan(&[example, &variables(&ground, &change)]);
        assert!(!planned.iter().any(|line| line.contains("installed")), "{change}: {planned:#?}");
    }
    let planned = ground.plan(&[example, "-var=reinstall=321/first"]);
    assert_eq!(planned, ["create module.hetzner_robot[0].terraform_data.installed[\"321/first\"]"]);
    let requests = ground.robot.requests();
    assert!(
        !requests.iter().any(|line| line.contains("/reset") || line.contains("/boot")),
        "{requests:#?}"
    );
}
