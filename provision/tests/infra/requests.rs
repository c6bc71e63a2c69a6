//! Single requests, and what the service refuses.

use provision_stub::robot::{Fault, Robot};
use serde_json::{Value, json};

use super::machine::{provision, said};

fn robot() -> Robot {
    Robot::start().expect("start the service")
}

fn limit(interval: u64) -> Value {
    json!({"error": {"status": 403, "code": "RATE_LIMIT_EXCEEDED", "message": "rate limit exceeded", "max_request": 200, "interval": interval}})
}

/// One looks up the number of a server here.
#[test]
fn servers_are_listed_for_people_and_programs() {
    let robot = robot();
    let (code, text) = said(&mut provision(&robot, &["list"]));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("321 ") && text.contains("AX42") && text.contains("ready"), "{text}");
    let (_, text) = said(&mut provision(&robot, &["list", "--json"]));
    let all: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(all.pointer("/0/server_number"), Some(&json!(321)));
}

/// Addresses of another server in the variables would send the name there.
#[test]
fn addresses_that_are_not_the_servers_are_found() {
    let robot = robot();
    let check = |ipv4: &str, ipv6: &str| {
        said(&mut provision(&robot, &["check", "321", "--ipv4", ipv4, "--ipv6", ipv6]))
    };
    assert_eq!(check("127.0.0.1", "2001:db8:321::1").0, Some(0));
    let (code, text) = check("192.0.2.1", "2001:db8:322::1");
    assert_eq!(code, Some(1));
    assert!(text.contains("has the address 127.0.0.1, not 192.0.2.1"), "{text}");
    assert!(text.contains("2001:db8:321::/64, which does not hold 2001:db8:322::1"), "{text}");
    let (code, text) = said(&mut provision(&robot, &["check", "99"]));
    assert_eq!(code, Some(1));
    assert!(text.contains("SERVER_NOT_FOUND") && text.contains("provision robot list"), "{text}");
}

/// Both addresses lead back to the name; the second time nothing is sent.
#[test]
fn names_of_addresses_are_set_once() {
    let robot = robot();
    assert_eq!(said(&mut provision(&robot, &["rdns", "321", "relay.example.com"])).0, Some(0));
    let all = robot.reverse();
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(all.get("2001:db8:321::1").map(String::as_str), Some("relay.example.com"));
    robot.requests();
    assert_eq!(said(&mut provision(&robot, &["rdns", "321", "relay.example.com"])).0, Some(0));
    assert!(robot.requests().iter().all(|line| line.starts_with("GET")));
}

/// The switch drops what is not served, and is left alone when it does so already.
#[test]
fn the_firewall_is_set_once_and_lets_in_what_is_served() {
    let robot = robot();
    let set =
        |source: &str| said(&mut provision(&robot, &["firewall", "321", "--ssh-source", source]));
    let (code, text) = set("198.51.100.0/24");
    assert_eq!(code, Some(0), "{text}");
    let rules = robot.firewall();
    let ports: Vec<_> = rules
        .pointer("/rules/input")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|rule| {
            let text =
                |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
            format!("{} {} {}", text("protocol"), text("dst_port"), text("src_ip"))
        })
        .collect();
    assert_eq!(
        ports,
        [
            "tcp 32768-65535 -",
            "icmp - -",
            "tcp 80 -",
            "tcp 443 -",
            "udp - -",
            "udp - -",
            "tcp 22 198.51.100.0/24"
        ]
    );
    assert_eq!(rules.pointer("/rules/output/0/action"), Some(&json!("accept")));
    robot.requests();
    let (_, text) = set("198.51.100.0/24");
    assert!(text.contains("is so already"), "{text}");
    assert!(robot.requests().iter().all(|line| line.starts_with("GET")));
    assert_eq!(set("198.51.100.7/24").0, Some(2));
}

/// A short limit is waited for; an hour is told, with when to come back.
#[test]
fn limits_of_requests_are_waited_for_or_told() {
    let robot = robot();
    robot.fail("GET /server", Fault::Answer(403, vec![], limit(1)));
    robot.fail("GET /server", Fault::Answer(429, vec![("retry-after", "1".to_owned())], json!({})));
    let (code, text) = said(&mut provision(&robot, &["list"]));
    assert_eq!(code, Some(0), "{text}");
    robot.fail("GET /server", Fault::Answer(403, vec![], limit(3600)));
    let (code, text) = said(&mut provision(&robot, &["list"]));
    assert_eq!(code, Some(1));
    assert!(text.contains("at most 200") && text.contains("again in 3600 s"), "{text}");
}

/// Silence and errors of the service on reads are tried again; it gives up in the end, and says so.
#[test]
fn a_service_that_is_away_is_tried_again() {
    let robot = robot();
    robot.fail("GET /server", Fault::Silence);
    robot.fail("GET /server", Fault::Answer(503, vec![], Value::Null));
    let (code, text) = said(&mut provision(&robot, &["list"]));
    assert_eq!(code, Some(0), "{text}");
    for _ in 0..4 {
        robot.fail("GET /server", Fault::Answer(502, vec![], Value::Null));
    }
    let (code, text) = said(&mut provision(&robot, &["list"]));
    assert_eq!(code, Some(1));
    assert!(text.contains("502") && text.contains("run this again"), "{text}");
}

/// The button is pressed once per command, also when nobody says whether it was.
#[test]
fn a_restart_is_never_asked_for_twice() {
    let robot = robot();
    robot.fail("POST /reset", Fault::Lost);
    let (code, text) = said(&mut provision(&robot, &["reset", "321", "--confirm", "321"]));
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(robot.requests(), ["POST /reset/321"]);
    assert_eq!(said(&mut provision(&robot, &["reset", "321", "--confirm", "322"])).0, Some(2));
    assert!(robot.requests().is_empty());
}

/// Three wrong attempts would block the address for ten minutes.
#[test]
fn a_wrong_password_is_tried_once() {
    let robot = robot();
    let (code, text) = said(provision(&robot, &["list"]).env("ROBOT_PASSWORD", "wrong"));
    assert_eq!(code, Some(1));
    assert!(text.contains("block this address") && !text.contains("wrong\""), "{text}");
    // Two attempts are left.
    for _ in 0..2 {
        let (_, text) = said(provision(&robot, &["list"]).env("ROBOT_PASSWORD", "wrong"));
        assert!(text.contains("does not know this user"), "{text}");
    }
    let (code, text) = said(provision(&robot, &["list"]).env_remove("ROBOT_PASSWORD"));
    assert_eq!(code, Some(2));
    assert!(text.contains("set ROBOT_USER and ROBOT_PASSWORD"), "{text}");
}
