//! Fills the index of collections with what our own stream cannot show.
//!
//! In: accounts that the index is unsure of, lists of other relays, dumps, what an operator names. Out:
//! batches for `collections`. Hosts are asked one account at a time, within the same turns of their
//! operators in which `discovery` reads their lists; their answers are proof. Lists of others are
//! believed until a host was asked. How far each list is read is kept in the index, in one step with what
//! was read, so that a process that dies reads one page again at most.

mod answers;
mod asking;
mod dump;
mod growth;
mod import;
mod line;
mod resolver;
mod settling;
mod taking;
mod verify;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use relay_protocol::{Did, Hostname, Nsid};

use crate::{
    checkpoint::Checkpointer,
    clock::Clock,
    collections::index::{Counts, Index},
    discovery::Discovery,
    domain::HostId,
    eventlog::Reader,
    hosts::Hosts,
    ingest::Ingest,
    net::Net,
    store::Store,
    tasks::Tasks,
};

use self::{
    asking::Asking,
    growth::Days,
    import::Importer,
    resolver::{Resolver, ResolverParts},
    taking::Taking,
    verify::Verifier,
};
pub use self::{
    asking::Method,
    dump::{Dumped, DumpedAccount},
    import::ImportRow,
    line::Told,
    resolver::ResolverView,
    verify::{Example, Verified},
};

/// How long a source that failed is left alone.
const RETRY_MS: u64 = 5 * 60_000;

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_secs(1);

/// Sources of imports that are remembered.
const SOURCES_MAX: usize = 100;

/// What backfill works with.
#[derive(Debug, Clone)]
pub struct BackfillParts {
    /// Filled.
    pub index: Index,
    /// Knows the accounts.
    pub store: Store,
    /// Knows them as they are now.
    pub ingest: Ingest,
    /// Hosts to ask.
    pub hosts: Hosts,
    /// Budgets, and accounts that are new here.
    pub discovery: Discovery,
    /// Makes numbers of accounts durable.
    pub checkpointer: Checkpointer,
    /// Says how far the index should be.
    pub log: Reader,
    /// Asks.
    pub net: Net,
    /// Clock of all pauses.
    pub clock: Clock,
    /// Questions per second to hosts of one operator about accounts of which the index is unsure; 0 = only
    /// what an operator wants is asked (`RELAY_COLLECTIONS_QUESTIONS`).
    pub questions: u32,
}

/// An import, as the API shows it.
#[derive(Debug, Clone)]
pub struct ImportView {
    /// How far it is.
    pub row: ImportRow,
    /// Whether it goes on by itself now.
    pub running: bool,
}

/// What a host was asked.
#[derive(Debug, Clone)]
pub struct HostAsked {
    /// The host.
    pub host: HostId,
    /// By which method it is asked.
    pub method: Method,
    /// Accounts in its line.
    pub waiting: usize,
    /// Since the start.
    pub told: Told,
}

/// Fills the index; cheap to clone.
#[derive(Debug, Clone)]
pub struct Backfill {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    parts: BackfillParts,
    tasks: Tasks,
    resolver: Arc<Resolver>,
    importer: Importer,
    verifier: Verifier,
    imports: Mutex<BTreeMap<String, Import>>,
    days: Days,
    verified: Mutex<Option<Verified>>,
}

#[derive(Debug)]
struct Import {
    row: ImportRow,
    running: bool,
    /// When it ended in this process, by the steady clock.
    tried_ms: Option<u64>,
}

impl Backfill {
    /// Goes on with what an earlier process left.
    pub fn start(parts: BackfillParts, tasks: &Tasks) -> Self {
        let ways = (parts.net.clone(), parts.discovery.clone());
        let asking = Asking::new(ways, parts.clock.clone(), parts.questions);
        let resolver = Resolver::new(resolver_parts(&parts, &asking), tasks);
        let taking = Taking {
            store: parts.store.clone(),
            ingest: parts.ingest.clone(),
            discovery: parts.discovery.clone(),
            checkpointer: parts.checkpointer.clone(),
            index: parts.index.clone(),
        };
        let imports = ImportRow::all(&parts.index)
            .into_iter()
            .map(|row| (row.source.clone(), Import { row, running: false, tried_ms: None }));
        let inner = Inner {
            resolver: Arc::new(resolver),
            importer: Importer { net: parts.net.clone(), clock: parts.clock.clone(), taking },
            verifier: verifier(&parts, asking),
            imports: Mutex::new(imports.collect()),
            days: Days::of(&parts.index),
            verified: Mutex::default(),
            tasks: tasks.clone(),
            parts,
        };
        let backfill = Self { inner: Arc::new(inner) };
        let (keeper, stopping) = (backfill.clone(), tasks.stopping().clone());
        tasks.start(async move {
            let resolver = Arc::clone(&keeper.inner.resolver);
            let both = async { tokio::join!(resolver.keep_up(), keeper.keep_up()) };
            stopping.run_until_cancelled(Box::pin(both)).await;
        });
        backfill
    }

    /// Totals of the index.
    pub fn counts(&self) -> Counts {
        self.inner.parts.index.counts()
    }

    /// The index.
    pub fn index(&self) -> &Index {
        &self.inner.parts.index
    }

    /// How many rows more a collection has than so many days ago; `None` when that is not known.
    pub fn growth(&self, nsid: &str, rows: u64, days_ago: u64) -> Option<i64> {
        let now_ms = self.inner.parts.clock.now_ms();
        let before = self.inner.days.rows(nsid, (now_ms, days_ago))?;
        Some(rows.cast_signed().saturating_sub(before.cast_signed()))
    }

    /// Asks the hosts of all uncertain accounts at once, without the pause after a start and without
    /// pauses between questions to one operator. Accounts that only the shards know are written first,
    /// so that they are found.
    ///
    /// # Errors
    /// The store or the log.
    pub async fn hurry(&self) -> Result<(), String> {
        let written = self.inner.parts.checkpointer.write().await;
        self.inner.resolver.hurry();
        written.map_err(|error| error.to_string())
    }

    /// Asks the hosts of these accounts before all others. Gives those of which no host is known here.
    ///
    /// # Errors
    /// The store or the index, or an identity that could not be looked up.
    pub async fn ask(&self, dids: &[Did]) -> Result<Vec<Did>, String> {
        self.inner.importer.taking.numbers(dids).await?;
        let known = self.inner.parts.store.accounts(dids).await;
        let known = known.map_err(|error| error.to_string())?;
        let unknown = dids.iter().filter(|did| !known.iter().any(|row| row.did == **did));
        let unknown = unknown.cloned().collect();
        self.inner.resolver.first(known).await?;
        Ok(unknown)
    }

    /// Reads the lists of another relay: goes on where an earlier run stopped, or begins anew after one
    /// that was finished or when collections are named. Gives `false` when it is being read already.
    ///
    /// * `named` – the collections; empty for all that are known
    ///
    /// # Errors
    /// The index, or too many sources.
    pub async fn import(&self, source: &Hostname, named: &[Nsid]) -> Result<bool, String> {
        let wanted: Vec<String> = named.iter().map(|nsid| nsid.as_str().to_owned()).collect();
        let earlier = {
            let imports = self.inner.imports.lock();
            let known = imports.get(source.as_str());
            if known.is_some_and(|known| known.running) {
                return Ok(false);
            }
            if known.is_none() && imports.len() >= SOURCES_MAX {
                return Err(format!("there are imports of {SOURCES_MAX} relays already"));
            }
            let unfinished = known.filter(|known| known.row.finished_ms.is_none());
            unfinished.filter(|_| wanted.is_empty()).map(|known| known.row.clone())
        };
        let row = match earlier {
            Some(row) => row,
            None => self.inner.importer.begin(source, &wanted).await?,
        };
        Ok(self.run_import(row))
    }

    /// All imports, by source.
    pub fn imports(&self) -> Vec<ImportView> {
        let imports = self.inner.imports.lock();
        let view =
            |import: &Import| ImportView { row: import.row.clone(), running: import.running };
        imports.values().map(view).collect()
    }

    /// How far the uncertain accounts are.
    pub fn resolving(&self) -> ResolverView {
        self.inner.resolver.view()
    }

    /// What each host was asked since the start.
    pub fn hosts_asked(&self) -> Vec<HostAsked> {
        let told = self.inner.resolver.told().into_iter();
        let view = |(host, waiting, told)| {
            let method = self.inner.resolver.method(host);
            HostAsked { host, method, waiting, told }
        };
        told.map(view).collect()
    }

    /// Compares some accounts with what their hosts say. Gives `false` when that is under way.
    ///
    /// # Errors
    /// A sample that is too large or empty.
    pub fn verify(&self, sample: u64) -> Result<bool, String> {
        if !(1..=verify::SAMPLE_MAX).contains(&sample) {
            return Err(format!("sample must be from 1 to {}, not {sample}", verify::SAMPLE_MAX));
        }
        {
            let mut verified = self.inner.verified.lock();
            if verified.as_ref().is_some_and(|last| last.finished_ms.is_none()) {
                return Ok(false);
            }
            *verified = Some(Verified { sample, ..Verified::default() });
        }
        let (own, stopping) = (self.clone(), self.inner.tasks.stopping().clone());
        self.inner.tasks.start(async move {
            let tell = |found: &Verified| *own.inner.verified.lock() = Some(found.clone());
            let ran = own.inner.verifier.run(sample, tell);
            stopping.run_until_cancelled(Box::pin(ran)).await;
        });
        Ok(true)
    }

    /// The last comparison, or the one that is under way.
    pub fn verified(&self) -> Option<Verified> {
        self.inner.verified.lock().clone()
    }

    /// Gives `false` when it runs already.
    fn run_import(&self, row: ImportRow) -> bool {
        {
            let mut imports = self.inner.imports.lock();
            if imports.get(&row.source).is_some_and(|known| known.running) {
                return false;
            }
            let import = Import { row: row.clone(), running: true, tried_ms: None };
            imports.insert(row.source.clone(), import);
        }
        let (own, stopping) = (self.clone(), self.inner.tasks.stopping().clone());
        self.inner.tasks.start(async move {
            let ran = async {
                let ended = own.inner.importer.run(row, |row| own.note(row, true)).await;
                own.note(&ended, false);
                let ImportRow { source, pages, pairs, last_error, .. } = &ended;
                let error = last_error.as_deref();
                tracing::info!(source, pages, pairs, error, "lists of collections were read");
            };
            stopping.run_until_cancelled(Box::pin(ran)).await;
        });
        true
    }

    fn note(&self, row: &ImportRow, running: bool) {
        let tried_ms = (!running).then(|| self.inner.parts.clock.steady_ms());
        let import = Import { row: row.clone(), running, tried_ms };
        self.inner.imports.lock().insert(row.source.clone(), import);
    }

    /// Goes on with imports that are not finished.
    async fn keep_up(&self) {
        loop {
            let now_ms = self.inner.parts.clock.steady_ms();
            let is_due = |import: &&Import| {
                let rested = import.tried_ms.is_none_or(|at_ms| now_ms - at_ms >= RETRY_MS);
                !import.running && import.row.finished_ms.is_none() && rested
            };
            let due: Vec<ImportRow> = {
                let imports = self.inner.imports.lock();
                imports.values().filter(is_due).map(|import| import.row.clone()).collect()
            };
            for row in due {
                self.run_import(row);
            }
            let parts = &self.inner.parts;
            if let Err(error) = self.inner.days.keep(&parts.index, &parts.clock).await {
                tracing::warn!(error, "the rows of today were not noted");
            }
            tokio::time::sleep(TICK).await;
        }
    }
}

fn resolver_parts(parts: &BackfillParts, asking: &Asking) -> ResolverParts {
    ResolverParts {
        store: parts.store.clone(),
        hosts: parts.hosts.clone(),
        ingest: parts.ingest.clone(),
        index: parts.index.clone(),
        asking: asking.clone(),
        clock: parts.clock.clone(),
        questions: parts.questions,
    }
}

fn verifier(parts: &BackfillParts, asking: Asking) -> Verifier {
    Verifier {
        store: parts.store.clone(),
        hosts: parts.hosts.clone(),
        ingest: parts.ingest.clone(),
        index: parts.index.clone(),
        log: parts.log.clone(),
        checkpointer: parts.checkpointer.clone(),
        asking,
        clock: parts.clock.clone(),
    }
}
