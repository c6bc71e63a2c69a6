//! A name server that plays tricks; it listens on a port of its own and is asked over UDP.

use crate::server::spawn;
use anyhow::{Context, Result};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{net::UdpSocket, task::AbortHandle};

/// Where a question for an IPv4 and for an IPv6 address is told apart.
const A: [u8; 2] = [0, 1];
const AAAA: [u8; 2] = [0, 28];

/// What a name server answers for every name (SEC-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameTrick {
    /// The address of this machine.
    Loopback,
    /// An address of a private network.
    Private,
    /// Where clouds tell their secrets.
    Metadata,
    /// The address of this machine as an IPv6 address with an IPv4 one inside.
    Mapped,
    /// A private IPv6 address.
    PrivateSix,
    /// Dozens of private addresses.
    Many,
    /// No address at all.
    None,
    /// An alias of itself.
    Loop,
    /// No answer.
    Silence,
    /// An answer that is none.
    Garbage,
}

impl NameTrick {
    /// Every trick.
    pub const ALL: &'static [Self] = &[
        Self::Loopback,
        Self::Private,
        Self::Metadata,
        Self::Mapped,
        Self::PrivateSix,
        Self::Many,
        Self::None,
        Self::Loop,
        Self::Silence,
        Self::Garbage,
    ];

    fn addresses(self) -> Vec<IpAddr> {
        let four = |a, b, c, d| IpAddr::V4(Ipv4Addr::new(a, b, c, d));
        match self {
            Self::Loopback => vec![four(127, 0, 0, 1)],
            Self::Private => vec![four(10, 0, 0, 1), four(192, 168, 1, 1)],
            Self::Metadata => vec![four(169, 254, 169, 254)],
            Self::Mapped => vec![IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped())],
            Self::PrivateSix => vec![IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1))],
            Self::Many => (1..=25).map(|last| four(10, 0, 0, last)).collect(),
            Self::None | Self::Loop | Self::Silence | Self::Garbage => Vec::new(),
        }
    }

    /// The answer to a question; `None` when there is none.
    fn answer(self, question: &[u8]) -> Option<Vec<u8>> {
        let name_end = 12 + question.get(12..)?.iter().position(|byte| *byte == 0)?;
        let kind = question.get(name_end + 1..name_end + 3)?;
        let mut records: Vec<Vec<u8>> = Vec::new();
        let mut record = |kind: [u8; 2], data: &[u8]| {
            let length = u16::try_from(data.len()).unwrap_or_default().to_be_bytes();
            // The name is that of the question; it may be kept for no time.
            let head = [&[0xc0, 12][..], &kind, &[0, 1, 0, 0, 0, 0], &length].concat();
            records.push([&head, data].concat());
        };
        match self {
            Self::Silence => return None,
            Self::Garbage => return Some(vec![0xff; 40]),
            Self::Loop => record([0, 5], &[0xc0, 12]),
            _ => {}
        }
        for address in self.addresses() {
            match address {
                IpAddr::V4(address) if kind == A => record(A, &address.octets()),
                IpAddr::V6(address) if kind == AAAA => record(AAAA, &address.octets()),
                _ => {}
            }
        }
        let count = u16::try_from(records.len()).ok()?.to_be_bytes();
        let begin = [question.get(..2)?, &[0x81, 0x80, 0, 1], &count, &[0, 0, 0, 0]].concat();
        let asked = question.get(12..name_end + 5)?;
        Some([begin, asked.to_vec(), records.concat()].concat())
    }
}

/// A name server; stops when it is dropped.
#[derive(Debug)]
pub struct NameServer {
    addr: SocketAddr,
    asked: Arc<AtomicU64>,
    task: AbortHandle,
}

impl NameServer {
    /// Starts one that plays this trick.
    pub async fn start(trick: NameTrick) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.context("take a port")?;
        let addr = socket.local_addr()?;
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        let task = spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                count.fetch_add(1, Ordering::Relaxed);
                let Some(answer) = question.get(..length).and_then(|asked| trick.answer(asked))
                else {
                    continue;
                };
                if let Err(error) = socket.send_to(&answer, from).await {
                    tracing::debug!(%error, "simulated name server: nobody takes the answer");
                }
            }
        });
        Ok(Self { addr, asked, task })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many questions it was asked.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
