//! The instants and the chance of the simulator: milliseconds of the wall clock, their text form, and the one seeded
//! generator from which latencies, seeds and request ids are drawn, so that a `--seed` repeats a whole session.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC with milliseconds, as fal writes instants.
pub(crate) fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map(|instant| format!("{instant:.3}")).unwrap_or_default()
}

/// Reads an instant, or a bare date as its first moment in UTC.
pub(crate) fn parse_instant(text: &str) -> Option<i64> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Some(instant.as_millisecond());
    }
    if let Ok(date) = text.parse::<jiff::civil::DateTime>() {
        return Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond());
    }
    None
}

/// Seeded chance, shared by all requests (SplitMix64: short, and good enough for anything but secrets).
#[derive(Debug)]
pub(crate) struct Chance(Mutex<u64>);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// Sixty-four uniform bits.
    pub(crate) fn bits(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(*state)
    }

    /// Uniform in `[low, high)`.
    pub(crate) fn between(&self, low: f64, high: f64) -> f64 {
        low + (high - low) * unit(self.bits())
    }

    /// A version 4 UUID.
    pub(crate) fn uuid(&self) -> String {
        let mut bytes = [0u8; 16];
        bytes[..8].copy_from_slice(&self.bits().to_be_bytes());
        bytes[8..].copy_from_slice(&self.bits().to_be_bytes());
        bytes[6] = (bytes[6] & 0x0F) | 0x40;
        bytes[8] = (bytes[8] & 0x3F) | 0x80;
        let hex = hex::encode(bytes);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

/// Uniform in `[0, 1)` from sixty-four bits.
pub(crate) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// The finaliser of SplitMix64.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_repeats_the_same_session() {
        let (a, b) = (Chance::new(7), Chance::new(7));
        assert_eq!((a.uuid(), a.bits()), (b.uuid(), b.bits()));
        assert_ne!(a.uuid(), a.uuid());
        for _ in 0..1000 {
            let x = a.between(2.0, 4.0);
            assert!((2.0..4.0).contains(&x));
        }
    }

    #[test]
    fn instants_round_trip() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(parse_instant("1970-01-01T00:00:01.500Z"), Some(1500));
        assert_eq!(parse_instant("1970-01-02"), Some(86_400_000));
        assert_eq!(parse_instant("yesterday"), None);
    }
}
