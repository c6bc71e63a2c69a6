//! The one table, for a person and as JSON.

use serde_json::{Value, json};

/// What a figure has to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Must {
    AtMost(f64),
    AtLeast(f64),
    /// Nothing was promised.
    Report,
}

/// One measure.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// What was measured, in words.
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) must: Must,
    pub(crate) stretch: Option<f64>,
    pub(crate) measured: f64,
    /// Where the figure comes from: counts, microseconds, rates.
    pub(crate) raw: String,
}

impl Row {
    /// A figure without a promise.
    pub(crate) fn new(name: &'static str, what: impl Into<String>, unit: &'static str) -> Self {
        let what = what.into();
        let must = Must::Report;
        Self { name, what, unit, must, stretch: None, measured: f64::NAN, raw: String::new() }
    }

    /// Sets what it has to be.
    pub(crate) fn must(mut self, must: Must, stretch: impl Into<Option<f64>>) -> Self {
        (self.must, self.stretch) = (must, stretch.into());
        self
    }

    /// Sets what it is.
    pub(crate) fn is(mut self, measured: f64, raw: impl Into<String>) -> Self {
        (self.measured, self.raw) = (measured, raw.into());
        self
    }

    fn verdict(&self) -> &'static str {
        let holds = match self.must {
            Must::AtMost(most) => self.measured <= most,
            Must::AtLeast(least) => self.measured >= least,
            Must::Report => return "",
        };
        let stretches = self.stretch.is_some_and(|stretch| match self.must {
            Must::AtMost(_) => self.measured <= stretch,
            _ => self.measured >= stretch,
        });
        match (holds, stretches) {
            (_, true) => "ok+",
            (true, false) => "ok",
            (false, false) => "OVER",
        }
    }

    fn promised(&self) -> String {
        match self.must {
            Must::AtMost(most) => format!("<= {}", short(most)),
            Must::AtLeast(least) => format!(">= {}", short(least)),
            Must::Report => "report".to_owned(),
        }
    }

    /// Says that it is there, to who waits for the table.
    pub(crate) fn announce(&self) {
        println!("  {}: {} {} {}", self.what, short(self.measured), self.unit, self.verdict());
    }

    /// Prints it: a line of the table, and below it where the figure comes from.
    pub(crate) fn show(&self) {
        let stretch = self.stretch.map_or_else(|| "-".to_owned(), short);
        println!(
            "{:<10} {:<63} {:>9} {:>7} {:>9} {:<4} {}",
            self.name,
            self.what,
            self.promised(),
            stretch,
            short(self.measured),
            self.unit,
            self.verdict()
        );
        if !self.raw.is_empty() {
            println!("{:<10}   {}", "", self.raw);
        }
    }

    /// The same for a program.
    pub(crate) fn to_json(&self) -> Value {
        let (kind, bound) = match self.must {
            Must::AtMost(most) => ("at most", Some(most)),
            Must::AtLeast(least) => ("at least", Some(least)),
            Must::Report => ("report", None),
        };
        json!({
            "name": self.name, "what": self.what, "unit": self.unit, "must": kind, "bound": bound,
            "stretch": self.stretch, "measured": self.measured, "verdict": self.verdict(),
            "raw": self.raw,
        })
    }
}

/// The head of the table.
pub(crate) fn head() {
    println!(
        "{:<10} {:<63} {:>9} {:>7} {:>9} {:<4} verdict",
        "row", "measure", "must", "stretch", "measured", "unit"
    );
}

/// As many digits as mean something.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.2 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
