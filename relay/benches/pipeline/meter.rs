//! What is read off: V, CPU time, memory, counters of the relay, and how busy the cores are.

use std::{fs, hint::black_box};

use anyhow::{Context as _, Result};
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

/// What one secp256k1 verification takes now, in microseconds, by the verifier that the relay uses,
/// its key parsed before.
pub(crate) fn verification_us() -> Result<f64> {
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
    Ok(median(times))
}

/// CPU seconds of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuTime {
    /// To the nanosecond while no thread has ended, to the tick otherwise.
    pub(crate) all: f64,
    /// The part in the kernel, in ticks.
    pub(crate) kernel: f64,
}

impl CpuTime {
    /// Of this process id, dead threads included.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut ticks = || -> Result<f64> {
            Ok(fields.next().context("/proc/PID/stat is too short")?.parse::<f64>()? / TICKS)
        };
        let (user, kernel) = (ticks()?, ticks()?);
        let mut living = 0.0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the list and the look at it.
            let Ok(stat) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let nanoseconds = stat.split_whitespace().next().context("schedstat")?;
            living += nanoseconds.parse::<f64>()? / 1e9;
        }
        Ok(Self { all: living.max(user + kernel), kernel })
    }
}

/// Ticks of the first two cores since the machine started: busy, and all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores([(f64, f64); 2]);

impl Cores {
    pub(crate) fn read() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let core = |name: &str| -> Result<(f64, f64)> {
            let line = stat.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            let ticks: Vec<f64> =
                line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
            let all: f64 = ticks.iter().sum();
            // Fourth and fifth are idle and waiting for a disk.
            let idle: f64 = ticks.iter().skip(3).take(2).sum();
            Ok((all - idle, all))
        };
        Ok(Self([core("cpu0 ")?, core("cpu1 ")?]))
    }

    /// The busy part of each core since an earlier look, from 0 to 1.
    pub(crate) fn busy_since(&self, before: &Self) -> [f64; 2] {
        let share =
            |now: (f64, f64), then: (f64, f64)| (now.0 - then.0) / (now.1 - then.1).max(1.0);
        let ([a, b], [c, d]) = (self.0, before.0);
        [share(a, c), share(b, d)]
    }
}

/// The relay at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) at: Instant,
    pub(crate) cpu: CpuTime,
    /// CPU seconds of this process: the network, the consumers and the check.
    pub(crate) ours: f64,
    pub(crate) cores: Cores,
    metrics: String,
}

impl Look {
    /// Before something is measured: the metrics first, because their making costs CPU time too.
    pub(crate) async fn before(relay: &RelayProcess) -> Result<Self> {
        let metrics = relay.metrics().await?;
        let (cpu, cores) = (CpuTime::of(relay.pid())?, Cores::read()?);
        let ours = CpuTime::of(std::process::id())?.all;
        Ok(Self { at: Instant::now(), cpu, ours, cores, metrics })
    }

    /// After it: the metrics last.
    pub(crate) async fn after(relay: &RelayProcess) -> Result<Self> {
        let (at, cpu, cores) = (Instant::now(), CpuTime::of(relay.pid())?, Cores::read()?);
        let ours = CpuTime::of(std::process::id())?.all;
        Ok(Self { at, cpu, ours, cores, metrics: relay.metrics().await? })
    }

    /// A metric, summed over its labels; `None` where the relay has none of this name.
    pub(crate) fn maybe(&self, name: &str) -> Option<f64> {
        let values = self.metrics.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let rest = if rest.starts_with('{') { rest.rsplit_once('}')?.1 } else { rest };
            rest.strip_prefix(' ')?.trim().parse::<f64>().ok()
        });
        values.reduce(|sum, value| sum + value)
    }

    /// A metric that has to be there.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        self.maybe(name).with_context(|| format!("no metric {name}"))
    }

    /// How much a counter grew since an earlier look.
    pub(crate) fn grown(&self, before: &Self, name: &str) -> Result<f64> {
        Ok(self.metric(name)? - before.maybe(name).unwrap_or(0.0))
    }

    /// Seq of the newest event.
    pub(crate) fn head(&self) -> Result<u64> {
        Ok(format!("{:.0}", self.metric("relay_eventlog_head_seq")?).parse()?)
    }

    /// Seconds of CPU time since an earlier look.
    pub(crate) fn spent_since(&self, before: &Self) -> f64 {
        self.cpu.all - before.cpu.all
    }
}

/// Resident memory of a process.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
    Ok(kib.parse::<u64>()? * 1024)
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "counts of a bench stay far below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// The middle one.
pub(crate) fn median(values: Vec<f64>) -> f64 {
    percentile(values, 50)
}

/// The value that so many of a hundred do not exceed; of no values, not a number.
pub(crate) fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or(f64::NAN)
}
