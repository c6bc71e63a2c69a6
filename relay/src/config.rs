//! Settings: defaults < TOML file < environment < flags (DESIGN 6).
