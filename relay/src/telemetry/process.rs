//! What the system knows of this process.

use std::fs;

/// Length of the line that `/proc/self/stat` is, in fields, up to the one that is needed last.
const STARTED_FIELD: usize = 19;
/// The times of the processor are there before it, of the process in user and kernel mode.
const CPU_FIELDS: [usize; 2] = [11, 12];
/// The kernel counts in hundredths of a second, on every machine that it shows them to.
const MS_PER_TICK: u64 = 10;

/// Times of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Time of processors, ms.
    pub cpu_ms: u64,
    /// When it began, ms since the machine did.
    pub started_ms: u64,
}

impl Times {
    /// Now; `None` where the system does not tell.
    pub fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        // The name in brackets may hold anything, also spaces and brackets.
        let (_name, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let ticks = |place: usize| fields.get(place)?.parse::<u64>().ok();
        let [user, system] = CPU_FIELDS.map(ticks);
        Some(Self {
            cpu_ms: user?.saturating_add(system?).saturating_mul(MS_PER_TICK),
            started_ms: ticks(STARTED_FIELD)?.saturating_mul(MS_PER_TICK),
        })
    }
}

/// When the machine began, seconds since 1970; `None` where the system does not tell.
pub fn boot_seconds() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.parse().ok())
}

/// Files and sockets that are open; `None` where the system does not tell.
pub fn open_files() -> Option<u64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is the directory that is being read.
    u64::try_from(open).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of a program may look like the fields behind it.
    #[test]
    fn times_are_read_behind_the_name_of_the_program() {
        let stat = "7 (a) b 1 2) S 1 7 7 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 4 0 123456 1 1";
        assert_eq!(Times::parse(stat), Some(Times { cpu_ms: 2_000, started_ms: 1_234_560 }));
        assert_eq!(Times::parse("7 (a) S 1 2"), None);
        assert_eq!(Times::parse(""), None);
    }

    #[test]
    fn this_process_began_and_has_files_open() {
        let before = open_files().unwrap();
        let file = fs::File::open("/proc/self/stat").unwrap();
        assert!(Times::read().unwrap().started_ms > 0);
        assert!(boot_seconds().unwrap() > 1_000_000_000);
        assert!(before > 2);
        drop(file);
    }
}
