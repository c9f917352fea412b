//! Pauses between the tries of an optimistic write. Of many writers of one item one succeeds at a time: those that try again at
//! once meet each other again, and those that pause at random pass one by one.

use crate::records::Millis;
use crate::traits::Clock;

/// The first pause is a random part of this, and each further one of twice as much.
const FIRST_PAUSE: Millis = 10;
const LONGEST_PAUSE: Millis = 640;
/// The time after which a write is given up.
const BOUND: Millis = 15_000;
/// The tries that are made however long they take.
const LEAST_TRIES: u32 = 4;

/// The tries of one write.
#[derive(Debug)]
pub struct Contention<'a, C> {
    clock: &'a C,
    until: Millis,
    tries: u32,
}

impl<'a, C: Clock> Contention<'a, C> {
    /// Begins before the first try.
    pub fn new(clock: &'a C) -> Self {
        Contention { clock, until: clock.now().saturating_add(BOUND), tries: 0 }
    }

    /// Pauses before the next try; false if the time for tries is over.
    pub async fn pause(&mut self) -> bool {
        self.tries = self.tries.saturating_add(1);
        if self.tries >= LEAST_TRIES && self.clock.now() >= self.until {
            return false;
        }
        self.clock.pause(longest(self.tries)).await;
        true
    }
}

fn longest(tries: u32) -> Millis {
    FIRST_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::fake::ManualClock;

    #[tokio::test]
    async fn tries_are_bounded_by_time_and_their_pauses_grow() {
        let clock = ManualClock::at(5);
        let mut contention = Contention::new(&clock);
        for _ in 0..100 {
            assert!(contention.pause().await);
        }
        clock.advance(BOUND);
        assert!(!contention.pause().await);
        // A clock that jumps does not end a write at its first conflict.
        let mut slow = Contention::new(&clock);
        clock.advance(10 * BOUND);
        assert!(slow.pause().await);
        let pauses: Vec<Millis> = (1..=8).map(longest).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 640]);
    }
}
