//! Verbs that wait for networks, and what a person sees meanwhile.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use provision::{
    moment,
    told::{Told, Unit},
    words,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::out;

/// Pause between two lines about the same work where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How often the time beside a bar moves on.
const TICK: Duration = Duration::from_millis(120);

/// Runs a verb to its end.
pub(crate) fn on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().context("start the runtime")?.block_on(work)
}

/// Runs a verb to its end, or until it is asked to end; then what it has begun is taken back.
pub(crate) fn or_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    on(async {
        tokio::select! {
            done = work => done,
            () = asked_to_end() => bail!("it was interrupted; what was begun is taken back"),
        }
    })
}

/// Done when a person types Ctrl-C, or a supervisor asks the program to end.
pub(crate) async fn asked_to_end() {
    match Ending::listen() {
        Ok(mut ending) => ending.asked().await,
        Err(_) => std::future::pending().await,
    }
}

/// Hears that somebody wants the program to end, also between two waits: once a signal was listened for
/// it ends the program no more by itself, so one that comes while nobody listens would be lost.
pub(crate) struct Ending {
    interrupted: Signal,
    terminated: Signal,
}

impl Ending {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system gives no signals.
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("listen for Ctrl-C and SIGTERM");
        Ok(Self {
            interrupted: listen(SignalKind::interrupt())?,
            terminated: listen(SignalKind::terminate())?,
        })
    }

    /// Done when it was asked for since the last time.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupted.recv() => {}
            _ = self.terminated.recv() => {}
        }
    }
}

/// Results to stdout, notes to stderr; for verbs whose work is short.
pub(crate) fn tell(told: Told) -> bool {
    match told {
        Told::Result(line) => out::result(&line),
        Told::Note(line) | Told::Doing(line) => {
            out::note(&line);
            true
        }
        Told::Progress { .. } => true,
    }
}

/// Shows long work: a bar where stderr is a terminal, elsewhere a line now and then.
pub(crate) struct Screen {
    bar: Option<ProgressBar>,
    /// What the bar counts; it has another form for each.
    counted: Option<Unit>,
    /// When a line was printed last, or what is going on was begun.
    last: Option<Instant>,
}

impl Screen {
    /// For one piece of work.
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar, counted: None, last: None }
    }

    /// Takes what the work tells.
    pub(crate) fn tell(&mut self, told: Told) -> bool {
        match told {
            Told::Result(line) => self.above(|| out::result(&line)),
            Told::Note(line) => self.above(|| {
                out::note(&line);
                true
            }),
            Told::Doing(what) => {
                self.doing(what);
                true
            }
            Told::Progress { what, done, total, unit } => {
                self.progress(what, (done, total), unit);
                true
            }
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Prints while the bar is away.
    fn above(&self, print: impl FnOnce() -> bool) -> bool {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn doing(&mut self, what: String) {
        match &self.bar {
            Some(bar) => {
                bar.unset_length();
                bar.set_style(style("{spinner} {msg} {elapsed}"));
                bar.set_message(what);
            }
            None => out::note(&what),
        }
        (self.counted, self.last) = (None, None);
    }

    fn progress(&mut self, what: String, (done, total): (u64, u64), unit: Unit) {
        if let Some(bar) = &self.bar {
            if self.counted != Some(unit) {
                bar.set_style(style(match unit {
                    Unit::Bytes => {
                        "{spinner} {msg} {wide_bar} {bytes} of {total_bytes}, {eta} left"
                    }
                    Unit::Seconds | Unit::Things => "{spinner} {msg} {wide_bar} {pos} of {len}",
                }));
                self.counted = Some(unit);
            }
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(what);
            return;
        }
        // What is done soon says nothing.
        let now = moment::timer();
        let last = self.last.get_or_insert(now);
        if now.duration_since(*last) >= LINE_EVERY {
            *last = now;
            out::note(&line(&what, (done, total), unit));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The style of a bar; the forms above are all well-formed, and a plain bar does no harm.
fn style(form: &str) -> ProgressStyle {
    ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// How far it is, where there is no bar.
fn line(what: &str, (done, total): (u64, u64), unit: Unit) -> String {
    match unit {
        Unit::Bytes => format!("{what}: {} of {}", words::bytes(done), words::bytes(total)),
        Unit::Seconds => format!("{what}: {done} of {total} s"),
        Unit::Things => format!("{what}: {} of {}", words::count(done), words::count(total)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A person's Ctrl-C counts whenever it is typed, also while the program does something else.
    #[tokio::test]
    async fn a_signal_between_two_waits_is_not_lost() -> Result<()> {
        let mut ending = Ending::listen()?;
        let unasked = tokio::time::timeout(Duration::from_millis(1), ending.asked()).await;
        assert!(unasked.is_err(), "nobody asked yet");
        // Heard by a listener that nobody waits at.
        let mut witness = signal(SignalKind::terminate())?;
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)?;
        witness.recv().await;
        tokio::time::timeout(Duration::from_mins(1), ending.asked()).await?;
        Ok(())
    }

    #[test]
    fn how_far_it_is_can_be_read_where_there_is_no_bar() {
        assert_eq!(
            line("sending x", (5_000_000, 10_000_000), Unit::Bytes),
            "sending x: 5 MB of 10 MB"
        );
        assert_eq!(line("comparing", (30, 120), Unit::Seconds), "comparing: 30 of 120 s");
        assert_eq!(line("hosts", (200, 3_000), Unit::Things), "hosts: 200 of 3,000");
    }
}
