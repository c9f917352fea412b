//! The time.

use fresco_pipeline::time::Millis;

/// Returns the time by the system's clock.
pub fn now() -> Millis {
    jiff::Timestamp::now().as_millisecond()
}
