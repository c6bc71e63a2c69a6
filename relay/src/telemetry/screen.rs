//! Standard error, shared by log lines and one live line at the bottom.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::Arc,
};

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

/// Back to the first column and clear the row.
const WIPE: &[u8] = b"\r\x1b[2K";
/// A line wider than the terminal is cut, not wrapped: a wrapped one could not be wiped again.
const NO_WRAP: &[u8] = b"\x1b[?7l";
const WRAP: &[u8] = b"\x1b[?7h";

/// Where people read what the relay says; cheap to clone.
#[derive(Clone)]
pub struct Screen {
    terminal: bool,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    out: Box<dyn Write + Send>,
    /// The live line as it stands at the bottom, empty when there is none.
    live: String,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Screen").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

impl Screen {
    /// Standard error.
    pub fn stderr() -> Self {
        Self::new(Box::new(io::stderr()), io::stderr().is_terminal())
    }

    /// Any output; `terminal` says whether a live line can be drawn on it.
    pub fn new(out: Box<dyn Write + Send>, terminal: bool) -> Self {
        Self { terminal, inner: Arc::new(Mutex::new(Inner { out, live: String::new() })) }
    }

    /// Whether a person looks at it.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Replaces the live line; an empty one takes it away. Does nothing without a terminal.
    pub fn set_live(&self, line: &str) {
        if !self.terminal {
            return;
        }
        let mut inner = self.inner.lock();
        line.clone_into(&mut inner.live);
        // A terminal that has gone away is no reason to stop a relay.
        drop(inner.redraw(&[]));
    }
}

impl Inner {
    /// Writes `lines` above the live line, in one write so that nothing flickers.
    fn redraw(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(lines.len().saturating_add(self.live.len() + 32));
        bytes.extend_from_slice(WIPE);
        bytes.extend_from_slice(lines);
        if !self.live.is_empty() {
            bytes.extend_from_slice(NO_WRAP);
            bytes.extend_from_slice(self.live.as_bytes());
            bytes.extend_from_slice(WRAP);
        }
        self.out.write_all(&bytes)?;
        self.out.flush()
    }
}

/// Writes whole log lines.
#[derive(Debug)]
pub struct ScreenWriter(Screen);

impl Write for ScreenWriter {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut inner = self.0.inner.lock();
        if inner.live.is_empty() {
            inner.out.write_all(lines)?;
        } else {
            inner.redraw(lines)?;
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.inner.lock().out.flush()
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = ScreenWriter;

    fn make_writer(&'a self) -> ScreenWriter {
        ScreenWriter(self.clone())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An output that remembers.
    #[derive(Clone, Default)]
    pub(in crate::telemetry) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(in crate::telemetry) fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut self.0.lock())).unwrap()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_line_takes_the_place_of_the_live_line_which_comes_back_below() {
        let seen = Captured::default();
        let screen = Screen::new(Box::new(seen.clone()), true);

        screen.make_writer().write_all(b"before\n").unwrap();
        assert_eq!(seen.take(), "before\n");

        screen.set_live("3 hosts");
        assert_eq!(seen.take(), "\r\x1b[2K\x1b[?7l3 hosts\x1b[?7h");

        screen.make_writer().write_all(b"after\n").unwrap();
        assert_eq!(seen.take(), "\r\x1b[2Kafter\n\x1b[?7l3 hosts\x1b[?7h");

        screen.set_live("");
        assert_eq!(seen.take(), "\r\x1b[2K");
    }

    #[test]
    fn without_a_terminal_there_is_no_live_line() {
        let seen = Captured::default();
        let screen = Screen::new(Box::new(seen.clone()), false);

        screen.set_live("3 hosts");
        assert_eq!(seen.take(), "");
        screen.make_writer().write_all(b"line\n").unwrap();
        assert_eq!(seen.take(), "line\n");
    }
}
