//! The policy file as an operator works with it: look before, send a signal after.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::process::{PASSWORD, Program, free_addresses, until};

/// `relay policy diff` says what a file would change in the running relay and changes nothing; SIGHUP
/// then does just that, and a file with a slip does nothing, at neither of the two.
#[tokio::test]
async fn a_policy_is_looked_at_and_then_followed_on_sighup() {
    let [api, admin, metrics] = free_addresses();
    let program = Program::new()
        .set("RELAY_API_BIND", &api)
        .set("RELAY_ADMIN_BIND", &admin)
        .set("RELAY_METRICS_LISTEN", &metrics)
        .set("RELAY_ADMIN_PASSWORD", PASSWORD);
    let file = program.dir().join("policy.toml");
    fs::write(&file, "# nothing yet\n").unwrap();
    let program = program.set("RELAY_POLICY_FILE", &file.display().to_string());
    let relay = program.start().await;
    let diff = async || {
        let program = program.again(&["policy", "diff"]);
        program.run().await
    };
    let none = diff().await;
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), "nothing would change\n"), "{none:?}");

    fs::write(&file, "takedowns = [\"did:web:a.example\"]\nbanned_domains = [\"b.example\"]\n")
        .unwrap();
    let some = diff().await;
    assert_eq!(some.code, Some(3), "{some:?}");
    assert_eq!(some.stdout, "ban the domain b.example\ntake down did:web:a.example\n");
    let takedowns = async || relay.admin("/admin/repo/takedowns").await.json()["dids"].clone();
    assert_eq!(takedowns().await, serde_json::json!([]), "it was only looked at");

    let hangup = || {
        let pid = Pid::from_raw(i32::try_from(relay.id()).unwrap()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
    };
    hangup();
    until("the file was followed", async || {
        takedowns().await == serde_json::json!(["did:web:a.example"])
    })
    .await;
    assert_eq!(diff().await.code, Some(0));

    fs::write(&file, "takedowns = []\nbaned_domains = []\n").unwrap();
    let wrong = diff().await;
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("line 2, column 1"), "{wrong:?}");
    hangup();
    until("the slip is in the log", async || relay.log().contains("line 2, column 1")).await;
    assert_eq!(takedowns().await, serde_json::json!(["did:web:a.example"]), "nothing was changed");
    relay.stop().await;
}
