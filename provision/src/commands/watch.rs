//! `provision watch`: a live view of a firehose.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use provision::{
    feed::Address,
    watch::{self, Filter, Form, Options, Verifier},
};

use super::wait;

/// How often a person is told how fast events come.
const RATE_EVERY: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  provision watch localhost:2470
  provision watch bsky.network --collection app.bsky.feed.post
  provision watch bsky.network --collection 'com.example.*' --cursor 0 --json | jq .did
  provision watch relay.example.com --did did:plc:ewvi7nxzyoun6zhxrhs64oiz --verify
  provision watch relay.example.com --type account,identity --for 10m

Events go to stdout, everything else to stderr. A lost connection is made anew from where it was.
Exit codes: 0 it ended as it was to (Ctrl-C, a limit), 1 there is no stream or an event is wrong,
2 wrong usage.";

/// What to show.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WatchArgs {
    /// A relay or PDS: `bsky.network`, `localhost:2470`, `ws://192.0.2.1:2470`.
    #[arg(value_parser = Address::parse)]
    url: Address,
    /// Start after this seq; 0 is the oldest event that is kept. Without it, with the next event.
    #[arg(long, value_name = "SEQ")]
    cursor: Option<u64>,
    /// Only operations in these collections, such as `app.bsky.feed.post` or `app.bsky.*`.
    #[arg(long, value_name = "NSID", value_delimiter = ',', value_parser = collection)]
    collection: Vec<String>,
    /// Only these accounts.
    #[arg(long, value_name = "DID", value_delimiter = ',', value_parser = did)]
    did: Vec<String>,
    /// Only these types of events: commit, sync, identity, account.
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = kind)]
    kind: Vec<String>,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
    /// Check signatures and proofs of what is shown. Asks the directory once per account.
    #[arg(long)]
    verify: bool,
    /// The PLC directory for --verify.
    #[arg(long, value_name = "URL", default_value = "https://plc.directory")]
    plc: String,
    /// End after so many lines.
    #[arg(long, value_name = "LINES")]
    limit: Option<u64>,
    /// End after this time, such as `30s` or `2m`.
    #[arg(long = "for", value_name = "TIME", value_parser = watch::span)]
    time: Option<Duration>,
    /// How often the rate is told; `0s` is never. Every 10 s, with --json never.
    #[arg(long, value_name = "TIME", value_parser = watch::span)]
    rate: Option<Duration>,
}

/// Shows it; `false` when something is wrong with an event.
pub(crate) fn run(args: WatchArgs) -> Result<bool> {
    let rate = args.rate.or((!args.json).then_some(RATE_EVERY));
    let options = Options {
        address: args.url,
        cursor: args.cursor,
        filter: Filter::parse(&args.collection, &args.did, &args.kind)?,
        form: if args.json { Form::Json } else { Form::Text },
        verifier: args.verify.then(|| Verifier::new(&args.plc)).transpose()?,
        lines_max: args.limit,
        time_max: args.time,
        rate_every: rate.filter(|rate| !rate.is_zero()),
    };
    let seen = wait::on(watch::run(options, &mut wait::tell, wait::asked_to_end()))?;
    Ok(seen.wrong == 0)
}

fn collection(text: &str) -> Result<String> {
    Filter::parse(&[text.to_owned()], &[], &[]).map(|_| text.to_owned())
}

fn did(text: &str) -> Result<String> {
    Filter::parse(&[], &[text.to_owned()], &[]).map(|_| text.to_owned())
}

fn kind(text: &str) -> Result<String> {
    Filter::parse(&[], &[], &[text.to_owned()]).map(|_| text.to_owned())
}
