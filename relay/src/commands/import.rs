//! `relay import`: takes the place of a reference relay, while this one is stopped.

use super::print::{self, Ended};
use crate::{
    clock::Clock,
    config::{Config, ImportOptions},
    daemon::lock::{self, DataLock},
    discovery::takeover::{self, Taken, TakeoverOptions},
    store::{Indigo, Store},
};

pub(super) async fn run(config: &Config, what: &ImportOptions) -> Result<(), Ended> {
    // Held to the end: no relay may start meanwhile.
    let locks = [
        DataLock::take(&config.data_dir, lock::DATA),
        DataLock::take(&config.persist_dir, lock::LOG),
    ];
    let [data, log] = locks;
    let _locks = (data.map_err(sentence)?, log.map_err(sentence)?);
    let theirs = Indigo::open(what.from.expose()).await.map_err(sentence)?;
    let taken = Box::pin(into(config, &theirs, what)).await;
    theirs.close().await;
    report(&taken?, what)
}

fn sentence(why: impl std::fmt::Display) -> String {
    why.to_string()
}

async fn into(config: &Config, theirs: &Indigo, what: &ImportOptions) -> Result<Taken, String> {
    let store = open(config, what.dry_run).await?;
    let options = TakeoverOptions {
        dev: config.dev,
        dry_run: what.dry_run,
        head: what.head,
        log_dir: what.log_dir.clone(),
        now_ms: Clock::system().now_ms(),
    };
    let clock = Clock::system();
    let mut said_ms = clock.steady_ms();
    let tell = |taken: &Taken| {
        // Every few seconds: the whole network has tens of millions of accounts.
        if clock.steady_ms().saturating_sub(said_ms) >= 3_000 {
            said_ms = clock.steady_ms();
            print::note(&format!("{} accounts read", taken.accounts_new + taken.accounts_known));
        }
    };
    let taken = takeover::take_over(theirs, store.as_ref(), &options, tell).await;
    if let Some(store) = store {
        store.close().await;
    }
    taken.map_err(sentence)
}

/// Our database; a dry run makes none and changes none.
async fn open(config: &Config, dry_run: bool) -> Result<Option<Store>, String> {
    let url = config.database_url.expose();
    if dry_run {
        let outlook = Store::outlook(url).await.map_err(sentence)?;
        match outlook.found {
            None => return Ok(None),
            Some(found) if found < outlook.known => {
                return Err(format!(
                    "the tables of this relay's own database are of version {found}; start it once, \
                     which brings them to version {}, stop it, and try again",
                    outlook.known
                ));
            }
            Some(_) => {}
        }
    }
    let store = Store::open(url, config.database_connections)
        .await
        .map_err(sentence)?
        .with_account_limit(config.default_account_limit);
    store.claim(&config.data_dir).await.map_err(sentence)?;
    Ok(Some(store))
}

fn report(taken: &Taken, what: &ImportOptions) -> Result<(), Ended> {
    if what.json {
        return print::line(&serde_json::to_string(taken).map_err(|error| error.to_string())?);
    }
    let Taken { hosts_new, hosts_known, cursors, hosts_banned, domain_bans, .. } = taken;
    print::line(&format!(
        "hosts: {hosts_new} new, {hosts_known} known here; {cursors} are read on from their cursor, \
         {hosts_banned} are banned"
    ))?;
    print::line(&format!("banned domains: {domain_bans}"))?;
    let Taken { accounts_new, accounts_known, repos, takedowns, suspended, unthrottled, .. } =
        taken;
    print::line(&format!(
        "accounts: {accounts_new} new, {repos} of them with their last commit, {accounts_known} known \
         here; {takedowns} taken down, {suspended} suspended"
    ))?;
    if *unthrottled > 0 {
        print::line(&format!(
            "{unthrottled} accounts were throttled there for the limit of their host; here the limits of \
             this relay decide"
        ))?;
    }
    for why in &taken.left_out_because {
        print::line(&format!("left out: {why}"))?;
    }
    if taken.left_out > taken.left_out_because.len() as u64 {
        print::line(&format!("left out: {} in all", taken.left_out))?;
    }
    print::line(&format!(
        "numbers go on at {}; the newest that was given out is {}: {}",
        taken.first_seq, taken.head, taken.head_found
    ))?;
    print::line(if what.dry_run { "nothing was changed" } else { "done; start the relay" })
}
