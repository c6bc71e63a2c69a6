//! Named places at which a test lets the process die.
//!
//! A crash at a random moment rarely meets the few microseconds between two steps that must not be
//! swapped. So each such place has a name, and a test asks for it: the process then sends itself
//! SIGKILL, which runs no destructor and flushes nothing, as when the machine's supervisor kills it.
//! `docs/crash-points.md` says what recovery does after each.
//!
//! Unless a point is armed, a place costs one relaxed load of a static.

use std::{
    fmt,
    io::{self, Write as _},
    str::FromStr,
    sync::atomic::{AtomicU32, Ordering},
};

/// The variable that arms a point, read once at start. Not a setting: it stands in no file, no flag
/// and no `env.example`, for no operator may want it, and it is refused outside development mode.
pub const VARIABLE: &str = "RELAY_CRASH_AT";

macro_rules! points {
    ($($(#[doc = $doc:literal])+ $point:ident = $name:literal;)+) => {
        /// A place at which the process can be made to die.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Point {
            $($(#[doc = $doc])+ $point,)+
        }

        impl Point {
            /// All points.
            pub const ALL: &[Self] = &[$(Self::$point),+];

            /// As in [`VARIABLE`] and in the documents.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)+
                }
            }
        }
    };
}

points! {
    /// A batch is written to the segment and not yet synced.
    AppendBeforeSync = "append_before_sync";
    /// It is synced; the head has not moved, nobody can see it.
    AppendAfterSync = "append_after_sync";
    /// Consumers can see it; no host's low-water mark has moved.
    AppendAfterHead = "append_after_head";
    /// A segment is full; its footer is not written.
    RollBeforeSeal = "roll_before_seal";
    /// Its footer is synced; there is no next segment.
    RollAfterSeal = "roll_after_seal";
    /// The next segment is durable; the writer still holds the old one.
    RollAfterCreate = "roll_after_create";
    /// A new segment is synced under its temporary name.
    CreateBeforeRename = "create_before_rename";
    /// It has its name, which is not yet durable.
    CreateAfterRename = "create_after_rename";
    /// Readers know that the oldest segment is gone; its file is there.
    RetentionBeforeRemoval = "retention_before_removal";
    /// The file is gone as well.
    RetentionAfterRemoval = "retention_after_removal";
    /// A checkpoint is written in a transaction that is not committed; also one of recovery.
    CheckpointBeforeCommit = "checkpoint_before_commit";
    /// It is committed; neither the shards nor the log have learned of it.
    CheckpointAfterCommit = "checkpoint_after_commit";
    /// A compressed segment is synced under its temporary name; the plain one is there.
    CompressBeforeRename = "compress_before_rename";
    /// It has the name of the plain one, which is not yet durable.
    CompressAfterRename = "compress_after_rename";
    /// At start: the unsynced tail is copied to a new file, which is not synced.
    RecoveryTailCopied = "recovery_tail_copied";
    /// At start: the copy is synced under its temporary name.
    RecoveryBeforeRename = "recovery_before_rename";
    /// At start: the copy is the newest segment; the old one still holds the same events.
    RecoveryBeforeCut = "recovery_before_cut";
    /// At start: the old segment is cut and has no footer.
    RecoveryAfterCut = "recovery_after_cut";
    /// At start: part of the log's tail is replayed into the database and committed.
    ReplayAfterCommit = "replay_after_commit";
}

impl Point {
    /// Above 0, which stands for none.
    fn number(self) -> u32 {
        self as u32 + 1
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where to die: at the count-th time that the point is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The place.
    pub point: Point,
    /// From 1.
    pub count: u32,
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, count) = text.split_once(':').unwrap_or((text, "1"));
        let point = Point::ALL.iter().copied().find(|point| point.name() == name);
        match (point, count.parse()) {
            (Some(point), Ok(count)) if count > 0 => Ok(Self { point, count }),
            _ => {
                let names: Vec<_> = Point::ALL.iter().map(|point| point.name()).collect();
                Err(format!("POINT or POINT:COUNT with one of {}", names.join(", ")))
            }
        }
    }
}

/// Number of the armed point, 0 = none.
static ARMED: AtomicU32 = AtomicU32::new(0);
/// How often it is still to be reached.
static LEFT: AtomicU32 = AtomicU32::new(0);

/// From now on the process dies at this plan's point.
pub fn arm(plan: Plan) {
    LEFT.store(plan.count, Ordering::Relaxed);
    ARMED.store(plan.point.number(), Ordering::Relaxed);
}

/// The process has come to this point.
#[inline]
pub fn at(point: Point) {
    let armed = ARMED.load(Ordering::Relaxed);
    if armed != 0 {
        reached(point, armed);
    }
}

#[cold]
fn reached(point: Point, armed: u32) {
    #[cfg(test)]
    on_thread::reached(point);
    if armed == point.number() && LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
        die(point);
    }
}

/// Says where, for the test that wants to know that it was here, and dies.
fn die(point: Point) -> ! {
    // Where nobody listens any more there is still nothing to do but die.
    drop(writeln!(io::stderr(), "crash point {point} reached"));
    let own = rustix::process::getpid();
    if let Err(error) = rustix::process::kill_process(own, rustix::process::Signal::KILL) {
        drop(writeln!(io::stderr(), "SIGKILL was refused: {error}"));
    }
    // A signal to oneself is there when the call returns, so that this is for a refusal.
    std::process::abort()
}

/// For tests in this process: the point unwinds the thread that armed it, and no other.
#[cfg(test)]
pub(crate) mod on_thread {
    use std::{
        cell::Cell,
        panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
        sync::atomic::Ordering,
    };

    use super::{ARMED, Plan, Point};

    thread_local! {
        static PLAN: Cell<Option<Plan>> = const { Cell::new(None) };
    }

    /// What unwinds the thread.
    struct Died(Point);

    /// Runs `act` until it ends or comes to the plan's point, where it is gone as a killed process.
    pub(crate) fn until<T>(plan: Plan, act: impl FnOnce() -> T) -> Result<T, Point> {
        PLAN.set(Some(plan));
        // No point has this number: it only makes every thread look at its own plan.
        ARMED.store(u32::MAX, Ordering::Relaxed);
        let ended = catch_unwind(AssertUnwindSafe(act));
        PLAN.set(None);
        ended.map_err(|why| match why.downcast::<Died>() {
            Ok(died) => died.0,
            Err(panic) => resume_unwind(panic),
        })
    }

    pub(super) fn reached(point: Point) {
        let Some(plan) = PLAN.get().filter(|plan| plan.point == point) else { return };
        PLAN.set((plan.count > 1).then_some(Plan { count: plan.count - 1, ..plan }));
        if plan.count == 1 {
            resume_unwind(Box::new(Died(point)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plan says a point and how often; anything else is refused with the points there are.
    #[test]
    fn a_plan_is_a_point_and_a_count() {
        for point in Point::ALL.iter().copied() {
            assert_eq!(point.name().parse(), Ok(Plan { point, count: 1 }));
            assert_eq!(format!("{point}:17").parse(), Ok(Plan { point, count: 17 }));
        }
        for wrong in ["", "nowhere", "roll_after_seal:", "roll_after_seal:0", "roll_after_seal:-1"]
        {
            let refused = wrong.parse::<Plan>();
            assert!(refused.is_err_and(|why| why.contains("append_before_sync")), "{wrong}");
        }
    }

    /// The page explains every point and no other.
    #[test]
    fn the_page_has_every_point() {
        let page = include_str!("../../docs/crash-points.md");
        let rows: Vec<_> =
            page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        let points: Vec<_> = Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(rows, points);
    }

    /// A plan ends what its own thread does, at the count-th time, and nothing else.
    #[test]
    fn a_plan_of_a_thread_ends_it_at_the_count() {
        let plan = Plan { point: Point::RollAfterSeal, count: 3 };
        let mut passed = 0;
        let ended = on_thread::until(plan, || {
            for _ in 0..5 {
                at(Point::RollBeforeSeal);
                at(Point::RollAfterSeal);
                passed += 1;
            }
        });
        assert_eq!((ended, passed), (Err(Point::RollAfterSeal), 2));
        at(Point::RollAfterSeal);
        assert_eq!(on_thread::until(plan, || 5), Ok(5));
    }
}
