//! `env.example` and `nix/settings.json` are made from the table of settings, `docs/metrics.md` from that of
//! metrics; these tests fail when they drift apart.
//!
//! `UPDATE=1 cargo test --test config_reference` writes them anew.

use std::{fs, io, path::Path};

use relay::{
    config::{Config, Flags, SETTINGS, env_example, settings_json},
    telemetry::{aliases::ALIASES, metrics},
};

fn is_up_to_date(name: &str, expected: &str) -> io::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, expected)?;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{name} is out of date; type `UPDATE=1 cargo test -p relay --test config_reference`"
    );
    Ok(())
}

/// DESIGN 6.
#[test]
fn env_example_is_what_the_table_says() -> io::Result<()> {
    is_up_to_date("env.example", &env_example())
}

/// A NixOS user gets the settings of this relay, their types and sentences, and not those of an older
/// one.
#[test]
fn the_options_of_the_nixos_module_are_what_the_table_says() -> io::Result<()> {
    is_up_to_date("nix/settings.json", &settings_json())
}

/// Every line can be taken as it stands: with all of them in effect nothing changes.
#[test]
fn every_line_of_env_example_is_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let values = |dir: &Path| {
        let config = Config::load(&Flags::default(), &[], dir).unwrap();
        assert!(config.warnings().is_empty(), "{:?}", config.warnings());
        let values = config.effective().iter().map(|found| found.value.clone());
        let set = config.effective().iter().filter(|found| found.origin != "default").count();
        (values.collect::<Vec<_>>(), set)
    };
    let (defaults, none) = values(dir.path());
    let text = env_example();
    let lines: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| !line.starts_with(' '))
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(lines.len(), SETTINGS.len());
    fs::write(dir.path().join(".env"), lines.join("\n")).unwrap();

    let (same, set) = values(dir.path());

    assert_eq!(same, defaults);
    let with_default = SETTINGS.iter().filter(|setting| !setting.default.is_empty()).count();
    assert_eq!((none, set), (0, with_default));
}

const METRICS_HEAD: &str = "\
# Metrics

`http://127.0.0.1:2471/metrics` has them in the text format of Prometheus. A name is `relay_<room>_<noun>_<unit|total>`:
`_total` counts, `_seconds` is mostly a distribution, anything else is a level; each `_depth` has its `_limit`. Labels
come from closed sets, so that nobody outside can add a series: there is no host, address or user agent among
them. What there is per host and per consumer is in the admin API.

Alerts and dashboards that use them are in `provision/assets`; see [operations.md](operations.md).

This page is made from the program: `UPDATE=1 cargo test --release -p relay --test config_reference`.
";

/// What the page of metrics says in front of the aliases.
const ALIASES_HEAD: &str = "
## Names of the reference relay

Its dashboards and alerts work with these. Each has the value of ours in the same scrape, added up over the
labels that are not kept. Those by host, address and user agent are left out. Its hits of the cache of identities and
the sizes of its HTTP bodies have no counterpart.

| its name | ours |
|---|---|
";

/// Who looks for a number finds it on the page, with what it means.
#[test]
fn the_page_of_metrics_is_what_the_program_tells() -> io::Result<()> {
    let mut page = METRICS_HEAD.to_owned();
    let mut room = "";
    let catalogue = metrics::catalogue();
    for (name, help) in &catalogue {
        let here = name.split('_').nth(1).unwrap_or_default();
        if here != room {
            room = here;
            page.extend(["\n## ", room, "\n\n| metric | what it tells |\n|---|---|\n"]);
        }
        page.extend(["| `", name, "` | ", &help.replace('|', "\\|"), " |\n"]);
    }
    page.push_str(ALIASES_HEAD);
    for alias in ALIASES {
        let only =
            alias.only.map_or(String::new(), |(label, value)| format!("{{{label}=\"{value}\"}}"));
        let renamed: Vec<_> =
            alias.labels.iter().map(|(ours, theirs)| format!("`{ours}` as `{theirs}`")).collect();
        let renamed =
            if renamed.is_empty() { String::new() } else { format!(" by {}", renamed.join(", ")) };
        page.extend(["| `", alias.name, "` | `", alias.ours, &only, "`", &renamed, " |\n"]);
    }
    is_up_to_date("docs/metrics.md", &page)
}
