# The verbs a person types; logic lives in programs.

cache := env("RELAY_CACHE_DIR", env("XDG_CACHE_HOME", env("HOME") / ".cache") / "atproto-relay")

# List the verbs.
default:
    @just --list

# Run the relay with embedded defaults.
[group("dev")]
run *flags:
    cargo run --release -- {{ flags }}

# A simulated network of 25 hosts, checked frame by frame.
[group("dev")]
demo time="30s":
    cargo run --release --example demo -- --for {{ time }}

# Everything that CI runs.
[group("test")]
check:
    provision/test

# Only these stages of it, such as `just stage tests,clippy`.
[group("test")]
stage names:
    provision/test --only {{ names }}

# Kill the relay N times under load and compare what came out.
[group("test")]
torture n="20":
    TORTURE_KILLS={{ n }} cargo test --release -p relay --test torture -- --nocapture

# Cost of one event as a multiple of one signature check.
[group("test")]
bench:
    cargo bench -p relay --profile release

# Write env.example anew from the settings' schema.
[group("dev")]
env-example:
    UPDATE=1 cargo test --release -p relay env_example
