//! Power cuts at the named crash points, and many in a row on one disk: everything that was not
//! synced is lost or torn, by the dice.

use std::collections::BTreeMap;

use super::crash::{World, Wrong, seeds, size, tell};
use crate::crash::{Plan, Point, on_thread};
use crate::eventlog::files::sim::{Dice, Skip};

/// Cuts in a row.
const CUTS: u32 = 100;

/// Points that a log without its daemon comes to; the world is its database.
const POINTS: [Point; 18] = [
    Point::AppendBeforeSync,
    Point::AppendAfterSync,
    Point::AppendAfterHead,
    Point::RollBeforeSeal,
    Point::RollAfterSeal,
    Point::RollAfterCreate,
    Point::CreateBeforeRename,
    Point::CreateAfterRename,
    Point::RetentionBeforeRemoval,
    Point::RetentionAfterRemoval,
    Point::CheckpointBeforeCommit,
    Point::CheckpointAfterCommit,
    Point::CompressBeforeRename,
    Point::CompressAfterRename,
    Point::RecoveryTailCopied,
    Point::RecoveryBeforeRename,
    Point::RecoveryBeforeCut,
    Point::RecoveryAfterCut,
];

/// A life that the power ends at a point, if it comes there; gives the point.
fn live_until(world: &mut World, plan: Plan, seed: u64) -> Result<Option<Point>, Wrong> {
    let from = world.disk.ops();
    match on_thread::until(plan, || world.live(40)) {
        Ok(lived) => {
            lived.map_err(|wrong| tell(world, seed, from, &wrong))?;
            world.end();
            Ok(None)
        }
        Err(point) => {
            world.died_at(point);
            world.disk.crash(&mut world.dice);
            Ok(Some(point))
        }
    }
}

/// Cuts at random points in a row, then a look at everything.
fn cut_in_a_row(seed: u64, skip: Option<Skip>) -> Result<BTreeMap<Point, u32>, Wrong> {
    let mut world = World::new(seed, skip);
    let mut met = BTreeMap::new();
    while met.values().sum::<u32>() < CUTS {
        let point = POINTS[size(world.dice.below(POINTS.len() as u64))];
        // A start comes to a point of recovery once, if at all.
        let is_start = point >= Point::RecoveryTailCopied;
        let count = if is_start { 1 } else { 1 + u32::try_from(world.dice.below(4)).unwrap_or(0) };
        if let Some(point) = live_until(&mut world, Plan { point, count }, seed)? {
            *met.entry(point).or_default() += 1;
        }
    }
    let from = world.disk.ops();
    world.live(1).map_err(|wrong| tell(&world, seed, from, &wrong))?;
    Ok(met)
}

/// I1, I4, OUT-4, OUT-6: the power goes at every named point, a hundred times in a row on one disk,
/// with every outcome that a disk can give: nothing that was visible is lost, nothing comes twice,
/// no seq is given again.
#[test]
fn a_hundred_power_cuts_in_a_row_at_named_points_lose_and_repeat_nothing() {
    let mut met: BTreeMap<Point, u32> = BTreeMap::new();
    for seed in seeds(10) {
        let cuts = cut_in_a_row(seed, None).unwrap_or_else(|wrong| panic!("{wrong}"));
        for (point, times) in cuts {
            *met.entry(point).or_default() += times;
        }
    }
    println!("seeds {:?}, cuts {met:?}", seeds(10));
    for point in POINTS {
        let times = met.get(&point).copied().unwrap_or(0);
        assert!(times >= 3 || seeds(10).count() == 1, "{point} was met {times} times");
    }
}

/// I1: proves that the cuts above can find a missing sync.
#[test]
fn power_cuts_at_named_points_catch_a_writer_that_skips_a_sync() {
    for skip in [Skip::Batch, Skip::NewFile, Skip::NewName, Skip::Recovery, Skip::Compressed] {
        let caught = (0..20).find_map(|seed| cut_in_a_row(seed, Some(skip)).err());
        assert!(caught.is_some(), "{skip:?} was not caught");
    }
}

/// I1, I4: the power goes at any operation, a hundred times in a row on one disk, also in the middle
/// of recovering from the last time.
#[test]
fn a_hundred_random_power_cuts_in_a_row_lose_and_repeat_nothing() {
    for seed in seeds(10) {
        let mut world = World::new(seed, None);
        let mut cuts = 0;
        while cuts < CUTS {
            let now = world.disk.ops();
            world.disk.crash_at(now + size(world.dice.below(90)));
            let lived = world.live(40);
            lived.unwrap_or_else(|wrong| panic!("{}", tell(&world, seed, now, &wrong)));
            cuts += u32::from(world.disk.is_down());
            world.disk.crash(&mut world.dice);
        }
        let now = world.disk.ops();
        let lived = world.live(1);
        lived.unwrap_or_else(|wrong| panic!("{}", tell(&world, seed, now, &wrong)));
    }
}

/// I1: the same with a system that does reads and writes in parts and interrupts them.
#[test]
fn short_and_interrupted_reads_and_writes_change_nothing() {
    for seed in seeds(40) {
        let mut world = World::new(seed, None);
        world.disk.chop(Dice::new(seed));
        for _ in 0..4 {
            let now = world.disk.ops();
            world.disk.crash_at(now + size(world.dice.below(300)));
            let lived = world.live(20);
            lived.unwrap_or_else(|wrong| panic!("{}", tell(&world, seed, now, &wrong)));
            world.end();
        }
        let now = world.disk.ops();
        let lived = world.live(1);
        lived.unwrap_or_else(|wrong| panic!("{}", tell(&world, seed, now, &wrong)));
    }
}
