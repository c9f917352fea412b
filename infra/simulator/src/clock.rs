//! Instants: milliseconds of the wall clock, and their text form.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// RFC 3339 in UTC with milliseconds, the form of fal's instants.
pub(crate) fn rfc3339(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map(|instant| format!("{instant:.3}")).unwrap_or_default()
}

/// Reads an instant, or a bare date as its first moment in UTC. Gives milliseconds since the Unix epoch.
pub(crate) fn parse_instant(text: &str) -> Option<i64> {
    let date = || text.parse::<DateTime>().and_then(|date| date.to_zoned(TimeZone::UTC)).map(|date| date.timestamp());
    text.parse::<Timestamp>().or_else(|_| date()).ok().map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_round_trip() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(parse_instant("1970-01-01T00:00:01.500Z"), Some(1500));
        assert_eq!(parse_instant("1970-01-02"), Some(86_400_000));
        assert_eq!(parse_instant("yesterday"), None);
    }
}
