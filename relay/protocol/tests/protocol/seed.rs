//! Seeds of random tests: printed on every run, and taken from `SEED` to repeat one.

use std::env;

use rand::{SeedableRng, rngs::StdRng};

/// The generator of one test. Without `SEED` it starts from `default`, so that every run of an
/// unchanged checkout does the same.
pub(crate) fn seeded(test: &str, default: u64) -> StdRng {
    let seed = match env::var_os("SEED") {
        None => default,
        Some(given) => match given.to_str().and_then(|digits| digits.parse().ok()) {
            Some(seed) => seed,
            None => panic!("SEED must be a number from 0 to 2^64 - 1, not {}", given.display()),
        },
    };
    eprintln!("{test}: SEED={seed}");
    StdRng::seed_from_u64(seed)
}
