//! The simulated network as a whole.

use crate::{
    Account, Adversary, Authority, Oracle, Pds, Plc,
    account::Inner as AccountInner,
    clock::Clock,
    oracle::Ledger,
    pds::Shared,
    server::{Server, lock},
};
use anyhow::Result;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// A host without a way back to the network, so that its tasks cannot keep the network alive.
type Host = (Arc<Shared>, Arc<Server>);

/// What all parts share. Its servers stop when the last handle is dropped.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) clock: Clock,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) plc: Plc,
    pub(crate) hosts: Mutex<BTreeMap<String, Host>>,
    pub(crate) accounts: Mutex<BTreeMap<String, Arc<AccountInner>>>,
    numbers: AtomicU64,
    authority: OnceLock<Authority>,
}

impl World {
    /// A number that was not given before.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A network of hosts, a directory and an oracle on the loopback. Clones are the same network.
///
/// Everything follows from the seed apart from ports and the order in which tasks run.
#[derive(Debug, Clone)]
pub struct Net {
    pub(crate) world: Arc<World>,
}

impl Net {
    /// Starts a network with a directory and no hosts.
    pub async fn seeded(seed: u64) -> Result<Self> {
        let ledger = Arc::new(Ledger::default());
        let world = World {
            seed,
            clock: Clock::default(),
            plc: Plc::start(Arc::clone(&ledger)).await?,
            ledger,
            hosts: Mutex::default(),
            accounts: Mutex::default(),
            numbers: AtomicU64::new(0),
            authority: OnceLock::new(),
        };
        Ok(Self { world: Arc::new(world) })
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.world.seed
    }

    /// The directory.
    pub fn plc(&self) -> &Plc {
        &self.world.plc
    }

    /// The host of this name; started if there is none yet.
    pub async fn pds(&self, name: &str) -> Result<Pds> {
        self.host(name, None).await
    }

    /// The same with TLS, under a certificate of [`Self::authority`].
    pub async fn secure_pds(&self, name: &str) -> Result<Pds> {
        let authority = self.authority()?.clone();
        self.host(name, Some(&authority)).await
    }

    /// The authority of this network, made when it is first asked for.
    pub fn authority(&self) -> Result<&Authority> {
        let place = &self.world.authority;
        if let Some(authority) = place.get() {
            return Ok(authority);
        }
        let made = Authority::new()?;
        Ok(place.get_or_init(|| made))
    }

    async fn host(&self, name: &str, tls: Option<&Authority>) -> Result<Pds> {
        let known = lock(&self.world.hosts).get(name).cloned();
        let host = if let Some(host) = known {
            host
        } else {
            let number = u32::try_from(self.world.number())?;
            let ledger = Arc::clone(&self.world.ledger);
            let host = Pds::start((name, number), ledger, tls).await?;
            lock(&self.world.hosts).entry(name.to_owned()).or_insert(host).clone()
        };
        let (shared, server) = host;
        Ok(Pds { shared, server, world: Arc::clone(&self.world) })
    }

    /// All hosts in the order of their names.
    pub fn hosts(&self) -> Vec<Pds> {
        let hosts = lock(&self.world.hosts);
        hosts
            .values()
            .map(|(shared, server)| Pds {
                shared: Arc::clone(shared),
                server: Arc::clone(server),
                world: Arc::clone(&self.world),
            })
            .collect()
    }

    /// All accounts in the order of their names.
    pub fn accounts(&self) -> Vec<Account> {
        let accounts = lock(&self.world.accounts);
        accounts.values().map(|inner| Account::handle(inner, &self.world)).collect()
    }

    /// What has to come out of a relay, and what not.
    pub fn oracle(&self) -> Oracle {
        Oracle::new(Arc::clone(&self.world.ledger))
    }

    /// Faults that were put on an account and never struck, as `account: fault`.
    pub fn unfired_faults(&self) -> Vec<String> {
        let accounts = lock(&self.world.accounts);
        accounts
            .values()
            .flat_map(|account| {
                let pending = account.pending_faults();
                pending.into_iter().map(|fault| format!("{}: {fault:?}", account.name()))
            })
            .collect()
    }

    /// How often a relay met each adversary: was given such an event or frame, or asked and got such
    /// an answer.
    pub fn strikes(&self) -> BTreeMap<Adversary, u64> {
        self.world.ledger.strikes()
    }

    /// A server of this name that is not among [`Self::hosts`]: it wants to become a host.
    pub async fn stranger(&self, name: &str) -> Result<Pds> {
        let number = u32::try_from(self.world.number())?;
        let ledger = Arc::clone(&self.world.ledger);
        let (shared, server) = Pds::start((name, number), ledger, None).await?;
        Ok(Pds { shared, server, world: Arc::clone(&self.world) })
    }

    /// Events that hosts sent and that no relay was given yet, over all hosts that a relay ever
    /// subscribed to.
    pub fn undelivered(&self) -> u64 {
        self.world.ledger.owed()
    }

    /// Cuts every connection to every host at once.
    pub fn cut_all(&self) {
        for (_, server) in lock(&self.world.hosts).values() {
            server.cut();
        }
    }
}
