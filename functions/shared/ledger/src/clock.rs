//! The machine's clock. Tests use [`crate::services::fake::ManualClock`].

use std::time::{SystemTime, UNIX_EPOCH};

use crate::records::Millis;
use crate::traits::Clock;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        // A clock before 1970 reads as 1970; one after the year 292 million as that.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
    }
}
