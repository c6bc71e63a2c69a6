//! What is permitted, and to whom.

use relay_simnet::{Fault, Net};

use crate::{
    http::{post, send},
    process::{Program, until},
    relay::Relay,
};

/// Setting `dev`, DESIGN 10.16: plain hosts of this machine are taken in development mode only, and the
/// refusal names it.
#[tokio::test]
async fn only_development_mode_takes_hosts_of_this_machine() {
    let net = Net::seeded(1).await.unwrap();
    let pds = net.pds("alpha").await.unwrap();
    let body = serde_json::json!({ "hostname": pds.hostname() }).to_string();
    let path = "/xrpc/com.atproto.sync.requestCrawl";

    let strict = Program::new().start().await;
    let refused = post(strict.at().api, path, &[], &body).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "InvalidRequest"));
    assert!(refused.body.contains("--dev"), "{}", refused.body);
    let refused = strict.crawl(&pds.hostname()).await;
    assert_eq!(refused.status, 400, "not by the operator either");
    strict.stop().await;

    let dev = Program::beside(&net).start().await;
    assert_eq!(post(dev.at().api, path, &[], &body).await.status, 200);
    pds.connected().await.unwrap();
    dev.stop().await;
}

/// Setting `lenient`, DESIGN 10.14: a commit from before Sync v1.1 passes and is counted, or is dropped.
#[tokio::test]
async fn leniency_passes_what_strictness_drops_and_counts_it() {
    for lenient in ["true", "false"] {
        let relay = Relay::start_with(&[("RELAY_LENIENT_SYNC_VALIDATION", lenient)]).await;
        let pds = relay.host("alpha").await;
        let alice = relay.account(&pds, "alice").await;
        let before = relay.running.log.window().head;

        alice.with(Fault::Legacy).post("in the old way").await.unwrap();
        relay.settled().await;

        let why = relay.admin("/admin/v1/why").await.json();
        let (passed, counted) =
            if lenient == "true" { (1, "lenientTotals") } else { (0, "totals") };
        assert_eq!(relay.running.log.window().head.0 - before.0, passed, "lenient: {lenient}");
        assert_eq!(why[counted]["legacy"], 1, "{why}");
        let other = if lenient == "true" { "totals" } else { "lenientTotals" };
        assert_eq!(why[other].get("legacy"), None, "{why}");
        // Leniency spares the old way only.
        alice.with(Fault::WrongKey).post("not mine").await.unwrap();
        relay.settled().await;
        let why = relay.admin("/admin/v1/why").await.json();
        assert_eq!(why["totals"]["bad_signature"], 1, "{why}");
        relay.stop().await;
    }
}

/// Setting `environment`, DESIGN 10.16: production does not start in development mode.
#[tokio::test]
async fn production_refuses_development_mode() {
    let production = Program::new().set("ENVIRONMENT", "production");

    let refused = production.clone().argument("--dev").run().await;

    assert_eq!(refused.code, Some(1));
    let sentence =
        "dev is \"true\" (flag --dev): allowed is `false` where ENVIRONMENT is `production`";
    assert!(refused.stderr.contains(sentence), "{}", refused.stderr);
    production.start().await.stop().await;
    Program::new().set("ENVIRONMENT", "staging").argument("--dev").start().await.stop().await;
}

/// Setting `admin_passwords`, API-6: each of them opens the admin API, nothing else does.
#[tokio::test]
async fn every_admin_password_opens_and_no_other() {
    let program = Program::new().set("RELAY_ADMIN_PASSWORD", "first, second");
    let relay = program.start().await;
    for (password, status) in
        [("first", 200), ("second", 200), ("first, second", 401), ("third", 401), ("", 401)]
    {
        let header = format!("Authorization: Bearer {password}");
        let answer = send(relay.at().admin, "GET", "/admin/v1/status", &[&header]).await;
        assert_eq!(answer.status, status, "{password:?}");
    }
    until("the wrong ones are in the log", async || {
        relay.log().matches("a wrong admin password was given").count() == 2
    })
    .await;
    assert!(!relay.stop().await.contains("third"), "I8");

    let refused = Program::new().set("RELAY_ADMIN_PASSWORD", "good,ChangeMe").run().await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("admin_passwords is (redacted)"), "{}", refused.stderr);
}

/// Setting `admin_password_file`: each line of the file opens the admin API beside the others, and a file
/// that everyone can read is refused.
#[tokio::test]
async fn more_admin_passwords_come_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passwords");
    let permit = |mode: u32| {
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode))
            .unwrap();
    };
    std::fs::write(&file, "third\n\n fourth \n").unwrap();
    permit(0o600);
    let path = file.display().to_string();
    let program = || {
        Program::new().set("RELAY_ADMIN_PASSWORD", "first").set("RELAY_ADMIN_PASSWORD_FILE", &path)
    };
    let relay = program().start().await;
    for (password, status) in [("first", 200), ("third", 200), ("fourth", 200), ("fifth", 401)] {
        let header = format!("Authorization: Bearer {password}");
        let answer = send(relay.at().admin, "GET", "/admin/v1/status", &[&header]).await;
        assert_eq!(answer.status, status, "{password:?}");
    }
    assert!(!relay.stop().await.contains("third"), "I8");

    permit(0o644);
    let refused = program().run().await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("others may read it"), "{}", refused.stderr);
}
