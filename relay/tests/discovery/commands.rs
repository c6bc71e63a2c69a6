//! `relay hosts` as a person types it.

use std::fs;

use relay_simnet::Net;
use serde_json::Value;

use crate::{
    process::{Ended, Process, Program},
    stand_in::{StandIn, host},
};

/// The same settings, another command line.
fn typed(program: &Program, line: &[&str]) -> Program {
    line.iter().fold(program.clone(), |program, word| program.argument(word))
}

async fn ask(program: &Program, relay: &Process, line: &[&str]) -> Ended {
    let admin = format!("http://{}", relay.at().admin);
    typed(program, line).argument("--admin").argument(&admin).run().await
}

/// A person adds hosts from a file, lists them, and reads of one why its events were dropped.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_adds_lists_and_shows_hosts_of_the_running_relay() {
    let net = Net::seeded(1).await.unwrap();
    let pds = net.pds("alpha").await.unwrap();
    let name = pds.hostname();
    let program = Program::beside(&net);
    let relay = program.start().await;
    fs::write(program.dir().join("mine.txt"), format!("# mine\n{name}  # Alice\n10.0.0.1\n"))
        .unwrap();

    let added = ask(&program, &relay, &["hosts", "add", "mine.txt"]).await;

    assert_eq!(added.code, Some(1), "one was refused: {}", added.stderr);
    assert!(added.stdout.contains(&format!("{name}: known as number 1")), "{}", added.stdout);
    assert!(added.stdout.contains("10.0.0.1: refused: "), "{}", added.stdout);
    pds.connected().await.unwrap();
    let listed = ask(&program, &relay, &["hosts", "list", "--json"]).await;
    let hosts: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!((listed.code, &hosts[0]["hostname"]), (Some(0), &Value::from(name.as_str())));
    let offline = ask(&program, &relay, &["hosts", "list", "--status", "offline"]).await;
    assert_eq!((offline.code, offline.stdout.as_str()), (Some(0), ""));
    let shown = ask(&program, &relay, &["hosts", "show", &name]).await;
    assert!(shown.stdout.contains("status: active\n"), "{}", shown.stdout);
    let unknown = ask(&program, &relay, &["hosts", "show", "localhost:1"]).await;
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("does not know localhost:1"), "{}", unknown.stderr);
    relay.stop().await;
}

/// A person who asks a relay that does not run, or says a wrong password, reads what to do.
#[tokio::test(flavor = "multi_thread")]
async fn commands_say_what_is_wrong_when_they_reach_no_relay() {
    let net = Net::seeded(1).await.unwrap();
    let program = Program::beside(&net);
    let relay = program.start().await;
    fs::write(program.dir().join("other"), "another password\n").unwrap();

    let wrong = ask(&program, &relay, &["hosts", "list", "--password-file", "other"]).await;
    let lost = typed(&program, &["hosts", "list"]).run().await;
    let locked = typed(&program, &["hosts", "pull"]).run().await;
    let typo = typed(&program, &["hosts", "lsit"]).run().await;

    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("does not take this password"), "{}", wrong.stderr);
    assert_eq!(lost.code, Some(1));
    assert!(lost.stderr.contains("no relay answers at http://127.0.0.1:0"), "{}", lost.stderr);
    assert_eq!(locked.code, Some(1));
    assert!(
        locked.stderr.contains("another relay runs on the data directory"),
        "{}",
        locked.stderr
    );
    assert_eq!(typo.code, Some(2));
    relay.stop().await;
}

/// HOST-13: the lists of other relays are read with and without a running relay, also as scripts for the
/// reference relay ask for it.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_pulled_with_and_without_a_running_relay() {
    let net = Net::seeded(1).await.unwrap();
    let source = StandIn::start(vec![
        vec![host("localhost:1", "active", (1, 400))],
        vec![host("localhost:2", "active", (1, 1))],
    ])
    .await;
    let program = Program::beside(&net);

    let stopped = typed(&program, &["pull-hosts", "--batch-size", "500", "--skip-host-checks"])
        .set("RELAY_HOST", &format!("http://{}", source.name()))
        .run()
        .await;

    assert_eq!(stopped.code, Some(0), "{}", stopped.stderr);
    assert!(stopped.stdout.contains("2 listed, 2 added, 0 known"), "{}", stopped.stdout);
    assert!(stopped.stderr.contains("no relay runs on "), "{}", stopped.stderr);
    assert!(!stopped.stderr.contains("warning"), "{}", stopped.stderr);
    let relay = program.start().await;
    let hosts = relay.admin("/admin/v1/hosts").await.json();
    assert_eq!(
        (&hosts["hosts"][0]["hostname"], &hosts["hosts"][0]["accountLimit"]),
        (&"localhost:1".into(), &800.into())
    );
    source.add(1, host("localhost:3", "active", (1, 1)));
    let running =
        ask(&program, &relay, &["hosts", "pull", "--from", &source.name(), "--json"]).await;
    let pulls: Value = serde_json::from_str(&running.stdout).unwrap();
    assert_eq!(
        (running.code, &pulls[0]["added"], &pulls[0]["known"]),
        (Some(0), &1.into(), &2.into())
    );
    relay.stop().await;

    let failed = typed(&program, &["hosts", "pull", "--from", "localhost:1"]).run().await;
    assert_eq!(failed.code, Some(1));
    assert!(failed.stdout.contains("; stopped: "), "{}", failed.stdout);
}

/// ACC-10: a person has a host's list of accounts read, sees how far it is, and which hosts documents
/// name.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_has_the_accounts_of_a_host_compared() {
    let net = Net::seeded(1).await.unwrap();
    let pds = net.pds("alpha").await.unwrap();
    pds.account("alice").await.unwrap();
    let program = Program::beside(&net);
    let relay = program.start().await;
    relay.crawl(&pds.hostname()).await;
    pds.connected().await.unwrap();
    let name = pds.hostname();

    let asked = ask(&program, &relay, &["hosts", "resync", &name]).await;
    let unknown = ask(&program, &relay, &["hosts", "resync", "localhost:1"]).await;

    assert_eq!(asked.code, Some(0), "{}", asked.stderr);
    assert!(asked.stdout.starts_with(&format!("{name}\t")), "{}", asked.stdout);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("does not know the host localhost:1"), "{}", unknown.stderr);
    loop {
        let told = ask(&program, &relay, &["hosts", "resync-status", &name, "--json"]).await;
        let walks: Value = serde_json::from_str(&told.stdout).unwrap();
        if walks[0]["status"] == "finished" {
            assert_eq!((told.code, &walks[0]["listed"]), (Some(0), &1.into()));
            break;
        }
    }
    let candidates = ask(&program, &relay, &["hosts", "candidates", "--json"]).await;
    assert_eq!((candidates.code, candidates.stdout.as_str()), (Some(0), "[]\n"));
    let ready = ask(&program, &relay, &["hosts", "readiness"]).await;
    assert_eq!(ready.code, Some(0), "{}", ready.stderr);
    assert!(ready.stdout.starts_with(&format!("{name}\t")), "{}", ready.stdout);
    let rate = ask(&program, &relay, &["hosts", "from-plc", "--rate", "11"]).await;
    assert_eq!(rate.code, Some(1));
    assert!(rate.stderr.contains("rate must be from 1 to 10"), "{}", rate.stderr);
    relay.stop().await;
}

/// A person fills the index from hosts, looks into it, takes it to another relay as a file, and is told
/// when the file is cut off.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_fills_the_index_of_collections_and_takes_it_to_another_relay() {
    let net = Net::seeded(1).await.unwrap();
    let pds = net.pds("alpha").await.unwrap();
    let alice = pds.account("alice").await.unwrap();
    alice.post("long ago").await.unwrap();
    pds.forget_events();
    let (first, second) = (Program::beside(&net), Program::beside(&net));
    let (here, there) = (first.start().await, second.start().await);
    for relay in [&here, &there] {
        relay.crawl(&pds.hostname()).await;
    }
    fs::write(first.dir().join("dids"), format!("{} # Alice\n", alice.did())).unwrap();
    let ask_here = async |line: &[&str]| {
        let line = [&["collections"][..], line].concat();
        ask(&first, &here, &line).await
    };
    let at_other = async |line: &[&str]| {
        let line = [&["collections"][..], line].concat();
        ask(&second, &there, &line).await
    };

    let filled = ask_here(&["backfill", "--dids", "dids", "--wait"]).await;

    assert_eq!(filled.code, Some(0), "{}", filled.stderr);
    let name = alice.did();
    loop {
        let shown = ask_here(&["show", name]).await;
        assert_eq!(shown.code, Some(0), "{}", shown.stderr);
        if shown.stdout == format!("{name}: complete\napp.bsky.feed.post\tproven\n") {
            break;
        }
    }
    let listed = ask_here(&["list", "app.bsky."]).await;
    assert!(listed.stdout.starts_with("app.bsky.feed.post\t1 accounts\t"), "{}", listed.stdout);
    let status = ask_here(&["status"]).await;
    assert!(
        status.stdout.contains("1 accounts complete, 0 uncertain (0.000 %)"),
        "{}",
        status.stdout
    );
    let file = first.dir().join("dump.zst").display().to_string();
    let exported = ask_here(&["export", &file]).await;
    assert_eq!(exported.code, Some(0), "{}", exported.stderr);
    let dump = String::from_utf8(zstd::decode_all(&*fs::read(&file).unwrap()).unwrap()).unwrap();
    let lines: Vec<Value> = dump.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0]["format"], &lines[0]["version"]),
        (&"atproto-collections".into(), &1.into())
    );
    let line = serde_json::json!({
        "did": name, "collections": ["app.bsky.feed.post"], "complete": true
    });
    assert_eq!((&lines[1], &lines[2]["accounts"]), (&line, &1.into()));

    let imported = at_other(&["import", &file, "--json"]).await;

    let sum: Value = serde_json::from_str(&imported.stdout).unwrap();
    assert_eq!((imported.code, &sum["pairs"], &sum["new"]), (Some(0), &1.into(), &1.into()));
    let shown = at_other(&["show", name]).await;
    assert!(shown.stdout.ends_with("app.bsky.feed.post\tbelieved\n"), "{}", shown.stdout);
    let told = at_other(&["status"]).await.stdout;
    let shares = "0 accounts complete, 0 uncertain (0.000 %), 1 only believed (100.000 %)";
    assert!(told.contains(shares), "{told}");
    let again = at_other(&["import", &file, "--json"]).await;
    let sum: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!((again.code, &sum["pairs"]), (Some(0), &0.into()), "it was read before");
    let cut = dump.lines().take(2).fold(String::new(), |text, line| text + line + "\n");
    fs::write(&file, zstd::encode_all(cut.as_bytes(), 1).unwrap()).unwrap();
    let refused = at_other(&["import", &file]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("is cut off: its last line is missing"), "{}", refused.stderr);
    here.stop().await;
    there.stop().await;
}
