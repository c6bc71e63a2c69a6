//! What a machine for the whole network has cost others, with the day on which they said so.
//!
//! Only what was published is here. A price that nobody wrote down is shown as unknown, because a
//! guess in a table is read as a fact.

use serde::Serialize;

/// What somebody paid, or a provider offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// The machine.
    pub machine: &'static str,
    /// Price of a month; `None` when not known.
    pub monthly: Option<&'static str>,
    /// Paid once; `None` when not known.
    pub setup_fee: Option<&'static str>,
    /// How long one is bound; `None` when not known.
    pub commitment: Option<&'static str>,
    /// Traffic that is included.
    pub traffic: Option<&'static str>,
    /// When that was said.
    pub said: &'static str,
    /// Who said it, and of what.
    pub source: &'static str,
    /// Whether a figure of the row is a round or derived one.
    pub estimate: bool,
}

const TABLE: &[Cost] = &[
    Cost {
        machine: "VPS of a full-network relay, 200 Mbit/s, up to 12 GB of memory in use",
        monthly: Some("$34"),
        setup_fee: None,
        commitment: None,
        traffic: Some("unmetered"),
        said: "2025-04",
        source: "the post \"A Full-Network Relay for $34 a Month\"; window of 1 to 12 hours",
        estimate: false,
    },
    Cost {
        machine: "VPS in Europe",
        monthly: Some("$19"),
        setup_fee: None,
        commitment: None,
        traffic: None,
        said: "2025",
        source: "another operator, as quoted in posts about relays; the machine is not described",
        estimate: true,
    },
    Cost {
        machine: "Hetzner Cloud CPX41: 16 vCPU, 32 GB, 240 GB NVMe",
        monthly: Some("$30"),
        setup_fee: None,
        commitment: None,
        traffic: Some("20 TB"),
        said: "2026-11",
        source: "documents of a relay that runs on it; a round figure; window of 2 hours",
        estimate: true,
    },
    Cost {
        machine: "OVH ADVANCE-1 or ADVANCE-2-LE: 6 cores, 32 GB, 2 x 1.92 TB NVMe",
        monthly: None,
        setup_fee: None,
        commitment: None,
        traffic: Some("unmetered at 1 Gbit/s"),
        said: "2024-07",
        source: "the post on running a relay on an ADVANCE-2-LE names no price",
        estimate: false,
    },
];

/// All that is known about prices.
pub fn guide() -> &'static [Cost] {
    TABLE
}
