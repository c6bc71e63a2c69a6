//! Small pictures as SVG: a line of the last hour, a bar of a share. Pure; no style inside.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::words::rate;

/// Points of a line: one a minute.
const POINTS: usize = 60;
const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 28.0;

/// The last hour of a number as a line over an area. `what` names it for those who do not see it.
pub(super) fn line(values: &[f64], what: &str) -> Markup {
    let points = thinned(values);
    let highest = points.iter().copied().fold(0.0, f64::max);
    let Some(path) = path(&points, highest) else {
        return html! { svg.spark viewBox="0 0 120 28" aria-hidden="true" {} };
    };
    let last = values.last().copied().unwrap_or_default();
    let label = format!("{what}, last hour: now {}, at most {}", rate(last), rate(highest));
    let area = format!("{path}L{WIDTH} {HEIGHT}L0 {HEIGHT}Z");
    html! {
        svg.spark viewBox="0 0 120 28" preserveAspectRatio="none" role="img" aria-label=(label) {
            path.area d=(area) {}
            path.line d=(path) {}
        }
    }
}

/// A share of a whole as a bar; `percent` above 100 is full.
pub(super) fn bar(percent: u64, tone: &str) -> Markup {
    html! {
        svg class=(format!("bar {tone}")) viewBox="0 0 100 4" preserveAspectRatio="none"
            aria-hidden="true" {
            rect.track width="100" height="4" {}
            rect.part width=(percent.min(100)) height="4" {}
        }
    }
}

/// At most [`POINTS`] values, each the mean of its neighbours.
fn thinned(values: &[f64]) -> Vec<f64> {
    let size = values.len().div_ceil(POINTS).max(1);
    let mean = |part: &[f64]| {
        let count = u32::try_from(part.len()).map_or(1.0, f64::from);
        part.iter().sum::<f64>() / count
    };
    values.chunks(size).map(mean).collect()
}

/// From the left, newest at the right end; `None` with fewer than two points.
fn path(points: &[f64], highest: f64) -> Option<String> {
    let steps = u32::try_from(points.len().checked_sub(1)?).ok().filter(|steps| *steps > 0)?;
    let scale = if highest > 0.0 { (HEIGHT - 3.0) / highest } else { 0.0 };
    let mut path = String::new();
    for (place, value) in (0..=steps).zip(points) {
        let x = WIDTH * f64::from(place) / f64::from(steps);
        let y = HEIGHT - 1.5 - value * scale;
        let begin = if place == 0 { 'M' } else { 'L' };
        write!(path, "{begin}{x:.1} {y:.1}").ok()?;
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_from_left_to_right_and_fits() {
        let path = path(&[0.0, 10.0, 5.0], 10.0).unwrap();
        assert_eq!(path, "M0.0 26.5L60.0 1.5L120.0 14.0");
        let shown = line(&vec![3.0; 361], "events").into_string();
        assert!(
            shown.contains("aria-label=\"events, last hour: now 3.0, at most 3.0\""),
            "{shown}"
        );
        assert_eq!(shown.matches('L').count(), 51 * 2 + 2, "means of 7: {shown}");
        for few in [&[][..], &[1.0]] {
            assert!(!line(few, "x").into_string().contains("path"));
        }
        assert!(line(&[0.0, 0.0], "x").into_string().contains("M0.0 26.5L120.0 26.5"));
    }

    /// An element of SVG that is not closed swallows the next one, which is then not drawn.
    #[test]
    fn every_part_of_a_picture_is_drawn() {
        for picture in [line(&[1.0, 2.0], "x"), bar(50, "ok")] {
            let picture = picture.into_string();
            for part in ["path", "rect"] {
                let (begun, ended) = (format!("<{part} "), format!("</{part}>"));
                assert_eq!(picture.matches(&begun).count(), picture.matches(&ended).count());
            }
            assert!(picture.matches("></").count() >= 2, "{picture}");
        }
    }

    #[test]
    fn a_bar_is_never_longer_than_its_track() {
        assert!(bar(250, "bad").into_string().contains("rect class=\"part\" width=\"100\""));
    }
}
