//! The README files below `terraform`: the parts that are made from the code.

use std::fs;

use super::ground::{code, names, root};

/// What is applied by a test of its own instead of an example: the resource and the test.
const APPLIED_BY: [(&str, &str); 2] = [
    (
        "ovh_dedicated_server_reinstall_task.this",
        "rented::a_word_that_is_taken_back_is_only_forgotten",
    ),
    ("terraform_data.installed", "provision/tests/infra: installing::terraform_installs_a_server"),
];

/// A block of HCL that begins a line, such as `variable "name" {`.
struct Block {
    labels: Vec<String>,
    /// The lines inside.
    lines: Vec<String>,
}

impl Block {
    /// The value of an attribute that stands on one line.
    fn line(&self, name: &str) -> Option<&str> {
        let value = |line: &'_ str| {
            let (key, _) = line.split_once('=')?;
            (line.starts_with("  ") && !line.starts_with("   ") && key.trim() == name).then_some(())
        };
        let line = self.lines.iter().find(|line| value(line).is_some())?;
        line.split_once('=').map(|(_, value)| value.trim())
    }
}

/// All blocks of this kind in a directory of `terraform`.
fn blocks(directory: &str, kind: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    for file in code(directory) {
        let path = root().join("terraform").join(directory).join(file);
        let text = fs::read_to_string(path).expect("read a file");
        let mut inside = false;
        for line in text.lines() {
            let head = line.strip_prefix(kind).and_then(|rest| rest.strip_prefix(" \""));
            if let Some(head) = head {
                let labels = head.split('"').step_by(2).map(ToOwned::to_owned);
                found.push(Block { labels: labels.collect(), lines: Vec::new() });
                inside = true;
            } else if line == "}" {
                inside = false;
            } else if let (true, Some(block)) = (inside, found.last_mut()) {
                block.lines.push(line.to_owned());
            }
        }
    }
    found
}

fn text(quoted: &str) -> String {
    quoted.trim_matches('"').replace("\\\"", "\"").replace('|', "\\|")
}

/// The tables of a module.
fn tables(directory: &str) -> String {
    let mut lines =
        vec!["| variable | default | what it is |".to_owned(), "|---|---|---|".to_owned()];
    for block in blocks(directory, "variable") {
        let name = block.labels.first().expect("a name");
        let about = text(block.line("description").expect("every variable says what it is"));
        let default =
            block.line("default").map_or("must be given".to_owned(), |value| match value {
                "{" => "see there".to_owned(),
                value => format!("`{value}`"),
            });
        lines.push(format!("| `{name}` | {default} | {about} |"));
    }
    lines.extend([String::new(), "| output | what it is |".to_owned(), "|---|---|".to_owned()]);
    for block in blocks(directory, "output") {
        let name = block.labels.first().expect("a name");
        let about = text(block.line("description").expect("every output says what it is"));
        lines.push(format!("| `{name}` | {about} |"));
    }
    lines.join("\n")
}

/// Which test applies which resource.
fn applied() -> String {
    let planned: Vec<(String, String)> =
        fs::read_dir(root().join("provision/stub/tests/terraform/planned"))
            .expect("list what is planned")
            .map(|entry| entry.expect("list what is planned").path())
            .map(|path| {
                let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
                (name, fs::read_to_string(path).expect("read what is planned"))
            })
            .collect();
    let mut lines =
        vec!["| module | resource | applied by |".to_owned(), "|---|---|---|".to_owned()];
    for module in names("modules") {
        let directory = format!("modules/{module}");
        for block in blocks(&directory, "resource") {
            let short = block.labels.join(".");
            let inside = format!("module.{}", module.replace('-', "_"));
            let is_it = |line: &str| {
                let end = line.split(&short).nth(1);
                line.contains(&inside)
                    && end.is_some_and(|end| end.is_empty() || end.starts_with('['))
            };
            let mut by: Vec<String> = planned
                .iter()
                .filter(|(_, text)| text.lines().any(is_it))
                .map(|(name, _)| format!("`{name}`"))
                .collect();
            by.extend(
                APPLIED_BY
                    .iter()
                    .filter(|(one, _)| *one == short)
                    .map(|(_, test)| format!("`{test}`")),
            );
            by.sort();
            assert!(!by.is_empty(), "no test applies {short} of {module}");
            lines.push(format!("| {module} | `{short}` | {} |", by.join(", ")));
        }
    }
    lines.join("\n")
}

/// Compares the part between the marks; `UPDATE=1` writes it anew.
fn is_as_made(file: &str, mark: &str, made: &str) {
    let path = root().join("terraform").join(file);
    let old = fs::read_to_string(&path).expect("read a README");
    let (begin, end) = (format!("<!-- begin {mark} -->\n"), format!("\n<!-- end {mark} -->"));
    let (before, rest) = old.split_once(&begin).expect("a README has a mark for what is made");
    let (kept, after) = rest.split_once(&end).expect("a README has an end for what is made");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{before}{begin}{made}{end}{after}")).expect("write a README");
        return;
    }
    assert_eq!(kept, made, "{file} differs from the code: UPDATE=1");
}

/// Whoever reads what a variable means reads what the code says.
#[test]
fn the_readmes_say_what_the_code_says() {
    is_as_made("README.md", "variables", &tables(""));
    for module in names("modules") {
        let directory = format!("modules/{module}");
        is_as_made(&format!("{directory}/README.md"), "variables", &tables(&directory));
    }
}

/// Each resource of each module was made by some test; one that none makes fails here.
#[test]
fn every_resource_is_applied_by_a_test() {
    is_as_made("README.md", "applied", &applied());
}
