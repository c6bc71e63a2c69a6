//! The firewall of Hetzner's switches: without state, for IPv4, with ten rules.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::{Robot, RobotError};

/// Networks for ssh that fit beside the other rules.
const SSH_SOURCES_MAX: usize = 4;
/// How often it is looked whether a change is done, and how many times at most.
const LOOK: (Duration, u32) = (Duration::from_secs(2), 45);

/// What the switch lets in; what no rule names is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firewall {
    rules: Vec<Vec<(&'static str, String)>>,
}

impl Firewall {
    /// Http, https, icmp, answers, and ssh from these networks.
    ///
    /// # Errors
    /// When there are more networks than the switch has rules, or one is none.
    pub fn new(ssh_port: u16, ssh_sources: &[String]) -> Result<Self, String> {
        if ssh_sources.is_empty() || ssh_sources.len() > SSH_SOURCES_MAX {
            return Err(format!(
                "ssh sources: from one to {SSH_SOURCES_MAX} networks, Hetzner's firewall has ten rules"
            ));
        }
        let is_network = |text: &str| {
            let (address, length) = text.split_once('/').unwrap_or((text, "32"));
            let Ok(address) = address.parse::<std::net::Ipv4Addr>() else { return false };
            let Ok(length @ 0..=32) = length.parse::<u32>() else { return false };
            address.to_bits().checked_shl(length).unwrap_or(0) == 0
        };
        if let Some(wrong) = ssh_sources.iter().find(|text| !is_network(text)) {
            return Err(format!(
                "ssh source {wrong}: an IPv4 network whose host bits are zero, such as 192.0.2.7/32"
            ));
        }
        let rule = |name: &str, more: &[(&'static str, &str)]| {
            let mut all = vec![("name", name.to_owned()), ("ip_version", "ipv4".to_owned())];
            all.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
            all.push(("action", "accept".to_owned()));
            all
        };
        let port = ssh_port.to_string();
        let mut rules = vec![
            rule(
                "answers",
                &[("protocol", "tcp"), ("dst_port", "32768-65535"), ("tcp_flags", "ack")],
            ),
            rule("icmp", &[("protocol", "icmp")]),
            rule("http", &[("protocol", "tcp"), ("dst_port", "80")]),
            rule("https", &[("protocol", "tcp"), ("dst_port", "443")]),
            rule("names", &[("protocol", "udp"), ("src_port", "53")]),
            rule("time", &[("protocol", "udp"), ("src_port", "123")]),
        ];
        rules.extend(ssh_sources.iter().map(|source| {
            rule("ssh", &[("protocol", "tcp"), ("src_ip", source), ("dst_port", &port)])
        }));
        Ok(Self { rules })
    }

    fn form(&self) -> Vec<(String, String)> {
        let mut form = vec![
            ("status".to_owned(), "active".to_owned()),
            ("whitelist_hos".to_owned(), "true".to_owned()),
            ("rules[output][0][name]".to_owned(), "everything".to_owned()),
            ("rules[output][0][action]".to_owned(), "accept".to_owned()),
        ];
        for (place, rule) in self.rules.iter().enumerate() {
            let fields = rule
                .iter()
                .map(|(key, value)| (format!("rules[input][{place}][{key}]"), value.clone()));
            form.extend(fields);
        }
        form
    }

    /// Whether the switch does this already.
    fn is(&self, now: &Value) -> bool {
        let active = now.pointer("/firewall/status").and_then(Value::as_str) == Some("active");
        let rules = now.pointer("/firewall/rules/input").and_then(Value::as_array);
        let rules = rules.map(Vec::as_slice).unwrap_or_default();
        let same = |(rule, now): (&Vec<(&str, String)>, &Value)| {
            rule.iter().all(|(key, value)| {
                let is = now.get(*key).and_then(Value::as_str);
                // A single address may come back with its length or without.
                is.map(|text| text.trim_end_matches("/32")) == Some(value.trim_end_matches("/32"))
            })
        };
        active && rules.len() == self.rules.len() && self.rules.iter().zip(rules).all(same)
    }
}

impl Robot {
    /// Sets the firewall of a server, unless it is so; tells whether something was changed.
    ///
    /// # Errors
    /// [`RobotError`].
    pub async fn protect(&self, number: u64, firewall: &Firewall) -> Result<bool, RobotError> {
        let what = format!("set the firewall of server {number}");
        let path = format!("/firewall/{number}");
        if firewall.is(&self.settled(&what, &path).await?) {
            return Ok(false);
        }
        let form = firewall.form();
        let form: Vec<_> =
            form.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        self.ask(&what, Method::POST, &path, &form).await?;
        let now = self.settled(&what, &path).await?;
        if firewall.is(&now) {
            return Ok(true);
        }
        let why = "the rules are not those that were sent".to_owned();
        Err(RobotError::Odd { what, why })
    }

    /// The firewall, after the last change is done.
    async fn settled(&self, what: &str, path: &str) -> Result<Value, RobotError> {
        for _ in 0..LOOK.1 {
            let now = self.ask(what, Method::GET, path, &[]).await?;
            if now.pointer("/firewall/status").and_then(Value::as_str) != Some("in process") {
                return Ok(now);
            }
            tokio::time::sleep(LOOK.0).await;
        }
        Err(RobotError::Away {
            what: what.to_owned(),
            why: "the last change is not done".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More rules than the switch has would be refused after the old ones are gone.
    #[test]
    fn the_rules_fit_and_their_networks_are_some() {
        let sources = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let most = Firewall::new(
            22,
            &sources(&["192.0.2.0/24", "10.0.0.0/8", "0.0.0.0/0", "192.0.2.7/32"]),
        );
        assert_eq!(most.unwrap().rules.len(), 10);
        for bad in
            [&[][..], &["192.0.2.7/24"], &["::/0"], &["any"], &["192.0.2.0/33"], &["1.1.1.1"; 5]]
        {
            assert!(Firewall::new(22, &sources(bad)).is_err(), "{bad:?}");
        }
    }
}
