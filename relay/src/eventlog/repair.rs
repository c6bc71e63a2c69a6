//! What must be done with a damaged log so that a relay can start on it, and doing it
//! (`relay log repair`).
//!
//! The rule: the window is one piece that ends at the head, for a consumer must never pass a gap
//! without being told (OUT-6). So everything up to the last gap is set aside, what lies behind it
//! stays, and where the end itself is lost, seq jumps far above it, so that none is used twice (I4).
//! The plan is pure; it is shown to a person before any of it is done. Nothing is deleted: damaged
//! files keep their bytes under another name.

mod act;

use serde::Serialize;

pub(super) use self::act::act;
use super::{
    inspect::{FaultKind, FileReport, Span, events},
    segment::file_name,
};

/// How far seq jumps above what may have been seen when the end of the log is lost; as at a start
/// whose log ends before what the database remembers.
const LOST_TAIL_JUMP: u64 = 1_000_000_000;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Give a file the name that its header says.
    Rename {
        /// Its name.
        name: String,
        /// Its right name.
        to: String,
    },
    /// Write these events of a damaged file into a sound one; the damaged one is set aside.
    Salvage {
        /// The damaged file.
        name: String,
        /// First event that stays.
        first: u64,
        /// Last event that stays.
        last: u64,
        /// Last event before it, in the header of the new file.
        previous: u64,
    },
    /// Give a file a name that ends in `.damaged`.
    SetAside {
        /// Its name.
        name: String,
    },
    /// Begin a new file at this seq, for the end of the log is lost.
    Begin {
        /// Its first seq.
        base: u64,
        /// Id of the log's instance.
        instance: String,
    },
}

/// Events that can no longer be replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// Seq of the first.
    pub first: u64,
    /// Seq of the last, if it is known.
    pub last: Option<u64>,
    /// They can be read in a file that is set aside; consumers would not learn of the gap behind them.
    pub readable: bool,
    /// Time of the first, or of the last event before them, µs since 1970; 0 = not known.
    pub from_us: u64,
    /// Time of the last, or of the first event behind them; 0 = not known.
    pub to_us: u64,
    /// How many accounts, if they can be read.
    pub accounts: Option<usize>,
    /// Numbers of hosts, if they can be read; the first 20.
    pub hosts: Vec<u32>,
}

/// What there is, what is wrong, what to do about it.
#[derive(Debug, Clone, Serialize)]
pub struct LogReport {
    /// No fault was found.
    pub sound: bool,
    /// The files, oldest first.
    pub files: Vec<FileReport>,
    /// What `repair` would do.
    pub steps: Vec<Step>,
    /// What that, or a start, costs.
    pub losses: Vec<Loss>,
    /// The window after it: first event and last one.
    pub window: (u64, u64),
    /// Events in that window.
    pub events: u64,
    /// Why nothing can be done; empty when something can.
    pub hopeless: String,
}

/// What stays of one file.
#[derive(Debug, Clone, Copy)]
struct Kept {
    file: usize,
    first: u64,
    last: u64,
}

/// Decides.
///
/// * `instance` – of the log; `None` when no header can be read
pub(super) fn plan(files: Vec<FileReport>, instance: Option<&str>) -> LogReport {
    let mut planner =
        Planner { steps: Vec::new(), kept: Vec::new(), is_used: vec![false; files.len()], files };
    let base = planner.decide(instance);
    let Planner { steps, kept, files, .. } = planner;
    let sound = files.iter().all(|file| file.faults.is_empty());
    let hopeless = match base {
        Err(why) => why.to_owned(),
        Ok(_) => String::new(),
    };
    let begins = base.ok().flatten();
    let oldest = kept.iter().map(|kept| kept.first).min();
    let head = kept.iter().map(|kept| kept.last).max();
    let window = match (begins, oldest, head) {
        (Some(base), ..) => (base, base - 1),
        (None, Some(oldest), Some(head)) => (oldest, head.max(oldest - 1)),
        (None, ..) => (0, 0),
    };
    let losses = losses(&files, &kept, begins.is_some());
    let kept_events = kept.iter().map(|kept| (kept.last + 1).saturating_sub(kept.first)).sum();
    LogReport { sound, files, steps, losses, window, events: kept_events, hopeless }
}

struct Planner {
    files: Vec<FileReport>,
    steps: Vec<Step>,
    kept: Vec<Kept>,
    /// Files that stay, or of which something stays.
    is_used: Vec<bool>,
}

impl Planner {
    /// Gives the base of the new file that must be begun, if any; an error when nothing can be done.
    fn decide(&mut self, instance: Option<&str>) -> Result<Option<u64>, &'static str> {
        if self.files.iter().any(|file| file.has(FaultKind::UnknownFormat)) {
            return Err("a file is of a later version of the relay: use that version");
        }
        let sorted = self.in_order();
        let Some((newest, older)) = sorted.split_last() else {
            return if self.files.is_empty() { Ok(None) } else { self.begin(instance) };
        };
        let lost_later = self
            .files
            .iter()
            .any(|file| file.header.is_none() && file.base > self.files[*newest].base);
        let Some(mut expected) = (if lost_later { None } else { self.newest(*newest) }) else {
            return self.begin(instance);
        };
        for index in older.iter().rev() {
            match self.older(*index, expected) {
                Next::Goes(previous) => expected = previous,
                Next::Stray => {}
                Next::Ends => break,
                Next::Cut => {
                    // What is missing lies in this file, not between two.
                    expected = u64::MAX;
                    break;
                }
            }
        }
        self.blame_gap(expected);
        for index in 0..self.files.len() {
            if !self.is_used[index] {
                let name = self.files[index].name.clone();
                self.steps.push(Step::SetAside { name });
            }
        }
        Ok(None)
    }

    /// Files that belong here, by their first seq; gives those with a wrong name the right one.
    fn in_order(&mut self) -> Vec<usize> {
        let mut order: Vec<usize> = Vec::new();
        for index in 0..self.files.len() {
            let file = &self.files[index];
            if file.header.is_none() || file.has(FaultKind::ForeignInstance) {
                continue;
            }
            let right = file_name(file.base);
            if file.name != right {
                let taken = self.files.iter().any(|other| other.name == right);
                let twice = order.iter().any(|other| self.files[*other].base == file.base);
                if taken || twice {
                    let what = format!("its events are those of {right}");
                    self.files[index].blame(FaultKind::Duplicate, 0, what);
                    continue;
                }
                self.steps.push(Step::Rename { name: file.name.clone(), to: right });
            }
            order.push(index);
        }
        order.sort_by_key(|index| self.files[*index].base);
        order
    }

    /// The newest file; gives the last seq before what stays of it, `None` when its end is lost.
    fn newest(&mut self, index: usize) -> Option<u64> {
        let file = &self.files[index];
        let header = file.header.as_ref()?;
        let Some(last) = file.spans.last() else {
            // Made and not yet written to; a sealed file always has events.
            let is_new = file.trailer_last.is_none() && !file.has(FaultKind::Unreadable);
            let previous = header.previous;
            let base = file.base;
            is_new.then(|| {
                self.is_used[index] = true;
                self.kept.push(Kept { file: index, first: base, last: base - 1 });
            })?;
            return Some(previous);
        };
        let (first, last_seq) = (last.first, last.last);
        if file.trailer_last.is_some_and(|end| end > last_seq) || file.has(FaultKind::Unreadable) {
            return None;
        }
        let is_whole = first == file.base;
        let previous = if is_whole { header.previous } else { first - 1 };
        self.keep(index, (first, last_seq), previous);
        is_whole.then_some(previous).or(Some(u64::MAX))
    }

    /// A file before what is kept so far.
    ///
    /// * `expected` – its last seq
    fn older(&mut self, index: usize, expected: u64) -> Next {
        if expected == u64::MAX {
            return Next::Ends;
        }
        let file = &self.files[index];
        if file.base > expected {
            if events(&file.spans) > 0 {
                self.files[index].blame(FaultKind::Duplicate, 0, "its events are in another file");
            } else {
                // An empty one goes by itself at the next start.
                self.is_used[index] = true;
            }
            return Next::Stray;
        }
        let found = file.spans.iter().find(|span| (span.first..=span.last).contains(&expected));
        let Some(first) = found.map(|span| span.first) else {
            let read = file.spans.last().map_or(file.base - 1, |span| span.last);
            let is_next = !self.has_headless((file.base, expected));
            if file.trailer_last.is_none() && is_next && !file.has(FaultKind::CutShort) {
                let what = format!("its events end at {read}, the next file says {expected}");
                self.files[index].blame(FaultKind::CutShort, 0, what);
            }
            return Next::Ends;
        };
        let is_whole = first == file.base;
        let previous = match &file.header {
            Some(header) if is_whole => header.previous,
            _ => first - 1,
        };
        if file.trailer_last.is_some_and(|last| last > expected) {
            let what = format!("its events behind {expected} are in the next file");
            self.files[index].blame(FaultKind::Duplicate, 0, what);
        }
        self.keep(index, (first, expected), previous);
        if is_whole { Next::Goes(previous) } else { Next::Cut }
    }

    /// Keeps events of a file, in a new one unless it is sound as it is.
    fn keep(&mut self, index: usize, (first, last): (u64, u64), previous: u64) {
        self.is_used[index] = true;
        self.kept.push(Kept { file: index, first, last });
        let file = &self.files[index];
        // A missing footer is made again by the next start, a wrong name is changed above.
        let harmless = |kind| matches!(kind, FaultKind::BadFooter | FaultKind::Renamed);
        if file.faults.iter().all(|fault| harmless(fault.kind)) {
            return;
        }
        let name =
            if file.has(FaultKind::Renamed) { file_name(file.base) } else { file.name.clone() };
        self.steps.push(Step::Salvage { name, first, last, previous });
    }

    /// Says it when files lie before a gap.
    fn blame_gap(&mut self, expected: u64) {
        let Some(oldest) = self.kept.iter().min_by_key(|kept| kept.first).copied() else { return };
        let before = self.files.iter().enumerate().filter(|(index, file)| {
            !self.is_used[*index] && file.base < oldest.first && file.header.is_some()
        });
        let last = before.map(|(_, file)| file.known_last()).max();
        let last = last.filter(|last| *last < expected && expected != u64::MAX);
        if let Some(last) = last.filter(|last| !self.has_headless((*last, expected))) {
            let what = format!("events {} to {expected} are in no file", last + 1);
            self.files[oldest.file].blame(FaultKind::Gap, 0, what);
        }
    }

    /// Whether a file without a header, of which nothing can be said, begins behind `after` and not
    /// behind `last`.
    fn has_headless(&self, (after, last): (u64, u64)) -> bool {
        let mut files = self.files.iter();
        files.any(|file| file.header.is_none() && file.base > after && file.base <= last)
    }

    /// Everything goes; a new file begins far above.
    fn begin(&mut self, instance: Option<&str>) -> Result<Option<u64>, &'static str> {
        let Some(instance) = instance else {
            return Err(
                "no file has a whole header, so that the log's instance is not known: restore \
                        it from a backup, or move the files away and start with an empty log",
            );
        };
        let known = self.files.iter().map(FileReport::known_last).max().unwrap_or(0);
        let base = known.saturating_add(LOST_TAIL_JUMP);
        self.kept.clear();
        self.steps.clear();
        self.steps.push(Step::Begin { base, instance: instance.to_owned() });
        for file in &self.files {
            self.steps.push(Step::SetAside { name: file.name.clone() });
        }
        Ok(Some(base))
    }
}

/// What a look at an older file gave.
enum Next {
    /// All of it stays; this is the last seq before it.
    Goes(u64),
    /// It does not belong here.
    Stray,
    /// The window begins behind it.
    Ends,
    /// The window begins in it.
    Cut,
}

/// Everything that was in the log and is not kept, in order.
fn losses(files: &[FileReport], kept: &[Kept], end_is_lost: bool) -> Vec<Loss> {
    let is_kept = |seq: u64| kept.iter().any(|kept| (kept.first..=kept.last).contains(&seq));
    // Each with the last seq before it: where seq jumped, nothing lies between.
    let mut spans: Vec<(&Span, u64)> = files
        .iter()
        .filter(|file| !file.has(FaultKind::ForeignInstance) && !file.has(FaultKind::Duplicate))
        .flat_map(|file| file.spans.iter().map(|span| (span, file.before(span))))
        .collect();
    spans.sort_by_key(|(span, _)| span.first);
    let begin = files.iter().filter(|file| !file.has(FaultKind::ForeignInstance));
    let (mut next, mut time_us) = (begin.map(|file| file.base).min().unwrap_or(0), 0);
    let mut losses = Vec::new();
    for (span, before) in spans {
        if before >= next {
            losses.push(unreadable((next, Some(before)), (time_us, span.first_us)));
        }
        if !is_kept(span.last) && span.last >= next {
            losses.push(Loss {
                first: span.first.max(next),
                last: Some(span.last),
                readable: true,
                from_us: span.first_us,
                to_us: span.last_us,
                accounts: Some(span.accounts),
                hosts: span.host_numbers.clone(),
            });
        }
        next = next.max(span.last + 1);
        time_us = span.last_us;
    }
    if end_is_lost {
        let known = files.iter().map(FileReport::known_last).max().filter(|last| *last >= next);
        losses.push(unreadable((next, known), (time_us, 0)));
    }
    losses
}

fn unreadable((first, last): (u64, Option<u64>), (from_us, to_us): (u64, u64)) -> Loss {
    Loss { first, last, readable: false, from_us, to_us, accounts: None, hosts: Vec::new() }
}
