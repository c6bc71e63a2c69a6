//! Whose turn it is.

use crate::Adversary;

/// Gives everyone turns in proportion to their weights, spread evenly, so that also a short run has
/// each of them: after each turn all gain their weight, and the one with most loses the sum.
#[derive(Debug)]
pub(super) struct Deck {
    seats: Vec<Seat>,
    sum: i64,
}

#[derive(Debug)]
struct Seat {
    adversary: Adversary,
    weight: i64,
    owed: i64,
}

impl Deck {
    pub(super) fn new(weighted: Vec<(Adversary, u32)>) -> Self {
        let seats: Vec<Seat> = weighted
            .into_iter()
            .map(|(adversary, weight)| Seat { adversary, weight: i64::from(weight), owed: 0 })
            .collect();
        let sum = seats.iter().map(|seat| seat.weight).sum();
        Self { seats, sum }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = Adversary> {
        self.seats.iter().map(|seat| seat.adversary)
    }

    pub(super) fn next(&mut self) -> Option<Adversary> {
        for seat in &mut self.seats {
            seat.owed += seat.weight;
        }
        let seat = self.seats.iter_mut().max_by_key(|seat| seat.owed)?;
        seat.owed -= self.sum;
        Some(seat.adversary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// "Mixed at P percent": each in its proportion, and none is left out of one round.
    #[test]
    fn everyone_has_turns_in_proportion_to_the_weights() {
        let all = Adversary::all();
        let weighted: Vec<_> =
            all.iter().map(|one| (*one, if one.is_heavy() { 1 } else { 10 })).collect();
        let round: u32 = weighted.iter().map(|(_, weight)| weight).sum();
        let mut deck = Deck::new(weighted.clone());

        let mut turns = BTreeMap::new();
        for _ in 0..3 * round {
            *turns.entry(deck.next().unwrap()).or_insert(0) += 1;
        }
        for (adversary, weight) in weighted {
            assert_eq!(turns.get(&adversary), Some(&(3 * weight)), "{adversary}");
        }
        assert!(Deck::new(Vec::new()).next().is_none());
    }
}
