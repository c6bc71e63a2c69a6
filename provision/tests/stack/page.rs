//! The commands of `docs/ci.md` as they stand there.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

/// A person who copies the page into a workflow gets what it promises: a stack, an answer through TLS,
/// a log, and nothing in the end.
#[test]
#[ignore = "needs a container engine: just stage build,stack"]
fn the_commands_of_the_page_about_ci_work() -> Result<()> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ci.md");
    let page = std::fs::read_to_string(&page).context("read docs/ci.md")?;
    let blocks: Vec<_> =
        page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    ensure!(blocks.len() == 4, "{} blocks", blocks.len());

    let (work, state) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let relay = provision::image::built_relay(crate::named_relay())?;
    // The page's name for the stack is one for a machine of its own.
    let own = format!("--name page-{}", std::process::id());
    let script = format!("set -eux\n{}", blocks.concat().replace("--name ci", &own));
    let program = Path::new(env!("CARGO_BIN_EXE_provision"));
    let beside = program.parent().context("no directory")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(
        std::iter::once(beside.to_owned()).chain(std::env::split_paths(&path)),
    )?;
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(work.path())
        .env("PATH", path)
        .env("RELAY_BINARY", relay)
        .env("PROVISION_STATE_DIR", state.path())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    let answered = String::from_utf8_lossy(&output.stdout);
    ensure!(answered.contains("pds.test"), "{answered}\n{said}");
    let log = std::fs::read_to_string(work.path().join("stack.log"))?;
    ensure!(log.contains("relay") && log.contains("caddy"), "{log}");
    ensure!(std::fs::read_dir(state.path().join("stacks"))?.next().is_none(), "secrets stayed");
    Ok(())
}
