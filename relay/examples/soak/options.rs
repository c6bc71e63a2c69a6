//! What may be typed behind `cargo run --release --example soak --`.

use std::time::Duration;

use clap::Parser;

/// Runs the built relay for hours beside a simulated network in which every adversary plays.
#[derive(Debug, Clone, Parser)]
#[command(name = "soak")]
pub(crate) struct Options {
    /// How long; fractions are fine.
    #[arg(long, value_name = "N", default_value_t = 1.0, conflicts_with = "minutes")]
    hours: f64,
    /// The same in minutes.
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// Events and turns of adversaries per second.
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(10..=20_000))]
    pub(crate) rate: u32,
    /// Accounts, records and turns follow from it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Honest hosts.
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub(crate) hosts: usize,
    /// Honest accounts.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) accounts: usize,
    /// Of 1,000 steps, how many are turns of adversaries.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub(crate) per_mille: u32,
    /// Only adversaries with this in their names, such as `HighS` or `handshake`; may be repeated.
    #[arg(long, value_name = "WORD")]
    pub(crate) only: Vec<String>,
}

impl Options {
    /// What was typed.
    pub(crate) fn of_process() -> Self {
        Self::parse()
    }

    /// How long to go on.
    pub(crate) fn span(&self) -> Duration {
        let seconds = self.minutes.map_or(self.hours * 3_600.0, |minutes| minutes * 60.0);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
    }

    /// A line as a test writes it.
    #[cfg(test)]
    pub(crate) fn parsed(line: &str) -> Self {
        Self::try_parse_from(line.split(' ')).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `just soak HOURS`, and the smaller spans of tests.
    #[test]
    fn spans_are_hours_or_minutes() {
        assert_eq!(Options::parsed("soak").span(), Duration::from_hours(1));
        assert_eq!(Options::parsed("soak --hours 0.5").span(), Duration::from_mins(30));
        assert_eq!(Options::parsed("soak --minutes 0.5").span(), Duration::from_secs(30));
        assert!(Options::try_parse_from(["soak", "--hours", "1", "--minutes", "1"]).is_err());
    }
}
