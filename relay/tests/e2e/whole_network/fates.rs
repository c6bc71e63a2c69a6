//! What happens to each host of a bad day.

use anyhow::Result;
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use relay_simnet::{Account, Fault, HandshakeTrick, Net, Pds, StreamTrick, Upgrade};
use serde_json::{Value, json};

/// What a host may that sends more, in an hour or in a day; and how much it sends.
const HOURS_LIMIT: u64 = 20;
const HOURS_EVENTS: usize = 45;
const DAYS_LIMIT: u64 = 100;
const DAYS_EVENTS: usize = 106;
/// Steps between two disappearances of a host that comes and goes.
const FLAP_EVERY: u64 = 12;
/// The last step on which it does.
const FLAP_UNTIL: u64 = 120;
/// Tricks that a host has ready: more than a relay can meet.
const TRICKS: usize = 200;

/// What happens to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing.
    Good,
    /// Refuses connections; `asks` to be crawled when it is back.
    Refusing { asks: bool },
    /// Answers with errors of a server.
    Failing { asks: bool },
    /// Its name leads nowhere, for good.
    Nameless,
    /// Comes and goes.
    Flapping,
    /// Sends more than it may in an hour.
    OverHour,
    /// The same of a day.
    OverDay,
    /// Plays a trick with its handshake.
    Handshake(HandshakeTrick),
    /// Plays a trick with its stream.
    Stream(StreamTrick),
    /// Sends events that are wrong.
    WrongEvents,
    /// Sends events of an account of another host.
    Impostor,
}

/// The ways to be hostile, in turn.
const HOSTILE: [Fate; 9] = [
    Fate::WrongEvents,
    Fate::Handshake(HandshakeTrick::Silence),
    Fate::Impostor,
    Fate::Handshake(HandshakeTrick::FutureCursor),
    Fate::Stream(StreamTrick::HugeFrame),
    Fate::Handshake(HandshakeTrick::RedirectLoop),
    Fate::Handshake(HandshakeTrick::EndlessHead),
    Fate::Handshake(HandshakeTrick::Page),
    Fate::Handshake(HandshakeTrick::Dribble),
];

impl Fate {
    /// Status, and words of its reason or of the last error, that an operator sees once; `None` where
    /// nothing is to be seen.
    pub(super) const fn seen_as(self) -> Option<(&'static str, &'static [&'static str])> {
        let words: &[&str] = match self {
            Self::Good | Self::Flapping | Self::WrongEvents | Self::Impostor | Self::Nameless => {
                return None;
            }
            Self::OverHour => {
                return Some(("throttled", &["it sent more than 20 events per hour"]));
            }
            Self::OverDay => {
                return Some(("throttled", &["it sent more than 100 events per day"]));
            }
            Self::Refusing { .. } => &["refused"],
            Self::Failing { .. } => &["503"],
            // Its stream is fine for minutes of this day before it ends, so that it is tried again soon.
            Self::Stream(_) => return Some(("active", &["5,000,000", "large"])),
            Self::Handshake(trick) => match trick {
                HandshakeTrick::Silence | HandshakeTrick::Dribble => &["the handshake did not end"],
                HandshakeTrick::EndlessHead => &["not a WebSocket upgrade", "handshake failed"],
                HandshakeTrick::FutureCursor => &["FutureCursor"],
                HandshakeTrick::Page => &["200"],
                HandshakeTrick::RedirectElsewhere
                | HandshakeTrick::RedirectPrivate
                | HandshakeTrick::RedirectLoop => &["redirects are not followed"],
            },
        };
        Some(("offline", words))
    }

    pub(super) const fn asks(self) -> bool {
        matches!(self, Self::Refusing { asks: true } | Self::Failing { asks: true })
    }
}

/// The fates of all hosts: 10 % down, 5 % come and go, 5 % over a limit, 2 % hostile and at least one of
/// each way; in an order that follows from the seed.
pub(super) fn deal(seed: u64, hosts: usize) -> Vec<Fate> {
    let share = |percent: usize| hosts * percent / 100;
    let down = (0..share(10)).map(|number| match number % 5 {
        0 => Fate::Refusing { asks: true },
        1 => Fate::Refusing { asks: false },
        2 => Fate::Failing { asks: true },
        3 => Fate::Failing { asks: false },
        _ => Fate::Nameless,
    });
    let flapping = (0..share(5)).map(|_| Fate::Flapping);
    let loud = (0..share(5)).map(|number| match number % 2 {
        0 => Fate::OverHour,
        _ => Fate::OverDay,
    });
    let hostile = (0..share(2).max(HOSTILE.len())).zip(HOSTILE.iter().cycle());
    let hostile = hostile.map(|(_, fate)| *fate);
    let mut fates: Vec<_> = down.chain(flapping).chain(loud).chain(hostile).collect();
    fates.resize(hosts, Fate::Good);
    fates.shuffle(&mut StdRng::seed_from_u64(seed));
    fates
}

/// A host, what happens to it, and its one account.
pub(super) struct Member {
    pub(super) host: Pds,
    pub(super) fate: Fate,
    pub(super) account: Account,
    /// For an impostor: where its account really is.
    elsewhere: Option<Account>,
}

impl Member {
    pub(super) async fn make(net: &Net, number: usize, fate: Fate) -> Result<Self> {
        let host = net.pds(&format!("host{number}")).await?;
        let account = host.account(&format!("account{number}")).await?;
        account.post("before").await?;
        let mut elsewhere = None;
        if fate == Fate::Impostor {
            let other = net.pds("host-of-others").await?;
            let victim = other.account(&format!("victim{number}")).await?;
            elsewhere = Some(victim);
        }
        Ok(Self { host, fate, account, elsewhere })
    }

    pub(super) fn hostname(&self) -> String {
        self.host.hostname()
    }

    /// Limits that an operator set for it, as the admin API takes them.
    pub(super) fn limits(&self) -> Option<Value> {
        match self.fate {
            Fate::OverHour => Some(json!({ "perHour": HOURS_LIMIT })),
            Fate::OverDay => Some(json!({ "perDay": DAYS_LIMIT })),
            _ => None,
        }
    }

    /// Everybody has something to say; then the trouble begins.
    pub(super) async fn begin_trouble(&self) -> Result<()> {
        let host = &self.host;
        self.account.post("at the beginning").await?;
        match self.fate {
            Fate::Good | Fate::Nameless | Fate::Flapping => {}
            Fate::Refusing { .. } => host.down(),
            Fate::Failing { .. } => {
                host.answer_all(Upgrade::status(503));
                host.cut();
            }
            Fate::OverHour => self.send(HOURS_EVENTS).await?,
            Fate::OverDay => self.send(DAYS_EVENTS).await?,
            Fate::Handshake(trick) => {
                host.answer_all(trick.upgrade(&host.url(), &host.url()));
                host.cut();
            }
            Fate::Stream(trick) => {
                for _ in 0..TRICKS {
                    host.play(trick);
                }
            }
            Fate::WrongEvents => {
                for fault in [Fault::WrongKey, Fault::WrongPrevData, Fault::FutureRev] {
                    self.account.with(fault).post("wrong").await?;
                }
            }
            Fate::Impostor => {
                if let Some(victim) = &self.elsewhere {
                    victim.through(host).post("not mine").await?;
                }
            }
        }
        // Also while nobody hears it.
        self.account.post("in trouble").await?;
        Ok(())
    }

    async fn send(&self, events: usize) -> Result<()> {
        for _ in 0..events {
            self.account.post("much").await?;
        }
        Ok(())
    }

    /// What it does while time passes.
    pub(super) async fn go_on(&self, step: u64) -> Result<()> {
        if self.fate != Fate::Flapping || step > FLAP_UNTIL || !step.is_multiple_of(FLAP_EVERY) {
            return Ok(());
        }
        match step / FLAP_EVERY % 3 {
            0 => self.host.cut(),
            1 => self.host.down(),
            _ => self.host.up().await?,
        }
        self.account.post("between two disappearances").await?;
        Ok(())
    }

    /// Behaves from now on.
    pub(super) async fn come_back(&self) -> Result<()> {
        match self.fate {
            Fate::Refusing { .. } | Fate::Flapping => self.host.up().await,
            Fate::Failing { .. } | Fate::Handshake(_) | Fate::Stream(_) => {
                self.host.behave();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
