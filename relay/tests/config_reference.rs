//! `env.example` and `nix/settings.json` are made from the table of settings; these tests fail when they
//! drift apart.
//!
//! `UPDATE=1 cargo test --test config_reference` writes them anew.

use std::{fs, io, path::Path};

use relay::config::{Config, Flags, SETTINGS, env_example, settings_json};

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
