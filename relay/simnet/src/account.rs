//! An account and everything that its owner or its host can do with it.

mod emit;
mod lifecycle;

use crate::{
    Fault, Pds,
    block::{car, cid_text},
    clock::{tid, tid_text},
    keys::{Curve, KeyForm, SigningKey},
    mst::CachedTree,
    net::World,
    pds::{Outgoing, Shared},
    plc::Web,
    records::{post_record, subject_record, typed},
    repo::{Repo, Write},
    server::lock,
};
use anyhow::{Context, Result, ensure};
use ipld_core::ipld::Ipld;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex};
use tokio::sync::Mutex as AsyncMutex;

/// How an account is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountOptions {
    /// Curve of the signing key.
    pub curve: Curve,
    /// How documents write the key.
    pub key_form: KeyForm,
    /// did:web on a server of its own instead of did:plc.
    pub web: bool,
    /// Whether the events of the creation are sent; otherwise the account exists in silence.
    pub announced: bool,
}

impl Default for AccountOptions {
    fn default() -> Self {
        Self { curve: Curve::K256, key_form: KeyForm::Multikey, web: false, announced: true }
    }
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its number on the host's stream.
    pub seq: u64,
    /// The rev of `#commit` and `#sync`, else empty.
    pub rev: String,
    /// The commit CID of `#commit` and `#sync`, else empty.
    pub commit: String,
    /// The paths of the operations.
    pub paths: Vec<String>,
}

/// The state of an account at its host.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) home: Arc<Shared>,
    pub(crate) repo: Repo,
    pub(crate) key: SigningKey,
    /// Number of `key`, so that it is not computed for every event.
    pub(crate) key_number: u64,
    pub(crate) retired_key: Option<SigningKey>,
    pub(crate) keys_made: u32,
    pub(crate) key_form: KeyForm,
    pub(crate) handle: String,
    pub(crate) active: bool,
    pub(crate) status: Option<String>,
}

/// Events that are made now and sent later, with the hosts that will send them.
pub(crate) type Stock = Arc<Mutex<Vec<(Arc<Shared>, Outgoing)>>>;

/// What all handles of an account share.
#[derive(Debug)]
pub(crate) struct Inner {
    name: String,
    did: Arc<str>,
    web: Option<Web>,
    state: AsyncMutex<State>,
    faults: Mutex<Vec<Fault>>,
}

impl Inner {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The repository as its host exports it: the commit, then all nodes of the tree in the order of their
    /// CIDs, which is none of the tree. Records are not kept here and are left out.
    pub(crate) async fn export(&self) -> Result<Vec<u8>> {
        let mut state = self.state.lock().await;
        let (commit, block) = state.repo.last_commit()?.clone();
        let (_, nodes) = state.repo.tree.root_and_blocks();
        let nodes = nodes.iter().map(|(cid, block)| (cid, block.as_slice()));
        Ok(car(&[commit], [(&commit, block.as_slice())].into_iter().chain(nodes)))
    }

    pub(crate) fn pending_faults(&self) -> Vec<Fault> {
        lock(&self.faults).clone()
    }
}

/// An account of the simulated network. Clones are the same account.
///
/// All methods that send an event return its number on the host's stream. They succeed also when
/// no relay listens.
#[derive(Debug, Clone)]
pub struct Account {
    inner: Arc<Inner>,
    world: Arc<World>,
    /// A host that sends the events instead of the one that holds the account.
    outlet: Option<Arc<Shared>>,
    /// Where events wait instead of being sent.
    stock: Option<Stock>,
}

impl AsRef<str> for Account {
    fn as_ref(&self) -> &str {
        &self.inner.did
    }
}

impl Account {
    pub(crate) fn handle(inner: &Arc<Inner>, world: &Arc<World>) -> Self {
        Self { inner: Arc::clone(inner), world: Arc::clone(world), outlet: None, stock: None }
    }

    pub(crate) async fn join(pds: &Pds, name: &str, options: AccountOptions) -> Result<Self> {
        let world = &pds.world;
        let known = lock(&world.accounts).get(name).cloned();
        if let Some(inner) = known {
            let at_home = inner.state.lock().await.home.number() == pds.shared.number();
            ensure!(at_home, "account {name} lives on another host");
            return Ok(Self::handle(&inner, world));
        }
        let web =
            if options.web { Some(Web::start(Arc::clone(&world.ledger)).await?) } else { None };
        let did: Arc<str> = match &web {
            Some(web) => Arc::from(web.did()),
            None => Arc::from(plc_did(world.seed, name)),
        };
        let key = SigningKey::derive(options.curve, world.seed, &format!("{name}/key/0"));
        let state = State {
            home: Arc::clone(&pds.shared),
            repo: Repo::default(),
            key_number: key.number(),
            key,
            retired_key: None,
            keys_made: 1,
            key_form: options.key_form,
            handle: format!("{name}.test"),
            active: true,
            status: None,
        };
        let inner = Arc::new(Inner {
            name: name.to_owned(),
            did,
            web,
            state: AsyncMutex::new(state),
            faults: Mutex::default(),
        });
        lock(&world.accounts).insert(name.to_owned(), Arc::clone(&inner));
        let account = Self::handle(&inner, world);
        account.begin(options.announced).await?;
        Ok(account)
    }

    /// The DID.
    pub fn did(&self) -> &str {
        &self.inner.did
    }

    /// Name given by the test.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The server of a did:web account.
    pub fn web(&self) -> Option<&Web> {
        self.inner.web.as_ref()
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    /// The present handle.
    pub async fn current_handle(&self) -> String {
        self.inner.state.lock().await.handle.clone()
    }

    /// The host that holds the account now.
    pub async fn pds(&self) -> Result<Pds> {
        let name = self.inner.state.lock().await.home.name().to_owned();
        let hosts = lock(&self.world.hosts);
        let (shared, server) = hosts.get(&name).context("the host of the account is gone")?;
        Ok(Pds {
            shared: Arc::clone(shared),
            server: Arc::clone(server),
            world: Arc::clone(&self.world),
        })
    }

    /// Rev and commit CID of the last commit, as `getLatestCommit` of the host says them.
    pub async fn latest_commit(&self) -> Result<(String, String)> {
        let state = self.inner.state.lock().await;
        let (commit, _) = state.repo.last_commit()?;
        Ok((tid_text(state.repo.rev), cid_text(commit)))
    }

    /// Number of records.
    pub async fn records(&self) -> usize {
        self.inner.state.lock().await.repo.tree.len()
    }

    /// Puts a fault on the next event that it can strike; several add up.
    #[must_use]
    pub fn with(&self, fault: Fault) -> Self {
        lock(&self.inner.faults).push(fault);
        self.clone()
    }

    /// Signs the next commit with a key that is no longer valid ([`Fault::RetiredKey`]).
    #[must_use]
    pub fn sign_with_retired_key(&self) -> Self {
        self.with(Fault::RetiredKey)
    }

    /// This account, but another host sends its events, as an impostor or a host that was left
    /// would. What it sends changes nothing in the account itself.
    #[must_use]
    pub fn through(&self, host: &Pds) -> Self {
        Self { outlet: Some(Arc::clone(&host.shared)), ..self.clone() }
    }

    /// This account, but its events wait in stock instead of being sent.
    pub(crate) fn onto(&self, stock: &Stock) -> Self {
        Self { stock: Some(Arc::clone(stock)), ..self.clone() }
    }

    /// Makes a commit of what `pick` chooses, which sees the tree and the time.
    pub(crate) async fn act(
        &self,
        pick: impl FnOnce(&CachedTree, u64) -> Vec<Write>,
    ) -> Result<Sent> {
        let micros = self.world.clock.tick();
        self.on_state(|state| {
            let writes = pick(&state.repo.tree, micros);
            self.commit_now(state, writes, true)
        })
        .await
    }

    /// Fills the repository by one commit that no one is told of.
    pub(crate) async fn fill(&self, writes: Vec<Write>) -> Result<()> {
        self.commit(writes, false).await?;
        Ok(())
    }

    /// Writes a post.
    pub async fn post(&self, text: &str) -> Result<Sent> {
        let micros = self.world.clock.tick();
        let path = format!("app.bsky.feed.post/{}", tid_text(tid(micros, 1)));
        self.apply(vec![Write::create(path, post_record(text, micros))]).await
    }

    /// Likes something; `subject` is an `at://` address.
    pub async fn like(&self, subject: &str) -> Result<Sent> {
        let micros = self.world.clock.tick();
        let path = format!("app.bsky.feed.like/{}", tid_text(tid(micros, 2)));
        let record = subject_record("app.bsky.feed.like", subject, micros);
        self.apply(vec![Write::create(path, record)]).await
    }

    /// Creates a record; a map without `$type` gets the collection as its type.
    pub async fn create(&self, collection: &str, rkey: &str, record: Ipld) -> Result<Sent> {
        let record = typed(collection, record);
        self.apply(vec![Write::create(format!("{collection}/{rkey}"), record)]).await
    }

    /// Changes a record.
    pub async fn update(&self, collection: &str, rkey: &str, record: Ipld) -> Result<Sent> {
        let record = typed(collection, record);
        self.apply(vec![Write::update(format!("{collection}/{rkey}"), record)]).await
    }

    /// Deletes a record by `collection/key`.
    pub async fn delete(&self, path: &str) -> Result<Sent> {
        self.apply(vec![Write::delete(path)]).await
    }

    /// A commit without operations.
    pub async fn empty_commit(&self) -> Result<Sent> {
        self.apply(Vec::new()).await
    }

    /// One commit with several operations.
    pub async fn apply(&self, writes: Vec<Write>) -> Result<Sent> {
        self.commit(writes, true).await
    }

    /// Makes a commit that no one is told of, so that the next one is discontinuous (VAL-16).
    pub async fn post_in_silence(&self, text: &str) -> Result<()> {
        let micros = self.world.clock.tick();
        let path = format!("app.bsky.feed.post/{}", tid_text(tid(micros, 1)));
        self.commit(vec![Write::create(path, post_record(text, micros))], false).await?;
        Ok(())
    }
}

/// A did:plc that depends on the seed and the name.
fn plc_did(seed: u64, name: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"relay-simnet did");
    hash.update(seed.to_be_bytes());
    hash.update(name.as_bytes());
    let text = data_encoding::BASE32_NOPAD.encode(&hash.finalize()).to_ascii_lowercase();
    format!("did:plc:{}", text.get(..24).unwrap_or_default())
}
