//! Output for people: lines while a run goes on, tables, and the contact sheet.

pub mod batches;
pub mod clean;
pub mod contact_sheet;
pub mod models;
pub mod plan;
pub mod progress;
pub mod runs;
pub mod schedules;
pub mod storage;
pub mod table;

use fresco_pipeline::status::ResultSource;
use fresco_pipeline::time::{DAY, HOUR, MINUTE, Millis};

/// Formats a duration: `850 ms`, `3.2 s`, `2 min 05 s`.
pub fn duration(millis: i64) -> String {
    match millis {
        ..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{:.1} s", millis as f64 / 1_000.0),
        _ => format!("{} min {:02} s", millis / 60_000, millis / 1_000 % 60),
    }
}

/// Formats a long time, rounded down: `90 min`, `14 h`, `3 days`.
pub fn span(millis: Millis) -> String {
    match millis {
        ..7_200_000 => format!("{} min", millis / MINUTE),
        7_200_000..172_800_000 => format!("{} h", millis / HOUR),
        _ => format!("{} days", millis / DAY),
    }
}

/// Formats a time in UTC, to the minute: `2026-01-05 00:00 UTC`.
pub fn moment(at: Millis) -> String {
    match jiff::Timestamp::from_millisecond(at) {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        // Beyond the calendar's end.
        Err(_) => "never".to_owned(),
    }
}

/// Formats a number of things: `1 step`, `2 steps`.
pub fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The source of a result, in a word.
pub const fn source(source: Option<ResultSource>) -> &'static str {
    match source {
        Some(ResultSource::Hit) => "cache",
        Some(ResultSource::Joined) => "joined",
        Some(ResultSource::Generated) => "generated",
        None => "-",
    }
}

/// Formats a number of bytes: `850 B`, `3.4 MB`, `34 MB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1_000.0;
    let mut unit = 0;
    // A value that would be shown as 1000 of a unit is shown as 1 of the next.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    let digits = usize::from(value < 9.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_times_are_shown_in_minutes_hours_or_days() {
        for (millis, text) in [
            (0, "0 min"),
            (7_199_999, "119 min"),
            (7_200_000, "2 h"),
            (172_799_999, "47 h"),
            (172_800_000, "2 days"),
            (30 * 86_400_000, "30 days"),
        ] {
            assert_eq!(span(millis), text, "{millis}");
        }
        assert_eq!(moment(20_458 * 86_400_000 + 60_000), "2026-01-05 00:01 UTC");
        assert_eq!(moment(Millis::MAX), "never");
    }

    #[test]
    fn sizes_have_two_or_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (9_949, "9.9 kB"),
            (9_950, "10 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (34_200_000, "34 MB"),
            (2_500_000_000, "2.5 GB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
