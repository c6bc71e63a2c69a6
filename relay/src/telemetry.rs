//! Logs and metrics. `metrics` is the one catalogue: a name exists only there.
//!
//! Owns the terminal: log lines and the live status line share it through [`Screen`], so that neither
//! tears the other. Logs go to standard error; standard output belongs to commands that print.
//! Levels: error = a person must act, warn = degraded and healing itself, info = lifecycle and admin
//! actions, debug = per event.

pub mod aliases;
pub mod heap;
pub mod metrics;
pub mod process;
mod screen;
mod status;
mod traces;

use std::panic::PanicHookInfo;

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, fmt::MakeWriter, layer::SubscriberExt as _, registry::LookupSpan,
    util::SubscriberInitExt as _,
};

pub use screen::Screen;
pub use status::{StatusFacts, StatusLine, grouped, status_line};
pub use traces::{SPANS, TraceOptions, Traces};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON anywhere else.
    #[default]
    Auto,
    /// One readable line per entry.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// All formats, for messages that say what is allowed.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Text, Self::Json];

    /// The name in settings.
    pub const fn as_text(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        }
    }

    /// Whether lines are text, given whether a terminal shows them.
    pub const fn is_text(self, terminal: bool) -> bool {
        match self {
            Self::Auto => terminal,
            Self::Text => true,
            Self::Json => false,
        }
    }

    /// Reverse of [`Self::as_text`].
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_text() == text)
    }
}

/// Why logging could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error(
        "{filter:?} is not a log filter ({why}): use error, warn, info, debug, trace, or a list such as info,relay::upstream=debug"
    )]
    BadFilter {
        /// What was given.
        filter: String,
        /// What the parser said.
        why: String,
    },
    /// Traces cannot go where they should.
    #[error("traces cannot be exported: {0}; see OTEL_EXPORTER_OTLP_ENDPOINT")]
    BadCollector(String),
    /// Something else logs in this process already.
    #[error("logging was already set up in this process")]
    AlreadyStarted,
}

/// Starts logging to standard error, once per process, and installs the metrics recorder.
///
/// * `filter` – a level or a list of `target=level`
///
/// Returns the screen that log lines go to, for [`status_line`].
///
/// # Errors
/// [`TelemetryError`].
pub fn start(filter: &str, format: LogFormat) -> Result<Screen, TelemetryError> {
    start_with_traces(filter, format, &TraceOptions::default()).map(|(screen, _none)| screen)
}

/// As [`start`], and exports traces. Has to be called within the runtime.
///
/// # Errors
/// [`TelemetryError`].
pub fn start_with_traces(
    filter: &str,
    format: LogFormat,
    options: &TraceOptions,
) -> Result<(Screen, Traces), TelemetryError> {
    let filter = parse_filter(filter)?;
    let screen = Screen::stderr();
    let (exported, traces) = traces::layer(options)?;
    // What is logged and what is traced are chosen apart.
    let registry = tracing_subscriber::registry().with(exported);
    let started = if format.is_text(screen.is_terminal()) {
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(screen.is_terminal())
            .with_target(false)
            .with_writer(screen.clone());
        registry.with(layer.with_filter(filter)).try_init()
    } else {
        // What reads JSON reads nothing else.
        std::panic::set_hook(Box::new(tell_panic));
        registry.with(json(screen.clone()).with_filter(filter)).try_init()
    };
    started.map_err(|_taken| TelemetryError::AlreadyStarted)?;
    metrics::describe();
    Ok((screen, traces))
}

/// One object per line.
fn json<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(writer)
}

/// A panic as a line of the log.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = std::backtrace::Backtrace::capture();
    tracing::error!(%backtrace, "{panic}; this is a bug");
}

/// Checks a filter without starting anything.
///
/// # Errors
/// [`TelemetryError::BadFilter`].
pub fn check_filter(filter: &str) -> Result<(), TelemetryError> {
    parse_filter(filter).map(drop)
}

fn parse_filter(filter: &str) -> Result<EnvFilter, TelemetryError> {
    let bad = |why: String| TelemetryError::BadFilter { filter: filter.to_owned(), why };
    if filter.trim().is_empty() {
        return Err(bad("it is empty".to_owned()));
    }
    // The parser takes any single word as the name of a target; a level misspelt would silence all.
    let word = !filter.contains(['=', ',', ':']);
    if word && filter.parse::<tracing::level_filters::LevelFilter>().is_err() {
        return Err(bad("no such level".to_owned()));
    }
    EnvFilter::try_new(filter).map_err(|error| bad(error.to_string()))
}

/// Text from outside as it may appear in a log, a metric or an answer: control characters and quotes
/// escaped, at most `chars_max` characters of the original (SEC-10).
pub fn escape(text: &str, chars_max: usize) -> String {
    let mut kept: String = text.chars().take(chars_max).flat_map(char::escape_debug).collect();
    if text.chars().nth(chars_max).is_some() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::panic::{catch_unwind, set_hook, take_hook};

    use super::{screen::tests::Captured, *};

    /// Who reads the log as JSON sees a panic as one entry too, its line breaks escaped.
    #[test]
    fn a_panic_is_one_line_of_json() {
        let seen = Captured::default();
        let writer = seen.clone();
        let registry = tracing_subscriber::registry().with(json(move || writer.clone()));
        let nothing = String::new();
        let before = take_hook();
        set_hook(Box::new(tell_panic));
        let panicked = tracing::subscriber::with_default(registry, || {
            catch_unwind(|| assert!(!nothing.is_empty(), "two\nlines"))
        });
        set_hook(before);

        assert!(panicked.is_err());
        let text = seen.take();
        assert_eq!(text.lines().count(), 1, "{text}");
        let entry: serde_json::Value = serde_json::from_str(&text).unwrap();
        let message = entry["message"].as_str().unwrap();
        assert!(message.contains("two\nlines") && message.ends_with("; this is a bug"), "{text}");
        assert_eq!(entry["level"], "ERROR");
    }

    /// SEC-10: hostile text neither moves the cursor nor breaks a line nor floods.
    #[test]
    fn text_from_outside_is_escaped_and_cut() {
        assert_eq!(escape("plain ä", 20), "plain ä");
        assert_eq!(escape("a\u{1b}[2J\nb\"", 20), "a\\u{1b}[2J\\nb\\\"");
        assert_eq!(escape("abcdef", 3), "abc…");
        assert_eq!(escape("abc", 3), "abc");
    }

    #[test]
    fn a_misspelt_level_is_refused_and_a_right_one_is_not() {
        for wrong in ["", " ", "verbose", "relay=loud", "info,,=,"] {
            let refused = check_filter(wrong);
            assert!(matches!(refused, Err(TelemetryError::BadFilter { .. })), "{wrong:?}");
        }
        for right in ["info", "DEBUG", "warn,relay::upstream=debug"] {
            assert_eq!(check_filter(right), Ok(()), "{right:?}");
        }
    }

    #[test]
    fn log_formats_have_one_name_each() {
        for format in LogFormat::ALL {
            assert_eq!(LogFormat::from_text(format.as_text()), Some(format));
        }
        assert_eq!(LogFormat::from_text("yaml"), None);
    }
}
