//! The program that searches: libFuzzer around one target, which `FUZZ_TARGET` names.
//!
//! `just fuzz` builds it with the counters that libFuzzer steers by and runs it for every target in
//! turn. Without them (`relay/fuzz/rustc`) it runs too, but blindly.
#![no_main]

// The path makes `daemon` find its own modules here, also when a test includes it.
#[path = "daemon.rs"]
mod daemon;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use relay_fuzz::Target;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(
    init: {
        let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let mut targets = relay_fuzz::TARGETS.iter().chain(&daemon::TARGETS);
        let target = targets.find(|target| target.name == wanted).copied();
        TARGET.get_or_init(|| target.expect("FUZZ_TARGET names no target"));
    },
    |data: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(data);
        }
    }
);
