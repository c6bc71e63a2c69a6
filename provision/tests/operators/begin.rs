//! `provision init`: settings and secrets that the relay starts with.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use provision::env_file::EnvFile;
use relay::config::{Config, Flags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::program::{Said, mode, provision};

fn init(dir: &Path, more: &[&str]) -> Said {
    let dir = dir.display().to_string();
    let mut arguments = vec!["init", "relay.example.com", "--dir", &dir];
    arguments.extend(more);
    provision(&arguments)
}

const CONTACT: [&str; 2] = ["--contact", "mailto:ops@example.com"];
const POSTGRES: [&str; 6] =
    ["--contact", "mailto:ops@example.com", "--database", "postgres", "--window", "48h"];
const FILES: [&str; 5] = [
    "env",
    "caddy.env",
    "secrets/admin-password",
    "secrets/database-password",
    "secrets/relay.env",
];

fn texts(dir: &Path) -> Vec<String> {
    FILES.iter().map(|name| fs::read_to_string(dir.join(name)).expect(name)).collect()
}

/// The relay starts with these files as they are; nobody but their owner can read them.
#[test]
fn the_relay_takes_what_init_wrote() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = init(dir.path(), &POSTGRES);
    assert_eq!(said.code, Some(0), "{said:?}");
    for name in FILES {
        assert_eq!(mode(&dir.path().join(name)), 0o600, "{name}");
    }
    let texts = texts(dir.path());
    let entries = [&texts[0], &texts[4]].map(|text| EnvFile::new(text.clone()).all()).concat();
    let pairs: Vec<_> = entries.into_iter().map(|entry| (entry.name, entry.value)).collect();
    let config = Config::load(&Flags::default(), &pairs, dir.path()).expect("the relay takes it");
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    assert_eq!(config.contact, "mailto:ops@example.com");
    assert_eq!(config.replay_window.as_secs(), 48 * 3_600);
    for (address, trusted) in [("127.0.0.1", true), ("::1", true), ("192.0.2.1", false)] {
        let address = address.parse().expect("an address");
        assert_eq!(config.trusted_proxies.contains(address), trusted, "{address}");
    }
    let password = texts[3].trim();
    assert!(password.len() == 32 && texts[2].trim() != password);
    let url = format!("postgres://relay:{password}@127.0.0.1:5432/relay");
    assert_eq!(config.database_url.expose(), url);
    assert!(config.admin_passwords[0].matches(texts[2].trim().as_bytes()));
    assert!(!said.all().contains(password) && !said.all().contains(texts[2].trim()), "{said:?}");
    assert!(said.out.contains("provision tune --env"), "{said:?}");
}

/// Run again it changes nothing, and what was lost comes back with the same secrets.
#[test]
fn running_it_again_keeps_every_secret() {
    let dir = tempfile::tempdir().expect("a directory");
    init(dir.path(), &POSTGRES);
    let before = texts(dir.path());
    fs::remove_file(dir.path().join("secrets/relay.env")).expect("lose it");
    fs::remove_file(dir.path().join("env")).expect("lose it");
    let said = init(dir.path(), &POSTGRES);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(texts(dir.path()), before);
    let again = init(dir.path(), &[&POSTGRES[..], &["--json"]].concat());
    let answer = again.json();
    let files = answer["files"].as_array().expect("files");
    assert!(
        files.len() == 5 && files.iter().all(|file| file["change"] == "unchanged"),
        "{files:?}"
    );
}

/// Where Postgres knows the relay by its account no password is made, and none has to be kept.
#[test]
fn a_database_behind_a_socket_needs_no_password() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = [&POSTGRES[..], &["--database-address", "/run/postgresql"]].concat();
    let said = init(dir.path(), &socket);
    assert_eq!(said.code, Some(0), "{said:?}");
    let text = fs::read_to_string(dir.path().join("env")).expect("env");
    let url = "postgres://relay@%2Frun%2Fpostgresql/relay";
    let pairs: Vec<_> =
        EnvFile::new(text).all().into_iter().map(|entry| (entry.name, entry.value)).collect();
    let config = Config::load(&Flags::default(), &pairs, dir.path()).expect("the relay takes it");
    assert_eq!(config.database_url.expose(), url);
    assert!(!dir.path().join("secrets/database-password").exists());
    let other = [&POSTGRES[..], &["--database-address", "/tmp"]].concat();
    let said = init(dir.path(), &other);
    assert!(said.code == Some(1) && said.out.contains("DATABASE_URL"), "{said:?}");
}

/// Another answer than that of the first time is told, not written over what a person may have set.
#[test]
fn another_answer_changes_nothing_and_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    init(dir.path(), &POSTGRES);
    let before = texts(dir.path());
    let other = [&POSTGRES[..], &["--provider", "ovh"]].concat();
    let said = init(dir.path(), &other);
    assert_eq!((said.code, texts(dir.path())), (Some(1), before), "{said:?}");
    assert!(said.out.contains("PROVISION_PROVIDER = existing in line 3"), "{said:?}");
}

/// A database password that was changed in one file only would lock the relay out: it is said.
#[test]
fn a_password_that_was_changed_in_one_place_is_noticed() {
    let dir = tempfile::tempdir().expect("a directory");
    init(dir.path(), &POSTGRES);
    fs::write(dir.path().join("secrets/database-password"), "another\n").expect("change it");
    let said = init(dir.path(), &POSTGRES);
    assert!(said.code == Some(1) && said.err.contains("another database password"), "{said:?}");
    let loose = dir.path().join("secrets/admin-password");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(&loose, open).expect("open it");
    let said = init(dir.path(), &POSTGRES);
    assert!(said.code == Some(1) && said.err.contains("chmod 600"), "{said:?}");
}

/// A dry run makes no file, and no secret that would be lost.
#[test]
fn a_dry_run_of_init_makes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = init(&dir.path().join("new"), &[&CONTACT[..], &["--dry-run"]].concat());
    assert!(said.code == Some(0) && said.out.contains("would make"), "{said:?}");
    assert!(!dir.path().join("new").exists());
}

/// Without a terminal the missing answer is named; a wrong one is told with what is allowed.
#[test]
fn what_is_missing_or_wrong_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    for (more, said) in [
        (&[][..], "--contact"),
        (&["--contact", "me"], "mailto:you@example.com"),
        (&["--contact", "mailto:a@b.example", "--window", "1s"], "1m"),
        (&["--contact", "mailto:a@b.example", "--provider", "moon"], "hetzner-cloud"),
        (&["--contact", "mailto:a@b.example", "--database", "mysql"], "postgres"),
    ] {
        let answer = init(dir.path(), more);
        assert!(answer.code == Some(2) && answer.err.contains(said), "{more:?}: {answer:?}");
    }
    let nobody = provision(&["init", "127.0.0.1", "--contact", "mailto:a@b.example"]);
    assert!(nobody.code == Some(2) && nobody.err.contains("relay.example.com"), "{nobody:?}");
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 0);
}

/// On a terminal everything is asked for, a slip is asked again, and the defaults need one key.
#[test]
fn on_a_terminal_it_asks_for_everything() {
    let dir = tempfile::tempdir().expect("a directory");
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).expect("grant it");
    unlockpt(&terminal).expect("unlock it");
    let name = ptsname(&terminal, Vec::new()).expect("its name").into_string().expect("a path");
    let open = || fs::OpenOptions::new().read(true).write(true).open(&name).expect("open it");
    let mut child = Command::new(env!("CARGO_BIN_EXE_provision"))
        .args(["init", "--dir", &dir.path().display().to_string()])
        .stdin(open())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start provision");
    let mut keys = fs::File::from(terminal);
    keys.write_all(b"relay.example.com\nme\nmailto:me@example.com\n\npostgres\n\n").expect("type");
    let status = child.wait().expect("it ends");
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().expect("stdout").read_to_string(&mut out).expect("read");
    child.stderr.take().expect("stderr").read_to_string(&mut err).expect("read");
    assert!(status.success(), "{err}{out}");
    for question in ["Public name", "is no contact", "Provider (", "Database (", "Replay window"] {
        assert!(err.contains(question), "{question}: {err}");
    }
    let env = EnvFile::new(fs::read_to_string(dir.path().join("env")).expect("env"));
    let value = |name| env.value(name).map(|entry| entry.value);
    assert_eq!(value("PROVISION_HOST"), Some("relay.example.com".to_owned()));
    assert_eq!(value("RELAY_CONTACT"), Some("mailto:me@example.com".to_owned()));
    assert_eq!(value("PROVISION_DATABASE"), Some("postgres".to_owned()));
    assert_eq!(value("RELAY_REPLAY_WINDOW"), None);
}
