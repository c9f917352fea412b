//! The clean-up of a whole stack in one call.

use std::time::Duration;

use fresco_api_types::CleanTotals;
use fresco_engine::platform::Platform;
use fresco_engine::{Engine, PruneOptions};
use tokio::time::Instant;

/// Removes everything that is old enough, however long it takes.
pub async fn clean<P: Platform>(engine: &Engine<P>, options: PruneOptions) -> CleanTotals {
    let until = Instant::now() + Duration::from_secs(600);
    let (totals, rest) = engine.upkeep.prune(options, "", until).await.expect("a clean-up");
    assert_eq!(rest, None, "the clean-up ended early");
    totals
}
