//! How a start goes, and how it fails.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _, time::Duration};

use relay_simnet::Net;

use crate::program::{Place, Settings, client, printed};

/// Issue 3, section 5: no hosts known: it says so and what to type.
#[tokio::test]
async fn without_hosts_the_relay_says_so_and_what_to_type() {
    let mut relay = Place::new().start(&[], &[]);
    let [api, ..] = relay.up().await;
    relay.says("no hosts are known yet").await;
    let log = relay.stop().await.err;
    assert!(log.contains("`relay --crawl pds.example.com`"), "{log}");
    assert!(log.contains(&format!("http://{api}/xrpc/com.atproto.sync.requestCrawl")), "{log}");
}

/// Issue 3, section 5: `--crawl HOST` may be repeated, and then hosts are known.
#[tokio::test]
async fn crawl_may_be_repeated_and_adds_each_host() {
    let net = Net::seeded(1).await.unwrap();
    let names = [net.pds("alpha").await.unwrap(), net.pds("beta").await.unwrap()]
        .map(|host| host.hostname());
    let arguments = ["--dev", "--crawl", &names[0], "--crawl", &names[1]];
    let place = Place::new();
    let mut relay = place.start(&arguments, &[("RELAY_PLC_HOST", &net.plc().url())]);
    let [api, ..] = relay.up().await;
    for host in net.hosts() {
        host.connected().await.unwrap();
    }
    for name in &names {
        let url = format!("http://{api}/xrpc/com.atproto.sync.getHostStatus?hostname={name}");
        // The host knows of the connection a moment before the relay does.
        let known = async {
            while client().get(&url).send().await.unwrap().status() != 200 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), known).await.unwrap();
    }
    let log = relay.stop().await.err;
    assert!(!log.contains("no hosts are known"), "{log}");

    // They are still known when nobody names them.
    let mut again = place.start(&["--dev"], &[("RELAY_PLC_HOST", &net.plc().url())]);
    again.up().await;
    let log = again.stop().await.err;
    assert!(!log.contains("no hosts are known"), "{log}");
}

/// Issue 3, section 5: port in use: one sentence, exit code 1, for each of the three.
#[tokio::test]
async fn a_port_in_use_is_one_sentence_that_names_the_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for setting in ["RELAY_API_BIND", "RELAY_ADMIN_BIND", "RELAY_METRICS_LISTEN"] {
        let ended = Place::new().run(&[], &[(setting, &address)]).await;
        let sentence = ended.one_sentence();
        assert!(sentence.starts_with("relay: the "), "{sentence}");
        assert!(sentence.contains(&format!(" address {address} cannot be used")), "{sentence}");
        assert!(sentence.contains("another program listens there"), "{sentence}");
        assert!(sentence.ends_with(&format!("set {setting} to another address")), "{sentence}");
    }
}

/// Issue 3, section 5: a directory that cannot be written: one sentence, exit code 1, and it is the
/// directory that is named, not what would have been written first.
#[tokio::test]
async fn a_directory_that_cannot_be_written_is_one_sentence() {
    let place = Place::new();
    let closed = place.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    // Modes do not hold root back; the kernel's own files do.
    let is_root = rustix::process::geteuid().is_root();
    let closed = if is_root { "/sys/kernel".to_owned() } else { closed.display().to_string() };
    let ended = place.run(&[], &[("RELAY_DATA_DIR", &closed)]).await;
    let sentence = ended.one_sentence();
    assert!(sentence.starts_with(&format!("relay: the data directory {closed} cannot be written")));
    assert!(sentence.ends_with("or set RELAY_DATA_DIR"), "{sentence}");

    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("data").display().to_string();
    let ended = place.run(&["--data-dir", &below], &[]).await;
    let sentence = ended.one_sentence();
    assert!(sentence.starts_with(&format!("relay: the data directory {below} cannot be created")));
}

/// Issue 3, section 5: a second process on the same data: one sentence, exit code 1; the first one
/// goes on.
#[tokio::test]
async fn a_second_process_on_the_same_data_is_refused_and_harms_nothing() {
    let place = Place::new();
    let mut first = place.start(&[], &[]);
    let [api, ..] = first.up().await;

    let second = place.run(&[], &[]).await;

    assert_eq!(
        second.one_sentence(),
        "relay: another relay runs on the data directory data/relay; stop it, or set RELAY_DATA_DIR to another directory"
    );
    let health = client().get(format!("http://{api}/_health")).send().await.unwrap();
    assert_eq!(health.status(), 200);
    first.stop().await;
    let mut third = place.start(&[], &[]);
    third.up().await;
    third.stop().await;
}

/// Issue 3, section 5, I8: without an admin password one is made in a 0600 file; only its path is
/// printed, it opens the admin API, and the next start takes the same.
#[tokio::test]
async fn a_made_admin_password_is_in_a_private_file_and_only_its_path_is_printed() {
    let place = Place::new();
    let file = place.data().join("admin-password");
    let mut passwords = Vec::new();
    for _ in 0..2 {
        let mut relay = place.start(&[], &[("RELAY_LOG_LEVEL", "debug")]);
        let [_, admin, _] = relay.up().await;
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let password = fs::read_to_string(&file).unwrap().trim().to_owned();
        assert!(password.len() >= 24, "{} characters", password.len());
        for (tried, status) in [(password.as_str(), 200), ("another", 401)] {
            let url = format!("http://{admin}/admin/v1/hosts");
            let answer = client().get(url).basic_auth("admin", Some(tried)).send().await.unwrap();
            assert_eq!(answer.status(), status);
        }
        let ended = relay.stop().await;
        assert!(ended.err.contains("the admin password is in the file data/relay/admin-password"));
        assert!(!ended.err.contains(&password) && !ended.out.contains(&password));
        passwords.push(password);
    }
    assert_eq!(passwords[0], passwords[1]);

    // One that others may read is not used.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let ended = place.run(&[], &[]).await;
    assert!(ended.one_sentence().contains("others may read it; type `chmod 600` on it"));
}

/// Issue 3, section 5: `.env` in the working directory is loaded; the environment overrides it, and a
/// flag both.
#[tokio::test]
async fn a_dot_env_file_in_the_working_directory_is_read() {
    let place = Place::new();
    fs::write(place.path().join(".env"), "RELAY_CONTACT=mailto:from-file@example.com\n").unwrap();
    let steps: [(&[&str], Settings<'_>, &str, &str); 3] = [
        (&["config"], &[], "mailto:from-file@example.com", ".env RELAY_CONTACT"),
        (&["config"], &[("RELAY_CONTACT", "e")], "e", "env RELAY_CONTACT"),
        (&["config", "--contact", "f"], &[("RELAY_CONTACT", "e")], "f", "flag --contact"),
    ];
    for (arguments, settings, value, origin) in steps {
        let ended = place.run(arguments, settings).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(printed(&ended.out, "contact"), (value.to_owned(), origin.to_owned()));
    }
}

/// I3, DESIGN 10.18: database and event log that do not belong together: one sentence, exit code 1.
#[tokio::test]
async fn a_log_without_its_database_is_one_sentence() {
    let place = Place::new();
    let mut relay = place.start(&[], &[]);
    relay.up().await;
    relay.stop().await;
    fs::remove_file(place.data().join("relay.sqlite")).unwrap();

    let ended = place.run(&[], &[]).await;

    let sentence = ended.one_sentence();
    assert!(sentence.contains("one of the two was replaced or restored"), "{sentence}");
}

/// DESIGN 10.17: who plans an upgrade learns what a start would do to the database, and asking makes
/// none.
#[tokio::test]
async fn tables_are_told_before_and_after_the_first_start() {
    let place = Place::new();
    let before = place.run(&["tables"], &[]).await;
    assert!(before.out.contains("found = none"), "{before:?}");
    let known = before.out.lines().find_map(|line| line.strip_prefix("known = "));
    let known = known.and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
    let again = place.run(&["tables"], &[]).await;
    assert_eq!(again.out, before.out, "asking made a database");

    let mut relay = place.start(&[], &[]);
    relay.up().await;
    relay.stop().await;
    let after = place.run(&["tables"], &[]).await;
    assert!(after.out.contains(&format!("found = {known} ")), "{after:?}");
}
