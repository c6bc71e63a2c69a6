//! What is measured, and how it is shown.

use std::{fs, hint::black_box, time::Duration};

use anyhow::{Context as _, Result, ensure};
use relay_protocol::VerifyingKey;
use relay_simnet::{Curve, keys::SigningKey};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::process::RelayProcess;

/// Clock ticks per second in `/proc`, the same on every Linux that this runs on.
const TICKS: f64 = 100.0;
/// Different signatures that are verified in turn.
const SIGNATURES: usize = 64;
/// Times that all of them are verified. Each verification is timed by itself and the median is
/// taken, so that those which other programs interrupted do not count.
const ROUNDS: usize = 100;

/// What one secp256k1 verification takes, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verification(f64);

impl Verification {
    /// Measures it, by the verifier that the relay uses, its key parsed before.
    pub(crate) fn measure() -> Result<Self> {
        let signing = SigningKey::derive(Curve::K256, 1, "bench");
        let key = VerifyingKey::from_multikey(&signing.multikey())?;
        let signed: Vec<([u8; 32], Vec<u8>)> = (0..SIGNATURES)
            .map(|number| {
                let message = number.to_be_bytes();
                (Sha256::digest(message).into(), signing.sign(&message))
            })
            .collect();
        let mut times = Vec::with_capacity(ROUNDS * SIGNATURES);
        for (digest, signature) in signed.iter().cycle().take(ROUNDS * SIGNATURES) {
            let begin = Instant::now();
            black_box(&key).verify_digest(black_box(digest), black_box(signature))?;
            times.push(begin.elapsed().as_secs_f64() * 1e6);
        }
        Ok(Self(median(times)))
    }
}

/// What the relay has counted so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counters {
    /// CPU seconds in the program and in the kernel on its behalf.
    user: f64,
    system: f64,
    /// Events that became durable, and syncs that made them so.
    events: f64,
    syncs: f64,
}

impl Counters {
    /// Reads them; the metrics first, because their making costs CPU time too.
    pub(crate) async fn read(relay: &RelayProcess) -> Result<Self> {
        let metrics = relay.metrics().await?;
        let metric = |name: &str| -> Result<f64> {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            Ok(line.with_context(|| format!("no metric {name}"))?.trim().parse()?)
        };
        let (events, syncs) = (
            metric("relay_eventlog_appended_events_total")?,
            metric("relay_eventlog_batch_events_count")?,
        );
        let stat = fs::read_to_string(format!("/proc/{}/stat", relay.pid()))?;
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut ticks = || -> Result<f64> {
            Ok(fields.next().context("/proc/PID/stat is too short")?.parse::<f64>()? / TICKS)
        };
        Ok(Self { user: ticks()?, system: ticks()?, events, syncs })
    }
}

/// The figures of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    events: f64,
    per_second: f64,
    user_us: f64,
    system_us: f64,
    verification_us: f64,
    per_sync: f64,
}

impl Figures {
    /// Names of the columns of [`Self::show`].
    pub(crate) const HEAD: &'static str = concat!(
        "                     events  events/s   CPU/event    user  kernel   V       CPU/V  events/sync\n",
        "                                               µs      µs      µs   µs"
    );

    pub(crate) fn new(
        before: &Counters,
        after: &Counters,
        (events, time): (u64, Duration),
        verifications: &[Verification; 2],
    ) -> Result<Self> {
        let logged = after.events - before.events;
        ensure!(logged > 0.0, "nothing was logged");
        let [Verification(one), Verification(other)] = verifications;
        Ok(Self {
            events: float(events),
            per_second: float(events) / time.as_secs_f64(),
            user_us: (after.user - before.user) * 1e6 / float(events),
            system_us: (after.system - before.system) * 1e6 / float(events),
            verification_us: f64::midpoint(*one, *other),
            per_sync: logged / (after.syncs - before.syncs).max(1.0),
        })
    }

    fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }

    fn row(&self, name: &str) -> String {
        format!(
            "{name:<18} {:>8.0}  {:>8.0}  {:>10.1}  {:>6.1}  {:>6.1}  {:>4.1}  {:>6.2} V  {:>10.1}",
            self.events,
            self.per_second,
            self.cpu_us(),
            self.user_us,
            self.system_us,
            self.verification_us,
            self.cpu_us() / self.verification_us,
            self.per_sync,
        )
    }

    /// Prints a row of the table.
    pub(crate) fn show(&self, name: &str, resident_bytes: u64) {
        println!("{}  {} MB resident", self.row(name), resident_bytes / 1_000_000);
    }

    /// Prints the row of medians.
    pub(crate) fn show_median(name: &str, runs: &[Self]) {
        let of = |field: fn(&Self) -> f64| median(runs.iter().map(field).collect());
        // The ratio has its own median: V and CPU time are disturbed together.
        let ratio = of(|run| run.cpu_us() / run.verification_us);
        println!(
            "{name:<18} {:>8}  {:>8.0}  {:>10.1}  {:>6.1}  {:>6.1}  {:>4.1}  {ratio:>6.2} V  {:>10.1}",
            "",
            of(|run| run.per_second),
            of(Self::cpu_us),
            of(|run| run.user_us),
            of(|run| run.system_us),
            of(|run| run.verification_us),
            of(|run| run.per_sync),
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench stay far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
