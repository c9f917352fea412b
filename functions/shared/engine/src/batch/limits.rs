//! The limits of what a batch may ask for.

/// The most rows of a chunk, whatever the types of its steps.
pub(super) const MAX_CHUNK: u32 = 100;
/// The most concurrent chunks.
pub(super) const MAX_CHUNKS_AT_ONCE: u32 = 40;
/// The longest pause after a chunk, in seconds.
pub(super) const MAX_PAUSE: u32 = 3_600;
