//! A disk that refuses one operation: the log waits for room, or stops before it shows what it is
//! not sure of, and the next start finds everything that was visible.

use std::collections::BTreeMap;

use super::crash::{World, Wrong, seeds, size, tell};
use crate::eventlog::files::sim::Fault;

/// Lives in each of which one operation fails; gives how often it did.
fn faulty_lives(seed: u64, fault: Fault) -> Result<u32, Wrong> {
    let mut world = World::new(seed, None);
    let mut struck = 0;
    for _ in 0..8 {
        let now = world.disk.ops();
        world.disk.fail_at(now + size(world.dice.below(90)), fault);
        world.live(20).map_err(|wrong| tell(&world, seed, now, &wrong))?;
        struck += u32::from(world.disk.has_struck());
        world.end();
    }
    let now = world.disk.ops();
    world.live(1).map_err(|wrong| tell(&world, seed, now, &wrong))?;
    Ok(struck)
}

/// I1, I4, OUT-5, DESIGN 10.9: every kind of failure at random operations, followed by a restart or a
/// power cut: what was visible stays, nothing else is made of it.
#[test]
fn nothing_visible_is_lost_by_an_operation_that_fails() {
    let mut met: BTreeMap<Fault, u32> = BTreeMap::new();
    for fault in Fault::ALL {
        for seed in seeds(60) {
            let struck =
                faulty_lives(seed, fault).unwrap_or_else(|wrong| panic!("{fault:?}: {wrong}"));
            *met.entry(fault).or_default() += struck;
        }
    }
    println!("failures {met:?}");
    for fault in Fault::ALL {
        let times = met.get(&fault).copied().unwrap_or(0);
        assert!(times >= 5 || seeds(60).count() == 1, "{fault:?} struck {times} times");
    }
}
