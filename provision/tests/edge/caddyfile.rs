//! The Caddyfile as Caddy reads it, without a relay.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{binaries, door, routes};

/// What Caddy makes of the Caddyfile with these settings; `None` when there is no Caddy.
fn adapted(settings: &[(&str, &str)]) -> Result<Option<Value>> {
    let Some(caddy) = binaries::caddy() else { return Ok(None) };
    let settings: Vec<_> =
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let caddyfile = binaries::root().join("Caddyfile");
    let output = door::command(&caddy, &caddyfile, &settings, "adapt").output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "caddy adapt: {said}");
    Ok(Some(serde_json::from_slice(&output.stdout)?))
}

/// The server that listens there.
fn server<'v>(config: &'v Value, listen: &str) -> Result<&'v Value> {
    let servers = config["apps"]["http"]["servers"].as_object().context("no servers")?;
    let found = servers.values().find(|server| server["listen"] == json!([listen]));
    found.with_context(|| format!("nobody listens on {listen}: {servers:?}"))
}

/// A route of the site: what it matches, and all handlers in it in their order.
#[derive(Debug)]
struct Route {
    matches: Value,
    handlers: Vec<Value>,
}

impl Route {
    fn paths(&self) -> Vec<String> {
        let paths = self.matches[0]["path"].as_array().into_iter().flatten();
        paths.filter_map(|path| Some(path.as_str()?.to_owned())).collect()
    }

    fn handler(&self, name: &str) -> Option<&Value> {
        self.handlers.iter().find(|handler| handler["handler"] == name)
    }

    /// Where it hands requests to.
    fn upstream(&self) -> Option<&str> {
        self.handler("reverse_proxy")?["upstreams"][0]["dial"].as_str()
    }
}

/// The routes of the site with the default settings.
fn site_routes(config: &Value) -> Result<Vec<Route>> {
    let site = &server(config, ":443")?["routes"][0]["handle"][0]["routes"];
    Ok(site.as_array().context("no routes")?.iter().map(route).collect())
}

fn route(route: &Value) -> Route {
    let mut handlers = Vec::new();
    let mut left: Vec<&Value> = route["handle"].as_array().into_iter().flatten().collect();
    while let Some(handler) = left.pop() {
        let inner = handler["routes"].as_array().into_iter().flatten();
        left.extend(inner.flat_map(|route| route["handle"].as_array().into_iter().flatten()));
        handlers.push(handler.clone());
    }
    Route { matches: route["match"].clone(), handlers }
}

/// A Caddyfile that Caddy refuses would keep the relay from the public at the next restart.
#[test]
fn caddy_finds_the_file_valid_and_formatted() -> Result<()> {
    let Some(caddy) = binaries::caddy() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let place = |name: &str| dir.path().join(name).display().to_string();
    let settings = [
        ("RELAY_CADDY_LOG".to_owned(), place("access.log")),
        ("XDG_DATA_HOME".to_owned(), place("data")),
        ("XDG_CONFIG_HOME".to_owned(), place("config")),
    ];
    let caddyfile = binaries::root().join("Caddyfile");
    let valid = door::command(&caddy, &caddyfile, &settings, "validate").output()?;
    assert!(valid.status.success(), "{}", String::from_utf8_lossy(&valid.stderr));
    let formatted = Command::new(&caddy).args(["fmt", "--diff"]).arg(&caddyfile).output()?;
    assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stdout));
    Ok(())
}

/// A method that the relay learned would be there for its neighbours and for nobody else; one that
/// it gave up would be a path that nobody watches.
#[test]
fn the_paths_that_reach_the_relay_are_those_that_it_calls_public() -> Result<()> {
    let Some(config) = adapted(&[])? else { return Ok(()) };
    let mut routed: Vec<_> = site_routes(&config)?
        .iter()
        .filter(|route| route.upstream() == Some("127.0.0.1:2470"))
        .flat_map(Route::paths)
        .collect();
    routed.sort();
    assert_eq!(routed, routes::public()?);
    Ok(())
}

/// Whoever installs this and sets nothing has an admin API that nobody outside reaches.
#[test]
fn admin_paths_are_routed_for_named_addresses_and_nobody_else() -> Result<()> {
    let Some(closed) = adapted(&[])? else { return Ok(()) };
    let Some(open) = adapted(&[("RELAY_ADMIN_ALLOW", "192.0.2.7 10.0.0.0/8")])? else {
        return Ok(());
    };
    for (config, expected) in [
        (closed, json!(["255.255.255.255"])),
        (open, json!(["255.255.255.255", "192.0.2.7", "10.0.0.0/8"])),
    ] {
        let routes = site_routes(&config)?;
        let to_admin: Vec<_> =
            routes.iter().filter(|route| route.upstream() == Some("127.0.0.1:2472")).collect();
        let [admin] = to_admin.as_slice() else { panic!("one route: {to_admin:?}") };
        assert_eq!(admin.paths(), ["/admin", "/admin/*", "/dash", "/dash/*"]);
        assert_eq!(admin.matches[0]["remote_ip"]["ranges"], expected);
        assert_eq!(admin.matches.as_array().map(Vec::len), Some(1), "no other way in");
    }
    Ok(())
}

/// Whoever wrote an address into its own request would be counted under it: Caddy says whom it saw
/// itself, and nothing of what it was told.
#[test]
fn what_a_client_says_of_its_address_is_not_passed_on() -> Result<()> {
    let Some(config) = adapted(&[("RELAY_ADMIN_ALLOW", "192.0.2.7")])? else { return Ok(()) };
    let text = config.to_string();
    assert!(!text.contains("trusted_proxies") && !text.contains("X-Forwarded"), "{text}");
    let proxies = site_routes(&config)?.iter().filter(|route| route.upstream().is_some()).count();
    assert_eq!(proxies, 3, "control: these would hold it");
    Ok(())
}

/// A consumer would get its events late, or be cut off by a timeout or by every reload.
#[test]
fn nothing_collects_or_ends_a_stream() -> Result<()> {
    let Some(config) = adapted(&[])? else { return Ok(()) };
    let routes = site_routes(&config)?;
    let firehose = routes.iter().find(|route| route.paths() == [routes::FIREHOSE]);
    let firehose = firehose.context("the firehose has a route of its own")?;
    let proxy = firehose.handler("reverse_proxy").context("a proxy")?;
    assert_eq!(proxy["flush_interval"], -1);
    assert_eq!(proxy["stream_close_delay"], 24_u64 * 3_600 * 1_000_000_000);
    assert_eq!(proxy["stream_timeout"], Value::Null);
    assert_eq!(proxy["transport"]["versions"], json!(["1.1"]));
    assert!(firehose.handler("encode").is_none(), "compressing means collecting");
    let site = server(&config, ":443")?;
    assert_eq!(site["write_timeout"], Value::Null);
    assert!(site["read_header_timeout"].is_u64() && site["max_header_bytes"].is_u64(), "{site}");
    Ok(())
}

/// A stranger would read how busy the relay is, or hand Caddy another configuration.
#[test]
fn metrics_and_the_configuration_are_for_this_machine_alone() -> Result<()> {
    let Some(config) = adapted(&[])? else { return Ok(()) };
    assert_eq!(config["admin"]["listen"], "localhost:2019");
    let metrics = server(&config, "127.0.0.1:2473")?;
    assert!(metrics.to_string().contains(r#""handler":"metrics""#), "{metrics}");
    assert!(!server(&config, ":443")?.to_string().contains(r#""handler":"metrics""#));
    Ok(())
}

/// The disk would fill, or a password would lie in a file for a month.
#[test]
fn the_log_is_bounded_and_leaves_secrets_out() -> Result<()> {
    let Some(config) = adapted(&[])? else { return Ok(()) };
    let log = &config["logging"]["logs"]["log0"];
    let writer = &log["writer"];
    assert_eq!(
        [&writer["roll_size_mb"], &writer["roll_keep"], &writer["roll_keep_days"]],
        [50, 10, 30]
    );
    for header in ["Authorization", "Proxy-Authorization", "Cookie"] {
        let field = &log["encoder"]["fields"][format!("request>headers>{header}")];
        assert_eq!(field["filter"], "delete", "{header}");
    }
    Ok(())
}
