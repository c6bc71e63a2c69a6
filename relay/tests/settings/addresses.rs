//! What is served where.

use std::net::TcpListener;

use crate::{
    http::send,
    process::{PASSWORD, Program, free_addresses},
};

/// Settings `api_bind`, `metrics_bind` and `admin_bind`, DESIGN 10.15: each serves its own and nothing
/// of the others.
#[tokio::test]
async fn each_address_serves_what_belongs_to_it() {
    let [api, admin, metrics] = free_addresses();
    let program = Program::new()
        .set("RELAY_API_BIND", &api)
        .set("RELAY_ADMIN_BIND", &admin)
        .set("RELAY_METRICS_LISTEN", &metrics);
    let relay = program.start().await;
    let password = format!("Authorization: Bearer {PASSWORD}");
    let rows = [
        ("/", [200, 404, 404]),
        ("/xrpc/com.atproto.sync.listHosts", [200, 501, 501]),
        ("/xrpc/com.atproto.sync.subscribeRepos", [426, 501, 501]),
        ("/admin/v1/status", [404, 200, 404]),
        ("/metrics", [404, 404, 200]),
        ("/_health", [200, 404, 200]),
    ];
    for (path, expected) in rows {
        for (at, status) in [&api, &admin, &metrics].into_iter().zip(expected) {
            let answer = send(at.parse().unwrap(), "GET", path, &[&password]).await;
            assert_eq!(answer.status, status, "{path} at {at}");
        }
    }
    relay.stop().await;
}

/// `:PORT` listens on all interfaces, and `localhost:PORT` on this machine only.
#[tokio::test]
async fn addresses_may_be_written_as_people_write_them() {
    let [api, admin, metrics] =
        free_addresses().map(|at| at.rsplit_once(':').unwrap().1.to_owned());
    let program = Program::new()
        .set("RELAY_API_BIND", &format!(":{api}"))
        .set("RELAY_ADMIN_BIND", &format!("localhost:{admin}"))
        .set("RELAY_METRICS_LISTEN", &format!("0.0.0.0:{metrics}"));

    let relay = program.start().await;

    for (port, path) in [(&api, "/"), (&admin, "/nothing"), (&metrics, "/metrics")] {
        let at = format!("127.0.0.1:{port}").parse().unwrap();
        let answer = send(at, "GET", path, &[]).await;
        assert!(matches!(answer.status, 200 | 404), "{path}: {answer:?}");
    }
    relay.stop().await;
}

/// A port in use: one sentence with the setting to change, exit code 1.
#[tokio::test]
async fn an_address_in_use_stops_the_start_and_names_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for name in ["RELAY_API_BIND", "RELAY_ADMIN_BIND", "RELAY_METRICS_LISTEN"] {
        let program = Program::new().set(name, &address);

        let ended = program.run().await;

        assert_eq!(ended.code, Some(1), "{name}");
        let sentence = ended.stderr.lines().last().unwrap_or_default();
        for part in [address.as_str(), "another program listens there", name] {
            assert!(sentence.contains(part), "{part}: {}", ended.stderr);
        }
    }
    drop(taken);
    let free = Program::new().set("RELAY_METRICS_LISTEN", &address);
    free.start().await.stop().await;
}
