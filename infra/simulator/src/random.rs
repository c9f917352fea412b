//! The one seeded generator from which latencies, seeds and request ids are drawn, so that `--seed` repeats a session.

use std::sync::{Mutex, PoisonError};

/// A seeded generator, shared by all requests (SplitMix64: short, and good enough for anything but secrets).
#[derive(Debug)]
pub(crate) struct Random(Mutex<u64>);

impl Random {
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
        let (a, b) = (Random::new(7), Random::new(7));
        assert_eq!((a.uuid(), a.bits()), (b.uuid(), b.bits()));
        assert_ne!(a.uuid(), a.uuid());
        for _ in 0..1000 {
            let x = a.between(2.0, 4.0);
            assert!((2.0..4.0).contains(&x));
        }
    }
}
