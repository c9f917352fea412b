//! The expressions of EventBridge Scheduler: `cron(…)`, `rate(…)` and `at(…)`, in a time zone.
//! Source: EventBridge Scheduler User Guide, "Schedule types".

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, Zoned};

use crate::document::Problem;
use crate::text::{shown, shown_in};

/// The most skipped times in a row: those that a clock leaves out in spring.
const MAX_GAPS: usize = 400;

/// An expression: the times at which a schedule fires.
#[derive(Debug, Clone)]
pub enum ScheduleExpression {
    /// At the times of a calendar that match, in the schedule's time zone.
    Cron(Box<Cron>),
    /// Every so many milliseconds from the creation of the schedule.
    Rate(i64),
    /// Once, in the schedule's time zone.
    At(DateTime),
}

fn problem(message: impl Into<String>, advice: &str) -> Problem {
    Problem::new("bad_schedule", message, advice)
}

const CRON: &str = "Write cron(minutes hours day-of-month month day-of-week year), as cron(0 6 ? * MON-FRI *); one of the two days is `?`.";
const RATE: &str = "Write rate(5 minutes), rate(1 hour) or rate(7 days).";
const AT: &str = "Write at(2027-01-31T06:00:00).";

impl ScheduleExpression {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let inner = |name: &str| text.trim().strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        if let Some(fields) = inner("cron") {
            return cron(fields);
        }
        if let Some(rate) = inner("rate") {
            return every(rate).ok_or_else(|| problem(format!("`rate({rate})` is no rate"), RATE));
        }
        if let Some(at) = inner("at") {
            let time = at.trim().parse::<DateTime>().ok().filter(|time| time.to_string() == at.trim());
            return time.map(ScheduleExpression::At).ok_or_else(|| problem(format!("`at({at})` is no time"), AT));
        }
        Err(problem("it is neither cron(…) nor rate(…) nor at(…)", CRON))
    }

    /// The next time after `after` at which it fires, in milliseconds since the Unix epoch; `created` is when the schedule was
    /// created, from which a rate counts. `None` if there is none.
    pub fn next(&self, zone: &TimeZone, after: i64, created: i64) -> Option<i64> {
        match self {
            ScheduleExpression::Rate(every) => {
                let periods = after.saturating_sub(created).max(0) / every + 1;
                created.checked_add(every.checked_mul(periods)?)
            }
            ScheduleExpression::At(time) => {
                let at = zone.to_ambiguous_timestamp(*time).compatible().ok()?.as_millisecond();
                (at > after).then_some(at)
            }
            ScheduleExpression::Cron(cron) => {
                let mut civil = zone.to_datetime(Timestamp::from_millisecond(after).ok()?);
                // Matched on the clock's face, as if in UTC: what summer time leaves out is left out, what it repeats is
                // due once.
                for _ in 0..MAX_GAPS {
                    let face: Zoned = civil.to_zoned(TimeZone::UTC).ok()?;
                    civil = cron.find_next_occurrence(&face, false).ok()?.datetime();
                    let time = zone.to_ambiguous_timestamp(civil);
                    if matches!(time.offset(), AmbiguousOffset::Gap { .. }) {
                        continue;
                    }
                    let at = time.earlier().ok()?.as_millisecond();
                    if at > after {
                        return Some(at);
                    }
                }
                None
            }
        }
    }
}

/// The time zone of this name, from the database of the IANA.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    // A POSIX rule or an offset is no name of Scheduler's.
    TimeZone::get(name).ok()
}

fn cron(fields: &str) -> Result<ScheduleExpression, Problem> {
    let parts: Vec<&str> = fields.split_ascii_whitespace().collect();
    let [_, _, day, _, weekday, _] = parts.as_slice() else {
        return Err(problem(format!("cron(…) has 6 fields, and `cron({fields})` has {}", parts.len()), CRON));
    };
    if (*day == "?") == (*weekday == "?") {
        return Err(problem("exactly one of day-of-month and day-of-week has to be `?`", CRON));
    }
    let parser = CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Required)
        .dom_and_dow(true)
        .alternative_weekdays(true)
        .sloppy_ranges(true)
        .build();
    // Its years come with seconds; EventBridge has none.
    match parser.parse(&format!("0 {}", parts.join(" "))) {
        Ok(cron) => Ok(ScheduleExpression::Cron(Box::new(cron))),
        Err(error) => {
            Err(problem(format!("`cron({})` cannot be read: {}", shown(fields), shown_in(&error.to_string())), CRON))
        }
    }
}

fn every(rate: &str) -> Option<ScheduleExpression> {
    let (count, unit) = rate.trim().split_once(' ')?;
    let count: i64 = count.parse().ok().filter(|count| *count > 0)?;
    let minutes = match unit.trim() {
        "minute" | "minutes" => 1,
        "hour" | "hours" => 60,
        "day" | "days" => 24 * 60,
        _ => return None,
    };
    count.checked_mul(minutes * 60_000).map(ScheduleExpression::Rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(time: &str) -> i64 {
        time.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[track_caller]
    fn due(expression: &str, zone: &str, after: &str, times: &[&str]) {
        let when = ScheduleExpression::parse(expression).unwrap_or_else(|problem| panic!("{expression}: {problem:?}"));
        let (zone, made) = (time_zone(zone).unwrap(), millis(after));
        let mut at = made;
        for time in times {
            let next = when.next(&zone, at, made);
            assert_eq!(next, Some(millis(time)), "{expression} behind {}", Timestamp::from_millisecond(at).unwrap());
            at = next.unwrap();
        }
    }

    #[test]
    fn expressions_of_the_user_guide() {
        let after = "2026-11-25T08:00:00Z";
        due("rate(5 minutes)", "UTC", after, &["2026-11-25T08:05:00Z", "2026-11-25T08:10:00Z"]);
        due("rate(1 hour)", "UTC", after, &["2026-11-25T09:00:00Z"]);
        due("rate(7 days)", "Europe/Berlin", after, &["2026-12-02T08:00:00Z"]);
        due("cron(0 10 * * ? *)", "UTC", after, &["2026-11-25T10:00:00Z", "2026-11-26T10:00:00Z"]);
        due("cron(0 18 ? * MON-FRI *)", "UTC", "2026-11-27T19:00:00Z", &["2026-11-30T18:00:00Z"]);
        due("cron(0 8 1 * ? *)", "UTC", after, &["2026-12-01T08:00:00Z", "2027-01-01T08:00:00Z"]);
        due("cron(0/15 * ? * 4 *)", "UTC", after, &["2026-11-25T08:15:00Z", "2026-11-25T08:30:00Z"]);
        due("cron(15 12 ? * 3#2 *)", "UTC", after, &["2026-12-08T12:15:00Z", "2027-01-12T12:15:00Z"]);
        due("cron(0 0 L * ? *)", "UTC", after, &["2026-11-30T00:00:00Z", "2026-12-31T00:00:00Z"]);
        due("cron(15 10 ? * 6L 2027-2028)", "UTC", after, &["2027-01-29T10:15:00Z"]);
        due("cron(0 9 15W * ? *)", "UTC", "2026-11-01T00:00:00Z", &["2026-11-16T09:00:00Z", "2026-12-15T09:00:00Z"]);
        due("cron(0 6 ? FEB-MAR,dec SUN *)", "UTC", after, &["2026-12-06T06:00:00Z"]);
        due("at(2026-12-24T18:00:00)", "America/New_York", after, &["2026-12-24T23:00:00Z"]);
    }

    #[test]
    fn summer_time_leaves_out_and_repeats() {
        // 02:30 is not there on 2027-03-28, and there twice on 2027-10-31.
        let daily = "cron(30 2 * * ? *)";
        due(daily, "Europe/Berlin", "2027-03-27T00:00:00Z", &["2027-03-27T01:30:00Z", "2027-03-29T00:30:00Z"]);
        due(daily, "Europe/Berlin", "2027-10-30T12:00:00Z", &["2027-10-31T00:30:00Z", "2027-11-01T01:30:00Z"]);
    }

    #[test]
    fn an_expression_that_never_fires_has_no_next_time() {
        let (utc, now) = (TimeZone::UTC, millis("2026-11-25T08:00:00Z"));
        for never in
            ["cron(0 0 31 2 ? *)", "cron(0 0 1 1 ? 2020)", "at(2026-11-25T08:00:00)", "at(1999-01-01T00:00:00)"]
        {
            assert_eq!(ScheduleExpression::parse(never).unwrap().next(&utc, now, now), None, "{never}");
        }
    }

    #[test]
    fn an_unreadable_expression_is_reported() {
        for bad in [
            "",
            "daily",
            "cron()",
            "cron(0 10 * * *)",
            "cron(0 10 * * * *)",
            "cron(0 10 ? * ? *)",
            "cron(61 10 * * ? *)",
            "cron(0 24 * * ? *)",
            "cron(0 10 32 * ? *)",
            "cron(0 10 * FOO ? *)",
            "cron(0 10 * * ? *",
            "rate(0 minutes)",
            "rate(5)",
            "rate(-1 hours)",
            "rate(1.5 hours)",
            "rate(2 weeks)",
            "rate(9223372036854775807 days)",
            "at(tomorrow)",
            "at(2026-13-01T00:00:00)",
            "at(2026-12-24T18:00:00Z)",
            "at(2026-12-24)",
        ] {
            let problem = ScheduleExpression::parse(bad).unwrap_err();
            assert!(!problem.message.is_empty() && problem.advice.starts_with("Write "), "{bad}");
        }
        for bad in ["Mars/Olympus", "", "UTC+1", "../etc"] {
            assert!(time_zone(bad).is_none(), "{bad}");
        }
    }
}
