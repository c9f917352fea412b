//! sweep: every minute, checks the entries whose next check has come: attempts whose run is gone, jobs of unknown fate, waiters
//! that were not notified; batches whose execution is gone; and measures the size of the bucket, if that is limited.

use std::process::ExitCode;

use serde::Serialize;
use serde::de::IgnoredAny;

#[derive(Serialize)]
struct Swept {
    /// Entries and batches that were due.
    due: usize,
    /// Bytes in the bucket, where there is a limit on them.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<u64>,
}

/// Serves the function's events until Lambda ends the process.
pub fn run() -> ExitCode {
    // The scheduler's event says nothing that matters.
    fresco_engine::lambda::run(|engine, _: IgnoredAny| async move {
        let due = engine.upkeep.sweep().await?;
        // Last: what waits must not wait for a measurement.
        let stored = engine.quota.measure().await?;
        if let Some(stored) = &stored {
            println!("{}", engine.quota.metric_line(stored));
        }
        Ok(Swept { due, stored: stored.map(|stored| stored.bytes) })
    })
}
