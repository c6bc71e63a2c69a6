//! A comparison as one page of HTML with its pictures in it: nothing is loaded from anywhere.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Seek as _, SeekFrom},
    path::Path,
};

use anyhow::{Context as _, Result};

use super::report::{CRITICAL, GOOD, Past, Report, Verdict};

/// Earlier comparisons in the picture.
const PAST_SHOWN_MAX: usize = 500;
/// How much of the end of a history is read.
const PAST_BYTES_MAX: u64 = 2 << 20;
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 180.0;
const COLOURS: [&str; 6] = ["#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a"];

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;\
    padding:0 1rem;color:#1f2328}table{border-collapse:collapse;width:100%}td,th{padding:.3rem .6rem;\
    border-bottom:1px solid #d1d9e0;text-align:right}td:first-child,th:first-child{text-align:left}\
    .good{color:#1a7f37}.degraded{color:#9a6700}.critical{color:#d1242f}svg{max-width:100%}";

/// The newest lines of a history; those that are damaged are left out.
///
/// # Errors
/// When the file cannot be read.
pub fn past(path: &Path) -> Result<Vec<Past>> {
    let shown = path.display();
    let mut file = File::open(path).with_context(|| format!("open the history {shown}"))?;
    let size = file.metadata().with_context(|| format!("look at the history {shown}"))?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(PAST_BYTES_MAX))).context("read the history")?;
    let mut all = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line.with_context(|| format!("read the history {shown}"))?;
        if let Ok(past) = serde_json::from_slice(&line) {
            all.push(past);
        }
    }
    let surplus = all.len().saturating_sub(PAST_SHOWN_MAX);
    Ok(all.split_off(surplus))
}

/// The page.
#[must_use]
pub fn html(report: &Report, past: &[Past]) -> String {
    let mut rows = String::new();
    for relay in &report.relays {
        let verdict = relay.verdict.word();
        let behind = relay.delay_p99_ms.map_or("-".to_owned(), |ms| format!("{ms} ms"));
        rows.extend([format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{behind}</td>\
             <td class=\"{verdict}\">{verdict}</td></tr>\n",
            escaped(&relay.name),
            relay.events,
            relay.accounts,
            percent(relay.coverage),
            relay.missing,
        )]);
    }
    let mut reasons = String::new();
    for (label, count) in report.relays.first().into_iter().flat_map(|relay| &relay.reasons) {
        reasons.extend([format!("<tr><td>{}</td><td>{count}</td></tr>\n", escaped(label))]);
    }
    let reasons = if reasons.is_empty() {
        String::new()
    } else {
        format!("<h2>Why events are missing</h2><table>{reasons}</table>")
    };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Relays compared</title>\
         <style>{STYLE}</style></head><body><h1>Relays compared</h1>\
         <p>{}: {:.0} s, {} commits and syncs that any of them gave.</p>{}\
         <table><tr><th>relay</th><th>events</th><th>accounts</th><th>coverage</th><th>missing</th>\
         <th>behind, 99 %</th><th>verdict</th></tr>\n{rows}</table>{}{reasons}</body></html>\n",
        escaped(&report.at),
        report.seconds,
        report.union,
        bars(report),
        history(report, past),
    )
}

/// A bar for each relay.
fn bars(report: &Report) -> String {
    let mut svg = String::new();
    let mut y = 0.0;
    for relay in &report.relays {
        let share = relay.coverage.unwrap_or(0.0);
        let colour = match relay.verdict {
            Verdict::Good => "#1a7f37",
            Verdict::Degraded => "#9a6700",
            Verdict::Critical => "#d1242f",
            Verdict::Unknown => "#57606a",
        };
        svg.extend([format!(
            "<rect x=\"0\" y=\"{y}\" width=\"{:.1}\" height=\"18\" fill=\"{colour}\"/>\
             <text x=\"6\" y=\"{}\" font-size=\"12\" fill=\"#fff\">{} {}</text>",
            (share * WIDTH).max(1.0),
            y + 13.0,
            escaped(&relay.name),
            percent(relay.coverage),
        )]);
        y += 24.0;
    }
    for limit in [GOOD, CRITICAL] {
        let x = limit * WIDTH;
        svg.extend([format!(
            "<line x1=\"{x}\" y1=\"0\" x2=\"{x}\" y2=\"{y}\" stroke=\"#1f2328\" \
             stroke-dasharray=\"3 3\"/>"
        )]);
    }
    picture(y, "coverage of each relay", &svg)
}

/// A line for each relay over the earlier comparisons.
#[expect(clippy::cast_precision_loss, reason = "places in a picture")]
fn history(report: &Report, past: &[Past]) -> String {
    if past.len() < 2 {
        return String::new();
    }
    let step = WIDTH / (past.len() - 1) as f64;
    let mut svg = String::new();
    for (relay, colour) in report.relays.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<_> = past
            .iter()
            .enumerate()
            .filter_map(|(place, past)| {
                let share = past.coverage.get(&relay.name).copied().flatten()?;
                Some(format!("{:.1},{:.1}", place as f64 * step, (1.0 - share) * HEIGHT))
            })
            .collect();
        svg.extend([format!(
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\">\
             <title>{}</title></polyline>",
            points.join(" "),
            escaped(&relay.name),
        )]);
    }
    let count = past.len();
    format!("<h2>The last {count} times</h2>{}", picture(HEIGHT, "coverage over time", &svg))
}

fn picture(height: f64, title: &str, inside: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{WIDTH}\" \
         height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\"><title>{title}</title>{inside}</svg>"
    )
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.2} %", share * 100.0))
}

/// Text as HTML shows it and nothing else.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\'' => "&#39;".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::compare::report::remember;

    /// A history that a crash has cut in the middle of a line loses that line alone.
    #[test]
    fn a_damaged_line_of_a_history_is_left_out() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("history");
        let past_of = |union| Past { at: "t".to_owned(), union, coverage: [].into() };
        remember(&path, &past_of(1))?;
        File::options().append(true).open(&path)?.write_all(b"{\"at\":\"t\n")?;
        remember(&path, &past_of(2))?;
        assert_eq!(past(&path)?, [past_of(1), past_of(2)]);
        Ok(())
    }

    #[test]
    fn names_cannot_write_html() {
        assert_eq!(escaped("<b a=\"'&'\">"), "&lt;b a=&quot;&#39;&amp;&#39;&quot;&gt;");
    }
}
