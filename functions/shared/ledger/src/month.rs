//! Months in UTC: runs are listed by the month they were written in. Nothing else of a calendar is needed here, so there is
//! no calendar crate in the functions.

use crate::records::Millis;

const DAY: Millis = 86_400_000;
/// Records of runs are kept for 90 days: the month of now and so many before it.
pub(crate) const RECORD_MONTHS: u32 = 3;

/// A month of a year, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Month {
    year: i64,
    month: u8,
}

impl Month {
    /// The month that a time is in.
    pub(crate) fn of(time: Millis) -> Self {
        // Days since 0000-03-01, in eras of 400 years; years begin in March, so that the leap day is the last
        // (H. Hinnant, "chrono-compatible low-level date algorithms", civil_from_days).
        let days = time.div_euclid(DAY) + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year + year / 4 - year / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Month { year: era * 400 + year + i64::from(month <= 2), month: u8::try_from(month).unwrap_or(1) }
    }

    /// The month so many before.
    pub(crate) fn back(self, months: u32) -> Self {
        (0..months).fold(self, |month, _| month.previous())
    }

    /// The month before.
    pub(crate) fn previous(self) -> Self {
        match self.month {
            1 => Month { year: self.year - 1, month: 12 },
            month => Month { year: self.year, month: month - 1 },
        }
    }
}

impl std::fmt::Display for Month {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_and_the_ones_before_them() {
        for (time, this, before) in [
            (0, "1970-01", "1969-12"),
            (-1, "1969-12", "1969-11"),
            (951_782_399_999, "2000-02", "2000-01"), // 2000-02-28T23:59:59.999Z
            (951_868_799_999, "2000-02", "2000-01"), // 2000-02-29T23:59:59.999Z
            (951_868_800_000, "2000-03", "2000-02"),
            (1_767_225_599_999, "2025-12", "2025-11"), // 2025-12-31T23:59:59.999Z
            (1_767_225_600_000, "2026-01", "2025-12"),
            (4_107_542_400_000, "2100-03", "2100-02"), // no leap day in 2100
            (4_107_542_399_999, "2100-02", "2100-01"),
        ] {
            assert_eq!(Month::of(time).to_string(), this, "{time}");
            assert_eq!(Month::of(time).previous().to_string(), before, "{time}");
        }
    }
}
