//! `docs/ansible-tasks.md`: every Ansible task with the test that executed it.
//!
//! A plugin of Ansible notes what each test executes. `UPDATE=1` writes the list anew from these notes;
//! what no test of this run executed keeps its line.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::root;

const LIST: &str = "docs/ansible-tasks.md";
const BEGIN: &str = "<!-- begin tasks -->\n";
const END: &str = "<!-- end tasks -->";
/// Files of tests, in the order in which one is named when several executed a task.
const TESTS: [&str; 7] =
    ["storage", "mirrors", "blank_host", "operating", "second_host", "debian_13", "guest"];
/// How many may be left out.
const UNEXECUTED_MAX: usize = 10;
/// What begins the line of one that was left out.
const NOT_HERE: &str = "not here: ";
/// What only steers others.
const STEERING: [&str; 6] = [
    "ansible.builtin.meta",
    "ansible.builtin.include_role",
    "ansible.builtin.import_tasks",
    "ansible.builtin.import_role",
    "ansible.builtin.import_playbook",
    "ansible.builtin.end_role",
];

/// A task: its file below `ansible/`, and its name.
type Task = (String, String);

/// The directory of the notes: `EXECUTED_TASKS_DIR`, where there is one.
fn notes() -> Option<PathBuf> {
    std::env::var_os("EXECUTED_TASKS_DIR").map(PathBuf::from)
}

/// Has a program that starts Ansible, or Ansible itself, note what it executes for the test that runs.
pub(crate) fn noted(command: &mut Command) {
    let Some(dir) = notes() else { return };
    let thread = std::thread::current();
    let test = thread.name().and_then(|name| name.split("::").next());
    let test = test.filter(|name| TESTS.contains(name)).unwrap_or("blank_host");
    command
        .env("ANSIBLE_CALLBACK_PLUGINS", root().join("provision/tests/deploy/callback"))
        .env("ANSIBLE_CALLBACKS_ENABLED", "executed")
        .env("EXECUTED_TASKS", dir.join(format!("{test}.jsonl")));
}

/// All tasks of a file, those in blocks among them.
fn tasks_of(file: &str, entries: &Value, found: &mut Vec<Task>) -> Result<()> {
    for entry in entries.as_array().into_iter().flatten() {
        for part in ["block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"] {
            tasks_of(file, &entry[part], found)?;
        }
        let is_group = entry.get("block").is_some() || entry.get("hosts").is_some();
        if is_group || STEERING.iter().any(|action| entry.get(action).is_some()) {
            continue;
        }
        let name = entry["name"].as_str();
        let name = name.with_context(|| format!("{file}: a task has no name: {entry}"))?;
        found.push((file.to_owned(), name.to_owned()));
    }
    Ok(())
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files_below(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "yml") {
            found.push(path);
        }
    }
    Ok(())
}

/// All tasks of the project, by file.
fn all() -> Result<Vec<Task>> {
    let ansible = root().join("ansible");
    let mut files = Vec::new();
    for entry in fs::read_dir(&ansible)? {
        let path = entry?.path();
        if path.is_file() && path.extension().is_some_and(|extension| extension == "yml") {
            files.push(path);
        }
    }
    for entry in fs::read_dir(ansible.join("roles"))? {
        let role = entry?.path();
        for part in ["tasks", "handlers"].map(|part| role.join(part)) {
            if part.is_dir() {
                files_below(&part, &mut files)?;
            }
        }
    }
    files.sort();
    let mut found = Vec::new();
    for path in files {
        let file = path.strip_prefix(&ansible)?.to_string_lossy().into_owned();
        let text = fs::read_to_string(&path)?;
        let entries: Value =
            serde_saphyr::from_str(&text).with_context(|| format!("read {file}"))?;
        tasks_of(&file, &entries, &mut found)?;
    }
    Ok(found)
}

/// What the list says of each task.
fn listed() -> Result<BTreeMap<Task, String>> {
    let text = fs::read_to_string(root().join(LIST)).with_context(|| format!("read {LIST}"))?;
    let inside = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    let (inside, _) = inside.with_context(|| format!("{LIST} has no list between its markers"))?;
    let (mut file, mut found) = (String::new(), BTreeMap::new());
    for line in inside.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            title.trim_matches('`').clone_into(&mut file);
        } else if let Some((task, by)) = line
            .strip_prefix("| ")
            .and_then(|line| line.strip_suffix(" |"))
            .and_then(|line| line.rsplit_once(" | "))
            && task != "task"
        {
            let is_new = found.insert((file.clone(), task.to_owned()), by.to_owned()).is_none();
            ensure!(is_new, "{LIST} has {file}, {task} twice");
        }
    }
    Ok(found)
}

/// What was executed, by the name of the file of the test.
fn executed(dir: &Path) -> Result<BTreeMap<String, BTreeSet<Task>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let path = entry?.path();
        let test = path.file_stem().context("a name")?.to_string_lossy().into_owned();
        let mut tasks = BTreeSet::new();
        for line in fs::read_to_string(&path)?.lines() {
            let note: Value = serde_json::from_str(line)?;
            let [file, task] = ["file", "task"].map(|name| note[name].as_str().map(str::to_owned));
            tasks.insert((file.context("a file")?, task.context("a task")?));
        }
        found.insert(test, tasks);
    }
    Ok(found)
}

/// Writes the list anew.
fn write(all: &[Task], by: &BTreeMap<Task, String>) -> Result<()> {
    let path = root().join(LIST);
    let text = fs::read_to_string(&path)?;
    let (before, rest) = text.split_once(BEGIN).context("a beginning")?;
    let (_, after) = rest.split_once(END).context("an end")?;
    let (mut inside, mut file) = (String::new(), "");
    for task in all {
        if task.0 != file {
            file = &task.0;
            write!(inside, "\n### `{file}`\n\n| task | executed by |\n|---|---|\n")?;
        }
        let by = by.get(task).map_or(NOT_HERE, String::as_str);
        writeln!(inside, "| {} | {by} |", task.1)?;
    }
    fs::write(&path, format!("{before}{BEGIN}{inside}\n{END}{after}"))?;
    Ok(())
}

/// A task that nobody executed may lock people out or format a disk on the first machine that has it.
#[test]
fn every_task_is_listed_with_a_test_or_a_reason() -> Result<()> {
    let (all, listed) = (all()?, listed()?);
    let known: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!(known.len(), all.len(), "two tasks of one file have one name");
    let missing: Vec<_> = known.iter().filter(|task| !listed.contains_key(*task)).collect();
    let gone: Vec<_> = listed.keys().filter(|task| !known.contains(*task)).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "{LIST} lacks {missing:?} and has {gone:?}; `UPDATE=1 DEPLOY_NIGHTLY=1 just stage build,deploy` writes it anew"
    );
    let (left_out, tested): (Vec<_>, Vec<_>) =
        listed.iter().partition(|(_, by)| by.starts_with(NOT_HERE));
    for ((file, task), by) in &tested {
        let path = root().join(format!("provision/tests/deploy/{}.rs", by.trim_matches('`')));
        ensure!(path.is_file(), "{file}, {task}: there is no test {by}");
    }
    let without: Vec<_> = left_out.iter().filter(|(_, by)| by.len() <= NOT_HERE.len()).collect();
    assert!(without.is_empty(), "without a test and a reason: {without:?}");
    assert!(left_out.len() <= UNEXECUTED_MAX, "{} are left out: {left_out:?}", left_out.len());
    Ok(())
}

/// A list that says more than was done is worse than none.
#[test]
#[ignore = "reads what the other tests noted: just stage build,deploy"]
fn what_the_list_says_was_executed() -> Result<()> {
    let dir = notes().context("EXECUTED_TASKS_DIR is not set; `just stage deploy` sets it")?;
    let (all, mut listed, executed) = (all()?, listed()?, executed(&dir)?);
    let first = |task: &Task| {
        let ran = |test: &&&str| executed.get(**test).is_some_and(|tasks| tasks.contains(task));
        TESTS.iter().find(ran).map(|test| format!("`{test}`"))
    };
    if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
        for task in &all {
            let old = listed.get(task).cloned();
            let is_of_this_run =
                old.as_deref().is_some_and(|by| executed.contains_key(by.trim_matches('`')));
            let new = first(task).or_else(|| old.filter(|_| !is_of_this_run));
            listed.insert(task.clone(), new.unwrap_or_else(|| NOT_HERE.to_owned()));
        }
        return write(&all, &listed);
    }
    for (task, by) in &listed {
        match executed.get(by.trim_matches('`')) {
            Some(tasks) => assert!(tasks.contains(task), "{task:?} was not executed by {by}"),
            None if by.starts_with(NOT_HERE) => {
                assert_eq!(first(task), None, "{task:?} is called not executed");
            }
            None => {}
        }
    }
    Ok(())
}
