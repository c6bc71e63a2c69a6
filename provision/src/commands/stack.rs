//! `provision stack`: the whole stack in containers, and its end.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use provision::{
    files,
    image::{self, Engine},
    stack::{Containers, Options, Profile, Stack, compose as file_for_compose, sweep, variables},
};
use serde_json::json;

use super::{image::Place, wait};
use crate::out;

const EXAMPLES: &str = "\
Examples:
  provision stack up                         relay, PDS, PLC directory and Caddy with TLS, until Ctrl-C
  provision stack up --keep --json           the same, left running; addresses and secrets file as JSON
  provision stack up --profile prod-like --name second
                                             on Postgres, with Prometheus, beside the first one
  provision stack status                     what runs, of all stacks; exit code 1 when a part is not well
  provision stack logs relay --name second   the log of one part
  provision stack compose --output DIR       the same as compose.yaml and .env, for those who use Compose
  provision stack down --all                 the end of all stacks

`up` needs Docker and, the first time, npm and PyPI; it makes its images itself. The stack is up when an
event of the PDS has come out of the relay through TLS and was verified. Ctrl-C and SIGTERM end it at any
moment: no container, network, volume or secret is left.

Exit codes: 0 all went well, also when Ctrl-C ended a stack that was up; 1 a failure, with the log of the
part that failed, or Ctrl-C before the stack was up; 2 wrong usage.";

/// What to do with stacks.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StackArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Starts a stack and stays until Ctrl-C, or leaves it with --keep.
    Up(UpArgs),
    /// Ends a stack: containers, network, volumes, secrets.
    Down(DownArgs),
    /// Tells how the parts of all stacks, or of one, are.
    #[command(visible_alias = "ps")]
    Status(WhichArgs),
    /// Prints the log of a part, or of all.
    Logs(LogsArgs),
    /// Writes what `up` starts as a file for Docker Compose 2 or newer.
    Compose(ComposeArgs),
}

#[derive(Debug, Args)]
struct UpArgs {
    /// Tells this stack from others on the same machine.
    #[arg(long, default_value = "relay-stack")]
    name: String,
    /// `dev`: the relay on SQLite. `prod-like`: on Postgres, with Prometheus.
    #[arg(long, default_value = "dev", value_parser = ["dev", "prod-like"])]
    profile: String,
    /// Leave it running.
    #[arg(long)]
    keep: bool,
    /// Addresses and files as JSON.
    #[arg(long)]
    json: bool,
    /// The built relay.
    #[arg(long, env = "RELAY_BINARY", value_name = "FILE")]
    relay: Option<std::path::PathBuf>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct DownArgs {
    /// Which stack.
    #[arg(long, default_value = "relay-stack")]
    name: String,
    /// All stacks of this machine.
    #[arg(long, conflicts_with = "name")]
    all: bool,
    /// With --all: the images too, which `up` makes again.
    #[arg(long, requires = "all")]
    images: bool,
}

#[derive(Debug, Args)]
struct WhichArgs {
    /// Only this stack.
    #[arg(long)]
    name: Option<String>,
    /// One JSON object per container.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct LogsArgs {
    /// `relay`, `pds`, `plc`, `caddy`, `postgres`, `prometheus`; without, all.
    service: Option<String>,
    /// Which stack.
    #[arg(long, default_value = "relay-stack")]
    name: String,
    /// Lines from the end.
    #[arg(long, default_value = "all", value_name = "LINES")]
    tail: String,
}

#[derive(Debug, Args)]
struct ComposeArgs {
    /// Name of the project.
    #[arg(long, default_value = "relay-stack")]
    name: String,
    /// As for `up`.
    #[arg(long, default_value = "dev", value_parser = ["dev", "prod-like"])]
    profile: String,
    /// Write compose.yaml there, and .env with new secrets unless it is there; without, compose.yaml
    /// to stdout. Where its network is taken, `RELAY_STACK_SUBNET` and `RELAY_STACK_CADDY` in .env name
    /// another one and the address of Caddy in it.
    #[arg(long, value_name = "DIR")]
    output: Option<std::path::PathBuf>,
    /// The built relay.
    #[arg(long, env = "RELAY_BINARY", value_name = "FILE")]
    relay: Option<std::path::PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// Does it; `false` when a part is not well.
pub(crate) fn run(args: &StackArgs) -> Result<bool> {
    match &args.verb {
        Verb::Up(args) => wait::on(Box::pin(up(args))),
        Verb::Down(args) => wait::on(down(args)),
        Verb::Status(args) => wait::on(status(args)),
        Verb::Logs(args) => wait::on(logs(args)),
        Verb::Compose(args) => compose(args),
    }
}

async fn up(args: &UpArgs) -> Result<bool> {
    let profile = Profile::parse(&args.profile).context("no such profile")?;
    let (checkout, cache) = args.place.paths()?;
    let options = Options {
        profile,
        relay: args.relay.clone(),
        checkout,
        cache: Some(cache),
        say: Arc::new(out::note),
        ..Options::named(&args.name)
    };
    let mut ending = wait::Ending::listen()?;
    let Some(stack) = Stack::up_unless(options, ending.asked()).await? else {
        return Ok(false);
    };
    tell(&stack, args.json)?;
    if args.keep {
        out::note(&format!(
            "left running; end it with `provision stack down --name {}`",
            args.name
        ));
        stack.leave();
        return Ok(true);
    }
    out::note("Ctrl-C ends it");
    ending.asked().await;
    out::note("removing containers, network and volumes");
    stack.down().await?;
    Ok(true)
}

fn tell(stack: &Stack, as_json: bool) -> Result<()> {
    let addresses = stack.addresses();
    if as_json {
        let told = json!({
            "name": stack.name(),
            "profile": stack.profile(),
            "addresses": addresses,
        });
        out::line(&serde_json::to_string(&told).context("write JSON")?);
        return Ok(());
    }
    let ca = addresses.ca.display();
    for (what, where_) in [
        ("relay", &addresses.relay),
        ("firehose", &addresses.firehose),
        ("admin API", &addresses.admin),
        ("PDS", &addresses.pds),
        ("PLC directory", &addresses.plc),
    ] {
        out::line(&format!("{what:<14} {where_}"));
    }
    if let Some(prometheus) = &addresses.prometheus {
        out::line(&format!("{:<14} {prometheus}", "Prometheus"));
    }
    out::line(&format!("{:<14} {ca}", "certificate"));
    out::line(&format!("{:<14} {}", "secrets", addresses.secrets.display()));
    out::line(&format!("try: curl --cacert {ca} {}/xrpc/_health", addresses.relay));
    Ok(())
}

async fn down(args: &DownArgs) -> Result<bool> {
    let engine = Engine::connect().await?;
    if args.all {
        sweep::down_all(&engine).await?;
        if args.images {
            sweep::remove_images(&engine).await?;
        }
    } else {
        sweep::down(&engine, &args.name).await?;
    }
    Ok(true)
}

async fn status(args: &WhichArgs) -> Result<bool> {
    let engine = Engine::connect().await?;
    let lines = sweep::list(&engine, args.name.as_deref()).await?;
    for line in &lines {
        if args.json {
            out::line(&serde_json::to_string(line).context("write JSON")?);
            continue;
        }
        let ports: Vec<_> = line
            .ports
            .iter()
            .map(|(outside, inside)| format!("127.0.0.1:{outside} -> {inside}"))
            .collect();
        out::line(&format!(
            "{:<16} {:<11} {:<26} {}",
            line.stack,
            line.service,
            line.status,
            ports.join(", ")
        ));
    }
    if lines.is_empty() {
        out::note("no stack runs; `provision stack up` starts one");
    }
    // One that ends again and again is about to start whenever it is not down.
    let is_ill = |status: &str| status.contains("unhealthy") || status.contains("health: starting");
    let is_well = |status: &str| status.starts_with("Up") && !is_ill(status);
    Ok(lines.iter().all(|line| is_well(&line.status)))
}

async fn logs(args: &LogsArgs) -> Result<bool> {
    let engine = Engine::connect().await?;
    let lines = sweep::list(&engine, Some(&args.name)).await?;
    let wanted = |service: &str| args.service.as_deref().is_none_or(|one| one == service);
    let services: Vec<_> = lines.iter().filter(|line| wanted(&line.service)).collect();
    if services.is_empty() {
        bail!(
            "the stack {} has no such part; `provision stack status` lists what there is",
            args.name
        );
    }
    let containers = Containers::of(engine, &args.name);
    for line in &services {
        for text in containers.log_lines(&line.service, &args.tail).await?.lines() {
            let before =
                if services.len() > 1 { format!("{:<10} ", line.service) } else { String::new() };
            out::line(&format!("{before}{text}"));
        }
    }
    Ok(true)
}

fn compose(args: &ComposeArgs) -> Result<bool> {
    let profile = Profile::parse(&args.profile).context("no such profile")?;
    let relay = image::built_relay(args.relay.clone())?;
    let images = image::names(&args.place.kit()?, &relay, &profile.parts())?;
    let file = file_for_compose(&args.name, profile, &images)?;
    let Some(directory) = &args.output else {
        out::text(&file);
        return Ok(true);
    };
    std::fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    let (path, secrets) = (directory.join("compose.yaml"), directory.join(".env"));
    std::fs::write(&path, file).with_context(|| format!("write {}", path.display()))?;
    if !secrets.exists() {
        files::write(&secrets, &variables(), 0o600)?;
    }
    out::note("make the images with `provision image all`, then type `docker compose up` there");
    out::line(&path.display().to_string());
    Ok(true)
}
