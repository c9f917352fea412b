//! How old a result may be. Objects expire by S3's lifecycle, counted from their upload; a result is given up before its
//! object can go, and one that is near its end is written anew when it is used, so that it lives on.

use fresco_ledger::records::Millis;

use crate::settings::Settings;

const HOUR: Millis = 3_600_000;
const DAY: Millis = 24 * HOUR;
/// How far a clock may be off, ours or that of whoever wrote the result.
const SKEW: Millis = HOUR;

/// What a result's age allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// It lives long enough.
    Young,
    /// It is near its end: to be written anew if it is used.
    Ending {
        /// Whether it lives long enough all the same, should that not work.
        enough: bool,
    },
    /// It may be gone at any time: it is a miss.
    Over,
}

/// The age of what was written at `created_at` and is needed for so long from now on.
pub(crate) fn age(life: Millis, created_at: Millis, now: Millis, needed: Millis) -> Age {
    let left = created_at.saturating_add(life).saturating_sub(now);
    if left <= SKEW {
        return Age::Over;
    }
    // Under a day, as the design has it; where nothing lives for two days, under half of its life, so that not every use of
    // a result is a copy.
    let ending = DAY.min(life / 2);
    if left < needed || left < ending { Age::Ending { enough: left >= needed } } else { Age::Young }
}

impl Settings {
    /// For how long a hit has to be there from now on: until its run is over, for the life of links handed out on it then,
    /// and for clocks that are off.
    pub(crate) fn needed(&self, run_left: Millis) -> Millis {
        run_left.max(0) + Millis::try_from(self.link_life().as_millis()).unwrap_or(DAY) + SKEW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_of_a_life() {
        let week = 7 * DAY;
        let hours = 10 * HOUR;
        for (life, passed, needed, expected) in [
            (week, 0, hours, Age::Young),
            // A day before the end it is renewed; exactly a day is not under a day.
            (week, 6 * DAY, hours, Age::Young),
            (week, 6 * DAY + 1, hours, Age::Ending { enough: true }),
            // Less is left than is needed.
            (week, week - hours, hours, Age::Ending { enough: true }),
            (week, week - hours + 1, hours, Age::Ending { enough: false }),
            // A run that may take longer than a day.
            (week, week - 3 * DAY, 3 * DAY, Age::Young),
            (week, week - 3 * DAY + 1, 3 * DAY, Age::Ending { enough: false }),
            // A run that may take longer than anything lives.
            (week, 0, 8 * DAY, Age::Ending { enough: false }),
            // Within an hour of the end it may be gone, whoever's clock is off.
            (week, week - HOUR - 1, hours, Age::Ending { enough: false }),
            (week, week - HOUR, hours, Age::Over),
            (week, week, hours, Age::Over),
            (week, 400 * DAY, hours, Age::Over),
            // The shortest life there is.
            (DAY, 0, hours, Age::Young),
            (DAY, 12 * HOUR, hours, Age::Young),
            (DAY, 12 * HOUR + 1, hours, Age::Ending { enough: true }),
            (DAY, 23 * HOUR, hours, Age::Over),
            // The parameter was lowered since.
            (2 * DAY, 3 * DAY, hours, Age::Over),
            // A clock that is behind: it was written in the future.
            (week, -HOUR, hours, Age::Young),
        ] {
            assert_eq!(age(life, 0, passed, needed), expected, "life {life}, passed {passed}, needed {needed}");
        }
    }

    #[test]
    fn a_clock_an_hour_off_never_hands_out_what_has_expired() {
        let week = 7 * DAY;
        for off in [-HOUR, HOUR] {
            for passed in [week - 2 * HOUR, week - HOUR, week - 1, week, week + HOUR] {
                // S3 deletes by its own clock, at the earliest when the whole life has passed.
                let gone = passed >= week;
                assert!(!gone || age(week, 0, passed + off, 0) == Age::Over, "off {off}, passed {passed}");
            }
        }
    }
}
