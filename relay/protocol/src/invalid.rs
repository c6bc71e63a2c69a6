//! What can be wrong with bytes from outside.

/// Why bytes or text were refused. The sentence says what was wrong; the caller adds where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{what}")]
pub struct Invalid {
    /// A sentence fragment without full stop, such as `map keys are not sorted`.
    pub what: &'static str,
}

impl Invalid {
    /// An error with this sentence fragment.
    pub const fn new(what: &'static str) -> Self {
        Self { what }
    }
}
