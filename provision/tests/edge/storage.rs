//! Backups that are encrypted, and backups in S3-compatible storage.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use age::{secrecy::ExposeSecret as _, x25519};
use anyhow::{Context as _, Result, ensure};
use relay_simnet::Net;
use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::{
    backups::{env_file, relay, shown},
    bucket::{self, Bucket, Door},
    program::{Ended, Running},
};

/// A deployment whose relay has one account, and keys of age.
struct Scene {
    home: TempDir,
    env: String,
    storage: Vec<(&'static str, String)>,
    recipient: String,
}

impl Scene {
    /// * `filler` – bytes that nothing can make smaller, in the database
    async fn new(seed: u64, filler: u32) -> Result<Self> {
        let net = Net::seeded(seed).await?;
        let alpha = net.pds("alpha").await?;
        alpha.account("alice").await?;
        let mut running = relay(&net, tempfile::tempdir()?, &[]).await?;
        running.crawl(&net).await?;
        running.reach(&net).await?;
        let home = tempfile::tempdir()?;
        let data = home.path().join("data");
        fs::create_dir(&data)?;
        running.stop().await?;
        let database = data.join("relay.sqlite");
        fs::copy(running.data().join("relay.sqlite"), &database)?;
        let mut session =
            SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&database))
                .await?;
        sqlx::query("CREATE TABLE filler AS SELECT randomblob($1) AS bytes")
            .bind(i64::from(filler))
            .execute(&mut session)
            .await?;
        session.close().await?;
        let env = shown(&env_file(home.path(), "env", &data, None)?);
        fs::create_dir(home.path().join("secrets"))?;
        fs::write(
            home.path().join("secrets/relay.env"),
            "RELAY_ADMIN_PASSWORD=pomegranate-admin\n",
        )?;
        let key = x25519::Identity::generate();
        fs::write(home.path().join("key.txt"), key.to_string().expose_secret())?;
        let other = x25519::Identity::generate();
        fs::write(home.path().join("other.txt"), other.to_string().expose_secret())?;
        Ok(Self { home, env, storage: Vec::new(), recipient: key.to_public().to_string() })
    }

    fn at(&self, name: &str) -> String {
        shown(&self.home.path().join(name))
    }

    /// Runs a verb; no secret is ever in what it says.
    async fn run(&self, words: &[&str]) -> Result<Ended> {
        let settings: Vec<_> = self.storage.iter().map(|(name, value)| (*name, &**value)).collect();
        let ended = Running::start(words, &settings)?.end().await?;
        let said = format!("{}{}", ended.out, ended.notes);
        for secret in [bucket::SECRET, "pomegranate-admin", "AGE-SECRET-KEY"] {
            ensure!(!said.contains(secret), "{words:?} shows a secret: {said}");
        }
        Ok(ended)
    }

    async fn done(&self, words: &[&str]) -> Result<Value> {
        let ended = self.run(&[words, &["--json"]].concat()).await?;
        ensure!(ended.code == Some(0), "{words:?}: {ended:?}");
        Ok(serde_json::from_str(&ended.out)?)
    }

    /// Runs a verb that must fail, and say these words.
    async fn refused(&self, words: &[&str], says: &str) -> Result<()> {
        let ended = self.run(words).await?;
        ensure!(ended.code == Some(1), "{words:?}: {ended:?}");
        ensure!(ended.notes.contains(says), "{words:?} does not say {says:?}: {ended:?}");
        Ok(())
    }

    /// Makes a backup there; gives its address.
    async fn backed_up(&self, to: &str, more: &[&str]) -> Result<String> {
        let base = ["backup", "--env", &self.env, "--to", to];
        let made = self.done(&[&base[..], more].concat()).await?;
        Ok(made["path"].as_str().context("a path")?.to_owned())
    }

    /// Whether it is found that an encrypted backup was changed, also when its manifest was adapted.
    async fn finds_damage(
        &self,
        dir: &Path,
        backup: &str,
        damage: impl Fn(&mut Vec<u8>),
    ) -> Result<()> {
        let (file, manifest) = (dir.join("relay.sqlite.age"), dir.join("manifest.json"));
        let (whole, told) = (fs::read(&file)?, fs::read_to_string(&manifest)?);
        let mut bytes = whole.clone();
        damage(&mut bytes);
        fs::write(&file, &bytes)?;
        let key = self.at("key.txt");
        let verify = ["backup", "verify", backup, "--age-identity", &key];
        self.refused(&verify, "is damaged: its digest").await?;
        let mut adapted: Value = serde_json::from_str(&told)?;
        let sum = Command::new("sha256sum").arg(&file).output().context("sha256sum")?;
        let sum = String::from_utf8(sum.stdout)?;
        adapted["files"]["relay.sqlite.age"] = sum.split(' ').next().context("a sum")?.into();
        fs::write(&manifest, adapted.to_string())?;
        self.refused(&verify, "relay.sqlite.age is damaged").await?;
        let (place, env) = (self.home.path().join("half"), self.at("half-env"));
        let restore = ["restore", backup, "--env", &env, "--age-identity", &key];
        self.refused(&restore, "relay.sqlite.age is damaged").await?;
        ensure!(!place.exists() && !Path::new(&env).exists(), "half of it was restored");
        fs::write(&file, whole)?;
        fs::write(&manifest, told)?;
        Ok(())
    }
}

/// Whoever keeps the copies cannot read them. The backup lies in a bucket, encrypted, with the secrets;
/// what is cut off or changed there is found, and an empty machine has everything back with one command.
#[tokio::test]
async fn an_encrypted_backup_in_a_bucket_is_all_that_an_empty_machine_needs() -> Result<()> {
    let storage = Bucket::start().await?;
    let mut scene = Scene::new(511, 20 << 20).await?;
    scene.storage = storage.environment();
    let place = Bucket::place();
    let sealed = ["--with-secrets", "--age-recipient", &scene.recipient];
    let backup = scene.backed_up(&place, &sealed).await?;
    assert!(backup.starts_with("s3://backups/relay/main/relay-"), "{backup}");
    assert_eq!(storage.parts()?, 0, "parts of an upload are left");
    let dir = storage.objects(&backup)?;
    let names: Vec<_> =
        fs::read_dir(&dir)?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    assert!(names.len() == 4, "{names:?}");
    let object = fs::read(dir.join("relay.sqlite.age"))?;
    assert!(
        object.len() > 20 << 20 && !object.windows(15).any(|bytes| bytes == b"SQLite format 3")
    );
    let listed = scene.done(&["backup", "list", &place]).await?;
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");

    let key = scene.at("key.txt");
    let verify = ["backup", "verify", &backup];
    let manifest = scene.done(&[&verify[..], &["--age-identity", &key]].concat()).await?;
    assert_eq!(manifest["encryptedFor"], serde_json::json!([scene.recipient]));
    scene.refused(&verify, "give the file of that key: --age-identity").await?;
    let other = scene.at("other.txt");
    scene
        .refused(&[&verify[..], &["--age-identity", &other]].concat(), "cannot be read with")
        .await?;
    scene.finds_damage(&dir, &backup, |bytes| bytes.truncate(bytes.len() - 100_000)).await?;
    let flip = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    };
    scene.finds_damage(&dir, &backup, flip).await?;

    let doctor = ["doctor", "relay.example.com", "--only", "backups", "--backups", &place];
    let seen = scene.run(&doctor).await?;
    assert!(seen.code == Some(0) && seen.out.contains("is 0 hours old"), "{seen:?}");

    fs::remove_dir_all(scene.home.path().join("data"))?;
    let etc = scene.home.path().join("etc");
    let env = shown(&etc.join("env"));
    let restore = ["restore", "--from", &place, "--env", &env, "--age-identity", &key];
    let restored = scene.done(&restore).await?;
    assert_eq!(restored["counts"]["accounts"], 1, "{restored}");
    let secrets: PathBuf = etc.join("secrets/relay.env");
    assert_eq!(fs::read_to_string(&secrets)?, "RELAY_ADMIN_PASSWORD=pomegranate-admin\n");
    assert_eq!(fs::metadata(&secrets)?.permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(etc.join("env"))?.contains("RELAY_INITIAL_SEQ_NUMBER="));
    Ok(())
}

/// Passwords do not leave the machine unencrypted unless somebody says so, and a key that is none is
/// named before anything is copied.
#[tokio::test]
async fn secrets_are_not_copied_in_the_clear_by_accident() -> Result<()> {
    let scene = Scene::new(512, 1).await?;
    let to = scene.at("backups");
    let base = ["backup", "--env", &scene.env, "--to", &to, "--with-secrets"];
    let refused = scene.run(&base).await?;
    assert!(refused.code == Some(2) && refused.notes.contains("--plain-secrets"), "{refused:?}");
    let wrong = [&base[..], &["--age-recipient", "age1nobody"]].concat();
    scene.refused(&wrong, "is no recipient of age").await?;
    fs::write(scene.at("keys"), "# nobody yet\n")?;
    let keys = scene.at("keys");
    let nobody = [&base[..], &["--age-recipients-file", &keys]].concat();
    scene.refused(&nobody, "names no recipient").await?;
    fs::write(&keys, [0xff, 0xfe, 0x61])?;
    scene.refused(&nobody, "not UTF-8").await?;
    assert!(!Path::new(&to).exists(), "something was copied");
    let made = scene.done(&[&base[..], &["--plain-secrets"]].concat()).await?;
    let path = made["path"].as_str().context("a path")?;
    let copied = fs::read_to_string(Path::new(path).join("secret-relay.env"))?;
    assert!(copied.contains("pomegranate-admin"), "{copied}");
    Ok(())
}

/// A timer's log says what is wrong with the storage, and shows no secret.
#[tokio::test]
async fn what_is_wrong_with_a_bucket_is_said() -> Result<()> {
    let storage = Bucket::start().await?;
    let mut scene = Scene::new(513, 1).await?;
    let place = Bucket::place();
    let env = scene.env.clone();
    let words = ["backup", "--env", &env, "--to", &place];
    scene.refused(&words, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY").await?;
    let with = |name: &str, value: &str| {
        let pairs = storage.environment().into_iter();
        let changed = |(old, kept): (&'static str, String)| {
            (old, if old == name { value.to_owned() } else { kept })
        };
        pairs.map(changed).collect::<Vec<_>>()
    };
    scene.storage = with("AWS_ALLOW_HTTP", "false");
    scene.refused(&words, "everybody on the way reads the backup").await?;
    for (name, value) in [("AWS_SECRET_ACCESS_KEY", "wrong"), ("AWS_ACCESS_KEY_ID", "AKNOBODY")] {
        scene.storage = with(name, value);
        scene.refused(&words, "does not take these credentials").await?;
    }
    scene.storage = storage.environment();
    let elsewhere = ["backup", "--env", &env, "--to", "s3://nowhere/relay"];
    scene.refused(&elsewhere, "there is no bucket s3://nowhere").await?;
    let list = ["backup", "verify", &place];
    scene.refused(&list, "holds none").await?;
    drop(storage);
    scene.refused(&words, "does not answer as it should").await?;
    Ok(())
}

/// The line breaks while a backup is sent: it is no backup, the one before is the newest good one, and
/// what was sent is removed when it is certain that nobody is sending it any more.
#[tokio::test]
async fn an_upload_that_is_cut_off_is_no_backup() -> Result<()> {
    let storage = Bucket::start().await?;
    let mut scene = Scene::new(514, 20 << 20).await?;
    scene.storage = storage.environment();
    let place = Bucket::place();
    let first = scene.backed_up(&place, &[]).await?;
    let door = Door::before(&storage, 12 << 20).await?;
    scene.storage = bucket::environment(door.address);
    let words = ["backup", "--env", &scene.env, "--to", &place, "--keep-last", "1"];
    scene.refused(&words, "sending relay.sqlite").await?;

    scene.storage = storage.environment();
    let verified = scene.run(&["backup", "verify", &place]).await?;
    assert!(verified.code == Some(0) && verified.notes.contains(&first), "{verified:?}");
    // As if a run of last week had been cut off after its first object.
    let old = storage.objects(&first)?.with_file_name("relay-001700000000000");
    fs::create_dir(&old)?;
    fs::copy(storage.objects(&first)?.join("relay.sqlite"), old.join("relay.sqlite"))?;
    let listed = scene.done(&["backup", "list", &place]).await?;
    let finished: Vec<_> =
        listed.as_array().context("a list")?.iter().map(|one| &one["finished"]).collect();
    assert_eq!(finished.first().and_then(|finished| finished.as_bool()), Some(false), "{listed}");
    let prune = ["backup", "prune", &place, "--keep-last", "1"];
    let dry = scene.run(&[&prune[..], &["--dry-run"]].concat()).await?;
    assert!(dry.out.contains("would remove") && dry.out.contains("never finished"), "{dry:?}");
    assert!(old.join("relay.sqlite").exists(), "a dry run removed something");
    scene.run(&prune).await?;
    assert!(!old.join("relay.sqlite").exists(), "it is still there");
    scene.done(&["backup", "verify", &first]).await?;
    Ok(())
}

/// Old backups go by the rules, and the newest one that is whole stays, also when newer ones rot.
#[tokio::test]
async fn old_backups_go_and_the_newest_good_one_stays() -> Result<()> {
    let scene = Scene::new(515, 1).await?;
    let to = scene.at("backups");
    let made = PathBuf::from(scene.backed_up(&to, &[]).await?);
    // Noon of 2026-11-23, a Monday, and of days before.
    let noon = 1_795_435_200_000_u64;
    let name = |days: u64| format!("relay-{:015}", noon - days * 86_400_000);
    for days in [0, 1, 2, 7, 8, 40] {
        let copy = made.with_file_name(name(days));
        fs::create_dir(&copy)?;
        for entry in fs::read_dir(&made)? {
            let path = entry?.path();
            fs::copy(&path, copy.join(path.file_name().context("a name")?))?;
        }
    }
    fs::remove_dir_all(&made)?;
    for days in [0, 1] {
        let file = made.with_file_name(name(days)).join("relay.sqlite");
        fs::OpenOptions::new().append(true).open(&file)?.set_len(10)?;
    }
    let prune = ["backup", "prune", &to, "--keep-last", "1", "--keep-weekly", "2"];
    let dry = scene.done(&[&prune[..], &["--dry-run"]].concat()).await?;
    let fates = dry.as_array().context("a list")?;
    let kept: Vec<_> = fates.iter().map(|fate| fate["kept"] == true).collect();
    assert_eq!(kept, [true, true, true, false, false, false], "{dry}");
    assert!(fates[2]["why"] == "the newest good one", "{dry}");
    assert_eq!(scene.done(&["backup", "list", &to]).await?.as_array().map(Vec::len), Some(6));
    scene.done(&prune).await?;
    assert_eq!(scene.done(&["backup", "list", &to]).await?.as_array().map(Vec::len), Some(3));
    scene.done(&["backup", "verify", &shown(&made.with_file_name(name(2)))]).await?;
    let usage = scene.run(&["backup", "prune", &to]).await?;
    assert_eq!(usage.code, Some(2), "{usage:?}");
    Ok(())
}
