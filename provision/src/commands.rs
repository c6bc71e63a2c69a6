//! One file per verb.

pub(crate) mod fuzz;
pub(crate) mod mutants;
pub(crate) mod test;
#[cfg(feature = "operate")]
pub(crate) mod wait;
#[cfg(feature = "operate")]
pub(crate) mod watch;
