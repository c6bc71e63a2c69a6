//! What is inside the relay: every crate that is compiled into it and every library that it loads, in
//! the form of `CycloneDX`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::base;
use crate::run;

/// The list as JSON; the same for the same lock file and libraries.
///
/// # Errors
/// When the checkout is not the relay's, or `cargo` cannot read it.
pub(super) fn relay(root: &Path, program: &Path) -> Result<String> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let said = run::quiet(run::program(
        root,
        &["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", &target],
    ))
    .context("list what the relay is made of")?;
    let metadata: Value = serde_json::from_str(&said).context("read what `cargo metadata` says")?;
    let mut components = crates(&metadata, "relay")?;
    for library in base::shared_libraries(program)? {
        components.push(system_library(&library));
    }
    let list = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": {
            "type": "application",
            "name": "relay",
            "version": env!("CARGO_PKG_VERSION"),
        } },
        "components": components,
    });
    serde_json::to_string_pretty(&list).context("write the list")
}

/// The crates that `name` is compiled of: what is needed for tests and builds only is not among them.
fn crates(metadata: &Value, name: &str) -> Result<Vec<Value>> {
    let packages: BTreeMap<&str, &Value> = metadata["packages"]
        .as_array()
        .context("no packages")?
        .iter()
        .filter_map(|package| Some((package["id"].as_str()?, package)))
        .collect();
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .context("no dependencies")?
        .iter()
        .filter_map(|node| Some((node["id"].as_str()?, node)))
        .collect();
    let is_wanted = |package: &Value| package["name"] == name && package["source"].is_null();
    let (first, _) = packages
        .iter()
        .find(|(_, package)| is_wanted(package))
        .with_context(|| format!("there is no crate {name} in this checkout"))?;
    let (mut seen, mut next) = (BTreeSet::new(), vec![*first]);
    while let Some(id) = next.pop() {
        if seen.insert(id)
            && let Some(node) = nodes.get(id)
        {
            next.extend(needed(node));
        }
    }
    seen.remove(first);
    Ok(seen
        .into_iter()
        .filter_map(|id| packages.get(id))
        .map(|package| component(package))
        .collect())
}

/// Dependencies of a node that end up in the program.
fn needed(node: &Value) -> impl Iterator<Item = &str> {
    let is_normal = |dependency: &&Value| {
        let kinds = dependency["dep_kinds"].as_array();
        kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
    };
    let dependencies = node["deps"].as_array().map(Vec::as_slice).unwrap_or_default();
    dependencies.iter().filter(is_normal).filter_map(|dependency| dependency["pkg"].as_str())
}

fn component(package: &Value) -> Value {
    let text = |key: &str| package[key].as_str().unwrap_or_default();
    let (name, version) = (text("name"), text("version"));
    json!({
        "type": "library",
        "name": name,
        "version": version,
        "purl": format!("pkg:cargo/{name}@{version}"),
        "licenses": [{ "expression": text("license") }],
    })
}

/// A library of the system, with its package where Debian's list knows it.
fn system_library(path: &Path) -> Value {
    let shown = path.to_string_lossy();
    // A merged `/usr` is listed under both names.
    let owner = [shown.to_string(), format!("/usr{shown}")].iter().find_map(|path| {
        let said = run::quiet(run::program(Path::new("/"), &["dpkg-query", "-S", path])).ok()?;
        let package = said.split(": ").next()?.to_owned();
        let query = ["dpkg-query", "-W", "-f", "${Package}@${Version}", &package];
        run::quiet(run::program(Path::new("/"), &query)).ok()
    });
    let mut found = json!({ "type": "library", "name": shown });
    if let Some(owner) = owner {
        found["purl"] = json!(format!("pkg:deb/debian/{owner}"));
        found["version"] = json!(owner.split('@').nth(1));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A person who looks for a vulnerable crate finds it, and none that only tests use.
    #[test]
    fn the_list_names_what_is_compiled_in_and_nothing_else() -> Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = relay(&root, Path::new("/bin/sh"))?;
        let list: Value = serde_json::from_str(&text)?;
        let components = list["components"].as_array().context("components")?;
        let names: Vec<_> = components.iter().filter_map(|one| one["name"].as_str()).collect();
        for wanted in ["rustls", "sqlx-core", "relay-protocol", "tikv-jemallocator"] {
            assert!(names.contains(&wanted), "{wanted} is missing");
        }
        for unwanted in ["relay", "proptest", "relay-simnet", "bollard"] {
            assert!(!names.contains(&unwanted), "{unwanted} is not part of the relay");
        }
        assert!(names.iter().any(|name| name.contains("libc.so")), "{names:?}");
        Ok(())
    }
}
