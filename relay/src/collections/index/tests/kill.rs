//! A real process that is killed in the middle of its work, again and again.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use super::{
    Outcome,
    model::Model,
    support::{TINY, accounts, batch, collections, mixed, name_all},
};
use crate::{
    collections::index::{Index, Options, manifest, manifest::Manifest},
    eventlog::{Files as _, Machine},
};

/// Names the directory to the process that is going to be killed.
const DIR: &str = "RELAY_TEST_COLLECTIONS_DIR";
const SEED: u64 = 77;
const KILLS: u64 = 20;
/// Kills that may miss the moment that they were meant for.
const MISSED_MAX: u64 = 400;

/// The process: applies batches without end and says each that is durable.
#[test]
#[ignore = "started by the tests below, which kill it"]
fn fills_an_index_until_it_is_killed() -> Outcome {
    let Some(dir) = env::var_os(DIR) else { return Ok(()) };
    let index = Index::open(Path::new(&dir), Options { memory_bytes: TINY })?;
    name_all(&index)?;
    let first = index.position().map_or(1, |position| position.0 + 1);
    for position in first.. {
        index.apply(&batch(SEED, position))?;
        writeln!(std::io::stdout(), "\ndurable {position}")?;
    }
    Ok(())
}

/// The process that fills, and how far it has said to be.
struct Victim {
    child: Child,
    /// Batches of this life.
    batches: Arc<AtomicU64>,
    /// Ends with the process; gives the last position that was durable.
    reader: JoinHandle<Option<u64>>,
}

impl Victim {
    fn start(dir: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["--exact", "--ignored", "--nocapture"])
            .arg("collections::index::tests::kill::fills_an_index_until_it_is_killed")
            .env(DIR, dir)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or_else(|| anyhow::anyhow!("no output"))?;
        let batches = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&batches);
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            let durable = lines.filter_map(|line| line.strip_prefix("durable ")?.parse().ok());
            let counted = durable.inspect(|_position: &u64| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            counted.last()
        });
        Ok(Self { child, batches, reader })
    }

    fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Kills it once `holds`; gives the last position that it called durable.
    fn kill_when(mut self, holds: impl Fn(&Self) -> anyhow::Result<bool>) -> anyhow::Result<u64> {
        while !holds(&self)? {
            anyhow::ensure!(self.child.try_wait()?.is_none(), "the process ended by itself");
            std::thread::yield_now();
        }
        self.child.kill()?;
        self.child.wait()?;
        let last = self.reader.join().map_err(|_panic| anyhow::anyhow!("the reader panicked"))?;
        last.ok_or_else(|| anyhow::anyhow!("the process applied nothing"))
    }
}

/// What goes on beside the batches, by the files of a process that is dead.
#[derive(Debug, PartialEq, Eq)]
enum Upkeep {
    Nothing,
    /// Rows on their way from memory to a segment.
    Flush,
    /// Segments on their way to one.
    Join,
}

/// A segment that no manifest names is being written. Rows come from memory while there is more than one
/// journal: the older one is removed when the manifest names their segment. Else they come from segments.
fn upkeep(dir: &Path) -> anyhow::Result<Upkeep> {
    let listed = Machine.list(dir)?;
    let Some((_, bytes)) = listed.iter().find(|(name, _)| name == manifest::NAME) else {
        return Ok(Upkeep::Nothing);
    };
    let named = Manifest::load(&Machine, dir, *bytes)?;
    let number = |name: &str, kind: &str| name.strip_prefix(kind)?.parse::<u64>().ok();
    let journals = listed.iter().filter(|(name, _)| number(name, "journal-").is_some()).count();
    let is_new = |name: &str| {
        number(name, "segment-")
            .is_some_and(|found| named.segments.iter().max().is_none_or(|newest| found > *newest))
    };
    Ok(match listed.iter().any(|(name, _)| is_new(name)) {
        false => Upkeep::Nothing,
        true if journals > 1 => Upkeep::Flush,
        true => Upkeep::Join,
    })
}

/// The same of a process that lives, whose files change while they are looked at: a guess.
fn may_join(dir: &Path) -> bool {
    upkeep(dir).is_ok_and(|found| found == Upkeep::Join)
}

/// What the index must hold, in step with the batches.
#[derive(Default)]
struct Truth {
    model: Model,
    position: u64,
}

impl Truth {
    /// Opens what the process left, and compares all of it.
    fn compare(&mut self, dir: &Path, durable: u64) -> Outcome {
        let index = Index::open(dir, Options { memory_bytes: TINY })?;
        let position = index.position().map_or(0, |position| position.0);
        assert!(position >= durable, "{position} after {durable} was durable");
        for position in self.position + 1..=position {
            self.model.apply(&batch(SEED, position));
        }
        self.position = position;
        Ok(self.model.assert_equals(&index, &accounts(), &collections())?)
    }
}

/// Twenty times `kill -9` while batches come, at any moment: every list is exactly that of the batches that
/// were durable.
#[test]
fn twenty_kills_lose_no_entry_and_leave_no_ghost() -> Outcome {
    let dir = tempfile::tempdir()?;
    let mut truth = Truth::default();
    for kill in 0..KILLS {
        let after = 5 + mixed(kill) % 60;
        let victim = Victim::start(dir.path())?;
        let durable = victim.kill_when(|victim| Ok(victim.batches() >= after))?;
        truth.compare(dir.path(), durable)?;
    }
    Ok(())
}

/// Twenty times `kill -9` in the middle of a compaction: a new segment is being written from old ones, and
/// no manifest names it yet. Nothing is lost, nothing is there that should not be, and the half segment is
/// gone after the start.
#[test]
fn twenty_kills_in_the_middle_of_a_compaction_lose_no_entry_and_leave_no_ghost() -> Outcome {
    let dir = tempfile::tempdir()?;
    let mut truth = Truth::default();
    let (mut hit, mut missed, mut flushing) = (0, 0, 0);
    while hit < KILLS {
        // So that not always the first one of a life is met.
        let after = 1 + mixed(hit + missed) % 40;
        let victim = Victim::start(dir.path())?;
        let durable =
            victim.kill_when(|victim| Ok(victim.batches() >= after && may_join(dir.path())))?;
        match upkeep(dir.path())? {
            Upkeep::Join => hit += 1,
            Upkeep::Flush => (flushing, missed) = (flushing + 1, missed + 1),
            Upkeep::Nothing => missed += 1,
        }
        assert!(missed < MISSED_MAX, "{hit} kills met a compaction, {flushing} a flush");
        truth.compare(dir.path(), durable)?;
        assert_eq!(upkeep(dir.path())?, Upkeep::Nothing, "files are left that nobody names");
    }
    Ok(())
}
