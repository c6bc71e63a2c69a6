//! What it costs to keep a host to its limits, apart from everything else.

use std::hint::black_box;

use anyhow::{Context as _, Result, ensure};
use relay::{
    clock::Clock,
    domain::Actor,
    hosts::{Edit, HostOptions, Hosts, LimitsEdit, Turn},
    net::{Net, NetOptions},
    store::Store,
};
use tokio::time::Instant;

use super::Measured;
use crate::{
    meter::{median, verification_us},
    table::{Must, Row},
};

const HOST: &str = "pds.example.com";
/// Limits that are looked at, and that all rounds together do not reach.
const PER_SECOND: u64 = 1_000_000;
const PER_HOUR: u64 = 100_000_000;
const ROUNDS: usize = 21;
const EVENTS: u32 = 20_000;
/// What an event costs with all else, in verifications (the row `validated`).
const EVENT_V: f64 = 2.0;

/// One host, one event after the other: the levels of second, hour and day, the count for the growth of
/// its limits, and whether it is behind. Accounts over the limit cost when they come, not per event.
pub(super) async fn cost(measured: &mut Measured) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let url = format!("sqlite://{}", dir.path().join("relay.sqlite").display());
    let store = Store::open(&url, 1).await?;
    let net = Net::new(NetOptions { user_agent: "bench".to_owned(), ..NetOptions::default() })?;
    let hosts = Hosts::load(store.clone(), net, Clock::system(), HostOptions::default()).await?;
    let host = hosts.admit(HOST, true).await?;
    let edit = LimitsEdit {
        per_second: Edit::Set(PER_SECOND),
        per_hour: Edit::Set(PER_HOUR),
        per_day: Edit::Set(PER_HOUR),
        ..LimitsEdit::default()
    };
    hosts.set_limits(HOST, edit, &Actor::admin("bench"), "bench").await?;
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for _ in 0..EVENTS {
            ensure!(black_box(&host).turn() == Turn::Now, "a limit was reached");
            host.count_verdict(black_box(true));
            ensure!(!black_box(host.is_behind()), "the host is behind");
        }
        times.push(begin.elapsed().as_secs_f64() / f64::from(EVENTS));
    }
    store.close().await;
    let verification = verification_us()? / 1e6;
    let one = median(times);
    let row = Row::new("limits", "an event with the limits of its host against one without", "x");
    let raw = format!("{:.0} ns for all limits, {:.4} V", one * 1e9, one / verification);
    let ratio = one / verification / EVENT_V + 1.0;
    measured.add(row.must(Must::AtMost(1.02), None).is(ratio, raw));
    dir.close().context("remove the directory")
}
