//! Power cuts and disk errors at every kind of step, on a disk that forgets what was not synced.

use std::{path::Path, sync::Arc};

use super::{
    Outcome,
    support::{Still, TINY, accounts, batch, collections, mixed, model_at, name_all},
};
use crate::{
    collections::index::{Index, IndexError, Options},
    eventlog::sim::{Dice, Disk, Fault},
};

const DIR: &str = "/collections";
/// Batches of one life.
const BATCHES: u64 = 25;

/// Applies batches after `done` until one fails. Returns the last one that was acknowledged, and what
/// went wrong.
fn live(disk: &Disk, seed: u64, done: u64) -> (u64, Option<IndexError>) {
    let opened = Still::open(Arc::new(disk.clone()), Path::new(DIR), TINY);
    let mut still = match opened {
        Ok(still) => still,
        Err(error) => return (done, Some(error)),
    };
    if let Err(error) = name_all(&still.index) {
        return (done, Some(error));
    }
    for position in done + 1..=done + BATCHES {
        let (applied, upkeep) = still.apply(&batch(seed, position));
        if let Err(error) = applied {
            return (position - 1, Some(error));
        }
        if let Some(error) = upkeep {
            return (position, Some(error));
        }
    }
    (done + BATCHES, None)
}

/// Opens what is left and compares it: all that was acknowledged, and at most the batch that was on
/// its way. Returns the position.
fn check(disk: &Disk, seed: u64, acknowledged: u64, story: &str) -> Result<u64, anyhow::Error> {
    let still = Still::open(Arc::new(disk.clone()), Path::new(DIR), TINY)
        .map_err(|error| anyhow::anyhow!("{error}\nseed {seed}, after:\n{story}"))?;
    let position = still.index.position().map_or(0, |position| position.0);
    let expected = acknowledged..=acknowledged + 1;
    assert!(expected.contains(&position), "{position}, not {expected:?}; {seed}\n{story}");
    model_at(seed, position).assert_equals(&still.index, &accounts(), &collections())?;
    Ok(position)
}

/// I1 for the index: what was applied is there after a power cut at any step, no more and no less.
#[test]
fn a_power_cut_at_any_step_loses_nothing_that_was_applied() -> Outcome {
    let (mut cuts, mut seed) = (0, 0);
    while cuts < 250 {
        seed += 1;
        let disk = Disk::new();
        let mut dice = Dice::new(seed);
        let mut position = 0;
        for life in 0..4 {
            let from = disk.ops();
            disk.crash_at(from + usize::try_from(mixed(seed * 7 + life) % 130)?);
            let (acknowledged, error) = live(&disk, seed, position);
            assert!(error.is_none() || disk.is_down(), "{error:?}");
            cuts += usize::from(disk.is_down());
            let story = disk.story(from);
            disk.crash(&mut dice);
            position = check(&disk, seed, acknowledged, &story)?;
        }
    }
    Ok(())
}

/// A disk that fails once, in any way and at any step: an error that says so, never a wrong answer
/// while the process goes on, and nothing lost when it starts again.
#[test]
fn a_failing_disk_never_costs_what_was_applied() -> Outcome {
    // Cuts come after full writes only; they have a test of their own.
    for fault in Fault::ALL.into_iter().filter(|fault| *fault != Fault::IoOnCut) {
        let mut struck = 0;
        for at in 0..14 {
            let seed = 1_000 + at;
            let disk = Disk::new();
            let (before, _) = live(&disk, seed, 0);
            let from = disk.ops();
            disk.fail_at(from + usize::try_from(at * 9)?, fault);
            let (acknowledged, error) = live(&disk, seed, before);
            if let Some(error) = &error {
                let is_told = matches!(error, IndexError::Full(_) | IndexError::Failed(_));
                assert!(is_told && disk.has_struck(), "{fault:?}: {error}");
            }
            struck += usize::from(disk.has_struck());
            let story = disk.story(from);
            disk.restart();
            check(&disk, seed, acknowledged, &story)?;
        }
        assert!(struck > 0, "{fault:?} never happened");
    }
    Ok(())
}

/// OUT-5 for the index: while the disk is full nothing is applied and everything can be read; with
/// room it goes on by itself, with the very batch that did not fit.
#[test]
fn a_full_disk_stops_batches_and_not_readers() -> Outcome {
    let disk = Disk::new();
    let mut still = Still::open(Arc::new(disk.clone()), Path::new(DIR), TINY)?;
    name_all(&still.index)?;
    let mut position = 0;
    for free in [0, 50, 400, 1_500, 4_000] {
        disk.set_free(free);
        let mut refused = None;
        for _ in 0..BATCHES {
            let (applied, upkeep) = still.apply(&batch(5, position + 1));
            position += u64::from(applied.is_ok());
            refused = applied.err().or(upkeep);
            if refused.is_some() {
                break;
            }
        }
        assert!(matches!(refused, Some(IndexError::Full(_))), "{free} free: {refused:?}");
        model_at(5, position).assert_equals(&still.index, &accounts(), &collections())?;

        disk.set_free(1 << 30);
        still.tidy()?;
        still.index.apply(&batch(5, position + 1))?;
        position += 1;
        still.tidy()?;
        model_at(5, position).assert_equals(&still.index, &accounts(), &collections())?;
    }
    Ok(())
}

/// What is left of a batch that did not fit cannot be taken away: nobody knows what is on the disk, so
/// nothing more is applied, and the next start finds all that was.
#[test]
fn a_journal_that_cannot_be_cut_takes_nothing_more() -> Outcome {
    let disk = Disk::new();
    let (before, _) = live(&disk, 9, 0);
    let still = Still::open(Arc::new(disk.clone()), Path::new(DIR), TINY)?;
    disk.set_free(20);
    disk.fail_at(disk.ops(), Fault::IoOnCut);
    for _ in 0..2 {
        let refused = still.index.apply(&batch(9, before + 1));
        assert!(matches!(refused, Err(IndexError::Failed(_))), "{refused:?}");
        disk.set_free(1 << 30);
    }
    assert!(disk.has_struck());
    model_at(9, before).assert_equals(&still.index, &accounts(), &collections())?;
    disk.restart();
    check(&disk, 9, before, "a cut that failed")?;
    Ok(())
}

/// The thread that writes files gives up when nobody knows what is on the disk: batches are refused in
/// the end, whoever asks reads why and what to do, and everything that was applied can be read.
#[test]
fn a_thread_that_gave_up_says_so_and_reads_go_on() -> Outcome {
    let disk = Disk::new();
    let options = Options { memory_bytes: TINY };
    let index = Index::open_on(Arc::new(disk.clone()), Path::new(DIR), options)?;
    name_all(&index)?;
    assert_eq!(index.stopped(), None);
    disk.fail_at(disk.ops(), Fault::IoOnRename);
    let mut position = 0;
    let refused = loop {
        match index.apply(&batch(11, position + 1)) {
            Ok(()) => position += 1,
            Err(error) => break error,
        }
        assert!(position < 2_000, "nothing was written");
    };
    assert!(matches!(refused, IndexError::Failed(_)), "{refused}");
    let why = index.stopped().ok_or_else(|| anyhow::anyhow!("it does not say so"))?;
    assert!(why.contains("manifest") && why.contains("restart"), "{why}");
    model_at(11, position).assert_equals(&index, &accounts(), &collections())?;
    index.stop("something else");
    assert_eq!(index.stopped(), Some(why), "the first reason counts");

    drop(index);
    disk.restart();
    check(&disk, 11, position, "a rename that failed")?;
    Ok(())
}
