//! S3-compatible storage. How it is reached, and the secrets for it, stand in the environment alone
//! (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, …); nothing here
//! shows or keeps them.
//!
//! Each file of a backup is an object, large ones are sent in parts. The manifest is sent when all
//! others are there in full; without it there is no backup.

use std::{collections::BTreeMap, error::Error as _, path::Path as FilePath, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::{
    BackoffConfig, ClientConfigKey, Error, ObjectMeta, ObjectStore as _, ObjectStoreExt as _,
    RetryConfig, WriteMultipart,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey as Key},
    path::Path,
};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncWriteExt as _},
};

use super::{
    MANIFEST, Manifest,
    keep::{Listed, made_of},
};
use crate::told::{Tell, Told, Unit, harmless};

/// How addresses of buckets begin.
pub(super) const SCHEME: &str = "s3://";
/// Bytes of a part at least; a smaller file is sent at once.
const PART: u64 = 8 << 20;
/// Parts of one object at most are 10,000; larger files have larger parts.
const PARTS_MAX: u64 = 9_000;
/// Parts on the way at the same time.
const PARTS_AT_ONCE: usize = 4;
/// Bytes of a manifest at most.
const MANIFEST_MAX: u64 = 1 << 20;
/// Objects that are listed at most; nobody has so many backups in one place.
const OBJECTS_MAX: usize = 100_000;
/// How long a connection may take to be made.
const CONNECT_MAX: &str = "10 seconds";
/// How long one request may take: a part over a slow line.
const REQUEST_MAX: &str = "5 minutes";
/// How often a request is sent again; the timer will come again too.
const RETRIES: usize = 4;

/// A bucket, and where in it backups lie.
pub struct Bucket {
    store: AmazonS3,
    name: String,
    prefix: Path,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{SCHEME}{}/{}", self.name, self.prefix)
    }
}

impl Bucket {
    /// Reads `BUCKET/PREFIX`, and from the environment how to reach it.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (name, prefix) = text.split_once('/').unwrap_or((text, ""));
        ensure!(!name.is_empty(), "{SCHEME} names no bucket; write {SCHEME}BUCKET/PREFIX");
        let prefix = Path::parse(prefix)
            .map_err(|error| anyhow!("{SCHEME}{text} is no address of a bucket: {error}"))?;
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(300),
                max_backoff: Duration::from_secs(5),
                ..BackoffConfig::default()
            },
            max_retries: RETRIES,
            ..RetryConfig::default()
        };
        let builder = AmazonS3Builder::from_env();
        permitted(&builder)?;
        let store = builder
            .with_bucket_name(name)
            .with_retry(retry)
            .with_config(Key::Client(ClientConfigKey::ConnectTimeout), CONNECT_MAX)
            .with_config(Key::Client(ClientConfigKey::Timeout), REQUEST_MAX)
            .build()
            .map_err(|error| anyhow!("{SCHEME}{name} cannot be used: {}", cause(&error)))?;
        Ok(Self { store, name: name.to_owned(), prefix })
    }

    pub(super) fn shown(&self, name: &str) -> String {
        let path = self.prefix.clone().join(name);
        format!("{SCHEME}{}/{path}", self.name)
    }

    pub(super) async fn list(&self) -> Result<Vec<Listed>> {
        let mut found: BTreeMap<String, Listed> = BTreeMap::new();
        for object in self.objects(&self.prefix).await? {
            let Some(mut parts) = object.location.prefix_match(&self.prefix) else { continue };
            let (Some(name), Some(file)) = (parts.next(), parts.next()) else { continue };
            let name = name.as_ref().to_owned();
            let Some(made_ms) = made_of(&name) else { continue };
            let fresh = Listed { made_ms, name: name.clone(), finished: false, bytes: 0 };
            let backup = found.entry(name).or_insert(fresh);
            backup.finished |= file.as_ref() == MANIFEST;
            backup.bytes += object.size;
        }
        Ok(found.into_values().collect())
    }

    /// Sends all files of a directory, the manifest last. What was sent is taken back when it fails.
    pub(super) async fn upload(
        &self,
        stage: &FilePath,
        name: &str,
        tell: &mut Tell<'_>,
    ) -> Result<()> {
        let sent = self.send_all(stage, name, tell).await;
        let Err(error) = sent else { return Ok(()) };
        match self.remove(name).await {
            Ok(()) => Err(error),
            Err(left) => {
                let left = format!("what was sent stays, and is no backup ({left:#})");
                Err(error.context(left))
            }
        }
    }

    async fn send_all(&self, stage: &FilePath, name: &str, tell: &mut Tell<'_>) -> Result<()> {
        let text = std::fs::read_to_string(stage.join(MANIFEST)).context("read the manifest")?;
        let manifest: Manifest = serde_json::from_str(&text).context("read the manifest")?;
        for file in manifest.files.keys() {
            self.send(&stage.join(file), &self.path(name, file), tell).await?;
        }
        ensure!(
            self.has_all(name, &manifest).await?,
            "{} does not hold in full what was sent to it",
            self.shown(name)
        );
        let path = self.path(name, MANIFEST);
        let put = self.store.put(&path, text.into()).await;
        put.map(drop).map_err(|error| self.failed("write the manifest", &error))
    }

    async fn send(&self, file: &FilePath, to: &Path, tell: &mut Tell<'_>) -> Result<()> {
        let shown = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut from = File::open(file).await.with_context(|| format!("open {shown}"))?;
        let total = from.metadata().await.with_context(|| format!("look at {shown}"))?.len();
        let what = format!("sending {shown}");
        if total < PART {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes).await.with_context(|| format!("read {shown}"))?;
            let put = self.store.put(to, bytes.into()).await;
            return put.map(drop).map_err(|error| self.failed(&what, &error));
        }
        let part = usize::try_from(PART.max(total.div_ceil(PARTS_MAX))).context("a part")?;
        let begun = self.store.put_multipart(to).await;
        let begun = begun.map_err(|error| self.failed(&what, &error))?;
        let mut upload = WriteMultipart::new_with_chunk_size(begun, part);
        let sent = async {
            let (mut buffer, mut done) = (vec![0; 1 << 20], 0_u64);
            loop {
                let read = from.read(&mut buffer).await.with_context(|| format!("read {shown}"))?;
                if read == 0 {
                    return anyhow::Ok(());
                }
                let free = upload.wait_for_capacity(PARTS_AT_ONCE).await;
                free.map_err(|error| self.failed(&what, &error))?;
                upload.write(buffer.get(..read).unwrap_or_default());
                done += u64::try_from(read).unwrap_or_default();
                tell(Told::Progress { what: what.clone(), done, total, unit: Unit::Bytes });
            }
        };
        match sent.await {
            Ok(()) => {
                let put = upload.finish().await;
                put.map(drop).map_err(|error| self.failed(&what, &error))
            }
            Err(error) => match upload.abort().await {
                Ok(()) => Err(error),
                Err(_) => {
                    Err(error.context("the parts that were sent stay until a rule removes them"))
                }
            },
        }
    }

    /// Fetches all files of a backup.
    pub(super) async fn download(
        &self,
        name: &str,
        into: &FilePath,
        tell: &mut Tell<'_>,
    ) -> Result<()> {
        let manifest = self.manifest(name).await?;
        let manifest = manifest
            .with_context(|| format!("{} is no backup: it has no {MANIFEST}", self.shown(name)))?;
        for file in manifest.files.keys().map(String::as_str).chain([MANIFEST]) {
            super::plain_name(file)?;
            self.fetch(&self.path(name, file), &into.join(file), tell).await?;
        }
        Ok(())
    }

    async fn fetch(&self, from: &Path, to: &FilePath, tell: &mut Tell<'_>) -> Result<()> {
        let what = format!("fetching {}", from.filename().unwrap_or_default());
        let failed = |error: &Error| self.failed(&what, error);
        let got = self.store.get(from).await.map_err(|error| failed(&error))?;
        let (total, mut done) = (got.meta.size, 0_u64);
        let mut stream = got.into_stream();
        let shown = to.display();
        let mut out = File::create(to).await.with_context(|| format!("make {shown}"))?;
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(|error| failed(&error))?;
            out.write_all(&bytes).await.with_context(|| format!("write {shown}"))?;
            done += u64::try_from(bytes.len()).unwrap_or_default();
            tell(Told::Progress { what: what.clone(), done, total, unit: Unit::Bytes });
        }
        out.flush().await.with_context(|| format!("write {shown}"))
    }

    pub(super) async fn is_whole(&self, name: &str) -> Result<bool> {
        match self.manifest(name).await {
            Ok(Some(manifest)) => self.has_all(name, &manifest).await,
            _ => Ok(false),
        }
    }

    /// Removes a backup or the beginning of one, its manifest first.
    pub(super) async fn remove(&self, name: &str) -> Result<()> {
        let mut all = self.objects(&self.prefix.clone().join(name)).await?;
        all.sort_by_key(|object| object.location.filename() != Some(MANIFEST));
        for object in all {
            let removed = self.store.delete(&object.location).await;
            removed.map_err(|error| self.failed("remove", &error))?;
        }
        Ok(())
    }

    /// The manifest of a backup, `None` when it has none.
    async fn manifest(&self, name: &str) -> Result<Option<Manifest>> {
        let got = match self.store.get(&self.path(name, MANIFEST)).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            got => got.map_err(|error| self.failed("read the manifest", &error))?,
        };
        let shown = self.shown(name);
        ensure!(got.meta.size <= MANIFEST_MAX, "the manifest of {shown} is too large");
        let bytes = got.bytes().await;
        let bytes = bytes.map_err(|error| self.failed("read the manifest", &error))?;
        let read = serde_json::from_slice(&bytes);
        Ok(Some(read.with_context(|| format!("read the manifest of {shown}"))?))
    }

    /// Whether all files that a manifest names are there in their full size.
    async fn has_all(&self, name: &str, manifest: &Manifest) -> Result<bool> {
        let objects = self.objects(&self.prefix.clone().join(name)).await?;
        let size = |file: &str| {
            let object = objects.iter().find(|object| object.location.filename() == Some(file));
            object.map(|object| object.size)
        };
        let mut files = manifest.files.keys();
        Ok(files.all(|file| size(file).is_some_and(|size| manifest.has_size(file, size))))
    }

    fn path(&self, name: &str, file: &str) -> Path {
        self.prefix.clone().join(name).join(file)
    }

    async fn objects(&self, below: &Path) -> Result<Vec<ObjectMeta>> {
        let below = Some(below).filter(|below| !below.as_ref().is_empty());
        let listed = self.store.list(below).take(OBJECTS_MAX).try_collect().await;
        listed.map_err(|error| self.failed("list the backups", &error))
    }

    /// What happened, and what to look at. The storage's own words are cut, and hold no secret.
    fn failed(&self, what: &str, error: &Error) -> anyhow::Error {
        let bucket = format!("{SCHEME}{}", self.name);
        match status(error) {
            Some(401 | 403) => anyhow!(
                "{what}: {bucket} does not take these credentials, or they may not do this; look at \
                 AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and at what the key may do"
            ),
            Some(404) => anyhow!(
                "{what}: there is no bucket {bucket}, or what was asked for is not in it; this \
                 program makes no buckets"
            ),
            _ => anyhow!(
                "{what}: {bucket} does not answer as it should ({}); look at AWS_ENDPOINT_URL and \
                 AWS_REGION",
                cause(error)
            ),
        }
    }
}

/// The status of HTTP with which the storage refused; the library tells it in its words alone.
fn status(error: &Error) -> Option<u16> {
    match error {
        Error::PermissionDenied { .. } => Some(403),
        Error::Unauthenticated { .. } => Some(401),
        Error::NotFound { .. } => Some(404),
        other => {
            let said = other.to_string();
            let (_, status) = said.split_once("status code: ")?;
            status.get(..3)?.parse().ok()
        }
    }
}

/// Refuses what would ask the network for credentials that are not there, or send them in the clear.
fn permitted(builder: &AmazonS3Builder) -> Result<()> {
    let has = |key: &Key| builder.get_config_value(key).is_some_and(|value| !value.is_empty());
    let elsewhere = [
        Key::WebIdentityTokenFile,
        Key::ContainerCredentialsRelativeUri,
        Key::ContainerCredentialsFullUri,
        Key::MetadataEndpoint,
    ];
    ensure!(
        (has(&Key::AccessKeyId) && has(&Key::SecretAccessKey)) || elsewhere.iter().any(has),
        "there are no credentials for the bucket; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in \
         the environment (systemd: EnvironmentFile=), and AWS_ENDPOINT_URL and AWS_REGION as the \
         provider says"
    );
    let endpoint = builder
        .get_config_value(&Key::S3Endpoint)
        .or_else(|| builder.get_config_value(&Key::Endpoint))
        .unwrap_or_default();
    let allowed = builder.get_config_value(&Key::Client(ClientConfigKey::AllowHttp));
    ensure!(
        !endpoint.starts_with("http://") || allowed.as_deref() == Some("true"),
        "AWS_ENDPOINT_URL begins with http://, so everybody on the way reads the backup; use https://, \
         or set AWS_ALLOW_HTTP=true for storage on this machine"
    );
    Ok(())
}

/// The innermost reason, as it is of use to a person.
fn cause(error: &Error) -> String {
    let (mut deepest, mut source) = (error.to_string(), error.source());
    while let Some(error) = source {
        deepest = error.to_string();
        source = error.source();
    }
    harmless(&deepest, 200)
}
