//! A relay whose store and index are full before it starts.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use data_encoding::BASE32_NOPAD;
use relay::{
    collections::index::{Index, Options},
    domain::{
        Account, AccountNo, Epoch, HostId, HostSeq, LastEvent, LocalStatus, RepoState, Seq,
        UpstreamStatus,
    },
    store::Store,
};
use relay_protocol::{CommitCid, DataCid, Did, Rev};
use relay_simnet::Net;

use super::{
    MEMORY_BYTES,
    world::{Dice, World},
};
use crate::{
    ground::SETTINGS,
    options::Options as Wanted,
    process::{RelayProcess, Setup},
};

/// Rows of one transaction.
const ROWS: u64 = 50_000;
/// One account of so many is deactivated: it is in the index, and no list shows it.
pub(super) const AWAY: u64 = 30;
/// A revision of 2026.
const REV: u64 = 1_770_000_000_000_000 << 10;
/// The host of all accounts.
const HOST: &str = "alpha";

/// The relay, and what it was filled with.
pub(super) struct Filled {
    pub(super) relay: RelayProcess,
    pub(super) accounts: u64,
    /// It stays, so that the relay is not busy with a host that is gone.
    _net: Net,
}

/// The DID of an account, the same each time.
pub(super) fn did(number: u64) -> Result<Did> {
    let mut dice = Dice::new(number << 8);
    let bytes = [dice.next().to_be_bytes(), dice.next().to_be_bytes()].concat();
    let text = BASE32_NOPAD.encode(bytes.get(..15).unwrap_or_default()).to_ascii_lowercase();
    Did::parse(&format!("did:plc:{text}")).context("a DID")
}

impl Filled {
    /// Starts a relay with so many accounts, all of one host, and as many collections as [`World`] has.
    ///
    /// * `database` – where the store is; in the data directory unless given
    pub(super) async fn start(options: &Wanted, database: Option<&str>) -> Result<Self> {
        options.apart.take_ours()?;
        let net = Net::seeded(1).await?;
        let host = net.pds(HOST).await?;
        let mut settings = SETTINGS.to_vec();
        settings.extend(database.map(|url| ("DATABASE_URL", url)));
        let (under, binary) = (options.apart.words(), Some(options.binary()));
        let setup = Setup { settings: &settings, under, binary, ..Setup::default() };
        let mut relay = RelayProcess::start(&net, setup).await?;
        relay.crawl(&net).await?;
        relay.stop().await?;

        let accounts = u64::from(options.size.listed);
        let file = format!("sqlite://{}", relay.data().join("relay.sqlite").display());
        let store = Store::open(database.unwrap_or(&file), 4).await?;
        let name = host.hostname();
        let rows = store.hosts().await?;
        let row = rows.iter().find(|row| row.hostname == name).context("no row of the host")?;
        let first = store.last_account_number().await?.0;
        ensure!(first == 0, "there are accounts already");
        fill(&store, row.id, accounts).await?;
        store.close().await;
        let dir = relay.data().join("collections");
        tokio::task::spawn_blocking(move || index(&dir, accounts)).await??;
        relay.restart().await?;
        host.connected().await?;
        Ok(Self { relay, accounts, _net: net })
    }
}

async fn fill(store: &Store, host: HostId, accounts: u64) -> Result<()> {
    let mut next = 1;
    while next <= accounts {
        let end = (next + ROWS).min(accounts + 1);
        let rows = (next..end).map(|number| row(host, number)).collect::<Result<Vec<_>>>()?;
        store.take_accounts(&rows, &[(host, i64::try_from(rows.len())?)]).await?;
        next = end;
    }
    Ok(())
}

/// As wide as the row of an account that writes.
fn row(host: HostId, number: u64) -> Result<Account> {
    let digest = |salt: u8| [salt ^ number.to_le_bytes()[0]; 32];
    let is_away = number.is_multiple_of(AWAY);
    Ok(Account {
        number: AccountNo(number),
        did: did(number)?,
        host,
        upstream: if is_away {
            UpstreamStatus::from_text("deactivated")
        } else {
            UpstreamStatus::Active
        },
        local: LocalStatus::None,
        repo: Some(RepoState {
            rev: Rev::from_u64(REV + number).context("a revision")?,
            data: DataCid(digest(1)),
            commit: CommitCid(digest(2)),
        }),
        key: Some([3; 34]),
        identity_checked_ms: u64::try_from(Duration::from_hours(400_000).as_millis())?,
        last: Some(LastEvent { host, epoch: Epoch(0), host_seq: HostSeq(0) }),
        last_seq: Seq(0),
    })
}

fn index(dir: &Path, accounts: u64) -> Result<()> {
    let index = Index::open(dir, Options { memory_bytes: MEMORY_BYTES })?;
    ensure!(index.position().is_some(), "the relay has not begun its index");
    World::new(&index)?.grow_to(&index, accounts)?;
    Ok(index.rest()?)
}
