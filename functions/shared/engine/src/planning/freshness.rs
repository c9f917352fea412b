//! The age of results. Objects expire by the lifecycle of S3, counted from their upload; a result counts as expired
//! before its object can go, and one that is about to expire is renewed when it is used.

use fresco_ledger::records::Millis;
use fresco_pipeline::time::{DAY, HOUR};

use crate::settings::Settings;

/// The largest expected clock skew, here or where the result was written.
const SKEW: Millis = HOUR;

/// The freshness of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    Fresh,
    /// It expires soon, and is renewed when it is used.
    Expiring {
        /// Whether it lives long enough even if the renewal fails.
        enough: bool,
    },
    /// It may be gone at any time, and is a miss.
    Expired,
}

/// The freshness of a result that was written at `created_at` and is needed for `needed` milliseconds from now on.
pub(crate) fn freshness(life: Millis, created_at: Millis, now: Millis, needed: Millis) -> Freshness {
    let left = created_at.saturating_add(life).saturating_sub(now);
    if left <= SKEW {
        return Freshness::Expired;
    }
    // Under a day; where objects live for less than two days, under half of their life, so that not every use of a
    // result is a copy.
    let expiring = DAY.min(life / 2);
    if left < needed || left < expiring { Freshness::Expiring { enough: left >= needed } } else { Freshness::Fresh }
}

/// The milliseconds for which a hit has to exist: until its run ends, for the life of links to it, and for clock skew.
pub(crate) fn needed_life(settings: &Settings, run_left: Millis) -> Millis {
    run_left.max(0) + Millis::try_from(settings.link_life().as_millis()).unwrap_or(DAY) + SKEW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_at_every_edge_of_a_life() {
        let week = 7 * DAY;
        let hours = 10 * HOUR;
        for (life, passed, needed, expected) in [
            (week, 0, hours, Freshness::Fresh),
            // A day before the end it is renewed; exactly a day is not under a day.
            (week, 6 * DAY, hours, Freshness::Fresh),
            (week, 6 * DAY + 1, hours, Freshness::Expiring { enough: true }),
            // Less is left than is needed.
            (week, week - hours, hours, Freshness::Expiring { enough: true }),
            (week, week - hours + 1, hours, Freshness::Expiring { enough: false }),
            // A run that may take longer than a day.
            (week, week - 3 * DAY, 3 * DAY, Freshness::Fresh),
            (week, week - 3 * DAY + 1, 3 * DAY, Freshness::Expiring { enough: false }),
            // A run that may take longer than anything lives.
            (week, 0, 8 * DAY, Freshness::Expiring { enough: false }),
            // Within an hour of the end it may be gone, given the clock skew.
            (week, week - HOUR - 1, hours, Freshness::Expiring { enough: false }),
            (week, week - HOUR, hours, Freshness::Expired),
            (week, week, hours, Freshness::Expired),
            (week, 400 * DAY, hours, Freshness::Expired),
            // The shortest life there is.
            (DAY, 0, hours, Freshness::Fresh),
            (DAY, 12 * HOUR, hours, Freshness::Fresh),
            (DAY, 12 * HOUR + 1, hours, Freshness::Expiring { enough: true }),
            (DAY, 23 * HOUR, hours, Freshness::Expired),
            // The parameter was lowered since.
            (2 * DAY, 3 * DAY, hours, Freshness::Expired),
            // A clock that is behind: it was written in the future.
            (week, -HOUR, hours, Freshness::Fresh),
        ] {
            assert_eq!(freshness(life, 0, passed, needed), expected, "life {life}, passed {passed}, needed {needed}");
        }
    }

    #[test]
    fn a_clock_an_hour_off_never_hands_out_what_has_expired() {
        let week = 7 * DAY;
        for off in [-HOUR, HOUR] {
            for passed in [week - 2 * HOUR, week - HOUR, week - 1, week, week + HOUR] {
                // S3 deletes by its own clock, at the earliest when the whole life has passed.
                let gone = passed >= week;
                assert!(
                    !gone || freshness(week, 0, passed + off, 0) == Freshness::Expired,
                    "off {off}, passed {passed}"
                );
            }
        }
    }
}
