//! The last hour of the relay in numbers, for rates and small pictures. In memory, about 120 kB (I5).

use std::{collections::VecDeque, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{api::ApiState, domain::DropReason, tasks::Tasks};

/// Between two looks.
const TICK: Duration = Duration::from_secs(1);
/// Looks over which the rate of this moment is taken.
const MOMENT: usize = 11;
/// Every so many looks one is kept for the hour.
const KEEP_EVERY: usize = 10;
/// Looks that make an hour.
const HOUR: usize = 361;
const REASONS: usize = DropReason::ALL.len();

/// All that is looked at; numbers without another word count from the start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    at: Instant,
    /// Frames that hosts sent.
    pub(super) received: u64,
    /// Newest seq.
    pub(super) head: u64,
    /// Events handed to consumers.
    pub(super) sent: u64,
    /// Events that the slowest consumer is behind now.
    pub(super) behind: u64,
    /// Hosts with an open socket now.
    pub(super) connected: u64,
    /// Dropped, by place of the reason.
    pub(super) dropped: [u64; REASONS],
}

impl Sample {
    fn of(state: &ApiState) -> Self {
        let mut dropped = [0; REASONS];
        for (place, (_, count)) in dropped.iter_mut().zip(state.drops.totals()) {
            *place = count;
        }
        let head = state.log.window().head.0;
        let received = state.hosts.all().into_iter().map(|host| host.traffic().0);
        Self {
            at: Instant::now(),
            received: received.fold(0, u64::saturating_add),
            head,
            sent: state.firehose.sent(),
            behind: slowest(state, head),
            connected: wide(state.upstream.connected()),
            dropped,
        }
    }

    /// All reasons together.
    pub(super) fn dropped_total(&self) -> u64 {
        self.dropped.iter().copied().fold(0, u64::saturating_add)
    }
}

/// Events that the consumer furthest behind has not got yet.
fn slowest(state: &ApiState, head: u64) -> u64 {
    let consumers = state.firehose.consumers();
    consumers.iter().map(|consumer| head.saturating_sub(consumer.seq)).max().unwrap_or(0)
}

/// A count in 64 bits.
pub(super) fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The samples of this moment and of the hour.
#[derive(Debug, Default)]
pub(in crate::api) struct History {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    looks: usize,
    moment: VecDeque<Sample>,
    hour: VecDeque<Sample>,
}

impl History {
    fn take(&self, sample: &Sample) {
        let mut kept = self.kept.lock();
        if kept.looks.is_multiple_of(KEEP_EVERY) {
            push(&mut kept.hour, sample, HOUR);
        }
        kept.looks = kept.looks.wrapping_add(1);
        push(&mut kept.moment, sample, MOMENT);
    }

    /// Growth of a number per second over the last ten.
    pub(super) fn now(&self, number: impl Fn(&Sample) -> u64) -> f64 {
        let kept = self.kept.lock();
        match (kept.moment.front(), kept.moment.back()) {
            (Some(first), Some(last)) => growth(first, last, number),
            _ => 0.0,
        }
    }

    /// Growth of a number per second, for each ten seconds of the last hour.
    pub(super) fn rates(&self, number: impl Fn(&Sample) -> u64) -> Vec<f64> {
        let kept = self.kept.lock();
        let pairs = kept.hour.iter().zip(kept.hour.iter().skip(1));
        pairs.map(|(first, last)| growth(first, last, &number)).collect()
    }

    /// A number as it was, every ten seconds of the last hour.
    pub(super) fn levels(&self, number: impl Fn(&Sample) -> u64) -> Vec<f64> {
        let kept = self.kept.lock();
        kept.hour.iter().map(|sample| float(number(sample))).collect()
    }
}

fn push(samples: &mut VecDeque<Sample>, sample: &Sample, max: usize) {
    if samples.len() >= max {
        samples.pop_front();
    }
    samples.push_back(*sample);
}

fn growth(first: &Sample, last: &Sample, number: impl Fn(&Sample) -> u64) -> f64 {
    let seconds = last.at.duration_since(first.at).as_secs_f64();
    if seconds <= 0.0 {
        return 0.0;
    }
    float(number(last).saturating_sub(number(first))) / seconds
}

#[expect(clippy::cast_precision_loss, reason = "a picture shows no single event of 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}

impl ApiState {
    /// Looks at the numbers of the page once a second until the tasks stop.
    pub fn keep_history(&self, tasks: &Tasks) {
        let (state, stopping) = (self.clone(), tasks.stopping().clone());
        tasks.start(async move {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    _ = ticks.tick() => state.shared.history.take(&Sample::of(&state)),
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: Instant, received: u64) -> Sample {
        Sample {
            at,
            received,
            head: 0,
            sent: 0,
            behind: received,
            connected: 0,
            dropped: [0; REASONS],
        }
    }

    /// I5: two days of looks keep an hour, and the rates are those of their time.
    #[test]
    fn an_hour_is_kept_and_no_more() {
        let history = History::default();
        let start = Instant::now();
        for second in 0..172_800 {
            history.take(&sample(start + Duration::from_secs(second), second * 5));
        }
        assert_eq!(history.levels(|one| one.behind).len(), HOUR);
        let rates = history.rates(|one| one.received);
        assert_eq!(rates.len(), HOUR - 1);
        assert!(rates.iter().all(|rate| (rate - 5.0).abs() < 0.01), "{rates:?}");
        assert!((history.now(|one| one.received) - 5.0).abs() < 0.01);
    }

    #[test]
    fn without_a_look_there_is_no_rate() {
        let history = History::default();
        assert!(history.now(|one| one.received).abs() < f64::EPSILON);
        history.take(&sample(Instant::now(), 5));
        assert!(history.now(|one| one.received).abs() < f64::EPSILON);
        assert!(history.rates(|one| one.received).is_empty());
    }
}
