//! One file per verb.

pub(crate) mod fuzz;
pub(crate) mod mutants;
pub(crate) mod test;
