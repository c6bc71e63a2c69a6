//! The page for NixOS users, and what the README says to them.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    binaries::root,
    evaluator::{evaluate, nix, said},
};

const PAGE: &str = "docs/nix.md";
const KEPT: &str = "nix/tests/eval/kept.json";
/// Columns of a default before it is cut.
const DEFAULT_CHARS: usize = 40;
/// Cases that are named; the others are counted.
const CASES_SHOWN: usize = 2;

/// An option as Nix sees it.
#[derive(Deserialize)]
struct Shown {
    path: Vec<String>,
    r#type: String,
    default: String,
    description: String,
    required: bool,
    cases: Vec<String>,
}

fn row(option: &Shown) -> String {
    let name = option.path.get(1..).unwrap_or_default().join(".");
    let default = match option.default.as_str() {
        _ if option.required => "–".to_owned(),
        "null" => "not set".to_owned(),
        path if path.contains("/nix/store/") => "the package of the flake".to_owned(),
        other => format!("`{}`", other.chars().take(DEFAULT_CHARS).collect::<String>()),
    };
    // A pattern says to few people what the sentence beside it says.
    let kind = match option.r#type.split_once(" matching the pattern") {
        Some((kind, _)) => format!("{kind} of a form"),
        None => option.r#type.clone(),
    };
    let about = option.description.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut cases: Vec<&str> = option.cases.iter().map(String::as_str).take(CASES_SHOWN).collect();
    let more = option.cases.len().saturating_sub(CASES_SHOWN);
    let more = format!("{more} more");
    if option.cases.len() > CASES_SHOWN {
        cases.push(&more);
    }
    format!(
        "| `{name}` | {kind} | {default} | {} | {} |\n",
        about.replace('|', "\\|"),
        cases.join(", ")
    )
}

/// An option that no case sets may have no effect at all; one that the page does not name is not found.
#[test]
#[ignore = "needs Nix; type `just stage build,nix`"]
fn every_option_has_a_case_and_stands_on_the_page() -> Result<()> {
    let options: Vec<Shown> = evaluate("report.options", "")?;
    assert!(options.len() > 70, "{} options", options.len());
    let untried: Vec<String> =
        options.iter().filter(|one| one.cases.is_empty()).map(|one| one.path.join(".")).collect();
    assert!(untried.is_empty(), "no case sets {untried:?}");
    let head = "| option | type | default | what it does | cases |\n|---|---|---|---|---|\n";
    let table: String = options.iter().map(row).collect();
    let counted =
        |name: &str| Ok(evaluate::<Value>(name, "")?.as_object().map_or(0, serde_json::Map::len));
    let good: Result<usize> = counted("report.good");
    let counts = format!("{} configurations and {} mistakes.\n\n", good?, counted("report.bad")?);
    let path = root().join(PAGE);
    let page = fs::read_to_string(&path)?;
    let (before, rest) = page.split_once("<!-- begin options -->\n").context("the beginning")?;
    let (_, after) = rest.split_once("<!-- end options -->").context("the end")?;
    let wanted =
        format!("{before}<!-- begin options -->\n{counts}{head}{table}<!-- end options -->{after}");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &wanted)?;
    }
    assert!(
        page == wanted || std::env::var_os("UPDATE").is_some(),
        "{PAGE} is out of date; type `just nix-page`"
    );
    Ok(())
}

/// Every store path without its hash, which changes with each file.
fn without_hashes(text: &str) -> String {
    const STORE: &str = "/nix/store/";
    let mut parts = text.split(STORE);
    let mut found = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (_, name) = part.split_once('-').unwrap_or(("", part));
        found.extend([STORE, name]);
    }
    found
}

/// Whatever a change of a module does to a whole machine shows in review, and not on the machine.
#[test]
#[ignore = "needs Nix; type `just stage build,nix`"]
fn what_whole_machines_are_told_is_kept_in_the_repository() -> Result<()> {
    let kept: Value = evaluate("kept", "")?;
    let wanted = without_hashes(&format!("{kept:#}\n"));
    let path = root().join(KEPT);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &wanted)?;
    }
    let found = fs::read_to_string(&path)?;
    let differs = found.lines().zip(wanted.lines()).find(|(before, now)| before != now);
    assert!(
        found == wanted,
        "{KEPT} had {differs:?}; look whether that was meant, then type `just nix-page`"
    );
    Ok(())
}

/// The blocks of Nix on a page, in their order.
fn blocks(page: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(root().join(page))?;
    let after = text.split("```nix\n").skip(1);
    Ok(after.filter_map(|rest| rest.split("```").next().map(str::to_owned)).collect())
}

/// Evaluates an attribute with a text of somebody else.
pub(crate) fn with_text(attribute: &str, text: &str) -> Result<Value> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("text.nix");
    fs::write(&file, text)?;
    let mut command = nix();
    command.args(["--eval", "--strict", "--json", "nix/tests/eval", "-A", attribute]);
    let output = command.arg("--argstr").arg("user").arg(&file).output()?;
    ensure!(output.status.success(), "{}\n{text}", said(&output));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A NixOS user copies the block of the README into a `flake.nix` and has a relay.
#[test]
#[ignore = "needs Nix; type `just stage build,nix`"]
fn the_flake_of_the_readme_is_a_relay() -> Result<()> {
    let blocks = blocks("README.md")?;
    let [flake] = blocks.as_slice() else { panic!("one block of Nix: {blocks:?}") };
    let hosts = with_text("users", flake)?;
    assert_eq!(hosts["relay"], "AT Protocol relay relay.example.com");
    Ok(())
}

/// What the page shows can be copied, each block for itself.
#[test]
#[ignore = "needs Nix; type `just stage build,nix`"]
fn every_block_of_the_page_is_a_configuration() -> Result<()> {
    let blocks = blocks(PAGE)?;
    assert!(blocks.len() >= 3, "{blocks:?}");
    let mut environments = BTreeSet::new();
    for block in blocks {
        let found = with_text("shown", &block)?;
        environments.insert(found["env"].as_str().context("an environment")?.to_owned());
    }
    assert!(environments.len() >= 2, "they all say the same: {environments:?}");
    Ok(())
}
