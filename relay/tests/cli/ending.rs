//! How a running relay ends, and what `relay health` says of it.

use relay_simnet::{Consumer, Item, Net, Received, Start};
use rustix::process::Signal;
use sqlx::{Connection as _, SqliteConnection};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::program::Place;

/// OUT-7, I1, I2: SIGTERM and SIGINT drain, sync, close consumers with 1001 and exit 0; the relay
/// itself cuts off what takes 9 s, with exit code 1. The next start has every event, once.
#[tokio::test]
async fn a_signal_drains_syncs_and_closes_consumers_with_1001() {
    let net = Net::seeded(2).await.unwrap();
    let host = net.pds("alpha").await.unwrap();
    let alice = host.account("alice").await.unwrap();
    let plc = net.plc().url();
    let name = host.hostname();
    let place = Place::new();
    let mut seen = Vec::new();
    for (round, signal) in [Signal::TERM, Signal::INT].into_iter().enumerate() {
        let mut relay =
            place.start(&["--dev", "--crawl", &name], &[("RELAY_PLC_HOST", plc.as_str())]);
        let [api, ..] = relay.up().await;
        let mut live = Consumer::connect(&format!("ws://{api}"), Start::After(0)).await.unwrap();
        host.connected().await.unwrap();
        for number in 0..30 {
            alice.post(&format!("{round}: {number}")).await.unwrap();
        }
        // The signal comes while events are on their way.
        live.until(|event| event.text() == format!("{round}: 3")).await.unwrap();
        relay.signal(signal);
        let code = loop {
            match live.next_item().await.unwrap() {
                Item::Closed { code, .. } => break code,
                Item::Event(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(code, Some(1001));
        let ended = relay.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.err.contains("a second signal aborts"), "{ended:?}");
    }
    let mut relay = place.start(&["--dev"], &[("RELAY_PLC_HOST", plc.as_str())]);
    let [api, ..] = relay.up().await;
    let mut late = Consumer::connect(&format!("ws://{api}"), Start::After(0)).await.unwrap();
    for event in late.until(|event| event.text() == "1: 29").await.unwrap() {
        if !event.text().is_empty() {
            seen.push(event.text());
        }
    }
    relay.stop().await;
    let sent = |round| (0..30).map(move |number| format!("{round}: {number}"));
    assert_eq!(seen, sent(0).chain(sent(1)).collect::<Vec<_>>());
}

/// OUT-7: neither an event that waits for its identity, nor a consumer that takes nothing, nor a
/// connection that asks for nothing holds the shutdown, also all of them together: what takes 9 s is
/// cut off with exit code 1.
#[tokio::test]
async fn nobody_who_is_connected_can_hold_the_shutdown() {
    let net = Net::seeded(9).await.unwrap();
    let host = net.pds("alpha").await.unwrap();
    let alice = host.account("alice").await.unwrap();
    let plc = net.plc().url();
    let mut relay = Place::new()
        .start(&["--dev", "--crawl", &host.hostname()], &[("RELAY_PLC_HOST", plc.as_str())]);
    let [api, admin, metrics] = relay.up().await;
    let url = format!("ws://{api}");
    // It reads only when it is asked to.
    let _silent = Consumer::connect(&url, Start::After(0)).await.unwrap();
    let mut idle = Vec::new();
    for address in [&api, &admin, &metrics] {
        idle.push(TcpStream::connect(address).await.unwrap());
        let mut half = TcpStream::connect(address).await.unwrap();
        half.write_all(b"GET /_health HTTP/1.1\r\nHost: ").await.unwrap();
        idle.push(half);
    }
    // More than the buffers of a connection hold.
    let text = "far more than anybody reads ".repeat(8_000);
    let mut live = Consumer::connect(&url, Start::After(0)).await.unwrap();
    for number in 0..60 {
        alice.post(&format!("{number} {text}")).await.unwrap();
    }
    live.until(|event| event.text().starts_with("59 ")).await.unwrap();
    net.plc().down();
    host.account("bob").await.unwrap();
    relay.until("the events are with the relay", |_| net.undelivered() == 0).await;

    let ended = relay.stop().await;

    assert!(ended.err.contains("some events still wait for an identity"), "{ended:?}");
    assert!(ended.err.lines().last().unwrap().ends_with("stopped"), "{ended:?}");
}

/// OUT-7, I3: a database that takes nothing, as while another program holds it, is one sentence and
/// exit code 1; consumers get their events and their 1001 all the same, and nothing is lost.
#[tokio::test]
async fn a_database_that_takes_nothing_keeps_no_consumer_waiting() {
    let net = Net::seeded(10).await.unwrap();
    let host = net.pds("alpha").await.unwrap();
    let alice = host.account("alice").await.unwrap();
    let (plc, name) = (net.plc().url(), host.hostname());
    let place = Place::new();
    let arguments = ["--dev", "--crawl", &name];
    let settings = [("RELAY_PLC_HOST", plc.as_str())];
    let mut relay = place.start(&arguments, &settings);
    let [api, ..] = relay.up().await;
    let mut live = Consumer::connect(&format!("ws://{api}"), Start::After(0)).await.unwrap();
    alice.post("first").await.unwrap();
    live.until(|event| event.text() == "first").await.unwrap();
    let url = format!("sqlite://{}", place.data().join("relay.sqlite").display());
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    alice.post("last").await.unwrap();
    live.until(|event| event.text() == "last").await.unwrap();

    relay.signal(Signal::TERM);

    let end = live.next_item().await.unwrap();
    assert!(matches!(end, Item::Closed { code: Some(1001), .. }), "{end:?}");
    let ended = relay.ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let last = ended.err.lines().last().unwrap();
    assert!(last.contains("did not take the last checkpoint in time; the next start replays"));
    other.close().await.unwrap();
    let mut again = place.start(&arguments, &settings);
    let [api, ..] = again.up().await;
    let mut late = Consumer::connect(&format!("ws://{api}"), Start::After(0)).await.unwrap();
    alice.post("after it").await.unwrap();
    let events = late.until(|event| event.text() == "after it").await.unwrap();
    let texts = events.iter().map(Received::text).filter(|text| !text.is_empty());
    assert_eq!(texts.collect::<Vec<_>>(), ["first", "last", "after it"]);
    again.stop().await;
}

/// Issue 3, section 5: a second signal aborts, with exit code 1. The first one alone would wait for
/// the event whose identity cannot be fetched.
#[tokio::test]
async fn a_second_signal_aborts() {
    let net = Net::seeded(3).await.unwrap();
    let host = net.pds("alpha").await.unwrap();
    let alice = host.account("alice").await.unwrap();
    net.plc().down();
    let plc = net.plc().url();
    let mut relay = Place::new()
        .start(&["--dev", "--crawl", &host.hostname()], &[("RELAY_PLC_HOST", plc.as_str())]);
    relay.up().await;
    host.connected().await.unwrap();
    alice.post("waits for its identity").await.unwrap();
    relay.until("the events are with the relay", |_| net.undelivered() == 0).await;

    relay.signal(Signal::TERM);
    relay.signal(Signal::INT);

    let ended = relay.ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let last = ended.err.lines().last().unwrap();
    assert!(last.starts_with("relay: aborted by a second signal"), "{ended:?}");
}

/// A signal is heard also while the start waits for something, and leaves nothing to repair.
#[tokio::test]
async fn a_signal_during_the_start_ends_it_with_exit_code_0() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://relay@{}/relay", silent.local_addr().unwrap());
    let relay = Place::new().start(&[], &[("DATABASE_URL", &url)]);
    let (_waiting, _) = silent.accept().await.unwrap();

    let ended = relay.stop().await;

    assert!(ended.err.contains("stopped before the start was complete"), "{ended:?}");
}

/// Issue 3, section 5: `relay health` is exit code 0 and a line of JSON while the relay is well, and 1
/// with a sentence when there is none.
#[tokio::test]
async fn relay_health_is_0_while_the_relay_is_well_and_1_when_it_is_not_there() {
    let place = Place::new();
    let mut relay = place.start(&[], &[("RELAY_API_BIND", "0.0.0.0:0")]);
    let [api, ..] = relay.up().await;

    // The address as it is set: all interfaces, which nobody can ask.
    let well = place.run(&["health"], &[("RELAY_API_BIND", &api)]).await;
    assert_eq!((well.code, well.err.as_str()), (Some(0), ""), "{well:?}");
    assert!(serde_json::from_str::<serde_json::Value>(&well.out).is_ok(), "{well:?}");

    relay.stop().await;
    let gone = place.run(&["health"], &[("RELAY_API_BIND", &api)]).await;
    let sentence = gone.one_sentence();
    let asked = api.replace("0.0.0.0", "127.0.0.1");
    assert!(sentence.starts_with(&format!("relay: the relay at {asked} does not answer")));
    assert_eq!(gone.out, "");
}

/// A relay that is not well is exit code 1 with what it says itself.
#[tokio::test]
async fn relay_health_is_1_when_the_relay_says_that_it_is_not_well() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = listener.local_addr().unwrap().to_string();
    let asking = Place::new().start(&["health"], &[("RELAY_API_BIND", &api)]);
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut request = [0; 1024];
    let length = socket.read(&mut request).await.unwrap();
    assert!(request[..length].starts_with(b"GET /xrpc/_health HTTP/1.1\r\n"));
    let body = r#"{"status":"degraded"}"#;
    let head = format!("HTTP/1.1 503 x\r\ncontent-length: {}\r\n\r\n", body.len());
    socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();

    let ended = asking.ended().await;

    assert_eq!(
        ended.one_sentence(),
        format!("relay: the relay at {api} is not well (HTTP 503): {body}")
    );
}
