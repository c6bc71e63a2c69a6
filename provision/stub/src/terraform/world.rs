//! What the provider remembers: the resources that were applied, and the facts that it is asked for.

use std::collections::BTreeMap;

use rmpv::Value;
use serde_json::{Value as Json, json};

use super::{
    facts::{Kind, Member},
    value::{is_unknown, member, rebuild, shaped, to_json},
};

/// Something that was done.
#[derive(Debug, Clone, PartialEq)]
pub struct Deed {
    /// `create`, `update` or `delete`.
    pub what: &'static str,
    /// Such as `hcloud_server`.
    pub kind: String,
    /// What it is after that; before it, for a deletion.
    pub state: Json,
}

/// Everything that exists at one provider.
#[derive(Debug, Default)]
pub(crate) struct World {
    resources: BTreeMap<(String, String), Value>,
    pub(crate) deeds: Vec<Deed>,
    /// What data sources find, by their kind.
    fixtures: Json,
    last: u64,
}

/// Why something is refused, as the API would have it.
type Refusal = String;

impl World {
    /// An empty one, in which data sources find what `fixtures` has.
    pub(crate) fn new(fixtures: Json) -> Self {
        Self { fixtures, ..Self::default() }
    }

    /// Does what was planned.
    pub(crate) fn apply(
        &mut self,
        name: &str,
        kind: &Kind,
        prior: &Value,
        planned: &Value,
    ) -> Result<Value, Refusal> {
        if planned.is_nil() {
            return self.delete(name, prior);
        }
        let what = if prior.is_nil() { "create" } else { "update" };
        self.refuse(name, planned)?;
        self.last += 1;
        let number = 100_000 + self.last;
        let state = rebuild(kind.body(), planned, "", &mut |part, path, value| {
            if is_unknown(&value) { told(name, part, path, (number, planned)) } else { value }
        });
        self.deeds.push(Deed { what, kind: name.to_owned(), state: to_json(&state) });
        self.resources.insert(key(name, &state), state.clone());
        Ok(state)
    }

    fn delete(&mut self, name: &str, prior: &Value) -> Result<Value, Refusal> {
        if member(prior, "delete_protection").as_bool() == Some(true) {
            return Err(format!("{name} is protected from deletion (protected)"));
        }
        self.resources.remove(&key(name, prior));
        self.deeds.push(Deed { what: "delete", kind: name.to_owned(), state: to_json(prior) });
        Ok(Value::Nil)
    }

    /// What the API refuses, and nobody before it.
    fn refuse(&self, name: &str, planned: &Value) -> Result<(), Refusal> {
        let place = |name: &str, id: &Value| {
            let found = self.resources.get(&(name.to_owned(), id.to_string()));
            found.map(|state| member(state, "location").to_string())
        };
        let text = |name: &str| member(planned, name).as_str().unwrap_or_default();
        match name {
            "hcloud_volume_attachment" => {
                let server = place("hcloud_server", member(planned, "server_id"));
                let volume = place("hcloud_volume", member(planned, "volume_id"));
                if server.is_none() || volume.is_none() || server != volume {
                    return Err("the volume is not where the server is (invalid_input)".to_owned());
                }
            }
            "cloudflare_dns_record" => {
                let ttl = member(planned, "ttl").as_f64().unwrap_or_default();
                let is_automatic = (ttl - 1.0).abs() < f64::EPSILON;
                if !is_automatic && !(60.0..=86_400.0).contains(&ttl) {
                    return Err(format!(
                        "Invalid TTL {ttl}. Must be between 60 and 86400 seconds, or 1"
                    ));
                }
                let fits = match text("type") {
                    "A" => text("content").parse::<std::net::Ipv4Addr>().is_ok(),
                    "AAAA" => text("content").parse::<std::net::Ipv6Addr>().is_ok(),
                    _ => true,
                };
                if !fits {
                    return Err(format!("Content for {} record is invalid.", text("type")));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What there is now; null when it is gone.
    pub(crate) fn read(&self, name: &str, state: &Value) -> Value {
        self.resources.get(&key(name, state)).cloned().unwrap_or(Value::Nil)
    }

    /// Takes everything of this kind away behind Terraform's back; tells how many there were.
    pub(crate) fn lose(&mut self, name: &str) -> usize {
        let before = self.resources.len();
        self.resources.retain(|(kind, _), _| kind != name);
        before - self.resources.len()
    }

    /// The kinds of all resources that exist, sorted.
    pub(crate) fn kinds(&self) -> Vec<String> {
        self.resources.keys().map(|(kind, _)| kind.clone()).collect()
    }

    /// Finds what a data source asks for.
    pub(crate) fn find(&self, name: &str, kind: &Kind, config: &Value) -> Result<Value, Refusal> {
        let asked = to_json(config);
        let fits = |fixture: &&Json| {
            let members = asked.as_object().into_iter().flatten();
            members.filter(|(_, value)| !value.is_null()).all(|(key, value)| match value {
                Json::Object(filter) => {
                    let wanted = filter.iter().filter(|(_, value)| !value.is_null());
                    wanted.into_iter().all(|(key, value)| fixture.get(key) == Some(value))
                }
                _ => fixture.get(key) == Some(value),
            })
        };
        let all = self.fixtures.get(name).and_then(Json::as_array);
        let found = all.into_iter().flatten().find(fits);
        let Some(found) = found else { return Err(format!("{name}: nothing found for {asked}")) };
        let found = shaped(kind.body(), found);
        Ok(rebuild(kind.body(), &found, "", &mut |part, path, value| {
            let written = member(config, path);
            if part.name == path && !written.is_nil() { written.clone() } else { value }
        }))
    }
}

fn key(name: &str, state: &Value) -> (String, String) {
    let id = member(state, "id");
    (name.to_owned(), id.as_str().map_or_else(|| id.to_string(), ToOwned::to_owned))
}

/// What the API tells of a new resource.
fn told(name: &str, part: &Member<'_>, path: &str, (number, planned): (u64, &Value)) -> Value {
    let low = number % 250 + 1;
    let is_six = member(planned, "type").as_str() == Some("ipv6");
    let text = match (name, path) {
        (_, "id") => number.to_string(),
        ("hcloud_primary_ip", "ip_address") if is_six => format!("2001:db8:{low:x}::"),
        ("hcloud_primary_ip", "ip_network") if is_six => format!("2001:db8:{low:x}::/64"),
        ("hcloud_primary_ip", "ip_address") | ("hcloud_server", "ipv4_address") => {
            format!("192.0.2.{low}")
        }
        ("hcloud_server", "ipv6_address") => format!("2001:db8:{low:x}::1"),
        ("hcloud_server", "ipv6_network") => format!("2001:db8:{low:x}::/64"),
        ("hcloud_volume", "linux_device") => format!("/dev/disk/by-id/scsi-0HC_Volume_{number}"),
        ("hcloud_volume" | "hcloud_server", "location") => "fsn1".to_owned(),
        _ => format!("{name}-{number}"),
    };
    match part.kind().as_str() {
        Some("string") => Value::from(text),
        Some("number") if path == "id" => Value::from(number),
        Some("number") => Value::from(0),
        Some("bool") => Value::from(false),
        _ if part.kind().is_array() => match part.kind().get(0).and_then(Json::as_str) {
            Some("map") => Value::Map(Vec::new()),
            _ => Value::Array(Vec::new()),
        },
        _ => Value::Nil,
    }
}

/// What the providers' data sources find, unless a test says otherwise.
pub(crate) fn fixtures() -> Json {
    let kinds = |name: &str, cores: u64, places: &[&str]| {
        let locations: Vec<Json> = places
            .iter()
            .map(|place| json!({"name": place, "id": 1, "available": true, "is_deprecated": false, "recommended": true}))
            .collect();
        json!({"id": cores, "name": name, "cores": cores, "memory": cores * 4, "disk": cores * 20,
            "architecture": "x86", "is_deprecated": false, "locations": locations})
    };
    let group = |id: u64, count: u64, size: u64| {
        json!({"disk_group_id": id, "number_of_disks": count, "disk_type": "NVMe",
            "disk_size": {"unit": "GB", "value": size}, "raid_controller": null})
    };
    json!({
        "hcloud_server_type": [
            kinds("ccx33", 8, &["fsn1", "nbg1", "hel1", "ash", "hil", "sin"]),
            kinds("cx43", 8, &["fsn1", "nbg1", "hel1"]),
            kinds("cpx41", 8, &["ash", "hil"]),
        ],
        "hcloud_zone": [{"id": 7, "name": "example.com", "mode": "primary", "ttl": 3600}],
        "cloudflare_zone": [{"id": "023e105f4ecef8ad9ca31a8372d0c353",
            "zone_id": "023e105f4ecef8ad9ca31a8372d0c353", "name": "example.com", "status": "active"}],
        "ovh_domain_zone": [{"id": "example.com", "name": "example.com", "name_servers": ["dns1.example.net"]}],
        "ovh_dedicated_server": [{"id": "ns1.ip-192-0-2.eu", "service_name": "ns1.ip-192-0-2.eu",
            "ip": "192.0.2.10", "ips": ["192.0.2.10/32", "2001:db8:10::/64"], "state": "ok",
            "os": "debian12_64", "server_id": 10, "datacenter": "rbx8", "region": "eu-west-rbx"}],
        "ovh_dedicated_server_specifications_hardware": [
            {"service_name": "ns1.ip-192-0-2.eu", "disk_groups": [group(1, 2, 960), group(2, 2, 1920)]},
        ],
    })
}
