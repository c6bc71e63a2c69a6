//! Names, ports, clock, certificate, and what the public sees.

use std::{fs, net::IpAddr};

use anyhow::Result;
use provision::{
    doctor::{Patient, Stage, State},
    feed::Address,
    moment,
};
use relay_simnet::{Fault, Net};
use tokio::net::TcpListener;

use super::{
    look, one, patient,
    servers::{Certificate, Server, Zone, answer},
};
use crate::program::provision_with;

const V4: &str = "192.0.2.7";
const V6: &str = "2001:db8::7";

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

async fn named(dir: &tempfile::TempDir, zone: Zone) -> Result<(Server, Patient)> {
    let server = Server::names(zone).await?;
    let mut patient = patient(dir.path(), "")?;
    patient.name_server = Some(server.at);
    Ok((server, patient))
}

/// The name is right in both directions, or each mistake has a line of its own.
#[tokio::test]
async fn each_mistake_in_the_zone_is_told() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let name = Some("relay.example.com");
    let good = Zone { addresses: addresses(&[V4, V6]), name };
    let (server, mut patient) = named(&dir, good).await?;
    patient.addresses = addresses(&[V4, V6]);
    let lines = look(&patient, "dns").await;
    assert!(lines.len() == 3 && lines.iter().all(|line| line.state == State::Ok), "{lines:?}");
    patient.addresses = addresses(&["192.0.2.8", V6]);
    let line = one(&patient, "dns", State::Fail).await;
    assert!(line.what.ends_with(V4) && line.cause.contains("192.0.2.8"), "{line:?}");
    drop(server);
    patient.address = Address::parse("other.example.com")?;
    let line = one(&patient, "dns", State::Fail).await;
    assert!(line.what.contains("cannot be looked up"), "{line:?}");

    let (_server, patient) = named(&dir, Zone::default()).await?;
    let line = one(&patient, "dns", State::Fail).await;
    assert!(line.what.contains("has no address") && line.fix.contains("A record"), "{line:?}");

    let bare = Zone { addresses: addresses(&[V4]), name: Some("static.provider.example") };
    let (_server, patient) = named(&dir, bare).await?;
    let lines = look(&patient, "dns").await;
    assert!(lines.iter().all(|line| line.state == State::Warn), "{lines:?}");
    assert!(
        lines[0].what.contains("AAAA") && lines[1].what.contains("static.provider"),
        "{lines:?}"
    );
    Ok(())
}

/// Before: a web server that a provider installed would take Caddy's port.
#[tokio::test]
async fn a_port_that_is_taken_is_named_with_who_has_it() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let nginx = Server::http(answer("200 OK", "Server: nginx/1.22\r\n")).await?;
    let caddy = Server::http(answer("308 Permanent Redirect", "Server: Caddy\r\n")).await?;
    let settings = format!("RELAY_METRICS_LISTEN={}\nRELAY_API_BIND=127.0.0.1:1\n", nginx.at);
    let mut patient = patient(dir.path(), &format!("{settings}RELAY_ADMIN_BIND=127.0.0.1:2\n"))?;
    patient.stage = Stage::Before;
    patient.address = Address::parse(&format!("https://localhost:{}", nginx.at.port()))?;
    patient.http_port = caddy.at.port();
    let lines = look(&patient, "ports").await;
    let failed: Vec<_> = lines.iter().filter(|line| line.state == State::Fail).collect();
    assert_eq!(failed.len(), 2, "{lines:?}");
    assert!(
        failed[0].cause.contains("nginx/1.22") && failed[0].fix.contains("ss -ltnp"),
        "{lines:?}"
    );
    assert!(failed[1].what.contains("where the relay wants to listen"), "{lines:?}");
    assert!(lines[0].what.ends_with("is Caddy's"), "{lines:?}");
    Ok(())
}

/// After: public ports are open, and what listens on a public address by mistake is found.
#[tokio::test]
async fn private_ports_that_are_open_are_found() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let open = TcpListener::bind("127.0.0.1:0").await?;
    let port = open.local_addr()?.port();
    let settings = format!("RELAY_METRICS_LISTEN=0.0.0.0:{port}\nRELAY_ADMIN_BIND=127.0.0.1:1\n");
    let mut patient = patient(dir.path(), &settings)?;
    patient.address = Address::parse(&format!("https://localhost:{port}"))?;
    patient.http_port = 1;
    patient.addresses = addresses(&["127.0.0.1"]);
    let lines = look(&patient, "ports").await;
    let states: Vec<State> = lines.iter().map(|line| line.state).collect();
    assert_eq!(states, [State::Ok, State::Fail, State::Fail], "{lines:?}");
    assert!(lines[1].what.contains("127.0.0.1:1 is closed"), "{lines:?}");
    assert!(lines[2].what.ends_with("is open: metrics"), "{lines:?}");
    Ok(())
}

/// The form of a `Date` header.
fn date(ms: u64) -> String {
    let text = humantime::format_rfc3339_seconds(
        std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms),
    )
    .to_string();
    let (day, time) = text.split_once('T').expect("a time");
    let parts: Vec<&str> = day.split('-').collect();
    let months =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months[parts[1].parse::<usize>().expect("a month") - 1];
    format!("Date: Mon, {} {month} {} {} GMT\r\n", parts[2], parts[0], time.trim_end_matches('Z'))
}

/// A clock that is wrong makes good events look bad: it is measured, not believed.
#[tokio::test]
async fn a_wrong_clock_is_noticed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut patient = patient(dir.path(), "")?;
    for (away_ms, state) in [(0, State::Ok), (20_000, State::Warn), (600_000, State::Fail)] {
        let server = Server::http(answer("200 OK", &date(moment::now_ms() + away_ms))).await?;
        patient.time_from = server.url();
        let line = one(&patient, "clock", state).await;
        assert!(away_ms == 0 || line.what.contains("behind that of"), "{line:?}");
    }
    patient.time_from = "http://127.0.0.1:1/".to_owned();
    one(&patient, "clock", State::Warn).await;
    Ok(())
}

/// The certificate as consumers see it: unknown, for another name, expired, about to expire, good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_judged_as_consumers_judge_them() -> Result<()> {
    const DAY: i64 = 86_400;
    let dir = tempfile::tempdir()?;
    let env = dir.path().join("env");
    for (name, before, after, trusted, state, words) in [
        ("localhost", DAY, 60 * DAY, true, "ok", "59 days"),
        ("localhost", DAY, 60 * DAY, false, "fail", "whole chain"),
        ("other.example.com", DAY, 60 * DAY, true, "fail", "RELAY_SITE"),
        ("localhost", 60 * DAY, -DAY, true, "fail", "renewal"),
        ("localhost", 80 * DAY, 20 * DAY, true, "warn", "a third of its time"),
        ("localhost", 89 * DAY, DAY, true, "fail", "a third of its time"),
    ] {
        let certificate = Certificate::new(name, before, after)?;
        let server = Server::https(&certificate, &answer("404 Not Found", "")).await?;
        let roots = dir.path().join("roots.pem");
        let other = Certificate::new("nobody", 1, 1)?.authority;
        fs::write(&roots, if trusted { &certificate.authority } else { &other })?;
        let url = format!("https://localhost:{}", server.at.port());
        let (roots, env) = (roots.display().to_string(), env.display().to_string());
        let said = provision_with(
            &[("SSL_CERT_FILE", &roots)],
            &["doctor", &url, "--env", &env, "--only", "tls,admin", "--json"],
        );
        let lines = &said.json()["lines"];
        let line = &lines[0];
        assert_eq!(line["state"], state, "{said:?}");
        assert!(line.to_string().contains(words), "{words}: {said:?}");
        // What is closed can be seen when the certificate is good, and not else.
        let good = trusted && name == "localhost" && after > 0;
        assert_eq!(lines[1]["state"] == "ok", good, "{said:?}");
    }
    Ok(())
}

/// An admin API that asks the public for a password is open; a closed one says that there is nothing.
#[tokio::test]
async fn an_open_admin_api_is_found() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut patient = patient(dir.path(), "")?;
    for (status, state) in [
        ("404 Not Found", State::Ok),
        ("403 Forbidden", State::Ok),
        ("401 Unauthorized", State::Fail),
        ("200 OK", State::Fail),
    ] {
        let server = Server::http(answer(status, "")).await?;
        patient.address = Address::parse(&server.url())?;
        let lines = look(&patient, "admin").await;
        assert!(lines.iter().all(|line| line.state == state), "{status}: {lines:?}");
    }
    Ok(())
}

/// A proxy that passes no stream on answers as if all were well.
#[tokio::test]
async fn a_proxy_that_passes_no_stream_is_found() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut patient = patient(dir.path(), "")?;
    let server = Server::http(answer("200 OK", "")).await?;
    patient.address = Address::parse(&server.url())?;
    let line = one(&patient, "websocket", State::Fail).await;
    assert!(line.fix.contains("Caddyfile"), "{line:?}");
    let line = one(&patient, "live", State::Fail).await;
    assert!(line.what.contains("ended"), "{line:?}");

    let net = Net::seeded(301).await?;
    let host = net.pds("alpha").await?;
    patient.address = Address::parse(&format!("ws://{}", host.hostname()))?;
    one(&patient, "websocket", State::Ok).await;
    Ok(())
}

/// Events of a real signer are verified; one that somebody else signed is wrong; silence is a failure,
/// and events of yesterday are not live.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_events_are_verified() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let net = Net::seeded(302).await?;
    let host = net.pds("alpha").await?;
    let (alice, bob) = (host.account("alice").await?, host.account("bob").await?);
    let settings = format!("RELAY_PLC_HOST={}\nRELAY_ALLOW_INSECURE_HOSTS=true\n", net.plc().url());
    let mut patient = patient(dir.path(), &settings)?;
    patient.address = Address::parse(&format!("ws://{}", host.hostname()))?;
    patient.listen = std::time::Duration::from_secs(1);
    let line = one(&patient, "live", State::Fail).await;
    assert!(line.what.starts_with("no event in 1 s"), "{line:?}");

    patient.listen = std::time::Duration::from_secs(6);
    let posting = async {
        host.connected().await?;
        alice.post("one").await?;
        alice.post("two").await?;
        anyhow::Ok(())
    };
    let (lines, posted) = tokio::join!(look(&patient, "live"), posting);
    posted?;
    // The simulated network lives in the past.
    assert!(lines[0].state == State::Warn && lines[0].what.contains("s old"), "{lines:?}");
    let line = &lines[1];
    assert!(
        line.what.starts_with("2 events from ") && line.what.ends_with("2 verified"),
        "{line:?}"
    );

    patient.listen = std::time::Duration::from_secs(30);
    let forging = async {
        host.connected().await?;
        bob.with(Fault::WrongKey).post("by somebody else").await?;
        anyhow::Ok(())
    };
    let (line, forged) = tokio::join!(one(&patient, "live", State::Fail), forging);
    forged?;
    assert!(line.what.contains("sent something wrong"), "{line:?}");
    Ok(())
}
