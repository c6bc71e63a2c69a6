//! Servers that are rented from Hetzner, through the Robot web service: Terraform has no provider for it.
//!
//! Everything here can be run again after any interruption. What erases or restarts a server asks for
//! its number a second time ([`Confirmed`]).

mod api;
mod firewall;
mod image;
mod install;
mod ssh;

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

pub use api::{Robot, RobotError};
pub use firewall::Firewall;
pub use image::{Disk, Image, ImageError};
pub use install::{Install, Journal, Step};
pub use ssh::Login;

/// A rented server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Hetzner's number of it.
    #[serde(rename = "server_number")]
    pub number: u64,
    /// The name that its owner gave it; may be empty.
    #[serde(rename = "server_name", default)]
    pub name: String,
    /// Main IPv4 address.
    #[serde(rename = "server_ip", default)]
    pub ipv4: Option<Ipv4Addr>,
    /// First address of its IPv6 network, which ends in zeros.
    #[serde(rename = "server_ipv6_net", default)]
    pub ipv6_net: Option<Ipv6Addr>,
    /// What was rented, such as `AX42`.
    pub product: String,
    /// Data centre, such as `FSN1-DC14`.
    #[serde(default)]
    pub dc: String,
    /// `ready` or `in process`.
    pub status: String,
    /// Whether its contract ends.
    #[serde(default)]
    pub cancelled: bool,
}

impl Server {
    /// The IPv6 address that a host of Hetzner's uses: the first usable one of its network.
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        self.ipv6_net.map(|net| Ipv6Addr::from_bits(net.to_bits() | 1))
    }
}

/// A server whose number was typed twice, so that it may be restarted or erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed(u64);

impl Confirmed {
    /// `None` when the two differ.
    pub fn new(number: u64, typed: u64) -> Option<Self> {
        (number == typed).then_some(Self(number))
    }

    /// The server's number.
    pub fn number(self) -> u64 {
        self.0
    }
}
