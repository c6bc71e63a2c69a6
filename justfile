# The verbs a person types; logic lives in programs.

provision := "provision/run"

# List the verbs.
default:
    @just --list

# Run the relay with embedded defaults.
[group("dev")]
run *flags:
    cargo run --release -- {{ flags }}

# The whole stack in containers, until Ctrl-C: relay, PDS, PLC directory, Caddy with TLS. Such as `just up --profile prod-like`.
[group("dev")]
up *flags:
    cargo build --quiet --release -p relay --bin relay -p provision --bin provision
    cargo run --quiet --release -p provision -- stack up {{ flags }}

# The end of what `just up --keep` left running.
[group("dev")]
down *flags="--all":
    cargo run --quiet --release -p provision -- stack down {{ flags }}

# Begin a relay on a machine of its own, such as `just init relay.example.com --ssh admin@192.0.2.7`.
[group("deploy")]
init +words:
    cargo run --quiet --release -p provision -- deployment init {{ words }}

# From there to a relay that a consumer reads by its public name; interrupted, run it again.
[group("deploy")]
deploy *words:
    cargo run --quiet --release -p provision -- deployment deploy {{ words }}

# The deployments of this checkout.
[group("deploy")]
list *flags:
    cargo run --quiet --release -p provision -- deployment list {{ flags }}

# Log in to a host, or run a command there: `just ssh hil -- uptime`.
[group("deploy")]
ssh *words:
    cargo run --quiet --release -p provision -- deployment ssh {{ words }}

# The addresses of a host.
[group("deploy")]
ip *name:
    cargo run --quiet --release -p provision -- deployment ip {{ name }}

# What runs, how well, since when, and what is to be done.
[group("deploy")]
status *words:
    cargo run --quiet --release -p provision -- deployment status {{ words }}

# What the parts of a relay say, such as `just logs hil -f --unit relay`.
[group("deploy")]
logs *words:
    cargo run --quiet --release -p provision -- deployment logs {{ words }}

# Look from here and on the host: what is wrong, why, and what to do.
[group("deploy")]
doctor *words:
    cargo run --quiet --release -p provision -- deployment doctor {{ words }}

# The relay of this checkout in place of the one that runs; what is not well is taken back.
[group("deploy")]
upgrade *words:
    cargo run --quiet --release -p provision -- deployment upgrade {{ words }}

# The relay that ran before.
[group("deploy")]
rollback *words:
    cargo run --quiet --release -p provision -- deployment rollback {{ words }}

# A backup, made on the host; `--fetch` brings it here.
[group("deploy")]
backup *words:
    cargo run --quiet --release -p provision -- deployment backup {{ words }}

# A backup in place of what a relay has; asks for its name.
[group("deploy")]
restore name from *flags:
    cargo run --quiet --release -p provision -- deployment restore {{ name }} {{ from }} {{ flags }}

# The dashboard and Prometheus of a host on this machine, until Ctrl-C.
[group("deploy")]
dash *words:
    cargo run --quiet --release -p provision -- deployment dash {{ words }}

# Does a consumer get what it should? `--after 24h` lets the host look later, beside bsky.network.
[group("deploy")]
selfcheck *words:
    cargo run --quiet --release -p provision -- deployment selfcheck {{ words }}

# Take a relay down again; asks for its name.
[group("deploy")]
destroy name *flags:
    cargo run --quiet --release -p provision -- deployment destroy {{ name }} {{ flags }}

# Everything that CI runs.
[group("test")]
check:
    provision/test

# Only these stages of it, such as `just stage tests,clippy`.
[group("test")]
stage names:
    provision/test --only {{ names }}

# All faults mixed for SECONDS by a SEED (even on SQLite, odd on Postgres); without both, as CI has it.
[group("test")]
torture seconds="" seed="":
    TORTURE_SECONDS={{ seconds }} SEED={{ seed }} cargo test --release -p relay --test torture -- --nocapture {{ if seconds == "" { "" } else { "mix" } }}

# What the relay costs and how fast it is, in one table; such as `just bench --only fanout,replay`.
[group("test")]
bench *flags:
    cargo build --quiet --profile dist --bin relay
    cargo bench --quiet -p relay --bench pipeline -- --dist {{ flags }}

# The relay for HOURS among all adversaries, its consumers compared, its memory judged; flags such as `--rate 300`.
[group("test")]
soak hours="1" *flags:
    cargo build --release -p relay --bin relay
    cargo run --release -p relay --example soak -- --hours {{ hours }} {{ flags }}

# Search for bytes that break a decoder, such as `just fuzz 4h` or `just fuzz 10m frame car`.
[group("test")]
fuzz time="10m" *targets:
    {{ provision }} fuzz --for {{ time }} {{ targets }}

# Make the product wrong in one place after the other: does a test notice?
[group("test")]
mutants *names:
    {{ provision }} mutants {{ names }}

# The simulated network at its real size, such as `just simnet serve --wait`.
[group("test")]
simnet *flags:
    cargo run --release -p relay-simnet --bin simnet -- {{ flags }}

# What takes longer than CI has: a hundred kills, all faults on both databases, slow faults of the stack, other hosts, traffic, fuzzing, the mutants, the long bench, the package of Nix without a network.
[group("test")]
nightly:
    cargo test --release -p relay-protocol --test protocol -- --ignored a_million
    TORTURE_KILLS=100 cargo test --release -p relay --test torture -- --nocapture random_moments
    cargo test --release -p relay --test torture -- --ignored --nocapture two_thousand
    {{ just_executable() }} torture 600 2
    {{ just_executable() }} torture 600 3
    cargo test --release -p relay --test faults -- --ignored
    cargo build --release -p relay --bin relay
    cargo test --release -p relay --test e2e -- --ignored --nocapture --test-threads=1 three_thousand
    STACK_ROUNDS=12 STACK_LOAD_EVENTS=300000 cargo test --release -p provision --test stack -- --ignored --nocapture --test-threads=1 slow any_order half_a_gigabyte
    DEPLOY_NIGHTLY=1 {{ just_executable() }} stage build,deploy
    cargo run --release --example demo -- --for 10m
    {{ just_executable() }} fuzz 1h
    {{ just_executable() }} mutants
    {{ just_executable() }} bench --long
    cargo test --release --workspace --test nix -- --ignored --nocapture sandbox
    {{ just_executable() }} soak 1

# The reference PDSes and foreign consumers alone.
[group("test")]
peers:
    provision/test --only build,real-peers

# Make the pictures of the dashboard in docs/pictures anew, in Chromium: wide and narrow, light and dark.
[group("dev")]
screenshots:
    BROWSER_PICTURES=1 provision/test --only build,browser

# Write env.example anew from the settings' schema.
[group("dev")]
env-example:
    UPDATE=1 cargo test --release -p relay --test config_reference

# Write what Nix reads of the program, and the options in docs/nix.md, anew.
[group("dev")]
nix-page:
    UPDATE=1 cargo test --release -p relay --test config_reference
    UPDATE=1 cargo test --release -p provision --test nix
    UPDATE=1 cargo test --release -p provision --test nix -- --ignored every_option kept_in

# Write the example machines and the screens in docs/operations.md and docs/screens.md anew from the program.
[group("dev")]
screens:
    UPDATE=1 cargo test --release -p provision --test operators
