//! What the relay costs and how fast it is: one table, a row per measure.
//!
//! The relay is the built program in a process of its own, so that its CPU time is its own; another
//! build of it may be named with `--relay PATH`, the one that ships with `--dist`. Costs are multiples
//! of V, one secp256k1 verification measured before and after, because only these travel from
//! machine to machine. Frames are made before the clock starts. With two cores or more the relay has
//! one of them and the simulated network another, unless a row says otherwise.
//!
//! `--only NAMES` measures some rows, `--smoke` all that fit into a minute at a small size, `--long`
//! also those that take ten minutes and more, `--json FILE` keeps the table for a program, `--runs N`
//! gives a profiler time.
//!
//! Nothing absolute is a failure, because machines differ; a lost or doubled event is one.

#![expect(clippy::print_stdout, reason = "the figures are for a person")]

mod compare;
mod ground;
mod machine;
mod meter;
mod options;
#[path = "../../tests/support/postgres.rs"]
#[expect(dead_code, reason = "shared with the tests of the store")]
mod postgres;
#[path = "../../tests/support/process.rs"]
#[expect(dead_code, reason = "shared with the torture test")]
mod process;
mod rows;
mod run;
mod sinks;
mod table;

use std::{env, fs};

use anyhow::Result;
use serde_json::{Value, json};

use machine::Machine;
use options::Options;
use rows::Measured;

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let options = Options::parse(&words)?;
    let machine = Machine::look(&env::temp_dir(), &options.binary())?;
    machine.show();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let v_before = meter::verification_us()?;
    let mut measured = Measured::default();
    let outcome = runtime.block_on(rows::measure(&options, &mut measured));
    let v_after = meter::verification_us()?;
    // The table first: what was measured before an error is not lost with it.
    println!();
    machine.show();
    println!("V: {v_before:.1} us before, {v_after:.1} us after; {}", options.named());
    table::head();
    for row in measured.rows() {
        row.show();
    }
    if let Some(file) = &options.json {
        let rows: Vec<Value> = measured.rows().iter().map(table::Row::to_json).collect();
        let whole = json!({
            "machine": machine.to_json(), "v_us": [v_before, v_after], "size": options.named(),
            "rows": rows,
        });
        fs::write(file, serde_json::to_vec_pretty(&whole)?)?;
    }
    outcome
}
