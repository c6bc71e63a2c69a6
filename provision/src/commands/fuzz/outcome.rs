//! What libFuzzer says at the end of a search.

/// Lines of a failed search that are shown.
const TAIL_LINES: usize = 40;

/// How the search of one target ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) target: String,
    /// Inputs that were tried.
    pub(super) executions: u64,
    /// Edges of the control flow that some input reached.
    pub(super) edges: u64,
    /// Inputs that together reach them.
    pub(super) inputs: u64,
    /// The end of what was said when an input broke the target, or the search itself ended.
    pub(super) failure: Option<String>,
}

impl Outcome {
    /// Reads the output; `success` is that of the exit code.
    pub(super) fn read(target: &str, success: bool, output: &str) -> Self {
        let executions = after(output, "stat::number_of_executed_units:").unwrap_or(0);
        let failure = if !success {
            let lines: Vec<_> = output.lines().collect();
            Some(lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or(&lines).join("\n"))
        } else if executions == 0 {
            Some("nothing was tried".to_owned())
        } else {
            None
        };
        Self {
            target: target.to_owned(),
            executions,
            edges: after(output, " cov:").unwrap_or(0),
            inputs: after(output, " corp:").unwrap_or(0),
            failure,
        }
    }

    /// As one JSON object.
    pub(super) fn json(&self) -> String {
        let Self { target, executions, edges, inputs, failure } = self;
        format!(
            r#"{{"target":"{target}","executions":{executions},"edges":{edges},"inputs":{inputs},"passed":{}}}"#,
            failure.is_none()
        )
    }
}

/// The last number that follows a word.
fn after(output: &str, word: &str) -> Option<u64> {
    let (_, rest) = output.rsplit_once(word)?;
    let rest = rest.trim_start();
    rest.get(..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()))?.parse().ok()
}

/// A table for people, then what failed.
pub(super) fn table(outcomes: &[Outcome]) -> Vec<String> {
    let mut lines =
        vec![format!("{:<12} {:>12} {:>7} {:>7}", "target", "executions", "edges", "inputs")];
    for Outcome { target, executions, edges, inputs, failure } in outcomes {
        let verdict = if failure.is_some() { "  FAILED" } else { "" };
        lines.push(format!("{target:<12} {executions:>12} {edges:>7} {inputs:>7}{verdict}"));
    }
    let total: u64 = outcomes.iter().map(|outcome| outcome.executions).sum();
    lines.push(format!("{:<12} {total:>12}", "all"));
    for outcome in outcomes {
        if let Some(failure) = &outcome.failure {
            lines.push(format!("\n{}:\n{failure}", outcome.target));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: &str = "INFO: seed corpus: files: 3\n#8\tINITED cov: 5 ft: 6 corp: 3/9b\n\
        #100\tDONE   cov: 635 ft: 1932 corp: 436/7215b lim: 128 exec/s: 50 rss: 32Mb\n\
        stat::number_of_executed_units: 100\nstat::average_exec_per_sec:     50\n";

    #[test]
    fn the_last_figures_of_a_search_count() {
        let outcome = Outcome::read("frame", true, PASSED);
        assert_eq!((outcome.executions, outcome.edges, outcome.inputs), (100, 635, 436));
        assert_eq!(outcome.failure, None);
        assert_eq!(
            outcome.json(),
            r#"{"target":"frame","executions":100,"edges":635,"inputs":436,"passed":true}"#
        );
    }

    /// A search that tried nothing has found nothing either, and must not pass.
    #[test]
    fn a_search_that_failed_or_tried_nothing_does_not_pass() {
        let failed = Outcome::read("frame", false, "panicked at src/frame.rs");
        assert!(failed.failure.as_ref().is_some_and(|failure| failure.contains("panicked")));
        assert!(Outcome::read("frame", true, "").failure.is_some());

        let lines = table(&[failed, Outcome::read("car", true, PASSED)]);

        assert!(lines[1].ends_with("FAILED") && !lines[2].ends_with("FAILED"), "{lines:?}");
        assert!(lines[3].starts_with("all") && lines[3].ends_with("100"), "{lines:?}");
        assert!(lines[4].contains("panicked"), "{lines:?}");
    }
}
