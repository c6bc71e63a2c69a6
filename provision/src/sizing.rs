//! From what a machine is to what the relay, Postgres, the kernel and systemd are told. Pure: the
//! same facts give the same plan, on any machine.
//!
//! What an event costs stands in `load`, with where it was measured. Each value carries its formula
//! and its reason, so that a person can disagree with it.

mod consumers;
mod costs;
mod findings;
mod kernel;
mod load;
mod memory;
mod postgres;
mod relay;
mod screen;
mod window;

use std::time::Duration;

use serde::Serialize;

pub use self::{
    consumers::Consumers,
    costs::{Cost, guide},
    memory::Shares,
    screen::{HOSTS, Where, screen},
    window::Window,
};
use crate::facts::Facts;

/// Where hosts and accounts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Database {
    /// A file beside the event log.
    Sqlite,
    /// Postgres on this machine.
    Postgres,
    /// Postgres on another one.
    Elsewhere,
}

/// What a person wants of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wishes {
    /// Age of the oldest event that a consumer can ask for; `None` = as much as fits, up to 72 hours.
    pub window: Option<Duration>,
    /// Where hosts and accounts are kept.
    pub database: Database,
    /// Hosts that will be connected.
    pub hosts: u64,
    /// By how many percent the network grows each month: an assumption, never a measurement.
    pub growth_percent: u64,
    /// The day on which the log begins, ms since 1970.
    pub now_ms: u64,
}

/// The formula of what is the same on every machine.
pub const FIXED: &str = "always";

/// One value that is set somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_field_names, reason = "a name and a value is what it is")]
pub struct Value {
    /// The name in the place where it is set.
    pub name: &'static str,
    /// The value as it is written there.
    pub value: String,
    /// How it was found, in words.
    pub formula: String,
    /// Why so.
    pub reason: String,
}

impl Value {
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts are written alike")]
    fn new(
        name: &'static str,
        value: impl ToString,
        formula: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self { name, value: value.to_string(), formula: formula.into(), reason: reason.into() }
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Good to know.
    Note,
    /// It will work, and not well.
    Warning,
    /// It will not work.
    Refusal,
}

/// Something to know about this machine, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What is so.
    pub what: String,
    /// What to do.
    pub action: String,
}

/// All that follows from the facts and the wishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The replay window, and the disk under it.
    pub window: Window,
    /// How many consumers the machine can serve.
    pub consumers: Consumers,
    /// Who gets how much memory.
    pub shares: Shares,
    /// Settings of the relay; without those of the window when it was refused.
    pub relay: Vec<Value>,
    /// Settings of Postgres; empty when it does not run here.
    pub postgres: Vec<Value>,
    /// Settings of the kernel.
    pub kernel: Vec<Value>,
    /// Settings of the relay's systemd unit.
    pub unit: Vec<Value>,
    /// What is wrong with the machine, worst first.
    pub findings: Vec<Finding>,
}

impl Plan {
    /// What makes the plan impossible.
    pub fn refusals(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.level == Level::Refusal)
    }
}

/// Derives the plan.
pub fn plan(facts: &Facts, wishes: &Wishes) -> Plan {
    let shares = memory::shares(facts, wishes);
    let window = window::window(facts, wishes);
    let consumers = consumers::consumers(facts);
    let findings = findings::findings(facts, wishes, &window, &shares);
    Plan {
        relay: relay::settings(facts, wishes, (&window, &shares), &consumers),
        postgres: postgres::settings(facts, wishes, &shares),
        kernel: kernel::sysctl(facts, wishes),
        unit: kernel::unit(facts, wishes, &shares),
        window,
        consumers,
        shares,
        findings,
    }
}
