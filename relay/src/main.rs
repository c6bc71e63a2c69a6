//! The `relay` program; everything is in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    relay::commands::main()
}
