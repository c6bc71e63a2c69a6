//! Whether something grows: a line through the samples, and how sure its slope is. Pure.
//!
//! A leak of memory is a slope that is surely above zero and large enough to matter: 2 % of the mean
//! per hour, so that a relay would double in two days at the earliest it is blamed. Below it lies what
//! allocators and page-sized tables do. "Surely" is the lower end of the 95 % interval, which is made
//! wider when neighbouring samples resemble each other: memory goes up and down in waves longer than
//! the time between two samples, and a wave that is cut in the middle looks like a slope to whoever
//! counts every sample as news.

use std::time::Duration;

/// Slope above which growth counts, as a part of the mean per hour.
pub(crate) const SLOPE_MAX: f64 = 0.02;

/// Means below this are judged as if they were this: a slope is then that of a few pages.
pub(crate) const MEAN_MIN: f64 = 100e6;

/// Shortest time over which a slope per hour means anything.
pub(crate) const SPAN_MIN: Duration = Duration::from_mins(10);

/// A line through samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Trend {
    /// Per hour.
    pub(crate) slope: f64,
    /// Half the 95 % interval of the slope.
    pub(crate) doubt: f64,
    /// Mean of the samples.
    pub(crate) mean: f64,
    /// From the first to the last sample, in hours.
    pub(crate) hours: f64,
}

impl Trend {
    /// Least squares through pairs of hours and values; `None` for fewer than five, or all at once.
    pub(crate) fn of(samples: &[(f64, f64)]) -> Option<Self> {
        if samples.len() < 5 {
            return None;
        }
        let count = as_float(samples.len());
        let mean_of = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
        let (mean_time, mean) = (mean_of(|sample| sample.0), mean_of(|sample| sample.1));
        let spread: f64 = samples.iter().map(|(time, _)| (time - mean_time).powi(2)).sum();
        if spread <= 0.0 {
            return None;
        }
        let joint: f64 =
            samples.iter().map(|(time, value)| (time - mean_time) * (value - mean)).sum();
        let slope = joint / spread;
        let rests: Vec<f64> =
            samples.iter().map(|(time, value)| value - mean - slope * (time - mean_time)).collect();
        let squares: f64 = rests.iter().map(|rest| rest * rest).sum();
        let doubt = if squares > 0.0 {
            let news = independent(&rests, squares);
            1.96 * (squares / (news - 2.0).max(1.0) / spread * (count / news)).sqrt()
        } else {
            0.0
        };
        let hours = samples.last()?.0 - samples.first()?.0;
        Some(Self { slope, doubt, mean, hours })
    }

    /// Whether it surely grows, and by enough to matter; `None` when the time was too short to tell.
    pub(crate) fn grows(&self) -> Option<bool> {
        if self.hours * 3_600.0 < SPAN_MIN.as_secs_f64() {
            return None;
        }
        let limit = self.mean.max(MEAN_MIN) * SLOPE_MAX;
        Some(self.slope - self.doubt > 0.0 && self.slope > limit)
    }
}

/// How many of the samples are news: fewer, the more each resembles the one before.
fn independent(rests: &[f64], squares: f64) -> f64 {
    let neighbours: f64 = rests.windows(2).map(|pair| pair.iter().product::<f64>()).sum();
    let likeness = (neighbours / squares).clamp(0.0, 0.99);
    (as_float(rests.len()) * (1.0 - likeness) / (1.0 + likeness)).max(3.0)
}

#[expect(clippy::cast_precision_loss, reason = "a number of samples")]
fn as_float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half an hour, a sample every ten seconds.
    fn samples(value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..180).map(|at| as_float(at) / 360.0).map(|hours| (hours, value(hours))).collect()
    }

    /// A wave of this period in hours and this height that rises and falls at once, as memory does
    /// that is used up and then given back.
    fn saw(hours: f64, period: f64, height: f64) -> f64 {
        (hours / period).fract() * height
    }

    fn grows(value: impl Fn(f64) -> f64) -> bool {
        Trend::of(&samples(value)).unwrap().grows().unwrap()
    }

    /// A slope of 10 MB per hour on 200 MB is 5 %; with waves of three minutes on top as well.
    #[test]
    fn a_leak_is_found_also_under_waves() {
        assert!(grows(|hours| 200e6 + 10e6 * hours));
        assert!(grows(|hours| 200e6 + 10e6 * hours + saw(hours, 0.05, 3e6)));
        assert!(grows(|hours| 200e6 + 40e6 * hours + saw(hours, 0.1, 10e6)));
    }

    /// What is used up and given back is no leak, also when the last wave is not over.
    #[test]
    fn a_saw_tooth_is_no_leak() {
        for period in [0.03, 0.07, 0.11, 0.2] {
            assert!(!grows(|hours| 200e6 + saw(hours, period, 20e6)), "{period}");
        }
        assert!(!grows(|_| 200e6));
    }

    /// What shrinks or hardly grows is not blamed: 1 MB per hour on 200 MB is half a per cent.
    #[test]
    fn a_slope_that_does_not_matter_is_none() {
        assert!(!grows(|hours| 200e6 - 50e6 * hours));
        assert!(!grows(|hours| 200e6 + 1e6 * hours));
        assert!(!grows(|hours| 10e6 + 1.5e6 * hours), "below 2 MB an hour in any case");
    }

    /// The interval holds the slope that the samples were made with.
    #[test]
    fn the_slope_lies_in_its_interval() {
        let trend =
            Trend::of(&samples(|hours| 50e6 + 8e6 * hours + saw(hours, 0.05, 2e6))).unwrap();
        assert!((trend.slope - 8e6).abs() <= trend.doubt, "{trend:?}");
        assert!((trend.hours - 179.0 / 360.0).abs() < 1e-9);
    }

    /// Too few samples or too short a time give no judgement.
    #[test]
    fn a_short_run_is_not_judged() {
        let minute: Vec<_> = samples(|hours| 1e9 * hours).into_iter().take(7).collect();
        assert_eq!(Trend::of(&minute).unwrap().grows(), None);
        assert_eq!(Trend::of(&minute[..4]), None);
        assert_eq!(Trend::of(&[(1.0, 1.0); 9]), None);
    }
}
