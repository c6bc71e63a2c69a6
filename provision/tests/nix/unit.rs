//! The unit of NixOS beside that of Ansible.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};

use crate::{binaries::root, evaluator::evaluate};

/// Values of each `Section.Name`.
type Fields = BTreeMap<String, Vec<String>>;

/// What has to differ, because packages, secrets and limits come another way: see `nix/modules/relay`.
const DIFFERENT: [&str; 9] = [
    "Service.Environment",
    "Service.EnvironmentFile",
    "Service.ExecStart",
    "Service.ExecReload",
    "Service.ExecStartPre",
    "Service.LoadCredential",
    "Service.RuntimeDirectory",
    "Service.RuntimeDirectoryMode",
    // Ansible has it in a drop-in.
    "Service.LimitNOFILE",
];

/// Ansible's template with the values that a deployment gives it.
fn of_ansible() -> Result<Fields> {
    let role = root().join("ansible/roles/relay");
    let mut text = std::fs::read_to_string(role.join("templates/relay.service.j2"))?;
    let defaults = std::fs::read_to_string(role.join("defaults/main.yml"))?;
    let given = defaults.lines().filter_map(|line| line.split_once(": ")).chain([
        ("relay_hostname", "relay.example.com"),
        ("relay_data", "/data/relay"),
        ("relay_etc", "/etc/relay"),
        ("relay_user", "relay"),
    ]);
    for (name, value) in given {
        text = text.replace(&format!("{{{{ {name} }}}}"), value);
    }
    ensure!(!text.contains("{{") && !text.contains("{%"), "not filled in: {text}");
    fields(&text)
}

fn fields(text: &str) -> Result<Fields> {
    let mut section = "";
    let mut found = Fields::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        } else {
            let (name, value) = line.split_once('=').with_context(|| line.to_owned())?;
            found.entry(format!("{section}.{name}")).or_default().push(value.to_owned());
        }
    }
    Ok(found)
}

/// A machine that moves from Debian to NixOS, or back, has the same relay: as long a start, as hardened.
#[test]
#[ignore = "needs Nix; type `just stage build,nix`"]
fn the_unit_is_that_of_ansible_field_by_field() -> Result<()> {
    let text: String = evaluate("programs.example-full.units.relay", "")?;
    let (nix, ansible) = (fields(&text)?, of_ansible()?);
    let names: BTreeSet<&String> = nix.keys().chain(ansible.keys()).collect();
    assert!(names.len() > 50, "{names:?}");
    for name in names {
        let (ours, theirs) = (nix.get(name), ansible.get(name));
        match name.as_str() {
            different if DIFFERENT.contains(&different) => {
                assert_ne!(ours, theirs, "{name} is the same");
            }
            // The limits of the plan, which are a drop-in there.
            "Service.MemoryHigh" | "Service.MemoryMax" => {
                assert!(theirs.is_none() && ours.is_some());
            }
            // A server of Postgres has one more name on NixOS.
            "Unit.After" => assert_eq!(
                ours.map(|after| after.concat().replace(" postgresql.target", "")),
                theirs.map(|after| after.concat()),
            ),
            _ => assert_eq!(ours, theirs, "{name}"),
        }
    }
    Ok(())
}
