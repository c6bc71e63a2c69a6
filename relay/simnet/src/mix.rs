//! Honest traffic and adversaries at once: each adversary alone, or all of them at P percent.
//!
//! The honest accounts and their hosts are those of a [`Load`], and nothing of theirs is ever wrong:
//! every event of theirs must come out. The adversaries live beside them on hosts of their own, those
//! that hold up a connection on one each, so that what one does can be told from what another does.
//! They send honest events too, which must come out as well, once the host lets the relay have them.

mod deck;
mod players;

use crate::{Adversary, Load, LoadOptions, Net, Pds};
use anyhow::{Context, Result};
use deck::Deck;
use players::{Cast, Stage};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// What a mix is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct MixOptions {
    /// The honest part.
    pub load: LoadOptions,
    /// The adversaries, and how often each has its turn in proportion to the others.
    pub adversaries: Vec<(Adversary, u32)>,
    /// Of 1,000 steps, how many are an adversary's.
    pub per_mille: u32,
    /// Least time between two tricks that take the same connection away. A relay waits longer and
    /// longer for a host that fails soon again (UP-10).
    pub pause: Duration,
    /// Hosts, and accounts on each, of those whose events are wrong.
    pub crew: (usize, usize),
}

impl MixOptions {
    /// Every adversary at `per_mille`; those with frames of megabytes a tenth as often as the others.
    pub fn all(load: LoadOptions, per_mille: u32) -> Self {
        let weighted = Adversary::all().into_iter();
        let weighted = weighted.map(|one| (one, if one.is_heavy() { 1 } else { 10 }));
        let pause = Duration::from_secs(1);
        Self { load, adversaries: weighted.collect(), per_mille, pause, crew: (3, 8) }
    }

    /// One adversary alone.
    pub fn alone(load: LoadOptions, adversary: Adversary, per_mille: u32) -> Self {
        let adversaries = vec![(adversary, 1)];
        Self { adversaries, crew: (1, 2), ..Self::all(load, per_mille) }
    }
}

/// A source of honest traffic and mischief.
#[derive(Debug)]
pub struct Mix {
    net: Net,
    load: Load,
    cast: Cast,
    deck: Deck,
    per_mille: u32,
    /// What the adversaries are owed of a turn, in thousandths.
    credit: u32,
}

impl Mix {
    /// Makes all hosts and accounts. What the relay needs is in [`Net::hosts`]; servers that want to
    /// become hosts are not.
    pub async fn prepare(net: &Net, options: MixOptions) -> Result<Self> {
        let MixOptions { load, adversaries, per_mille, pause, crew } = options;
        let load = Load::prepare(net, load).await.context("make the honest hosts")?;
        let stage = Stage { net: net.clone(), honest: load.accounts().to_vec(), pause, crew };
        let names: Vec<Adversary> = adversaries.iter().map(|(one, _)| *one).collect();
        let cast = Cast::prepare(stage, &names).await.context("make the adversaries' hosts")?;
        let deck = Deck::new(adversaries);
        Ok(Self { net: net.clone(), load, cast, deck, per_mille, credit: 0 })
    }

    /// Tells the servers that want to become hosts where the relay is, `http://host:port`.
    pub fn knock_at(&mut self, relay: &str) {
        self.cast.knock_at(relay);
    }

    /// The honest part.
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// The host on which this adversary alone plays, if it has one.
    pub fn host_of(&self, adversary: Adversary) -> Option<&Pds> {
        self.cast.host_of(adversary)
    }

    /// Makes so many steps, as fast as the machine and the subscribed relays permit: events of honest
    /// accounts and turns of adversaries.
    pub async fn send(&mut self, steps: u64) -> Result<()> {
        for number in 0..steps {
            if number % crate::load::ROUND == 0 {
                self.load.wait_for_room().await;
            }
            self.step().await?;
        }
        Ok(())
    }

    /// Makes steps at a rate for a time; returns how many.
    pub async fn run(&mut self, steps_per_second: u32, span: Duration) -> Result<u64> {
        let (begin, mut made) = (Instant::now(), 0);
        let mut ticks = tokio::time::interval(crate::load::STEP);
        while begin.elapsed() < span {
            ticks.tick().await;
            let due = crate::load::due(begin.elapsed(), steps_per_second);
            while made < due {
                let round = (due - made).min(crate::load::ROUND);
                self.send(round).await?;
                made += round;
            }
        }
        Ok(made)
    }

    async fn step(&mut self) -> Result<()> {
        self.credit += self.per_mille;
        if self.credit < 1_000 {
            return self.load.step(None).await;
        }
        self.credit -= 1_000;
        match self.deck.next() {
            Some(adversary) => self.cast.strike(adversary).await,
            None => self.load.step(None).await,
        }
    }

    /// Ends all tricks: every host answers, every document is as it should be. What the hosts owe is
    /// the relay's as soon as it asks again, which a person or the host itself has to bring about for
    /// those that it gave up.
    pub async fn make_peace(&mut self) -> Result<()> {
        self.cast.make_peace().await
    }

    /// How often the relay met each adversary of this mix; 0 for those that it has not met.
    pub fn strikes(&self) -> BTreeMap<Adversary, u64> {
        let met = self.net.strikes();
        self.deck.names().map(|one| (one, met.get(&one).copied().unwrap_or(0))).collect()
    }

    /// Adversaries that the relay has not met: with one of them the run proves too little.
    pub fn unfired(&self) -> Vec<String> {
        let strikes = self.strikes();
        let idle = strikes.iter().filter(|(_, count)| **count == 0);
        idle.map(|(adversary, _)| adversary.to_string()).collect()
    }

    /// What the relay did that it must not, apart from its events: it took a server as a host that is
    /// none, or went where a redirect pointed. One sentence each.
    pub fn misled(&self) -> Vec<String> {
        self.cast.misled()
    }
}
