//! Runs programs: streams their output, or keeps it for the case that they fail.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// A program with its arguments and environment, started in the checkout.
pub fn program(root: &Path, words: &[&str]) -> Command {
    let (name, arguments) = words.split_first().map_or(("true", &[][..]), |(n, a)| (*n, a));
    let mut command = Command::new(name);
    command.args(arguments).current_dir(root).stdin(Stdio::null());
    command
}

/// Runs to the end with output going straight to the terminal; `false` when it failed.
///
/// # Errors
/// When it cannot be started; so for all functions here.
pub fn streamed(mut command: Command) -> Result<bool> {
    let shown = show(&command);
    let status = command.status().with_context(|| format!("start `{shown}`"))?;
    Ok(status.success())
}

/// Runs quietly and gives what it wrote to stdout.
///
/// # Errors
/// When it cannot be started or fails; the error holds the last lines of the output.
pub fn quiet(mut command: Command) -> Result<String> {
    let shown = show(&command);
    let output = command.output().with_context(|| format!("start `{shown}`"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let all = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<_> = all.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(40)..).unwrap_or(&lines).join("\n");
        bail!("`{shown}` failed ({}):\n{tail}", output.status);
    }
    Ok(text)
}

/// Runs to the end and gives whether it succeeded, and all that it said.
///
/// # Errors
/// When it cannot be started.
pub fn captured(command: Command) -> Result<(bool, String)> {
    let (code, text) = coded(command)?;
    Ok((code == Some(0), text))
}

/// Runs to the end and gives the exit code, `None` after a signal, and all that it said.
///
/// # Errors
/// When it cannot be started.
pub fn coded(mut command: Command) -> Result<(Option<i32>, String)> {
    let shown = show(&command);
    let output = command.output().with_context(|| format!("start `{shown}`"))?;
    let text =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat();
    Ok((output.status.code(), text))
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
