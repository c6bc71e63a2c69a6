//! `provision snapshot`: what one looks at when a relay is slow, in one file.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};
use provision::{
    env_file::EnvFile,
    files, moment,
    roster::{Password, Target},
    snapshot::{self, Changed, Difference, Snapshot},
};

use super::wait;
use crate::out;

const EXAMPLES: &str = "\
Examples:
  provision snapshot                                   writes relay-snapshot-TIME.json, mode 0600
  provision snapshot --out before.json
  provision snapshot --out - | jq .parts.hosts
  provision snapshot diff before.json after.json

Exit codes: 0 done; 1 a part is missing (the file is written all the same), or it failed; 2 wrong usage.
Passwords are not in the file. Names of hosts, addresses of consumers and log lines are.";

/// Lines of each list that a person is shown.
const SHOWN: usize = 30;

/// Where to look, and where to write.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct SnapshotArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Environment of the relay, as `init` wrote it; secrets/relay.env beside it is read too.
    #[arg(long, value_name = "FILE", default_value = "/etc/relay/env")]
    env: PathBuf,
    /// Where to write; - is stdout. Otherwise relay-snapshot-TIME.json here.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// File with the admin password. Otherwise that of the environment file, or of the data directory.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What happened between two snapshots.
    Diff {
        /// The older one.
        before: PathBuf,
        /// The newer one.
        after: PathBuf,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Takes one or compares two; `false` when a part is missing.
pub(crate) fn run(args: &SnapshotArgs) -> Result<bool> {
    if let Some(Verb::Diff { before, after, json }) = &args.verb {
        return compare(before, after, *json);
    }
    let (env, _) = EnvFile::of_deployment(&args.env)?;
    let config = env.config(args.env.parent().unwrap_or(&args.env))?;
    let target = Target::of(&config, None, args.password_file.as_deref().map(Password::File))?;
    let taken = wait::on(async { Ok(Snapshot::take(&config, &target).await) })?;
    let text = serde_json::to_string_pretty(&taken)? + "\n";
    let time = moment::day_and_time(taken.taken_ms).replace(':', "-");
    let named = args.out.clone().unwrap_or_else(|| format!("relay-snapshot-{time}.json").into());
    if named == Path::new("-") {
        out::text(&text);
    } else {
        files::write(&named, &text, 0o600)?;
        out::line(&named.display().to_string());
    }
    for (part, why) in taken.missing() {
        out::note(&format!("{part} is missing: {why}"));
    }
    Ok(taken.missing().next().is_none())
}

fn read(path: &Path) -> Result<Snapshot> {
    let text = files::read(path)?.with_context(|| format!("there is no {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| {
        format!("{} is no snapshot; `provision snapshot` makes one", path.display())
    })
}

fn compare(before: &Path, after: &Path, json: bool) -> Result<bool> {
    let (old, new) = (read(before)?, read(after)?);
    ensure!(
        old.taken_ms <= new.taken_ms,
        "{} is newer than {}: give the older one first",
        before.display(),
        after.display()
    );
    let found = snapshot::difference(&old, &new);
    if json {
        out::json(&found)?;
    } else {
        show(&found);
    }
    Ok(true)
}

fn show(found: &Difference) {
    out::line(&format!("{:.1} s between the two", found.seconds));
    let list = |title: &str, lines: Vec<String>| {
        if lines.is_empty() {
            return;
        }
        out::line("");
        out::line(title);
        let more = lines.len().saturating_sub(SHOWN);
        lines.iter().take(SHOWN).for_each(|line| out::line(&format!("  {line}")));
        if more > 0 {
            out::line(&format!("  and {more} more; --json has all"));
        }
    };
    let counter = |it: &Changed| format!("{:>12.2}/s  {}", it.per_s.unwrap_or(0.0), it.name);
    let gauge = |it: &Changed| format!("{:>14} -> {:<14} {}", it.before, it.after, it.name);
    list("COUNTED", found.counters.iter().map(counter).collect());
    list("CHANGED", found.gauges.iter().map(gauge).collect());
    list("HOSTS", found.hosts.clone());
    list("SETTINGS", found.settings.clone());
    list("MISSING", found.missing.clone());
}
