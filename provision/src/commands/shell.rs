//! `provision completions` and `provision man`: what shells and `man` are told about the program.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Command};
use clap_complete::Shell;

use crate::out;

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  provision completions bash > /usr/share/bash-completion/completions/provision
  provision completions fish > ~/.config/fish/completions/provision.fish

Exit codes: 0 fine, 2 wrong usage.";

const MAN_EXAMPLES: &str = "\
Examples:
  provision man /usr/local/share/man/man1

Exit codes: 0 fine, 1 a page cannot be written, 2 wrong usage.";

/// For which shell.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Where to.
#[derive(Debug, Args)]
#[command(after_help = MAN_EXAMPLES)]
pub(crate) struct ManArgs {
    /// The directory of the pages, one for each verb. It is made.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Prints what the shell reads.
pub(crate) fn completions(args: &CompletionsArgs, mut model: Command) -> Result<bool> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut model, "provision", &mut text);
    out::text(&String::from_utf8(text).context("read the completions")?);
    Ok(true)
}

/// Writes the pages.
pub(crate) fn man(args: &ManArgs, model: Command) -> Result<bool> {
    let shown = args.directory.display();
    fs::create_dir_all(&args.directory).with_context(|| format!("make {shown}"))?;
    clap_mangen::generate_to(model, &args.directory)
        .with_context(|| format!("write the pages into {shown}"))?;
    Ok(true)
}
