//! What is measured, and how much of it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{ground::Extent, run::Cores};

/// Names of all rows, in the order of the table.
const ROWS: &[&str] = &[
    "validated",
    "shards",
    "latency",
    "proofs",
    "projection",
    "fanout",
    "live",
    "replay",
    "invalid",
    "limits",
    "database",
    "collections",
    "growth",
    "idle",
    "known",
    "memory",
    "restart",
    "sustained",
    "wss",
    "wssmemory",
];
/// Those that take ten minutes and more.
const LONG_ROWS: &[&str] = &["growth", "memory", "sustained", "wssmemory"];

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) extent: Extent,
    /// Events that come before the measured ones.
    pub(crate) warm_up: u64,
    /// Runs as fast as the relay takes them, and the events of each.
    pub(crate) bursts: (u64, u64),
    /// Rate and events of the run that times every event.
    pub(crate) timed: (u32, u64),
    /// Consumers, rate and events of the fan-out.
    pub(crate) fanout: (usize, u32, u64),
    /// Rate and events while others replay.
    pub(crate) live: (u32, u64),
    /// Events that fill the log before it is replayed: once to be sealed, once not.
    pub(crate) fill: u64,
    /// Runs with events that are not valid, and the events of each.
    pub(crate) spoiled: (u64, u64),
    /// Accounts, rate and seconds of the run that counts rows of the database.
    pub(crate) database: (u32, u32, u64),
    /// Pairs in the index of collections.
    pub(crate) pairs: u64,
    /// Accounts of the relay whose lists by collection are asked for.
    pub(crate) listed: u32,
    /// Pairs at which it is looked at while it grows.
    pub(crate) growth: &'static [u64],
    pub(crate) wide: WideSize,
}

/// How much is measured on the wide network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WideSize {
    pub(crate) extent: Extent,
    /// Accounts that the cost of an event is compared with.
    pub(crate) few_accounts: u32,
    pub(crate) idle: Duration,
    /// Rate and seconds after which memory is looked at.
    pub(crate) memory: (u32, u64),
    /// Events that are retained when the relay is killed.
    pub(crate) retained: u64,
    /// Rate and seconds of what has to hold.
    pub(crate) sustained: (u32, u64),
}

/// The network at its real size.
const EXTENT: Extent =
    Extent { hosts: 3_000, accounts: 500_000, records: 20, each_fault_per_mille: 0, tls: false };

const FULL: Size = Size {
    extent: Extent { hosts: 100, accounts: 10_000, records: 80, ..EXTENT },
    warm_up: 10_000,
    bursts: (5, 15_000),
    timed: (1_000, 15_000),
    fanout: (200, 2_000, 16_000),
    live: (1_000, 15_000),
    fill: 40_000,
    spoiled: (3, 10_000),
    database: (100_000, 1_000, 245),
    pairs: 5_000_000,
    listed: 1_000_000,
    growth: &[1_000_000, 2_000_000, 5_000_000, 10_000_000, 20_000_000, 50_000_000],
    wide: WideSize {
        extent: EXTENT,
        few_accounts: 10_000,
        idle: Duration::from_secs(20),
        memory: (1_000, 600),
        retained: 1_000_000,
        sustained: (5_000, 900),
    },
};

const SMOKE: Size = Size {
    extent: Extent { hosts: 20, accounts: 400, records: 60, ..EXTENT },
    warm_up: 500,
    bursts: (3, 2_000),
    timed: (1_000, 1_000),
    fanout: (20, 1_000, 1_000),
    live: (1_000, 1_000),
    fill: 2_000,
    spoiled: (1, 2_000),
    database: (1_000, 500, 2),
    pairs: 300_000,
    listed: 20_000,
    growth: &[50_000, 200_000],
    wide: WideSize {
        extent: Extent { hosts: 50, accounts: 2_000, ..EXTENT },
        few_accounts: 500,
        idle: Duration::from_secs(1),
        memory: (1_000, 2),
        retained: 8_000,
        sustained: (1_000, 2),
    },
};

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) size: Size,
    smoke: bool,
    long: bool,
    only: Vec<String>,
    relay: Option<PathBuf>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) apart: Cores,
    pub(crate) shared: Cores,
}

impl Options {
    pub(crate) fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self {
            size: FULL,
            smoke: false,
            long: false,
            only: Vec::new(),
            relay: None,
            json: None,
            apart: Cores::Apart,
            shared: Cores::Shared,
        };
        if std::thread::available_parallelism()?.get() < 2 {
            (options.apart, options.shared) = (Cores::Any, Cores::Any);
        }
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--smoke" => (options.smoke, options.size) = (true, SMOKE),
                "--long" => options.long = true,
                "--dist" => options.relay = Some(shipped()?),
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--relay" => options.relay = Some(value()?.into()),
                "--runs" => options.size.bursts.0 = value()?.parse()?,
                "--json" => options.json = Some(value()?.into()),
                _ => bail!("{word} is not known; see the head of relay/benches/pipeline/main.rs"),
            }
        }
        let unknown = options.only.iter().find(|name| !ROWS.contains(&name.as_str()));
        ensure!(unknown.is_none(), "{unknown:?} is no row; there are {}", ROWS.join(", "));
        Ok(options)
    }

    /// Whether this row is wanted.
    pub(crate) fn wants(&self, row: &str) -> bool {
        if self.only.is_empty() {
            return self.smoke || self.long || !LONG_ROWS.contains(&row);
        }
        self.only.iter().any(|name| name == row)
    }

    /// The program under test.
    pub(crate) fn binary(&self) -> PathBuf {
        self.relay.clone().unwrap_or_else(|| env!("CARGO_BIN_EXE_relay").into())
    }

    /// The size in a word.
    pub(crate) fn named(&self) -> &'static str {
        match (self.smoke, self.long) {
            (true, _) => "smoke: too small and short to judge anything by",
            (false, true) => "full size, long rows included",
            (false, false) => "full size",
        }
    }
}

/// The relay of the profile that ships, beside the one that was built with the bench.
fn shipped() -> Result<PathBuf> {
    let built = Path::new(env!("CARGO_BIN_EXE_relay"));
    let target = built.parent().and_then(Path::parent).context("a target directory")?;
    let shipped = target.join("dist").join("relay");
    ensure!(shipped.is_file(), "build it first: cargo build --profile dist --bin relay");
    Ok(shipped)
}
