//! Files of the whole repository, and the tests that documents name.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Directories that hold nothing of ours.
const SKIPPED: [&str; 3] = ["target", "node_modules", "data"];

/// The repository's root.
pub(crate) fn repo() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// One file, its path seen from the root, with `/`.
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Reads one file.
pub(crate) fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(repo().join(path))
        .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
}

/// All files below the root with one of these extensions, in the order of their paths.
pub(crate) fn texts(extensions: &[&str]) -> io::Result<Vec<Text>> {
    let root = repo();
    let mut left = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(path) = left.pop() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            let is_root = path == root;
            if !is_root && (name.starts_with('.') || SKIPPED.contains(&&*name)) {
                continue;
            }
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        } else if extensions
            .iter()
            .any(|extension| path.extension().is_some_and(|e| e == *extension))
        {
            let path = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().into_owned();
            found.push(Text { text: read(&path)?, path });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// What stands between backticks.
pub(crate) fn codes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A row of a Markdown table.
pub(crate) struct Row<'t> {
    pub(crate) line: usize,
    pub(crate) cells: Vec<&'t str>,
}

/// The rows of all tables, without their heads.
pub(crate) fn rows(text: &str) -> impl Iterator<Item = Row<'_>> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").map(str::trim);
        Some(Row { line: index + 1, cells: cells.collect() })
    })
}

/// Looks up the tests that documents name, as `path::name`.
#[derive(Default)]
pub(crate) struct Tests {
    files: BTreeMap<String, Option<String>>,
}

impl Tests {
    /// The tests that a cell names.
    pub(crate) fn named(cell: &str) -> Vec<(&str, &str)> {
        codes(cell)
            .filter_map(|code| code.split_once("::"))
            .filter(|(path, _)| path.contains('/') && path.contains('.'))
            .collect()
    }

    /// What is wrong with the name of a test; `None` when it is a test that runs.
    ///
    /// * `by_hand` – tests that are started by name alone will do
    pub(crate) fn wrong(&mut self, path: &str, name: &str, by_hand: bool) -> Option<String> {
        let Some(text) = self.text(path) else { return Some(format!("there is no file {path}")) };
        if !is_rust(path) {
            return (!text.contains(name)).then(|| format!("{path} has no check `{name}`"));
        }
        let lines: Vec<&str> = text.lines().collect();
        let head = format!("fn {name}(");
        let Some(place) = lines.iter().position(|line| line.contains(&head)) else {
            return Some(format!("{path} has no test `{name}`"));
        };
        let attributes: Vec<&str> = lines
            .iter()
            .take(place)
            .rev()
            .take_while(|line| is_above_a_function(line))
            .copied()
            .collect();
        if !by_hand && attributes.iter().any(|line| line.contains("#[ignore")) {
            return Some(format!("{path}::{name} does not run by itself"));
        }
        let is_test = attributes.iter().any(|line| {
            let line = line.trim_start();
            line.starts_with("#[test]") || line.starts_with("#[tokio::test")
        });
        if is_test || self.is_a_case(path, name) {
            return None;
        }
        Some(format!("{path}::{name} is no test"))
    }

    /// The doc comment of a test.
    pub(crate) fn doc(&mut self, path: &str, name: &str) -> String {
        let text = self.text(path).unwrap_or_default();
        let above = text.split(&format!("fn {name}(")).next().unwrap_or_default();
        let lines = above.lines().rev().skip(1).take_while(|line| is_above_a_function(line));
        lines.filter(|line| line.trim_start().starts_with("///")).collect()
    }

    /// Whether the crate root beside the file makes a test of this function.
    fn is_a_case(&mut self, path: &str, name: &str) -> bool {
        let Some((directory, _)) = path.rsplit_once('/') else { return false };
        let main = self.text(&format!("{directory}/main.rs")).unwrap_or_default();
        main.lines().any(|line| line.trim() == name)
    }

    fn text(&mut self, path: &str) -> Option<String> {
        self.files.entry(path.to_owned()).or_insert_with(|| read(path).ok()).clone()
    }
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

fn is_above_a_function(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//") || line.starts_with("#[") || line.starts_with(')')
}
