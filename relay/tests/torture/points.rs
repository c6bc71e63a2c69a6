//! I1–I4: the process dies at every named crash point, under load, on SQLite and on Postgres.

use std::{collections::BTreeMap, ops::Range};

use anyhow::{Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use relay::crash::{Plan, Point, VARIABLE};
use relay_simnet::LoadOptions;

use crate::{
    LOAD, SEED, compared, number,
    postgres_cluster::Cluster,
    process::{Setup, armed::was_killed},
    replay,
    rig::{Rig, TURN},
};

/// Events per second.
const RATE: u32 = 1_000;
/// Small segments and a small log, so that they are made, sealed and removed all the time. The
/// consumer must not fall behind by so much.
const SETTINGS: [(&str, &str); 2] =
    [("RELAY_SEGMENT_BYTES", "256KiB"), ("RELAY_REPLAY_MAX_BYTES", "12MiB")];
/// Starts in which a point may be missed before the test fails.
const ATTEMPTS: u32 = 12;
/// Events that a start is given to come to its point.
const EVENTS: Range<usize> = 300..800;
/// The same for points that need a log over its limit.
const MANY_EVENTS: usize = 20_000;

/// When the process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum When {
    /// Before it answered.
    Starting,
    /// While it served.
    Serving,
}

/// How often it died where.
pub(crate) type Deaths = BTreeMap<(Point, When), u32>;

/// A network whose hosts are asked for everything again only in the first seconds.
pub(crate) fn load() -> LoadOptions {
    LoadOptions { retained_events: 100_000, retained_bytes: 256 << 20, ..LOAD() }
}

/// The place that a process comes to only while it starts.
fn is_of_start(point: Point) -> bool {
    matches!(
        point,
        Point::RecoveryTailCopied
            | Point::RecoveryBeforeRename
            | Point::RecoveryBeforeCut
            | Point::RecoveryAfterCut
            | Point::ReplayAfterCommit
    )
}

fn is_of_checkpoint(point: Point) -> bool {
    matches!(point, Point::CheckpointBeforeCommit | Point::CheckpointAfterCommit)
}

/// How often a process comes to it at least: a start replays in one checkpoint or more, and a clean
/// stop ends with one.
pub(crate) fn count_max(point: Point) -> u32 {
    match point {
        Point::CheckpointBeforeCommit => 2,
        Point::CheckpointAfterCommit => 1,
        point if is_of_start(point) => 1,
        _ => 3,
    }
}

/// Starts the relay, which was killed, with this plan, until it has died of it; gives when. A start
/// that does not come to the point is killed like any other.
pub(crate) async fn die_at(rig: &mut Rig, random: &mut StdRng, plan: Plan) -> Result<When> {
    let Plan { point, count } = plan;
    for attempt in 0..ATTEMPTS {
        // After a clean stop a start has nothing to replay, so that every other one is no clean one.
        let ends_clean = is_of_checkpoint(point) && attempt % 2 == 0;
        let told = rig.relay.log().len();
        rig.relay.begin(&[(VARIABLE, format!("{point}:{count}"))])?;
        let (when, status) = match rig.relay.up_or_ended().await? {
            Some(status) => (When::Starting, status),
            None => (When::Serving, serve_until(rig, random, (point, ends_clean)).await?),
        };
        let log = rig.relay.log();
        let said = log.get(told..).unwrap_or_default();
        if said.contains(&format!("crash point {point} reached")) {
            ensure!(was_killed(status), "{point}: it ended with {status}:\n{said}");
            return Ok(when);
        }
        // It was stopped from outside, in order or not.
        ensure!(was_killed(status) || status.success(), "{plan:?}: {status}:\n{said}");
    }
    anyhow::bail!("{plan:?} was not reached in {ATTEMPTS} starts")
}

/// Lets it serve until it dies; when that takes too long, ends it.
async fn serve_until(
    rig: &mut Rig,
    random: &mut StdRng,
    (point, ends_clean): (Point, bool),
) -> Result<std::process::ExitStatus> {
    let events = match point {
        Point::RetentionBeforeRemoval | Point::RetentionAfterRemoval => MANY_EVENTS,
        _ => random.random_range(EVENTS),
    };
    if let Some(status) = rig.follow(events).await? {
        return Ok(status);
    }
    // Rolls and new segments come with more events.
    if !is_of_start(point)
        && !is_of_checkpoint(point)
        && let Some(status) = rig.follow(MANY_EVENTS).await?
    {
        return Ok(status);
    }
    // The last act of a clean stop is a checkpoint.
    if ends_clean { rig.relay.ask_to_stop().await } else { rig.relay.end() }
}

/// Every one of these points at least once, and those that are met in both while starting and while
/// serving.
async fn at_every_point(seed: u64, points: &[Point], settings: &[(&str, &str)]) -> Result<()> {
    let settings: Vec<_> = SETTINGS.iter().chain(settings).copied().collect();
    let setup = Setup { settings: &settings, ..Setup::default() };
    let mut rig = Rig::start(seed, (RATE, load()), setup).await?;
    let mut random = StdRng::seed_from_u64(seed);
    let mut deaths = Deaths::new();
    ensure!(rig.follow(500).await?.is_none(), "it ended by itself");
    rig.relay.kill()?;
    for point in points.iter().copied() {
        let count = random.random_range(1..=count_max(point));
        let when = die_at(&mut rig, &mut random, Plan { point, count }).await?;
        *deaths.entry((point, when)).or_default() += 1;
        println!("died at {point}:{count}, {when:?}, after seq {}", rig.follower.last_seq());
    }
    // A start has a checkpoint of its own, of what it replayed.
    for count in 1..ATTEMPTS {
        if deaths.contains_key(&(Point::CheckpointBeforeCommit, When::Serving)) {
            break;
        }
        let plan = Plan { point: Point::CheckpointBeforeCommit, count: count % 2 + 1 };
        let when = die_at(&mut rig, &mut random, plan).await?;
        *deaths.entry((plan.point, when)).or_default() += 1;
    }
    let wanted = (Point::CheckpointBeforeCommit, When::Serving);
    ensure!(deaths.contains_key(&wanted), "no checkpoint while serving was met: {deaths:?}");
    rig.relay.restart().await?;
    let report = rig.settle().await?;
    println!("deaths: {deaths:?}");
    compared(&report)?;
    replay::window(&rig.relay, &rig.follower.seen).await
}

/// I1, I2, I3, I4, T6: the built relay dies at every named point, under live traffic; nothing is lost,
/// nothing comes twice, and what the log still holds is what was sent before.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_crash_point_the_relay_loses_and_repeats_nothing() -> Result<()> {
    let _turn = TURN.lock().await;
    let seed = number("SEED")?.unwrap_or(SEED);
    println!("SEED={seed}");
    at_every_point(seed, Point::ALL, &[]).await
}

/// I3, I4, T6: the same on Postgres, at the points that a database has a part in.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_the_points_of_a_checkpoint_on_postgres_it_loses_and_repeats_nothing()
-> Result<()> {
    const POINTS: [Point; 4] = [
        Point::AppendAfterHead,
        Point::CheckpointBeforeCommit,
        Point::CheckpointAfterCommit,
        Point::ReplayAfterCommit,
    ];
    let _turn = TURN.lock().await;
    let Some(cluster) = Cluster::shared() else { return Ok(()) };
    let seed = number("SEED")?.unwrap_or(SEED);
    let url = cluster.database("points");
    at_every_point(seed, &POINTS, &[("DATABASE_URL", url.as_str())]).await
}
