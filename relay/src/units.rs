//! Units in settings: sizes and durations with their suffixes.
