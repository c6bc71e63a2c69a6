//! A real process that is killed in the middle of its work, again and again.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use super::{
    Outcome,
    support::{TINY, accounts, batch, collections, mixed, model_at, name_all},
};
use crate::{
    collections::index::{Index, Options, manifest, manifest::Manifest},
    eventlog::{Files as _, Machine},
};

/// Names the directory to the process that is going to be killed.
const DIR: &str = "RELAY_TEST_COLLECTIONS_DIR";
const SEED: u64 = 77;
const KILLS: u64 = 20;

/// The process: applies batches without end and says each that is durable.
#[test]
#[ignore = "started by the test below, which kills it"]
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

/// Whether files lie there that no manifest names: the kill came during the upkeep.
fn was_tidying(dir: &Path) -> anyhow::Result<bool> {
    let listed = Machine.list(dir)?;
    let Some((_, bytes)) = listed.iter().find(|(name, _)| name == manifest::NAME) else {
        return Ok(false);
    };
    let named = Manifest::load(&Machine, dir, *bytes)?;
    Ok(listed.iter().any(|(name, _)| {
        let number = name.strip_prefix("segment-").and_then(|number| number.parse().ok());
        name == manifest::NEW_NAME || number.is_some_and(|number| !named.segments.contains(&number))
    }))
}

/// Twenty times `kill -9` while batches come, segments are written and joined: every list is exactly
/// that of the batches that were durable.
#[test]
fn twenty_kills_lose_no_entry_and_leave_no_ghost() -> Outcome {
    let dir = tempfile::tempdir()?;
    let mut tidying = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(env::current_exe()?)
            .args(["--exact", "--ignored", "--nocapture"])
            .arg("collections::index::tests::kill::fills_an_index_until_it_is_killed")
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or_else(|| anyhow::anyhow!("no output"))?;
        let durable = BufReader::new(output).lines().map_while(Result::ok).filter_map(|line| {
            line.strip_prefix("durable ").and_then(|number| number.parse::<u64>().ok())
        });
        let last = durable.take(usize::try_from(5 + mixed(kill) % 60)?).last();
        child.kill()?;
        child.wait()?;
        tidying += u32::from(was_tidying(dir.path())?);

        let last = last.ok_or_else(|| anyhow::anyhow!("the process applied nothing"))?;
        let index = Index::open(dir.path(), Options { memory_bytes: TINY })?;
        let position = index.position().map_or(0, |position| position.0);
        assert!(position >= last, "{position} after {last} was durable");
        model_at(SEED, position).assert_equals(&index, &accounts(), &collections())?;
    }
    assert!(tidying > 0, "no kill came during the upkeep");
    Ok(())
}
