//! `cargo run --release --example demo`: the real relay in this process, a simulated network around
//! it, and an oracle that compares every frame of the firehose with what the hosts sent.
//!
//! ```text
//! network (25 hosts, some misbehave) ──► relay ──► firehose ──► consumer ──► oracle ──► summary
//! ```
//!
//! It ends at Ctrl-C or after `--for`, with exit code 1 when a frame was lost, came twice or was never
//! sent like this, when the drops are not those that the oracle expects, or when a fault that was set
//! up did not strike.

mod mischief;
mod network;
mod options;
mod out;
mod running;
mod summary;
mod watch;

use std::process::ExitCode;

use anyhow::Result;

use self::options::{Command, Options};

fn main() -> ExitCode {
    let options = Options::of_process();
    match run(&options) {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            out::error(&format!("demo: {why:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        match options.command {
            Some(Command::Watch(ref watch)) => watch::run(watch).await,
            None => running::run(options).await,
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    code
}
