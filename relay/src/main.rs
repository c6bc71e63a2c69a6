//! The `relay` program; everything is in the library, where tests reach it.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// See `docs/decisions` for the figures of the choice. Not in the library, so that tests and fuzzers
/// of it keep an allocator that finds their mistakes.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    relay::commands::main()
}
