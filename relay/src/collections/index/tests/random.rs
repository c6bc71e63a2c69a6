//! Any batches, and the index opened anew at any moment: always what the model says.

use proptest::prelude::*;

use super::{
    Outcome,
    model::Model,
    support::{TINY, accounts, batch, collections, name_all},
};
use crate::collections::index::{Index, Options};

/// The counts, pages and marks that people see are those of what was applied, whatever was written to
/// files and joined in between.
#[test]
fn any_batches_read_as_the_model_says() -> Outcome {
    for seed in 0..6 {
        let dir = tempfile::tempdir()?;
        let options = Options { memory_bytes: TINY << (seed % 3) };
        let mut index = Index::open(dir.path(), options)?;
        name_all(&index)?;
        let mut model = Model::default();
        for position in 1..=120 {
            let batch = batch(seed, position);
            index.apply(&batch)?;
            model.apply(&batch);
            if position % 40 == 0 {
                model.assert_equals(&index, &accounts(), &collections())?;
                drop(index);
                index = Index::open(dir.path(), options)?;
                model.assert_equals(&index, &accounts(), &collections())?;
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// As above, for batches that shrink to the few that matter.
    #[test]
    fn a_few_batches_read_as_the_model_says(
        batches in prop::collection::vec((any::<u64>(), any::<bool>()), 1..12),
    ) {
        let dir = tempfile::tempdir()?;
        let options = Options { memory_bytes: 8 << 10 };
        let mut index = Index::open(dir.path(), options)?;
        name_all(&index)?;
        // Durable with the first batch only.
        index.apply(&batch(0, 0))?;
        let mut model = Model::default();
        model.apply(&batch(0, 0));
        for (seed, is_opened_anew) in batches {
            index.apply(&batch(seed, 1))?;
            model.apply(&batch(seed, 1));
            if is_opened_anew {
                drop(index);
                index = Index::open(dir.path(), options)?;
            }
        }
        model.assert_equals(&index, &accounts(), &collections())?;
    }
}
