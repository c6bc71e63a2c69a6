//! All parts are restarted, in whatever order, while events flow.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use provision::stack::{Profile, Service, Stack, services};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use crate::{number, options, say, traffic::Traffic};

/// Rounds by chance, besides the three that everybody thinks of; `STACK_ROUNDS` says how many others.
const ROUNDS: usize = 1;

/// A round: who is told to restart, one after the other, or all at once.
#[derive(Debug)]
struct Round {
    order: Vec<&'static str>,
    at_once: bool,
}

/// A person who restarts everything need not know in which order: nothing is lost, nothing comes twice,
/// no number is used again, and all parts are well by themselves.
#[tokio::test]
#[ignore = "needs a container engine: just stage build,stack"]
async fn everything_may_be_restarted_in_any_order() -> Result<()> {
    let seed: u64 = number("SEED")?.unwrap_or_else(rand::random);
    eprintln!("again with: SEED={seed}");
    let stack = Arc::new(Stack::up(options("orders", Profile::ProdLike)).await?);
    let parts = services(Profile::ProdLike, stack.secrets(), &[]);
    let mut traffic = Traffic::start(&stack).await?;
    for round in rounds(seed, &parts)? {
        let taken = Box::pin(restart(&stack, &parts, &round, &mut traffic)).await;
        let seconds = taken.with_context(|| format!("SEED={seed} {round:?}"))?;
        let how = if round.at_once { "all at once" } else { "one by one" };
        eprintln!("{how}, {}: flows again after {seconds:.1} s", round.order.join(", "));
    }
    let outcome = traffic.end().await.with_context(|| format!("SEED={seed}"))?;
    eprintln!("restarts: {outcome:?}");
    Arc::into_inner(stack).context("traffic still runs")?.down().await
}

fn rounds(seed: u64, parts: &[Service]) -> Result<Vec<Round>> {
    let mut chance = StdRng::seed_from_u64(seed);
    let names: Vec<_> = parts.iter().map(|part| part.name).collect();
    let first = |name: &str| {
        let mut order = names.clone();
        order.sort_by_key(|one| *one != name);
        order
    };
    let mut rounds = vec![
        Round { order: first("postgres"), at_once: false },
        Round { order: first("caddy"), at_once: false },
        Round { order: names.clone(), at_once: true },
    ];
    for _ in 0..number("STACK_ROUNDS")?.unwrap_or(ROUNDS) {
        let mut order = names.clone();
        order.shuffle(&mut chance);
        rounds.push(Round { order, at_once: chance.random() });
    }
    Ok(rounds)
}

/// Gives the seconds from the last restart until events came out again.
async fn restart(
    stack: &Stack,
    parts: &[Service],
    round: &Round,
    traffic: &mut Traffic,
) -> Result<f64> {
    let containers = stack.containers();
    if round.at_once {
        try_join_all(round.order.iter().map(|name| containers.restart(name))).await?;
    } else {
        for name in &round.order {
            containers.restart(name).await?;
        }
    }
    let seconds = traffic.flows().await?;
    let say = say();
    for part in parts {
        if part.tells_health {
            containers.well(part.name, &say).await?;
        } else {
            containers.running(part.name, &say).await?;
        }
    }
    Ok(seconds)
}
