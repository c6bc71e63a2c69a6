//! The catalogue of metrics; each is recorded by the room named in its prefix.
