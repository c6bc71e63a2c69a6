//! Checkpoints and recovery: state after a crash = checkpoint + replay of the log's tail (I3).
