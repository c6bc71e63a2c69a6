//! What a whole answer of `listReposByCollection` takes, over HTTP: the index, the rows of the accounts,
//! who is listed, JSON.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use reqwest::Client;
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    PAGE, drop_cache,
    filled::{AWAY, Filled, did},
    taking,
    world::Dice,
};
use crate::{
    meter::{CpuTime, float, percentile},
    options::Options,
    postgres::Cluster,
    rows::Measured,
    table::{Must, Row},
};

/// Pages that are read before any is measured, and those that are read cold.
const PAGES: (usize, usize) = (50, 40);
/// The most popular collections: of their accounts one to twenty of each twenty-two are in the list.
const POPULAR: std::ops::Range<u32> = 0..20;
/// Those of which one account in sixty to a hundred is in the list.
const RARE: std::ops::Range<u32> = 60..100;

/// An answer.
#[derive(Debug, Deserialize)]
struct Page {
    cursor: Option<String>,
    repos: Vec<Repo>,
}

#[derive(Debug, Deserialize)]
struct Repo {
    did: String,
}

/// Where a full page begins.
type Place = (u32, Option<String>);

/// Who asks.
struct Walker<'a> {
    filled: &'a Filled,
    client: Client,
}

/// Both databases.
pub(super) async fn measure(options: &Options, measured: &mut Measured) -> Result<()> {
    let filled = Filled::start(options, None).await?;
    of(filled, (options, "SQLite"), measured).await.context("with SQLite")?;
    if let Some(cluster) = Cluster::start() {
        let url = cluster.database("lists");
        let filled = Filled::start(options, Some(&url)).await?;
        of(filled, (options, "Postgres"), measured).await.context("with Postgres")?;
    }
    Ok(())
}

async fn of(
    mut filled: Filled,
    (options, database): (&Options, &str),
    measured: &mut Measured,
) -> Result<()> {
    let accounts = filled.accounts;
    let walker = Walker { filled: &filled, client: Client::builder().no_proxy().build()? };
    walker.check().await?;
    let mut places = [Vec::new(), Vec::new()];
    let names = ["whole answer of 2,000 over HTTP", "the same of accounts far apart"];
    for ((kinds, places), what) in [POPULAR, RARE].into_iter().zip(&mut places).zip(names) {
        let before = CpuTime::of(walker.filled.relay.pid())?.all;
        let times = walker.walk(kinds, places).await?;
        let cpu = CpuTime::of(walker.filled.relay.pid())?.all - before;
        let raw = format!(
            "{accounts} accounts; p50 {:.2} ms over {} pages, each {:.2} ms of CPU",
            percentile(times.clone(), 50),
            times.len(),
            cpu * 1e3 / float(places.len() as u64)
        );
        let row = Row::new("collections", format!("{what}, {database}, p99"), "ms");
        measured.add(row.must(Must::AtMost(5.0), None).is(percentile(times, 99), raw));
    }
    // The files of the other database are not ours to look for.
    let cold = if database == "SQLite" { &places[..] } else { &[] };
    for (places, what) in cold.iter().zip(names) {
        let times = walker.cold(places).await?;
        let raw =
            format!("page cache dropped before each; p50 {:.1} ms", percentile(times.clone(), 50));
        let row = Row::new("collections", format!("{what}, {database}, cold, slowest"), "ms");
        measured.add(row.must(Must::AtMost(200.0), None).is(percentile(times, 100), raw));
    }
    taking::measure(&filled, (options, database), measured).await?;
    filled.relay.stop().await
}

impl Walker<'_> {
    /// One page, and the milliseconds that it took to its last byte.
    async fn page(&self, (kind, cursor): &Place) -> Result<(Page, f64)> {
        let method = "com.atproto.sync.listReposByCollection";
        let url = format!(
            "{}/xrpc/{method}?collection=org.example.records.kind{kind}&limit={PAGE}&cursor={}",
            self.filled.relay.url(),
            cursor.as_deref().unwrap_or_default()
        );
        let begin = Instant::now();
        let answer = self.client.get(url).send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        let took = begin.elapsed().as_secs_f64() * 1e3;
        ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
        Ok((serde_json::from_slice(&body)?, took))
    }

    /// The most popular list has who it must have, each once, nobody else.
    async fn check(&self) -> Result<()> {
        let active = (1..=self.filled.accounts).filter(|number| !number.is_multiple_of(AWAY));
        let known = active.map(|number| Ok(did(number)?.as_str().to_owned()));
        let known: BTreeSet<String> = known.collect::<Result<_>>()?;
        let (mut seen, mut place) = (BTreeSet::new(), (0, None));
        loop {
            let (page, _) = self.page(&place).await?;
            for Repo { did } in page.repos {
                ensure!(known.contains(&did), "{did} is not to be listed");
                ensure!(seen.insert(did), "an account is listed twice");
            }
            match page.cursor {
                Some(cursor) => place.1 = Some(cursor),
                None => break,
            }
        }
        // Nine of ten have the most popular one.
        ensure!(seen.len() * 10 > known.len() * 8, "{} of {} are listed", seen.len(), known.len());
        Ok(())
    }

    /// Milliseconds of every full page of these collections; keeps where each begins.
    async fn walk(&self, kinds: std::ops::Range<u32>, places: &mut Vec<Place>) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for kind in kinds {
            let mut place = (kind, None);
            loop {
                let (page, took) = self.page(&place).await?;
                let Some(cursor) = page.cursor else { break };
                ensure!(page.repos.len() == PAGE, "a page that is not the last is full");
                times.push(took);
                places.push(place);
                place = (kind, Some(cursor));
            }
        }
        // Where lists are too short for a full page, the figure is that of what there is.
        if times.is_empty() {
            places.push((0, None));
            times.push(self.page(&(0, None)).await?.1);
        }
        Ok(times.split_off(PAGES.0.min(times.len() / 2)))
    }

    /// Milliseconds of pages anywhere, each with nothing of files in memory but what the relay keeps.
    async fn cold(&self, places: &[Place]) -> Result<Vec<f64>> {
        let mut dice = Dice::new(self.filled.accounts);
        let mut times = Vec::new();
        for _ in 0..PAGES.1 {
            drop_cache(&self.filled.relay.data())?;
            drop_cache(&self.filled.relay.data().join("collections"))?;
            let place = usize::try_from(dice.below(places.len() as u64))?;
            let (_, took) = self.page(places.get(place).context("a place")?).await?;
            times.push(took);
        }
        Ok(times)
    }
}
