//! The modules: what they give, and what they refuse.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Result, bail, ensure};

use crate::evaluator::{attempt, evaluate, files, libraries, nix, said};

/// Of both kinds there are more than these; a file of cases that is no longer read would show.
const GOOD_MIN: usize = 60;
const BAD_MIN: usize = 30;

/// A file with a mistake of spelling is found by the first person who types `nixos-rebuild`, or here.
#[test]
#[ignore = "needs Nix; type `just stage build,nix`"]
fn every_file_parses() -> Result<()> {
    let files = files()?;
    assert!(files.len() > 25, "{files:?}");
    let output = nix().arg("--parse").args(files).output()?;
    assert!(output.status.success(), "{}", said(&output));
    Ok(())
}

/// Whoever sets an option finds it in the unit, the environment, the front door, the database: each case
/// sets some and looks there. The examples are cases, too.
#[test]
#[ignore = "needs Nix; type `just stage build,nix`"]
fn every_configuration_becomes_what_it_says() -> Result<()> {
    for library in libraries() {
        let cases: BTreeMap<String, Vec<String>> = evaluate("report.good", &library)?;
        assert!(cases.len() >= GOOD_MIN, "{} cases", cases.len());
        let examples = cases.keys().filter(|name| name.starts_with("example-")).count();
        assert_eq!(
            examples,
            std::fs::read_dir(crate::binaries::root().join("nix/examples"))?.count()
        );
        for (name, failures) in cases {
            assert!(failures.is_empty(), "{name} {library}: {}", failures.join("\n"));
        }
    }
    Ok(())
}

/// A mistake stops `nixos-rebuild` before anything is changed, and what is said leads to the option.
#[test]
#[ignore = "needs Nix; type `just stage build,nix`"]
fn every_mistake_is_refused_with_words_that_say_which() -> Result<()> {
    for library in libraries() {
        let cases: Vec<(String, String)> =
            evaluate::<BTreeMap<_, _>>("report.bad", &library)?.into_iter().collect();
        assert!(cases.len() >= BAD_MIN, "{} cases", cases.len());
        let (next, library) = (AtomicUsize::new(0), &library);
        let one = || -> Result<()> {
            while let Some((name, says)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                let output = attempt(&format!("bad.{name}"), library)?;
                ensure!(!output.status.success(), "{name} is taken");
                ensure!(said(&output).contains(says), "{name}: {}", said(&output));
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(one)).collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
        })?;
    }
    Ok(())
}

/// An assertion that nobody has seen fire may never do so, or say something that helps nobody.
#[test]
#[ignore = "needs Nix; type `just stage build,nix`"]
fn every_assertion_has_a_mistake_that_fires_it() -> Result<()> {
    let cases: BTreeMap<String, String> = evaluate("report.bad", "")?;
    // What is said before the first value that is filled in.
    let heads: Vec<String> = cases.values().map(|says| says.chars().take(24).collect()).collect();
    let mut messages = 0;
    for file in files()?.into_iter().filter(|path| path.to_string_lossy().contains("/modules/")) {
        let text = std::fs::read_to_string(&file)?;
        for message in text.lines().filter_map(|line| line.trim().strip_prefix("message = \"")) {
            messages += 1;
            let fired = heads.iter().any(|head| message.contains(head));
            assert!(fired, "{}: no mistake fires {message}", file.display());
        }
    }
    assert!(messages > 20, "{messages} assertions");
    Ok(())
}
