//! What the real providers refuse before they ask their API.

use std::net::IpAddr;

use rmpv::Value;
use serde_json::Value as Json;

use super::{
    facts::Kind,
    value::{at, elements, is_known, is_unknown, member, rebuild},
};

/// What is wrong with a resource, data source or provider block as it is written.
pub(crate) fn check(name: &str, kind: &Kind, config: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    enumerations(kind, config, &mut wrong);
    groups(kind, config, &mut wrong);
    shapes(kind, config, &mut wrong);
    read_only(kind, config, &mut wrong);
    own(name, config, &mut wrong);
    wrong.into_iter().map(|what| format!("{name}: {what}")).collect()
}

/// The values at a path that can be judged.
fn known<'v>(config: &'v Value, path: &str) -> Vec<&'v Value> {
    at(config, path).into_iter().flat_map(elements).filter(|value| is_known(value)).collect()
}

fn enumerations(kind: &Kind, config: &Value, wrong: &mut Vec<String>) {
    for (path, allowed) in kind.table("one_of") {
        let allowed = allowed.as_array().map(Vec::as_slice).unwrap_or_default();
        let fits = |value: &Value| allowed.iter().any(|one| super::value::from_json(one) == *value);
        wrong.extend(
            known(config, path).into_iter().filter(|value| !fits(value)).map(|value| {
                format!("{path}: {value} is none of {}", Json::from(allowed.to_vec()))
            }),
        );
    }
    for (path, allowed) in kind.table("one_of_any_case") {
        let allowed: Vec<&str> =
            allowed.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let fits = |value: &Value| {
            value
                .as_str()
                .is_some_and(|text| allowed.iter().any(|one| one.eq_ignore_ascii_case(text)))
        };
        wrong.extend(
            known(config, path)
                .into_iter()
                .filter(|value| !fits(value))
                .map(|value| format!("{path}: {value} is none of {allowed:?}")),
        );
    }
    for (path, range) in kind.table("range") {
        let end = |place: usize| range.get(place).and_then(Json::as_f64);
        let fits = |value: &Value| {
            value.as_f64().is_none_or(|number| {
                end(0).is_none_or(|low| number >= low) && end(1).is_none_or(|high| number <= high)
            })
        };
        wrong.extend(
            known(config, path)
                .into_iter()
                .filter(|value| !fits(value))
                .map(|value| format!("{path}: {value} is outside of {range}")),
        );
    }
}

/// Which attributes stand together, or must not.
fn groups(kind: &Kind, config: &Value, wrong: &mut Vec<String>) {
    let set = |names: &[&str]| names.iter().filter(|name| !member(config, name).is_nil()).count();
    let open = |names: &[&str]| names.iter().any(|name| is_unknown(member(config, name)));
    for names in kind.groups("exactly_one_of") {
        if set(&names) != 1 && !open(&names) {
            wrong.push(format!("exactly one of {names:?} must be set"));
        }
    }
    for names in kind.groups("required_together") {
        if set(&names) != 0 && set(&names) != names.len() {
            wrong.push(format!("{names:?} must be set together"));
        }
    }
    for names in kind.groups("conflicts") {
        if set(&names) > 1 {
            wrong.push(format!("{names:?} exclude each other"));
        }
    }
    for name in kind.words("removed") {
        if is_known(member(config, name)) {
            wrong.push(format!("{name} was removed"));
        }
    }
    for (name, least) in kind.table("min_items") {
        let value = member(config, name);
        let count = value.as_array().map_or(0, Vec::len);
        if is_known(value) && least.as_u64().is_some_and(|least| (count as u64) < least) {
            wrong.push(format!("{name}: at least {least} must be there"));
        }
    }
}

fn shapes(kind: &Kind, config: &Value, wrong: &mut Vec<String>) {
    for path in kind.words("ip") {
        let is_address =
            |value: &Value| value.as_str().is_some_and(|text| text.parse::<IpAddr>().is_ok());
        let all = known(config, path).into_iter().filter(|value| !is_address(value));
        wrong.extend(all.map(|value| format!("{path}: {value} is no address")));
    }
    for path in kind.words("labels") {
        for (key, value) in member(config, path).as_map().into_iter().flatten() {
            let (key, value) =
                (key.as_str().unwrap_or_default(), value.as_str().unwrap_or_default());
            let own_part = key.rsplit('/').next().unwrap_or_default();
            if own_part.is_empty() || !is_label(own_part) || !is_label(value) {
                wrong.push(format!("{path}: `{key}` = `{value}` is no label"));
            }
        }
    }
    for (path, pattern) in kind.table("matches") {
        // Both patterns say `^[0-9A-Za-z_-]{low,high}$`; nothing else is needed of regular expressions.
        let ends = pattern
            .as_str()
            .and_then(|p| p.split(['{', '}']).nth(1))
            .and_then(|ends| ends.split_once(','));
        let Some((low, high)) =
            ends.and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)))
        else {
            wrong.push(format!("{path}: the rule {pattern} is not understood"));
            continue;
        };
        let fits = |text: &str| {
            (low..=high).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if known(config, path).iter().any(|value| !value.as_str().is_some_and(fits)) {
            wrong.push(format!("{path}: it does not look like a token ({pattern})"));
        }
    }
}

/// Empty, or at most 63 characters that begin and end with a letter or digit.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends = [text.bytes().next(), text.bytes().last()];
    text.len() <= 63
        && text.bytes().all(inner)
        && ends.iter().flatten().all(u8::is_ascii_alphanumeric)
}

/// The framework refuses a value for what only the provider can know; Terraform does not.
fn read_only(kind: &Kind, config: &Value, wrong: &mut Vec<String>) {
    if !kind.is_framework() {
        return;
    }
    rebuild(kind.body(), config, "", &mut |part, path, value| {
        if part.is("computed") && !part.is("optional") && !value.is_nil() {
            wrong.push(format!("{path} is read-only"));
        }
        value
    });
}

/// Rules that the providers hold in code.
fn own(name: &str, config: &Value, wrong: &mut Vec<String>) {
    let mut refuse = |path: &str, fits: &dyn Fn(&Value) -> bool, what: &str| {
        let all = known(config, path).into_iter().filter(|value| !fits(value));
        wrong.extend(all.map(|value| format!("{path}: {value} {what}")));
    };
    let text = |value: &Value, fits: fn(&str) -> bool| value.as_str().is_some_and(fits);
    match name {
        "hcloud_firewall" => {
            for path in ["rule.source_ips", "rule.destination_ips"] {
                refuse(path, &|value| text(value, is_network), "is no network in CIDR notation");
            }
        }
        "hcloud_server" => {
            for path in ["image", "ssh_keys"] {
                refuse(path, &|value| text(value, |text| !text.is_empty()), "is empty");
            }
        }
        "ovh_domain_zone_record" => {
            let fits = |value: &Value| value.as_i64().is_some_and(|ttl| ttl == 0 || ttl >= 60);
            refuse("ttl", &fits, "is neither 0 nor at least 60");
        }
        "ovh_ip_reverse" => {
            refuse("ip", &|value| text(value, is_network), "is no network in CIDR notation");
            let is_address = |value: &Value| text(value, |text| text.parse::<IpAddr>().is_ok());
            refuse("ip_reverse", &is_address, "is no address");
        }
        _ => {}
    }
}

/// An address, or a network whose host bits are zero.
fn is_network(text: &str) -> bool {
    let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let (bits, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let Some(length) = length else { return true };
    let Ok(length) = length.parse::<u32>() else { return false };
    length <= width && bits.checked_shl(length).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hetzner's API refuses such rules only when they are applied.
    #[test]
    fn a_network_has_no_host_bits() {
        for good in
            ["192.0.2.7", "192.0.2.0/24", "0.0.0.0/0", "::/0", "2001:db8::/32", "192.0.2.7/32"]
        {
            assert!(is_network(good), "{good}");
        }
        for bad in ["192.0.2.7/24", "192.0.2.0/33", "2001:db8::1/64", "any", "", "192.0.2.0/"] {
            assert!(!is_network(bad), "{bad}");
        }
    }

    #[test]
    fn labels_are_short_and_have_no_blanks() {
        for (text, good) in
            [("", true), ("relay", true), ("a.b-c_d", true), ("-a", false), ("a b", false)]
        {
            assert_eq!(is_label(text), good, "{text}");
        }
        assert!(!is_label(&"a".repeat(64)));
    }
}
