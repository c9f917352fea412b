//! The table of schedules.

use fresco_api_types::{FiringView, ScheduleView};
use fresco_pipeline::schedule_expression::time_zone;
use fresco_pipeline::status::RunStatus;
use fresco_pipeline::time::Millis;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::progress::status_text;
use super::table::table;
use super::{duration, span};

/// The schedules with their last and next firings, and their problems below.
pub fn of(schedules: &[ScheduleView], now: Millis) -> String {
    if schedules.is_empty() {
        return "No schedules yet: put a document under schedules/ in the stack's bucket.".to_owned();
    }
    let of_last = |schedule: &ScheduleView, cell: &dyn Fn(&FiringView) -> Option<String>| {
        schedule.last.as_ref().and_then(cell).unwrap_or_else(|| "-".to_owned())
    };
    let mut text = table(schedules)
        .left("schedule", |one| one.name.clone())
        .left("when", |one| one.schedule.clone())
        .left("next", |one| next(one, now))
        .left("last", |one| of_last(one, &|last| Some(time(last.at, &one.timezone))))
        .left("outcome", |one| of_last(one, &|last| Some(outcome(last))))
        .left("run", |one| of_last(one, &|last| last.run_id.clone()))
        .text();
    for schedule in schedules {
        if let Some(problem) = &schedule.problem {
            text.push_str(&format!("\n{} does not fire: {problem}", schedule.key));
        }
        if let Some(failure) = schedule.last.as_ref().and_then(|last| last.failure.as_ref()) {
            text.push_str(&format!("\n{}: {}: {}", schedule.name, failure.name, failure.message));
        }
    }
    text.trim_end().to_owned()
}

fn next(schedule: &ScheduleView, now: Millis) -> String {
    match schedule.next_at {
        Some(at) => {
            let left = (at - now).max(0);
            let left = if left < 3_600_000 { duration(left) } else { span(left) };
            format!("{}, in {left}", time(at, &schedule.timezone))
        }
        None if schedule.problem.is_some() => "invalid".to_owned(),
        None if !schedule.enabled => "not enabled".to_owned(),
        None => "never again".to_owned(),
    }
}

fn outcome(last: &FiringView) -> String {
    match (last.outcome.as_str(), last.status) {
        ("started", Some(status)) => status_text(status).to_owned(),
        ("started", None) => "started".to_owned(),
        ("skipped", Some(RunStatus::Running)) => "skipped: the previous run is still running".to_owned(),
        ("skipped", Some(status)) => format!("skipped; the previous run {}", status_text(status)),
        ("skipped", None) => "skipped".to_owned(),
        _ => "not started".to_owned(),
    }
}

/// Formats a time in the schedule's time zone.
fn time(at: Millis, zone: &str) -> String {
    let name = if zone.is_empty() { "UTC" } else { zone };
    let zone = time_zone(name).unwrap_or(TimeZone::UTC);
    let shown = Timestamp::from_millisecond(at).map(|at| at.to_zoned(zone).strftime("%Y-%m-%d %H:%M").to_string());
    format!("{} {name}", shown.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use fresco_pipeline::error::{ErrorName, Failure};

    use super::*;

    #[test]
    fn every_state_of_a_schedule_has_its_line() {
        // 2026-11-25T08:00:00Z
        let now = 1_795_593_600_000;
        let last = |outcome: &str, status| FiringView {
            at: now - 3_600_000,
            outcome: outcome.to_owned(),
            run_id: Some("once-1".to_owned()),
            status,
            failure: None,
        };
        let base = ScheduleView {
            name: "nightly".to_owned(),
            schedule: "cron(0 6 * * ? *)".to_owned(),
            timezone: "Europe/Berlin".to_owned(),
            enabled: true,
            ..ScheduleView::default()
        };
        let failure = Some(Failure::new(ErrorName::InputInvalid, "no_pipeline: there is no pipelines/a.yaml"));
        let schedules = [
            ScheduleView {
                next_at: Some(now + 21 * 3_600_000),
                last: Some(last("started", Some(RunStatus::Succeeded))),
                ..base.clone()
            },
            ScheduleView { last: Some(last("skipped", Some(RunStatus::Running))), enabled: false, ..base.clone() },
            ScheduleView { last: Some(FiringView { failure, ..last("failed", None) }), ..base.clone() },
            ScheduleView { key: "schedules/x.yaml".to_owned(), problem: Some("1:1 bad".to_owned()), ..base },
        ];
        let text = of(&schedules, now);
        for part in [
            "2026-11-26 06:00 Europe/Berlin, in 21 h",
            "2026-11-25 08:00 Europe/Berlin  succeeded",
            "not enabled",
            "skipped: the previous run is still running",
            "never again",
            "not started",
            "invalid",
            "schedules/x.yaml does not fire: 1:1 bad",
            "nightly: Input.Invalid: no_pipeline: there is no pipelines/a.yaml",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(of(&[], now).contains("schedules/"));
    }
}
