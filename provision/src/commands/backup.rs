//! `provision backup` with `verify`, `list` and `prune`, and `provision restore`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use provision::{
    backup::{self, Fate, Identities, Local, Manifest, Place, Policy, Recipients, Wanted},
    moment,
    told::Told,
    words,
};
use serde_json::json;

use super::wait::{self, Screen};
use crate::out::{self, Usage};

const EXAMPLES: &str = "\
Examples:
  provision backup --env /etc/relay/env --to /var/backups/relay --keep-last 3 --keep-daily 14
  provision backup --env /etc/relay/env --to s3://BUCKET/relay --with-secrets --age-recipients-file keys
  provision backup verify /var/backups/relay/relay-001795727113043
  provision backup verify s3://BUCKET/relay --age-identity key.txt          the newest one there
  provision backup verify BACKUP --scratch postgres://relay:PASSWORD@localhost/scratch
  provision backup list s3://BUCKET/relay
  provision backup prune /var/backups/relay --keep-daily 7 --keep-weekly 5 --dry-run

The relay may run meanwhile. The event log is not part of a backup: hosts send again what they keep.
S3-compatible storage is reached as the environment says, never the command line: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, AWS_VIRTUAL_HOSTED_STYLE_REQUEST. Keys of age are made
by `age-keygen -o key.txt`; keep that file elsewhere than on the relay's machine.
Without a --keep rule the last 14 are kept. Copies on their way lie below TMPDIR.
Exit codes: 0 done, 1 it failed or the backup is damaged, 2 wrong usage.";

const RESTORE_EXAMPLES: &str = "\
Examples:
  provision restore /var/backups/relay/relay-001795727113043 --env /etc/relay/env
  provision restore --from s3://BUCKET/relay --age-identity key.txt --env /etc/relay/env    the newest

The relay must be stopped, and its database and event log must be empty places. Where there is no FILE of
--env, settings and secrets are taken from a backup with secrets. The settings are given the seq from which
the relay goes on, above everything that a consumer can have seen; consumers that come back with an older
cursor are told so (OutdatedCursor).
Exit codes: 0 done, 1 it failed and nothing was changed, 2 wrong usage.";

/// What to back up.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct BackupArgs {
    #[command(subcommand)]
    what: Option<What>,
    /// The file with the environment of the relay; secrets/relay.env beside it is read too.
    #[arg(long, value_name = "FILE")]
    env: Option<PathBuf>,
    /// The directory in which the relay runs.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Where backups lie: a directory, or `s3://BUCKET/PREFIX`.
    #[arg(long, value_name = "PLACE")]
    to: Option<String>,
    #[command(flatten)]
    keep: Keep,
    /// Encrypt for this recipient of age (age1…); may be given several times, each can read it alone.
    #[arg(long, value_name = "KEY")]
    age_recipient: Vec<String>,
    /// Encrypt for the recipients in this file, one a line.
    #[arg(long, value_name = "FILE")]
    age_recipients_file: Vec<PathBuf>,
    /// Keep the secrets too, so that a restore needs nothing else. Needs a recipient.
    #[arg(long)]
    with_secrets: bool,
    /// Permit secrets that are not encrypted.
    #[arg(long, requires = "with_secrets")]
    plain_secrets: bool,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
}

/// Which backups are kept.
#[derive(Debug, Args)]
struct Keep {
    /// The last ones.
    #[arg(long = "keep-last", visible_alias = "keep", value_name = "COUNT")]
    last: Option<usize>,
    /// The last of each of so many days (UTC) that have one.
    #[arg(long = "keep-daily", value_name = "COUNT")]
    daily: Option<usize>,
    /// The last of each of so many weeks.
    #[arg(long = "keep-weekly", value_name = "COUNT")]
    weekly: Option<usize>,
    /// The last of each of so many months.
    #[arg(long = "keep-monthly", value_name = "COUNT")]
    monthly: Option<usize>,
}

impl Keep {
    fn is_given(&self) -> bool {
        let rules = [self.last, self.daily, self.weekly, self.monthly];
        rules.iter().any(Option::is_some)
    }

    fn policy(&self) -> Policy {
        let last = if self.is_given() { 0 } else { 14 };
        Policy {
            last: self.last.unwrap_or(last),
            daily: self.daily.unwrap_or_default(),
            weekly: self.weekly.unwrap_or_default(),
            monthly: self.monthly.unwrap_or_default(),
        }
    }
}

#[derive(Debug, Subcommand)]
enum What {
    /// Restores a backup into a scratch database and counts what is there.
    Verify {
        /// The directory or s3:// address of a backup; of a place with several it is the newest.
        backup: String,
        /// An empty database, for a backup of Postgres.
        #[arg(long, value_name = "URL", env = "SCRATCH_DATABASE_URL", hide_env_values = true)]
        scratch: Option<String>,
        /// A file with the key of an encrypted backup.
        #[arg(long, value_name = "FILE")]
        age_identity: Vec<PathBuf>,
        /// The result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows what lies in a place.
    List {
        /// A directory, or `s3://BUCKET/PREFIX`.
        place: String,
        /// The result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Removes what no rule keeps, and what was never finished.
    Prune {
        /// A directory, or `s3://BUCKET/PREFIX`.
        place: String,
        #[command(flatten)]
        keep: Keep,
        /// Only show what would go, and why.
        #[arg(long)]
        dry_run: bool,
        /// The result as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What to restore.
#[derive(Debug, Args)]
#[command(after_help = RESTORE_EXAMPLES)]
pub(crate) struct RestoreArgs {
    /// The directory or s3:// address of a backup; of a place with several it is the newest.
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    backup: Option<String>,
    /// The same.
    #[arg(long, value_name = "BACKUP")]
    from: Option<String>,
    /// The file with the environment of the relay.
    #[arg(long, value_name = "FILE")]
    env: PathBuf,
    /// The directory in which the relay runs.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// A file with the key of an encrypted backup.
    #[arg(long, value_name = "FILE")]
    age_identity: Vec<PathBuf>,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
}

/// Makes a backup, or looks after those that are there.
pub(crate) fn run(args: &BackupArgs) -> Result<bool> {
    match &args.what {
        Some(What::Verify { backup, scratch, age_identity, json }) => {
            verify(backup, scratch.as_deref(), age_identity, *json)
        }
        Some(What::List { place, json }) => list(place, *json),
        Some(What::Prune { place, keep, dry_run, json }) => {
            if !keep.is_given() {
                let what = "say what is kept: --keep-last, --keep-daily, --keep-weekly or \
                            --keep-monthly; see `provision backup prune --help`";
                return Err(Usage(what.to_owned()).into());
            }
            prune(place, keep.policy(), (*dry_run, *json))
        }
        None => make(args),
    }
}

fn make(args: &BackupArgs) -> Result<bool> {
    let (Some(env), Some(to)) = (&args.env, &args.to) else {
        let what = "a backup needs --env FILE and --to PLACE; see `provision backup --help`";
        return Err(Usage(what.to_owned()).into());
    };
    let recipients = Recipients::read(&args.age_recipient, &args.age_recipients_file)?;
    if args.with_secrets && recipients.is_empty() && !args.plain_secrets {
        let what = "--with-secrets puts passwords into the backup, and it is not encrypted; add \
                    --age-recipient KEY, or --plain-secrets if nobody else can read the place";
        return Err(Usage(what.to_owned()).into());
    }
    let place = Place::parse(to)?;
    let wanted = Wanted {
        env_file: env,
        dir: &args.dir,
        recipients: &recipients,
        with_secrets: args.with_secrets,
    };
    let mut screen = Screen::new();
    let made = wait::or_interrupted(backup::make(&place, wanted, &mut |told| screen.tell(told)))?;
    screen.clear();
    let pruned = wait::on(backup::prune(&place, args.keep.policy(), false));
    let (path, manifest) = (&made.shown, &made.manifest);
    if args.json {
        out::json(&json!({ "path": path, "manifest": manifest }))?;
    } else {
        out::line(&format!(
            "{path}: {} hosts, {} accounts, up to seq {}{}",
            manifest.counts.hosts,
            manifest.counts.accounts,
            manifest.position,
            if manifest.is_sealed() { ", encrypted" } else { "" }
        ));
        out::note(&format!("next: provision backup verify {path}"));
    }
    let fates = pruned
        .map_err(|error| error.context("the backup is made; older ones could not be removed"))?;
    for fate in fates.iter().filter(|fate| !fate.kept) {
        out::note(&format!("removed {}: {}", fate.name, fate.why));
    }
    Ok(true)
}

fn verify(backup: &str, scratch: Option<&str>, identities: &[PathBuf], json: bool) -> Result<bool> {
    let identities = Identities::read(identities)?;
    let mut screen = Screen::new();
    let manifest = wait::or_interrupted(async {
        let mut tell = |told| screen.tell(told);
        let local = Local::find(backup, &mut tell).await?;
        tell(Told::Note(format!("looking at {}", local.shown)));
        backup::verify(&local.dir, scratch, &identities, &mut tell).await
    })?;
    screen.clear();
    if json {
        out::json(&manifest)?;
    } else {
        let counts = manifest.counts;
        out::line(&format!(
            "whole: {} hosts, {} accounts, {} decisions, up to seq {}",
            counts.hosts, counts.accounts, counts.decisions, manifest.position
        ));
        out::note(&format!(
            "made {}; {}",
            moment::day_and_time(manifest.made_ms),
            holds(&manifest)
        ));
    }
    Ok(true)
}

/// What a restore has from it besides the database.
fn holds(manifest: &Manifest) -> &'static str {
    if manifest.has_secrets {
        "it holds the secrets: a restore needs nothing else"
    } else {
        "it holds no secrets: a restore needs them from elsewhere"
    }
}

fn list(place: &str, json: bool) -> Result<bool> {
    let place = Place::parse(place)?;
    let all = wait::on(place.list())?;
    if json {
        out::json(&all)?;
        return Ok(true);
    }
    for backup in &all {
        let made = moment::day_and_time(backup.made_ms);
        let state = if backup.finished { "" } else { "  not finished, no backup" };
        let size = words::bytes(backup.bytes);
        out::line(&format!("{made}  {size:>8}  {}{state}", place.shown(&backup.name)));
    }
    let finished = all.iter().filter(|backup| backup.finished).count();
    out::note(&words::counted(u64::try_from(finished)?, "backup", "backups"));
    Ok(true)
}

fn prune(place: &str, policy: Policy, (dry_run, json): (bool, bool)) -> Result<bool> {
    let place = Place::parse(place)?;
    let fates = wait::on(backup::prune(&place, policy, dry_run))?;
    if json {
        out::json(&fates)?;
    } else {
        for Fate { name, kept, why } in &fates {
            let word = match (kept, dry_run) {
                (true, _) => "keep  ",
                (false, true) => "would remove",
                (false, false) => "removed",
            };
            out::line(&format!("{word:<12}  {}  {why}", place.shown(name)));
        }
    }
    Ok(true)
}

/// Restores a backup.
pub(crate) fn restore(args: &RestoreArgs) -> Result<bool> {
    let identities = Identities::read(&args.age_identity)?;
    let backup = args.backup.as_ref().or(args.from.as_ref()).map_or("", String::as_str);
    let home = backup::Home { env_file: &args.env, dir: &args.dir };
    let mut screen = Screen::new();
    let restored = wait::or_interrupted(async {
        let mut tell = |told| screen.tell(told);
        let local = Local::find(backup, &mut tell).await?;
        tell(Told::Note(format!("restoring {}", local.shown)));
        backup::restore(&local.dir, home, &identities, &mut tell).await
    })?;
    screen.clear();
    let (counts, floor) = (restored.counts, restored.floor);
    if args.json {
        let position = restored.position;
        out::json(&json!({
            "counts": counts, "position": position, "floor": floor, "files": restored.files,
        }))?;
        return Ok(true);
    }
    out::line(&format!("restored {} hosts and {} accounts", counts.hosts, counts.accounts));
    for file in &restored.files {
        out::line(&format!("made {} from the backup", file.display()));
    }
    out::line(&format!(
        "the relay goes on with seq {floor}: {} was the last that the backup knew of, and nobody can have \
         seen one above; consumers with older cursors are told OutdatedCursor",
        restored.position
    ));
    out::note(&format!(
        "what was decided after {} is lost: bans, limits, takedowns; hosts that came since are found by \
         `provision hosts --add`",
        moment::day_and_time(restored.made_ms)
    ));
    out::note("next: start the relay, then ask it with `relay health`");
    Ok(true)
}
