//! Account rows on their way to and from the store, numbers, live counts, status probes (ACC-*).
