//! What a person types wrong, and what is said to it.

use std::fs;

use super::ground::{Ground, root, terraform_is_there};

/// Each mistake is found before anything is made, with a sentence that says what to type instead.
#[test]
fn mistakes_are_refused_before_anything_is_made() {
    if !terraform_is_there() {
        return;
    }
    let ground = Ground::new("", &["hcloud", "ovh", "cloudflare"]);
    let disk = r#"{ mount = "/data/relay", size_gb = 100, by_id = "/dev/disk/by-id/one" }"#;
    for (example, change, why) in [
        (
            "existing-host",
            "provider_name = \"hetzner\"".to_owned(),
            "provider_name: one of existing-host,",
        ),
        ("existing-host", "existing_host = null".to_owned(), "existing_host: give it with"),
        (
            "existing-host",
            "data_disks = [{ mount = \"/data/relay\", size_gb = 100 }]".to_owned(),
            "by_id is missing",
        ),
        (
            "existing-host",
            format!("data_disks = [{disk}, {disk}]"),
            "two entries name the same disk",
        ),
        ("existing-host", "data_disks = []".to_owned(), "name at least one disk"),
        (
            "existing-host",
            "name = \"my relay\"".to_owned(),
            "lower-case letters, digits and hyphens",
        ),
        (
            "existing-host",
            "dns = { zone = \"example.org\" }".to_owned(),
            "each must lie in the zone",
        ),
        ("existing-host", "reinstall = \"x/y\"".to_owned(), "only for servers that you rent"),
        (
            "hetzner-cloud-ash",
            format!("data_disks = [{disk}]"),
            "leave by_id out for hetzner-cloud",
        ),
        (
            "hetzner-cloud-ash",
            "data_disks = [{ mount = \"/data/relay\", size_gb = 9 }]".to_owned(),
            "from 10 to 10240",
        ),
        (
            "hetzner-cloud-ash",
            "hetzner_cloud = { location = \"ash\", server_type = \"cx43\" }".to_owned(),
            "it is to be had in fsn1, nbg1, hel1.",
        ),
        (
            "hetzner-cloud-ash",
            "hetzner_cloud = { location = \"ash\", server_type = \"ccx99\" }".to_owned(),
            "hcloud_server_type: nothing found",
        ),
        ("hetzner-cloud-ash", "ssh_sources = []".to_owned(), "or nobody can log in"),
        ("hetzner-cloud-ash", "ssh_public_keys = []".to_owned(), "or nobody can log in"),
        ("ovh-baremetal", "reinstall = \"yes\"".to_owned(), "type its own service_name"),
        (
            "ovh-baremetal",
            "ssh_sources = [\"::/0\"]".to_owned(),
            "OVH's edge firewall knows no IPv6",
        ),
    ] {
        let file = ground.file("mistake.tfvars", &change);
        let example = format!("-var-file=examples/{example}.tfvars");
        ground.run(&["plan", &example, &format!("-var-file={file}")]).refused(why);
    }
    assert!(ground.providers.deeds().is_empty());
}

/// A wrong word in a file of variables, or in the code of a module, is not silently ignored.
#[test]
fn typos_are_found_with_the_right_word() {
    if !terraform_is_there() {
        return;
    }
    let path = root().join("terraform/modules/hetzner-cloud/main.tf");
    let text = fs::read_to_string(path).expect("read the module");
    let ground = Ground::new("modules/hetzner-cloud", &["hcloud"]);
    let wrong = text.replace("size              = each.value.size_gb", "sise = each.value.size_gb");
    assert_ne!(wrong, text);
    ground.file("terraform/modules/hetzner-cloud/main.tf", &wrong);
    ground.run(&["validate"]).refused("Did you mean \"size\"?");
}

/// Without its token a deployment stops at once; tokens of providers that it does not use are not asked for.
#[test]
fn only_the_tokens_of_the_chosen_providers_are_needed() {
    if !terraform_is_there() {
        return;
    }
    let ground = Ground::new("", &[]);
    for (example, missing) in [
        ("existing-host", None),
        ("hetzner-cloud-hil", Some("HCLOUD_TOKEN")),
        ("ovh-baremetal", Some("the OVH API client has no credentials")),
    ] {
        let ran = ground.run(&["plan", &format!("-var-file=examples/{example}.tfvars")]);
        match missing {
            None => drop(ran.good()),
            Some(why) => ran.refused(why),
        }
    }
}

/// Tokens lie in the environment; none can come into a file of variables, the state or an output.
#[test]
fn no_variable_takes_a_secret() {
    for file in super::ground::code("") {
        let text = fs::read_to_string(root().join("terraform").join(&file)).expect("read a file");
        let names =
            text.lines().filter_map(|line| line.strip_prefix("variable \"")?.split('"').next());
        for name in names {
            let is_secret =
                ["token", "secret", "password", "api_key"].iter().any(|word| name.contains(word));
            assert!(!is_secret, "{file}: variable {name}");
        }
    }
}
