//! All that a host can be set up to do wrong, in one list.

use super::{Fault, RawFrame};
use crate::{Upgrade, plc::Answer};
use std::fmt;

/// Something wrong with a whole stream; see [`crate::Pds::play`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamTrick {
    /// A message in continuation frames without end, as fast as they are read (MSG-1).
    EndlessMessage,
    /// The same a little at a time, with an answer to every ping in between (UP-2).
    SlowMessage,
    /// A frame that announces almost 5 MB and brings a byte now and then (UP-2).
    EndlessFrame,
    /// A frame that announces a terabyte (MSG-1).
    HugeFrame,
}

impl StreamTrick {
    /// Every trick.
    pub const ALL: &'static [Self] =
        &[Self::EndlessMessage, Self::SlowMessage, Self::EndlessFrame, Self::HugeFrame];

    /// The reason under which a relay may count it as dropped; `None` when nothing has come that
    /// could be dropped.
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::EndlessMessage | Self::HugeFrame => Some("oversized"),
            Self::SlowMessage | Self::EndlessFrame => None,
        }
    }
}

/// An answer to a request for the stream that leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HandshakeTrick {
    /// No answer at all, and the connection stays open (UP-1).
    Silence,
    /// One byte per second (UP-1).
    Dribble,
    /// Header lines without end (UP-1).
    EndlessHead,
    /// A redirect to another host of the network (UP-12).
    RedirectElsewhere,
    /// A redirect to a private address (UP-12, SEC-1).
    RedirectPrivate,
    /// A redirect to the same address (UP-12).
    RedirectLoop,
    /// An upgrade, and then `FutureCursor` whatever the cursor is (UP-6).
    FutureCursor,
    /// A page that says 200.
    Page,
}

impl HandshakeTrick {
    /// Every trick.
    pub const ALL: &'static [Self] = &[
        Self::Silence,
        Self::Dribble,
        Self::EndlessHead,
        Self::RedirectElsewhere,
        Self::RedirectPrivate,
        Self::RedirectLoop,
        Self::FutureCursor,
        Self::Page,
    ];

    /// The answer.
    ///
    /// * `own`, `elsewhere` – base addresses of the host itself and of another one
    pub fn upgrade(self, own: &str, elsewhere: &str) -> Upgrade {
        const PATH: &str = "/xrpc/com.atproto.sync.subscribeRepos";
        match self {
            Self::Silence => Upgrade::Silence,
            Self::Dribble => Upgrade::Dribble,
            Self::EndlessHead => Upgrade::EndlessHead,
            Self::RedirectElsewhere => Upgrade::Redirect(format!("{elsewhere}{PATH}")),
            Self::RedirectPrivate => Upgrade::Redirect(format!("{PRIVATE}{PATH}")),
            Self::RedirectLoop => Upgrade::Redirect(format!("{own}{PATH}")),
            Self::FutureCursor => Upgrade::FutureCursor,
            Self::Page => Upgrade::Status { status: 200, retry_after: None, html: true },
        }
    }
}

/// Where redirects point that must not be followed; nothing listens there.
const PRIVATE: &str = "http://10.255.255.1";

/// A DID document, or an answer instead of one, that means no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentityTrick {
    /// A redirect of `did.json` to another host (RES-1).
    RedirectElsewhere,
    /// A redirect of `did.json` to a private address (RES-1, SEC-1).
    RedirectPrivate,
    /// A redirect of `did.json` to itself (RES-1).
    RedirectLoop,
    /// A body that never ends (RES-1).
    EndlessBody,
    /// A body above the limit (RES-1).
    Oversized,
    /// Lists in lists, thousands deep.
    Nested,
    /// A usable document full of names that are none (DOC-5, SEC-10).
    HostileText,
    /// A document whose PDS is a private address (DOC-3, SEC-1).
    PrivateEndpoint,
    /// A document of another DID (DOC-1).
    WrongId,
}

impl IdentityTrick {
    /// Every trick.
    pub const ALL: &'static [Self] = &[
        Self::RedirectElsewhere,
        Self::RedirectPrivate,
        Self::RedirectLoop,
        Self::EndlessBody,
        Self::Oversized,
        Self::Nested,
        Self::HostileText,
        Self::PrivateEndpoint,
        Self::WrongId,
    ];

    /// Whether it is played by a did:web account, the others by did:plc ones.
    pub const fn is_web(self) -> bool {
        matches!(self, Self::RedirectElsewhere | Self::RedirectPrivate | Self::RedirectLoop)
    }

    /// The answer.
    ///
    /// * `own`, `elsewhere` – base addresses of the document's server and of another host
    pub fn answer(self, own: &str, elsewhere: &str) -> Answer {
        const PATH: &str = "/.well-known/did.json";
        match self {
            Self::RedirectElsewhere => Answer::Redirect(format!("{elsewhere}{PATH}")),
            Self::RedirectPrivate => Answer::Redirect(format!("{PRIVATE}{PATH}")),
            Self::RedirectLoop => Answer::Redirect(format!("{own}{PATH}")),
            Self::EndlessBody => Answer::EndlessBody,
            Self::Oversized => Answer::Oversized,
            Self::Nested => Answer::Nested,
            Self::HostileText => Answer::HostileText,
            Self::PrivateEndpoint => Answer::PrivateEndpoint,
            Self::WrongId => Answer::WrongId,
        }
    }
}

/// A server that asks to be crawled and must not become a host (HOST-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckTrick {
    /// `describeServer` redirects to a real host (SEC-2).
    RedirectElsewhere,
    /// `describeServer` redirects to a private address (SEC-1, SEC-2).
    RedirectPrivate,
    /// `describeServer` redirects to itself (SEC-2).
    RedirectLoop,
    /// The answer never comes (SEC-2).
    Silence,
    /// The body never ends (SEC-2).
    EndlessBody,
    /// The body is larger than any description (SEC-2).
    HugeBody,
    /// A page of HTML with status 200.
    Page,
    /// Lists in lists, thousands deep.
    Nested,
    /// A relay (UP-11).
    Relay,
    /// Names that are addresses, hold users or paths, or are no names at all (SYN-10).
    OddName,
}

impl CheckTrick {
    /// Every trick.
    pub const ALL: &'static [Self] = &[
        Self::RedirectElsewhere,
        Self::RedirectPrivate,
        Self::RedirectLoop,
        Self::Silence,
        Self::EndlessBody,
        Self::HugeBody,
        Self::Page,
        Self::Nested,
        Self::Relay,
        Self::OddName,
    ];

    /// What `describeServer` answers; `None` where it is not asked, or answers as any host.
    pub(crate) fn answer(self, own: &str, elsewhere: &str) -> Option<PathAnswer> {
        const PATH: &str = "/xrpc/com.atproto.server.describeServer";
        Some(match self {
            Self::RedirectElsewhere => PathAnswer::Redirect(format!("{elsewhere}{PATH}")),
            Self::RedirectPrivate => PathAnswer::Redirect(format!("{PRIVATE}{PATH}")),
            Self::RedirectLoop => PathAnswer::Redirect(format!("{own}{PATH}")),
            Self::Silence => PathAnswer::Silence,
            Self::EndlessBody => PathAnswer::EndlessBody,
            Self::HugeBody => PathAnswer::Body(format!("{{\"did\":\"{}\"}}", "x".repeat(200_000))),
            Self::Page => PathAnswer::Body("<!doctype html><title>Hello</title>".to_owned()),
            Self::Nested => PathAnswer::Body("[".repeat(20_000)),
            Self::Relay | Self::OddName => return None,
        })
    }
}

/// How a host answers requests for one of its paths instead of as usual.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathAnswer {
    Status(u16),
    Redirect(String),
    Silence,
    EndlessBody,
    Body(String),
}

/// One thing that a host can be set up to do wrong: alone, or in a [`crate::Mix`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Adversary {
    /// One event is wrong or unusual.
    Event(Fault),
    /// Events of accounts that live elsewhere (VAL-4).
    ForeignAccount,
    /// Frames that are no events.
    Frame(RawFrame),
    /// Streams that never come to their point.
    Stream(StreamTrick),
    /// Answers to the request for a stream.
    Handshake(HandshakeTrick),
    /// DID documents.
    Identity(IdentityTrick),
    /// Servers that ask to be crawled.
    Check(CheckTrick),
}

impl Adversary {
    /// Every adversary.
    pub fn all() -> Vec<Self> {
        let events = Fault::ALL.iter().copied().map(Self::Event);
        events
            .chain([Self::ForeignAccount])
            .chain(RawFrame::ALL.iter().copied().map(Self::Frame))
            .chain(StreamTrick::ALL.iter().copied().map(Self::Stream))
            .chain(HandshakeTrick::ALL.iter().copied().map(Self::Handshake))
            .chain(IdentityTrick::ALL.iter().copied().map(Self::Identity))
            .chain(CheckTrick::ALL.iter().copied().map(Self::Check))
            .collect()
    }

    /// Whether its frames are megabytes, so that a mix has fewer of them.
    pub const fn is_heavy(self) -> bool {
        matches!(
            self,
            Self::Event(Fault::OversizedRecord | Fault::OversizedBlocks)
                | Self::Frame(RawFrame::Oversized)
                | Self::Stream(StreamTrick::EndlessMessage)
        )
    }

    /// Whether it takes a connection away from its host for a while.
    pub const fn holds_up(self) -> bool {
        match self {
            Self::Frame(raw) => raw.breaks_connection(),
            Self::Stream(_) | Self::Handshake(_) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Adversary {
    /// Such as `event HighS`; each has a name of its own.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(fault) => write!(out, "event {fault:?}"),
            Self::ForeignAccount => write!(out, "event ForeignAccount"),
            Self::Frame(raw) => write!(out, "frame {raw:?}"),
            Self::Stream(trick) => write!(out, "stream {trick:?}"),
            Self::Handshake(trick) => write!(out, "handshake {trick:?}"),
            Self::Identity(trick) => write!(out, "identity {trick:?}"),
            Self::Check(trick) => write!(out, "check {trick:?}"),
        }
    }
}
