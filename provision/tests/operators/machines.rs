//! Machines that people have: what they are told today is kept in the repository.

use serde_json::Value;

use crate::program::{Said, compare, in_repository, provision};

/// A machine, and what is asked of it.
struct Machine {
    name: &'static str,
    about: &'static str,
    more: &'static [&'static str],
    code: i32,
}

const MACHINES: &[Machine] = &[
    Machine {
        name: "small-vps",
        about: "2 vCPU, 12 GB, 30 Mbit/s",
        more: &["--database", "sqlite"],
        code: 0,
    },
    Machine {
        name: "ovh-advance-1",
        about: "OVH ADVANCE-1, NVMe mirror with the system",
        more: &["--database", "postgres"],
        code: 0,
    },
    Machine {
        name: "ovh-advance-2-le",
        about: "OVH ADVANCE-2-LE, one NVMe for the data",
        more: &["--database", "postgres"],
        code: 0,
    },
    Machine {
        name: "hetzner-cloud-volume",
        about: "Hetzner Cloud, 4 vCPU, a volume",
        more: &["--database", "postgres"],
        code: 0,
    },
    Machine {
        name: "eight-cores-64-gb",
        about: "8 cores, 64 GB, 10 Gbit/s",
        more: &["--database", "postgres", "--window", "168h"],
        code: 0,
    },
    Machine {
        name: "old-server-spinning",
        about: "4 cores, 16 GB, spinning disks",
        more: &["--database", "postgres"],
        code: 0,
    },
    Machine {
        name: "container-512-mb",
        about: "a container of 512 MB, 72h asked for",
        more: &["--database", "sqlite", "--window", "72h"],
        code: 1,
    },
];

const PAGE: &str = "docs/operations.md";
/// The machine whose whole screen is shown on the page.
const SHOWN: &str = "ovh-advance-2-le";

fn tune(machine: &Machine, more: &[&str]) -> Said {
    let root = tempfile::tempdir().expect("a directory");
    let facts = in_repository(&format!("provision/tests/machines/{}.json", machine.name));
    let (facts, below) = (facts.display().to_string(), root.path().display().to_string());
    let mut arguments = vec!["tune", "--facts", &facts, "--now", "2026-12-01", "--root", &below];
    arguments.extend(machine.more);
    arguments.extend(more);
    let said = provision(&arguments);
    assert_eq!(said.code, Some(machine.code), "{}: {said:?}", machine.name);
    // A person's root is `/`.
    Said { out: said.out.replace(&below, ""), ..said }
}

/// A change of a formula shows in review for every machine; docs/operations.md shows what is true.
#[test]
fn every_example_machine_is_told_what_is_kept_in_the_repository() {
    for machine in MACHINES {
        let path = format!("provision/tests/machines/{}.txt", machine.name);
        compare(&in_repository(&path), &tune(machine, &[]).out);
    }
}

/// The page for operators shows the program as it is.
#[test]
fn the_page_for_operators_shows_the_program_as_it_is() {
    let path = in_repository(PAGE);
    let page = std::fs::read_to_string(&path).expect(PAGE);
    let shown = MACHINES.iter().find(|machine| machine.name == SHOWN).expect("the shown machine");
    let screen = format!("```text\n{}```\n", tune(shown, &[]).out);
    let page = between(&page, "tune", &screen);
    let listed = format!("```text\n{}```\n", provision(&["doctor", "--list"]).out);
    let page = between(&page, "doctor", &listed);
    compare(&path, &between(&page, "machines", &table()));
}

/// Replaces what stands between the marks of a generated part.
pub(crate) fn between(page: &str, name: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->\n"));
    let (before, rest) = page.split_once(&begin).expect("the mark of the beginning");
    let (_, after) = rest.split_once(&end).expect("the mark of the end");
    format!("{before}{begin}{text}{end}{after}")
}

fn table() -> String {
    let mut text = String::from(
        "| machine | window | log | shards | accounts in memory | Postgres | consumers |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    for machine in MACHINES {
        let answer = tune(machine, &["--json"]).json();
        let plan = &answer["plan"];
        let set = |part: &str, name: &str| {
            let values = plan[part].as_array().expect("values").iter();
            let found = values.filter(|value| value["name"] == name).map(|value| &value["value"]);
            found.map(text_of).next().unwrap_or("–".to_owned())
        };
        let cells = [
            machine.about.to_owned(),
            set("relay", "RELAY_REPLAY_WINDOW"),
            set("relay", "RELAY_REPLAY_MAX_BYTES"),
            set("relay", "RELAY_SHARDS"),
            set("relay", "RELAY_ACCOUNT_CACHE"),
            set("postgres", "shared_buffers"),
            text_of(&plan["consumers"]["most"]),
        ];
        text.extend(["| ", &cells.join(" | "), " |\n"]);
    }
    text
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}
