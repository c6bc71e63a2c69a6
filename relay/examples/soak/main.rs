//! `just soak HOURS`: the built relay as a process for hours, beside a simulated network in which every
//! adversary plays, with consumers that come, go and compare; what grows over time is found here.
//!
//! ```text
//! honest load + all adversaries ──► relay (process) ──► live, reconnecting and late consumers ──► oracle
//!                                        └─► RSS, descriptors, threads, queues every 10 s ──► judge
//! ```
//!
//! A line per minute, a summary at the end, exit code 1 when anything is wrong; `docs/testing.md` says
//! what is.

mod consumers;
mod options;
mod out;
#[path = "../../tests/support/process.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod process;
mod run;
mod samples;
mod summary;
mod trend;

use std::process::ExitCode;

use anyhow::Result;

use self::options::Options;

fn main() -> ExitCode {
    let options = Options::of_process();
    match run(&options) {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            out::error(&format!("soak: {why:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let problems = runtime.block_on(run::run(options));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole of it in small: every adversary is met, every consumer agrees with the oracle, and
    /// nothing is above its limit. Too short for a judgement on growth, which `trend` has tests for.
    #[test]
    fn half_a_minute_of_everything_is_without_a_finding() {
        let options = Options::parsed("soak --minutes 0.3 --rate 250 --hosts 6 --accounts 120");
        assert_eq!(run(&options).unwrap(), [""; 0]);
    }

    /// A fault that was set up and did not strike fails the run: here one that has no time to.
    #[test]
    fn an_adversary_that_never_struck_fails_the_run() {
        let options = Options::parsed(
            "soak --minutes 0.02 --rate 20 --hosts 2 --accounts 4 --per-mille 1 --only HighS",
        );
        assert_eq!(run(&options).unwrap(), ["the relay never met: event HighS"]);
    }
}
