//! The simulated network: honest hosts under an even load, and a few that misbehave.

use std::time::Duration;

use anyhow::{Context, Result};
use relay_simnet::{Load, LoadOptions, Net};
use tokio_util::sync::CancellationToken;

use crate::{
    mischief::{BACKLOG_MAX, Mischief, Role},
    options::Options,
};

/// Accounts of each honest host.
const ACCOUNTS_PER_HOST: usize = 10;
/// Records from which on a repository shrinks again, so that memory stays flat.
const RECORDS_MAX: usize = 60;
/// Events that a host keeps for replays; far above what it may owe the relay.
const RETAINED_EVENTS: usize = 400;
/// Bytes of them: full after the first minute, so that memory stays flat.
const RETAINED_BYTES: usize = 2 << 20;
/// The load looks this often whether it is to stop.
const LOAD_SPAN: Duration = Duration::from_millis(250);

/// All hosts, ready to send.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) net: Net,
    pub(crate) honest: Load,
    pub(crate) mischief: Mischief,
}

impl Network {
    /// Makes hosts and accounts; nothing is sent to a relay yet but the first posts of the accounts
    /// that misbehave later.
    pub(crate) async fn prepare(options: &Options) -> Result<Self> {
        let net = Net::seeded(options.seed).await?;
        let hosts = usize::try_from(options.hosts)?;
        // One of each kind among 25 hosts.
        let rounds = (hosts / 25).max(1);
        let honest_hosts = hosts - rounds * Role::ALL.len();
        let load = LoadOptions {
            hosts: honest_hosts,
            accounts: honest_hosts * ACCOUNTS_PER_HOST,
            records_max: RECORDS_MAX,
            retained_events: RETAINED_EVENTS,
            retained_bytes: RETAINED_BYTES,
            backlog_max: BACKLOG_MAX,
            ..LoadOptions::default()
        };
        let honest = Load::prepare(&net, load).await.context("make the honest hosts")?;
        let mischief = Mischief::prepare(&net, honest.accounts(), rounds)
            .await
            .context("make the hosts that misbehave")?;
        for host in net.hosts() {
            host.retain(RETAINED_EVENTS, RETAINED_BYTES);
        }
        Ok(Self { net, honest, mischief })
    }
}

/// Sends at a rate until it is told to stop.
pub(crate) async fn send(mut load: Load, rate: u32, stopping: CancellationToken) -> Result<()> {
    while !stopping.is_cancelled() {
        load.run(rate, LOAD_SPAN).await?;
    }
    Ok(())
}
