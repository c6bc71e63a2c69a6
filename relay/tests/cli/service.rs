//! What systemd hears from the relay, through a socket of the kind that it gives.

use std::time::Duration;

use tokio::{net::UnixDatagram, time::timeout};

use super::program::Place;

/// Far above what a start takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(2);

async fn heard(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned()
}

/// `systemctl start` returns when consumers can come, a relay that hangs is restarted, and a stop is
/// no failure.
#[tokio::test]
async fn systemd_is_told_of_the_start_of_life_and_of_the_stop() {
    let place = Place::new();
    let path = place.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let address = path.to_string_lossy();
    let mut relay = place.start(&[], &[("NOTIFY_SOCKET", &address), ("WATCHDOG_USEC", "300000")]);

    assert_eq!(heard(&socket).await, "READY=1");
    relay.up().await;
    for _ in 0..4 {
        assert_eq!(heard(&socket).await, "WATCHDOG=1");
    }

    let stopping = async { while heard(&socket).await != "STOPPING=1" {} };
    tokio::join!(stopping, relay.stop());
}

/// The watchdog of another process is none of ours, and without one nothing is sent.
#[tokio::test]
async fn without_a_watchdog_nothing_but_start_and_stop_is_told() {
    let place = Place::new();
    let path = place.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let address = path.to_string_lossy();
    let elsewhere =
        [("NOTIFY_SOCKET", &*address), ("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")];
    let mut relay = place.start(&[], &elsewhere);
    assert_eq!(heard(&socket).await, "READY=1");
    relay.up().await;

    let (told, ended) = tokio::join!(heard(&socket), relay.stop());

    assert_eq!((told.as_str(), ended.code), ("STOPPING=1", Some(0)));
}
