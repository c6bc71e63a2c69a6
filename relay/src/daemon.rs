//! Composes the rooms; the one file that names every stage.
