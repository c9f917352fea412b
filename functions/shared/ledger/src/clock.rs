//! The machine's clock. Tests use [`crate::services::fake::ManualClock`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::rand::SystemRandom;

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

    async fn pause(&self, at_most: Millis) {
        tokio::time::sleep(random_part(at_most)).await;
    }

    async fn deadline(&self, after: Millis) {
        tokio::time::sleep(Duration::from_millis(after.try_into().unwrap_or(0))).await;
    }
}

/// A random part of so many milliseconds; all of them where the system gives no random bytes.
fn random_part(at_most: Millis) -> Duration {
    let micros = u64::try_from(at_most).unwrap_or(0).saturating_mul(1_000);
    let drawn: Result<[u8; 8], _> = ring::rand::generate(&SystemRandom::new()).map(|bits| bits.expose());
    Duration::from_micros(drawn.map_or(micros, |bits| u64::from_le_bytes(bits) % micros.max(1)))
}
