//! What a person is told of files that are no dump, or half of one; and of lists of names that hold none.

use std::{fs, path::PathBuf};

use relay_simnet::{Net, Pds};
use serde_json::{Value, json};

use crate::{
    directory::Directory,
    process::{Ended, Process, Program, until},
};

const POST: &str = "app.bsky.feed.post";
/// Accounts of the whole dump: more than the first page.
const MANY: usize = 250;

/// A relay, and accounts that it can know.
struct Ground {
    _net: Net,
    pds: Pds,
    program: Program,
    relay: Process,
}

impl Ground {
    /// A relay beside a host with so many accounts that wrote before it looked.
    async fn with(accounts: usize) -> (Self, Vec<String>) {
        let net = Net::seeded(1).await.unwrap();
        let pds = net.pds("alpha").await.unwrap();
        let mut dids = Vec::new();
        for number in 0..accounts {
            let account = pds.account(&format!("a{number}")).await.unwrap();
            account.post("long ago").await.unwrap();
            dids.push(account.did().to_owned());
        }
        pds.forget_events();
        let program = Program::beside(&net).set("RELAY_DEFAULT_ACCOUNT_LIMIT", "1000");
        let relay = program.start().await;
        relay.crawl(&pds.hostname()).await;
        pds.connected().await.unwrap();
        (Self { _net: net, pds, program, relay }, dids)
    }

    /// Returns once the relay knows so many accounts, by the list of their host.
    async fn know(&self, accounts: usize) {
        let name = self.pds.hostname();
        let admin = format!("http://{}", self.relay.at().admin);
        let line = ["hosts", "resync", &name, "--admin", &admin];
        let program =
            line.iter().fold(self.program.clone(), |program, word| program.argument(word));
        assert_eq!(program.run().await.code, Some(0));
        until("its list is read", async || {
            let walks = self.relay.admin(&format!("/admin/v1/resync?host={name}")).await.json();
            let walk = &walks["walks"][0];
            walk["listed"].as_u64() == Some(accounts as u64) && walk["status"] == "finished"
        })
        .await;
    }

    async fn run(&self, line: &[&str]) -> Ended {
        let admin = format!("http://{}", self.relay.at().admin);
        let line = [&["collections"], line, &["--admin", &admin]].concat();
        let program =
            line.iter().fold(self.program.clone(), |program, word| program.argument(word));
        program.run().await
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.program.dir().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

fn packed(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 1).unwrap()
}

fn head() -> String {
    json!({ "format": "atproto-collections", "version": 1, "dump": "one" }).to_string() + "\n"
}

fn account(did: &str) -> String {
    json!({ "did": did, "collections": [POST], "complete": true }).to_string() + "\n"
}

fn foot(accounts: usize, pairs: usize) -> String {
    json!({ "accounts": accounts, "pairs": pairs }).to_string() + "\n"
}

/// Files that are no dump of this account: name, content, what is said of it.
fn broken(did: &str) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let one = account(did);
    let packed_all = |lines: &[&str]| packed(&lines.concat());
    let with = |line: &str| packed_all(&[&head(), &one, line, "\n", &foot(2, 2)]);
    let counted = |foot: String| packed_all(&[&head(), &one, &foot]);
    let right = counted(foot(1, 1));
    let newer = head().replace(r#""version":1"#, r#""version":2"#);
    let other = head().replace("atproto-collections", r"\u001b[31mtables");
    let not_utf8 = [head().as_bytes(), b"{\"did\":\"\xff\xfe\"}\n"].concat();
    let long = "x".repeat((8 << 20) + 1);
    vec![
        ("empty", Vec::new(), "is no dump, which is compressed with zstd"),
        ("empty-frame", packed(""), "is empty, not a dump"),
        ("text", b"did:plc:x\n".to_vec(), "is no dump, which is compressed with zstd"),
        ("binary", vec![0; 1_000], "is no dump, which is compressed with zstd"),
        ("cut-frame", right[..right.len() - 6].to_vec(), "cannot be read"),
        ("no-head", packed(&one), "is no dump: its first line should say what it is"),
        ("newer", packed(&newer), "of the form atproto-collections 2, and this relay reads"),
        ("other", packed(&other), "tables 1, and this relay reads atproto-collections 1"),
        ("no-foot", packed_all(&[&head(), &one]), "is cut off: its last line is missing"),
        ("cut-line", packed_all(&[&head(), &one, r#"{"did":"#]), "line 3 of"),
        ("not-json", with("posts"), "line 3 of"),
        ("array", with("[]"), "neither an account nor the last line"),
        ("number", with("7"), "neither an account nor the last line"),
        ("deep", with(&"[".repeat(100_000)), "neither an account nor the last line"),
        ("no-did", with(r#"{"did":"alice"}"#), "line 3 of"),
        ("strange-did", with(&account("did:plc:\u{1b}[2J")), "is no DID"),
        ("no-nsid", with(&one.replace(POST, "posts")), "posts is no collection"),
        ("wrong-type", with(&one.replace(&format!("[\"{POST}\"]"), "7")), "line 3 of"),
        ("not-utf8", zstd::encode_all(&*not_utf8, 1).unwrap(), "line 2 of"),
        ("long", with(&long), "line 3 of"),
        ("more", packed_all(&[&head(), &one, &foot(1, 1), &one]), "comes after the last"),
        ("accounts", counted(foot(2, 1)), "says 2 accounts, and it has 1"),
        ("pairs", counted(foot(1, 9)), "says 9 entries, and it has 1"),
    ]
}

/// Whatever a file holds, a person reads what is wrong with it and where; nothing of it is taken, and the
/// right file is taken afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_dump_is_refused_with_file_and_line() {
    let (ground, dids) = Ground::with(1).await;
    for (name, content, said) in broken(&dids[0]) {
        let path = ground.file(name, &content).display().to_string();
        let ended = ground.run(&["import", &path]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains(&path), "{name}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{name}: {}", ended.stderr);
        assert!(!ended.stderr.contains('\u{1b}'), "{name}: {}", ended.stderr);
    }
    let dir = ground.program.dir().display().to_string();
    let of_dir = ground.run(&["import", &dir]).await;
    assert!(of_dir.stderr.contains("is a directory, not a dump"), "{}", of_dir.stderr);
    let missing = ground.run(&["import", "missing"]).await;
    assert!(missing.stderr.contains("the file missing cannot be read"), "{}", missing.stderr);

    let right = [head().replace("one", "right"), account(&dids[0]), foot(1, 1)].concat();
    let path = ground.file("right", &packed(&right)).display().to_string();
    let taken = ground.run(&["import", &path]).await;
    assert_eq!(taken.code, Some(0), "{}", taken.stderr);
    let shown = ground.run(&["show", &dids[0]]).await;
    assert!(shown.stdout.contains(&format!("{POST}\tbelieved")), "{}", shown.stdout);
    ground.relay.stop().await;
}

/// What was taken before the place that is wrong stays and is told; the whole file goes on there.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_goes_on_behind_what_was_taken_of_a_broken_file() {
    let (ground, dids) = Ground::with(MANY).await;
    ground.know(MANY).await;
    let lines: Vec<String> = dids.iter().map(|did| account(did)).collect();
    let cut = [head(), lines[..220].concat(), "{\"did\":".to_owned()].concat();
    let path = ground.file("dump", &packed(&cut)).display().to_string();

    let refused = ground.run(&["import", &path]).await;

    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("line 222 of"), "{}", refused.stderr);
    let told = "200 accounts of it are taken; the import goes on after them";
    assert!(refused.stderr.contains(told), "{}", refused.stderr);
    ground.file("dump", &packed(&[head(), lines.concat(), foot(MANY, MANY)].concat()));
    let whole = ground.run(&["import", &path, "--json"]).await;
    let sum: Value = serde_json::from_str(&whole.stdout).unwrap();
    assert_eq!((whole.code, &sum["accounts"], &sum["pairs"]), (Some(0), &MANY.into(), &50.into()));
    assert!(whole.stderr.contains("200 accounts of it were read before"), "{}", whole.stderr);
    let listed = ground.run(&["list"]).await;
    assert!(listed.stdout.starts_with(&format!("{POST}\t{MANY} accounts")), "{}", listed.stdout);
    ground.relay.stop().await;
}

/// Files and addresses with names of accounts or collections are looked at before anything is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn lists_of_names_that_hold_something_else_are_refused() {
    let (ground, dids) = Ground::with(1).await;
    let directory = Directory::start(&[(POST, dids.clone())], 9).await;
    let from = directory.name();
    let web = |path: &str| format!("http://{from}{path}");
    let page = ground.file("page", b"<html>\n<body>\n").display().to_string();
    let binary = ground.file("binary", &[0xff, 0xfe, 0]).display().to_string();
    let empty = ground.file("empty", b"# nothing\n\n").display().to_string();
    let mixed = [POST, "\n", "not a name\n"].concat();
    let mixed = ground.file("mixed", mixed.as_bytes()).display().to_string();
    let of_accounts = ground.file("dids", format!("{}\nalice\n", dids[0]).as_bytes());
    let of_accounts = of_accounts.display().to_string();
    let dir = ground.program.dir().display().to_string();
    let (none, lists) = (web("/none"), web("/v1/listCollections"));

    for (file, said) in [
        (&page, "<html> is no collection"),
        (&binary, "cannot be read"),
        (&empty, "names no collections"),
        (&mixed, "not is no collection"),
        (&dir, "cannot be read"),
        (&"missing".to_owned(), "cannot be read"),
        (&none, "cannot be read: HTTP status client error (404"),
        (&lists, "is no collection"),
        (&"http://127.0.0.1:1/x".to_owned(), "cannot be read"),
    ] {
        let ended = ground.run(&["backfill", "--from", &from, "--nsids", file]).await;
        assert_eq!(ended.code, Some(1), "{file}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{file}: {}", ended.stderr);
        assert!(ended.stderr.contains(file.as_str()), "{file}: {}", ended.stderr);
    }
    for (file, said) in [
        (&page, "<html> is no DID"),
        (&binary, "cannot be read"),
        (&empty, "names no accounts"),
        (&of_accounts, "alice is no DID"),
        (&dir, "cannot be read"),
    ] {
        let ended = ground.run(&["backfill", "--dids", file]).await;
        assert_eq!(ended.code, Some(1), "{file}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{file}: {}", ended.stderr);
    }
    assert_eq!(directory.asked(), [], "nothing was asked for");
    let names = ground.file("names", format!("{POST} # posts\n").as_bytes());
    let names = names.display().to_string();
    let right = ground.run(&["backfill", "--from", &from, "--nsids", &names, "--wait"]).await;
    assert_eq!(right.code, Some(0), "{}", right.stderr);
    assert_eq!(directory.asked(), [(POST.to_owned(), String::new())]);
    ground.relay.stop().await;
}

/// A collection that is named without a relay is read from all relays whose lists were read before; where
/// there is none, a person reads what to add.
#[tokio::test(flavor = "multi_thread")]
async fn a_collection_alone_is_read_from_where_lists_were_read_before() {
    let (ground, dids) = Ground::with(1).await;
    let like = "app.bsky.feed.like";
    let lists = [(POST, dids.clone()), (like, Vec::new())];
    let (one, other) = (Directory::start(&lists, 9).await, Directory::start(&lists, 9).await);

    let alone = ground.run(&["backfill", "--collection", POST, "--wait"]).await;
    assert_eq!(alone.code, Some(1), "{}", alone.stderr);
    assert!(alone.stderr.contains("name one (--from RELAY)"), "{}", alone.stderr);
    for directory in [&one, &other] {
        let read = ground.run(&["backfill", "--from", &directory.name(), "--wait"]).await;
        assert_eq!(read.code, Some(0), "{}", read.stderr);
        assert_eq!(directory.asked().len(), 2);
    }

    let again = ground.run(&["backfill", "--collection", POST, "--wait"]).await;

    assert_eq!(again.code, Some(0), "{}", again.stderr);
    for directory in [&one, &other] {
        assert_eq!(directory.asked()[2..], [(POST.to_owned(), String::new())], "{}", again.stderr);
    }
    ground.relay.stop().await;
}
