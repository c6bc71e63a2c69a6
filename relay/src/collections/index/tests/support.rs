//! Traffic that is the same each time, and an index whose upkeep runs when a test says so.

use std::{path::Path, sync::Arc};

use super::model::Model;
use crate::{
    collections::index::{
        Batch, Change, CollectionNo, Doubt, Handle, Index, IndexError, PairState, Whole, key,
        opening,
        store::{Sizes, Store},
        upkeep::Upkeep,
    },
    domain::{AccountNo, Seq},
    eventlog::Files,
};

/// So little memory that every few batches become a segment.
pub(super) const TINY: u64 = 48 << 10;

/// Accounts that take part.
pub(super) const ACCOUNTS: u64 = 300;
/// Collections that take part.
pub(super) const COLLECTIONS: u32 = 12;

/// Numbers that look random.
pub(super) fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Accounts are far apart here and there.
fn account(number: u64) -> AccountNo {
    let number = number % ACCOUNTS;
    AccountNo(if number < ACCOUNTS / 2 { number } else { number * 100_003 })
}

pub(super) fn accounts() -> Vec<AccountNo> {
    (0..ACCOUNTS).map(account).collect()
}

pub(super) fn nsid(number: u32) -> String {
    format!("org.example.kind{number}")
}

pub(super) fn collections() -> Vec<CollectionNo> {
    (0..COLLECTIONS).map(|number| CollectionNo(number + key::FIRST)).collect()
}

/// Names all collections, always in this order.
pub(super) fn name_all(index: &Index) -> Result<(), IndexError> {
    for number in 0..COLLECTIONS {
        assert_eq!(index.number(&nsid(number))?, CollectionNo(number + key::FIRST));
    }
    Ok(())
}

/// The batch that ends at this position, always the same for one seed.
pub(super) fn batch(seed: u64, position: u64) -> Batch {
    let start = mixed(mixed(seed) ^ position);
    let changes = (0..start % 120).map(|place| change(mixed(start ^ (place << 32)))).collect();
    let key = vec![b'k', (start >> 40).to_le_bytes()[0] % 8];
    let value = (start & 1 == 1).then(|| position.to_le_bytes().to_vec());
    Batch { position: Some(Seq(position)), changes, progress: vec![(key, value)] }
}

fn change(dice: u64) -> Change {
    let account = account(dice >> 8);
    let number = |bits: u64| {
        let number = u32::try_from(bits % u64::from(COLLECTIONS)).unwrap_or_default();
        CollectionNo(number + key::FIRST)
    };
    let collection = number(dice >> 20);
    match dice % 100 {
        0..45 => Change::Present { account, collection, state: PairState::Proven },
        45..65 => Change::Present { account, collection, state: PairState::Believed },
        65..85 => Change::Absent { account, collection },
        85..90 => {
            let collections = (0..dice >> 30 & 7).map(|n| number((dice >> 33) + n * 5)).collect();
            Change::Replace { account, collections }
        }
        90..92 => Change::Mark { account, whole: Whole::Gone },
        92..94 => Change::Mark { account, whole: Whole::Complete },
        94..95 => Change::Mark { account, whole: Whole::Unmarked },
        95..97 => Change::Doubt { account, doubt: Doubt::Imported },
        _ => {
            let number = usize::try_from(dice >> 50).unwrap_or_default();
            let doubt = Doubt::ALL[number % Doubt::ALL.len()];
            Change::Mark { account, whole: Whole::Unsure(doubt) }
        }
    }
}

/// The model after all batches up to this position.
pub(super) fn model_at(seed: u64, position: u64) -> Model {
    let mut model = Model::default();
    for position in 1..=position {
        model.apply(&batch(seed, position));
    }
    model
}

/// An index without a thread.
#[derive(Debug)]
pub(super) struct Still {
    pub(super) index: Index,
    store: Arc<Store>,
    upkeep: Upkeep,
}

impl Still {
    pub(super) fn open(
        files: Arc<dyn Files>,
        dir: &Path,
        memory_bytes: u64,
    ) -> Result<Self, IndexError> {
        let (store, upkeep) = opening::open(files, dir, Sizes::of(memory_bytes))?;
        let store = Arc::new(store);
        let index = Index(Arc::new(Handle { store: Arc::clone(&store), upkeep: None }));
        Ok(Self { index, store, upkeep })
    }

    /// Applies, then does all that is to do. The first error of each.
    pub(super) fn apply(&mut self, batch: &Batch) -> (Result<(), IndexError>, Option<IndexError>) {
        let applied = self.index.apply(batch);
        (applied, self.tidy().err())
    }

    pub(super) fn tidy(&mut self) -> Result<(), IndexError> {
        while self.upkeep.step(&self.store)? {}
        Ok(())
    }

    pub(super) fn segments(&self) -> usize {
        self.store.view().segments.len()
    }

    /// Bytes of rows, and of lists of blocks.
    pub(super) fn memory(&self) -> (usize, usize) {
        let view = self.store.view();
        let rows = view.active.iter().chain(&view.frozen).map(|run| run.bytes()).sum();
        (rows, view.segments.iter().map(|segment| segment.memory()).sum())
    }
}
