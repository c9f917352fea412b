//! What is done for every run: clean-up of old outputs.

pub(crate) mod prune;
