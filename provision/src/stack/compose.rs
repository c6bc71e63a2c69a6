//! The same stack as a file for people who use Compose. Pure.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Profile, Secrets, Service, plan};
use crate::image::Part;

/// The network of a project and the address of Caddy in it; others can be named, for several projects
/// on one machine.
const SUBNET: &str = "${RELAY_STACK_SUBNET:-10.89.47.0/24}";
const CADDY: &str = "${RELAY_STACK_CADDY:-10.89.47.250}";

/// The variables that the file wants, with new values, in the form of an `.env` file.
pub fn variables() -> String {
    let (names, values) = (Secrets::blank(), Secrets::generate());
    let pairs = names.list().into_iter().zip(values.list());
    let lines =
        pairs.map(|(name, value)| format!("{}={value}\n", name.trim_matches(['$', '{', '}'])));
    lines.collect()
}

/// The file; secrets are variables in it.
///
/// * `name` – of the project
/// * `images` – name of each part's image
///
/// # Errors
/// When the profile has a part without an image.
pub fn compose(name: &str, profile: Profile, images: &[(Part, String)]) -> Result<String> {
    let services = plan::services(profile, &Secrets::blank(), &[]);
    let mut described = BTreeMap::new();
    for service in &services {
        let image = images.iter().find(|(part, _)| *part == service.part);
        let (_, image) = image.with_context(|| format!("no image of {}", service.name))?;
        described.insert(service.name, one(service, image));
    }
    let kept = services.iter().filter(|service| service.volume.is_some());
    let volumes: BTreeMap<_, _> = kept.map(|service| (service.name, json!({}))).collect();
    let networks = json!({ "default": { "ipam": { "config": [{ "subnet": SUBNET }] } } });
    let file = json!({
        "name": name, "services": described, "volumes": volumes, "networks": networks,
    });
    serde_saphyr::to_string(&file).context("write the file for Compose")
}

fn one(service: &Service, image: &str) -> Value {
    let environment: BTreeMap<_, _> = service.environment.iter().cloned().collect();
    let mut described = json!({
        "image": image,
        "pull_policy": "never",
        "environment": environment,
        "read_only": true,
        "tmpfs": plan::SCRATCH.map(|at| format!("{at}:mode=1777")),
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "restart": "unless-stopped",
        "networks": { "default": { "aliases": service.aliases } },
    });
    match service.name {
        "caddy" => described["networks"]["default"]["ipv4_address"] = json!(CADDY),
        "relay" => described["environment"][plan::TRUSTED_PROXIES] = json!(CADDY),
        _ => {}
    }
    if !service.command.is_empty() {
        described["command"] = json!(service.command);
    }
    if let Some(at) = service.volume {
        described["volumes"] = json!([format!("{}:{at}", service.name)]);
    }
    if !service.publish.is_empty() {
        // Without a port of the machine, Compose takes a free one.
        let ports = service.publish.iter().map(|port| format!("127.0.0.1::{port}"));
        described["ports"] = ports.collect();
    }
    if !service.after.is_empty() {
        let well = json!({ "condition": "service_healthy" });
        let after = service.after.iter().map(|name| ((*name).to_owned(), well.clone()));
        described["depends_on"] = Value::Object(after.collect());
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(profile: Profile) -> Result<(String, Value)> {
        let images: Vec<_> =
            Part::ALL.iter().map(|part| (*part, format!("image/{}", part.name()))).collect();
        let text = compose("mine", profile, &images)?;
        let read = serde_saphyr::from_str(&text).context("read what was written")?;
        Ok((text, read))
    }

    /// People who use Compose get the parts, names, volumes and order of `provision stack up`.
    #[test]
    fn the_file_describes_what_up_starts() -> Result<()> {
        for profile in [Profile::Dev, Profile::ProdLike] {
            let (_, read) = file(profile)?;
            let services = read["services"].as_object().context("services")?;
            let planned = plan::services(profile, &Secrets::blank(), &[]);
            assert_eq!(services.len(), planned.len());
            for service in planned {
                let found = &services[service.name];
                assert_eq!(found["image"], format!("image/{}", service.part.name()));
                assert_eq!(found["networks"]["default"]["aliases"], json!(service.aliases));
                assert_eq!(found["read_only"], true);
                for (name, value) in service.environment {
                    assert_eq!(found["environment"][&name], value, "{name}");
                }
                for before in service.after {
                    assert_eq!(found["depends_on"][before]["condition"], "service_healthy");
                }
                let kept = read["volumes"][service.name].is_object();
                assert_eq!(kept, service.volume.is_some(), "{}", service.name);
            }
        }
        Ok(())
    }

    /// The relay believes what Caddy says of its clients, because Caddy alone has that address.
    #[test]
    fn the_relay_trusts_the_address_that_caddy_keeps() -> Result<()> {
        for profile in [Profile::Dev, Profile::ProdLike] {
            let (_, read) = file(profile)?;
            let services = &read["services"];
            assert_eq!(services["caddy"]["networks"]["default"]["ipv4_address"], CADDY);
            assert_eq!(services["relay"]["environment"]["RELAY_TRUSTED_PROXIES"], CADDY);
            assert_eq!(read["networks"]["default"]["ipam"]["config"][0]["subnet"], SUBNET);
            let usual = |text: &str| {
                let usual = text.split_once(":-")?.1.strip_suffix('}')?;
                Some(usual.to_owned())
            };
            let subnet: ipnet::Ipv4Net = usual(SUBNET).context("a default")?.parse()?;
            let caddy: std::net::Ipv4Addr = usual(CADDY).context("a default")?.parse()?;
            assert!(subnet.contains(&caddy), "{caddy} is not in {subnet}");
        }
        Ok(())
    }

    /// Ports of the machine are those of its loopback, and no password stands in the file.
    #[test]
    fn the_file_opens_nothing_and_holds_no_secret() -> Result<()> {
        let (text, read) = file(Profile::ProdLike)?;
        for (name, service) in read["services"].as_object().context("services")? {
            for port in service["ports"].as_array().into_iter().flatten() {
                let port = port.as_str().context("a port is text")?;
                assert!(port.starts_with("127.0.0.1::"), "{name}: {port}");
            }
        }
        let variables = variables();
        for line in variables.lines() {
            let (name, value) = line.split_once('=').context("NAME=value")?;
            assert!(!text.contains(value) && value.len() == 64, "{name}");
            let is_used = text.contains(&format!("${{{name}}}"));
            assert!(is_used || name == "ACCOUNTS_PASSWORD", "{name} is not used");
        }
        Ok(())
    }
}
