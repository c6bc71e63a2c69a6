//! `provision init`: settings and secrets of a new relay.

use std::{
    io::{self, BufReader, IsTerminal as _},
    path::PathBuf,
};

use anyhow::Result;
use clap::Args;
use provision::init::{
    self, Begun,
    answers::{self, Answers, PROVIDERS, Store},
};

use crate::out::{self, Usage};

const EXAMPLES: &str = "\
Examples:
  provision init                                       asks for everything
  provision init relay.example.com --contact mailto:you@example.com --dir .
  provision init relay.example.com --contact mailto:you@example.com --database postgres --window 72h
  provision init relay.example.com --contact mailto:you@example.com --database postgres \\
      --database-address /run/postgresql
  provision init relay.example.com --contact mailto:you@example.com --dry-run --json

Exit codes: 0 done; 1 a file says something else already, or cannot be written; 2 wrong usage.
Run again it adds what is missing and changes nothing. A secret is never overwritten.";

/// The answers; what is missing is asked for on a terminal.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InitArgs {
    /// Public name of the relay, such as relay.example.com.
    host: Option<String>,
    /// Where hosts reach its people: mailto: or a URL.
    #[arg(long, value_name = "URL")]
    contact: Option<String>,
    /// Where the machine is had: existing, hetzner-cloud, hetzner-robot or ovh.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Where hosts and accounts are kept: sqlite or postgres.
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Address of Postgres; the directory of its socket, such as /run/postgresql, needs no password.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5432")]
    database_address: String,
    /// Age of the oldest event that a consumer can ask for, such as 72h; auto leaves it to `tune`.
    #[arg(long, value_name = "TIME")]
    window: Option<String>,
    /// Directory of all that the relay keeps.
    #[arg(long, value_name = "DIR", default_value = "/data/relay")]
    data_dir: String,
    /// Where the files are written.
    #[arg(long, value_name = "DIR", default_value = "/etc/relay")]
    dir: PathBuf,
    /// Say what would be written, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Answer in JSON; asks nothing.
    #[arg(long)]
    json: bool,
}

/// Makes the files; `false` when an answer differs from what stands in them.
pub(crate) fn run(args: &InitArgs) -> Result<bool> {
    let answers = answered(args)?;
    let begun = init::begin(&args.dir, &answers, args.dry_run)?;
    if args.json {
        out::json(&begun)?;
    } else {
        explain(args, &begun);
    }
    Ok(begun.conflicts.is_empty())
}

fn answered(args: &InitArgs) -> Result<Answers> {
    let asking = io::stdin().is_terminal() && !args.json;
    let mut terminal = (BufReader::new(io::stdin()), io::stderr());
    let mut take = |given: &Option<String>,
                    default: Option<&str>,
                    question: &str,
                    flag: &str,
                    check: &dyn Fn(&str) -> Result<String, String>| {
        match (given, default) {
            (Some(given), _) => check(given).map_err(|wrong| Usage(wrong).into()),
            (None, _) if asking => {
                Ok(answers::ask(&mut terminal, question, default.unwrap_or_default(), check)?)
            }
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(anyhow::Error::from(Usage(format!(
                "{flag} is missing, and there is no terminal to ask on; see `provision init --help`"
            )))),
        }
    };
    let database = |name: &str| Store::parse(name, &args.database_address).map(|_| name.to_owned());
    let window = |text: &str| answers::window(text).map(Option::unwrap_or_default);
    let providers = format!("Provider ({})", PROVIDERS.join(", "));
    let host = take(&args.host, None, "Public name of the relay", "HOST", &answers::host)?;
    let contact_asked = "Contact, mailto: or URL";
    let contact = take(&args.contact, None, contact_asked, "--contact", &answers::contact)?;
    let provider =
        take(&args.provider, Some("existing"), &providers, "--provider", &answers::provider)?;
    let database = take(
        &args.database,
        Some("sqlite"),
        "Database (sqlite, postgres)",
        "--database",
        &database,
    )?;
    let window =
        take(&args.window, Some("auto"), "Replay window, such as 72h", "--window", &window)?;
    Ok(Answers {
        host,
        contact,
        provider,
        store: Store::parse(&database, &args.database_address).map_err(Usage)?,
        window: answers::window(&window).map_err(Usage)?,
        data_dir: answers::data_dir(&args.data_dir).map_err(Usage)?,
    })
}

fn explain(args: &InitArgs, begun: &Begun) {
    for file in &begun.files {
        let did = out::did(file.change, args.dry_run);
        out::line(&format!("{did:<14} {}  {}", file.path.display(), file.about));
    }
    for conflict in &begun.conflicts {
        out::line(&format!(
            "kept           {} = {} in line {}; you asked for {}: change the line, or leave the \
             answer out",
            conflict.name, conflict.kept, conflict.line, conflict.planned
        ));
    }
    let dir = args.dir.display();
    out::line("");
    out::line(
        "Secrets were made here and are shown nowhere. Keep a copy of the files below `secrets`.",
    );
    out::line("systemd reads both files: EnvironmentFile=env, EnvironmentFile=secrets/relay.env.");
    out::line(&format!("Next: provision tune --env {dir}/env --write"));
}
