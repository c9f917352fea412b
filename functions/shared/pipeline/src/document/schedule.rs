//! A schedule's document: the expression, the pipeline and its inputs.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::diagnostics::{Location, Report, Table, join};
use super::key_specs::{OVERLAPS, SCHEDULED};
use super::problem::Problems;
use super::yaml::{self, Content};
use super::{Overlap, Position};
use crate::schedule_expression::{ScheduleExpression, time_zone};
use crate::text::shown;

/// The pipeline of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScheduledPipeline {
    /// The document itself.
    Inline(String),
    /// The document's key in the bucket.
    Key(String),
}

/// A schedule without problems.
#[derive(Debug, Clone)]
pub struct Scheduled {
    /// The expression as it is written.
    pub expression: String,
    pub when: ScheduleExpression,
    pub timezone: String,
    pub zone: TimeZone,
    pub pipeline: ScheduledPipeline,
    /// The key of the rows that it is run over, where it is a batch.
    pub rows: Option<String>,
    /// The settings of the batch, as they are written.
    pub batch: serde_json::Map<String, serde_json::Value>,
    pub input: Option<String>,
    /// `{{vars.x}}`, over the document's own.
    pub vars: BTreeMap<String, String>,
    /// Whether it fires at all.
    pub enabled: bool,
    /// The treatment of a firing while the last run goes on.
    pub overlap: Overlap,
}

/// Reads a schedule. `now` is in milliseconds since the Unix epoch: one that never fires after it is a problem.
pub fn scheduled(text: &str, now: Option<i64>) -> Result<Scheduled, Problems> {
    let root = yaml::parse(text).map_err(|problem| Problems(vec![problem]))?;
    let mut report = Report::new();
    let table = report.table(&root, Location::new(Position::START, ""), SCHEDULED, |_| None);
    let read = table.and_then(|table| read(&mut report, &table, now));
    match read {
        Some(scheduled) if report.is_empty() => Ok(scheduled),
        _ => Err(report.into_problems()),
    }
}

fn read(report: &mut Report, table: &Table<'_>, now: Option<i64>) -> Option<Scheduled> {
    let timezone = text(report, table, "timezone").unwrap_or_else(|| "UTC".to_owned());
    let zone = time_zone(&timezone);
    if let (None, Some((_, location))) = (&zone, table.at("timezone")) {
        let advice = "Use a name of the IANA's database, as Europe/Berlin; UTC where there is none.";
        report.add(&location, "unknown_timezone", format!("there is no time zone `{}`", shown(&timezone)), advice);
    }
    let expression = needed(
        report,
        table,
        "schedule",
        "Say when: cron(0 6 ? * MON-FRI *), rate(1 hour) or at(2027-01-31T06:00:00).",
    );
    let when = expression.as_ref().and_then(|(expression, location)| match ScheduleExpression::parse(expression) {
        Ok(when) => Some(when),
        Err(problem) => {
            report.add(location, &problem.code, problem.message, problem.advice);
            None
        }
    });
    if let (Some(when), Some(zone), Some((expression, location)), Some(now)) = (&when, &zone, &expression, now)
        && when.next(zone, now, now).is_none()
    {
        let past = matches!(when, ScheduleExpression::At(_));
        let message = format!("`{expression}` is {}", if past { "past" } else { "never due" });
        let advice = "Change it, or remove the schedule.";
        report.add(location, if past { "schedule_past" } else { "schedule_never" }, message, advice);
    }
    let input = text(report, table, "input");
    let rows = text(report, table, "rows");
    let batch = match table.at("batch").map(|(node, location)| (node.value(), node, location)) {
        None => serde_json::Map::new(),
        Some((serde_json::Value::Object(settings), _, location)) => {
            if rows.is_none() {
                report.add(
                    &location,
                    "key_missing",
                    "`batch` has settings, and there are no `rows`",
                    "Name the rows, as rows/posters.csv.",
                );
            }
            settings
        }
        Some((_, node, location)) => {
            report.wrong_type(node, &location, "a table (`key: value` lines)");
            serde_json::Map::new()
        }
    };
    let vars = vars(report, table);
    let enabled = report.flag(table, "enabled").unwrap_or(true);
    let overlap = report.word(table, "overlap", &OVERLAPS).unwrap_or_default();
    let pipeline = pipeline(report, table);
    let expression = expression?.0;
    Some(Scheduled {
        expression,
        when: when?,
        timezone,
        zone: zone?,
        pipeline: pipeline?,
        rows,
        batch,
        input,
        vars,
        enabled,
        overlap,
    })
}

fn pipeline(report: &mut Report, table: &Table<'_>) -> Option<ScheduledPipeline> {
    let advice = "Write the pipeline as a table, or the key of its document, as pipelines/posters.yaml.";
    match table.at("pipeline") {
        None => {
            report.add(&table.location, "key_missing", "`pipeline` is missing", advice);
            None
        }
        Some((node, location)) => match &node.content {
            Content::Table(_) => Some(ScheduledPipeline::Inline(node.value().to_string())),
            // A block of text is a document; a name has no line's end.
            Content::Text(text) if text.contains('\n') => Some(ScheduledPipeline::Inline(text.clone())),
            Content::Text(text) => Some(ScheduledPipeline::Key(text.clone())),
            _ => {
                report.wrong_type(node, &location, "a pipeline, or the key of one");
                None
            }
        },
    }
}

fn text(report: &mut Report, table: &Table<'_>, key: &str) -> Option<String> {
    let (node, location) = table.at(key)?;
    report.text(node, &location).map(str::to_owned)
}

fn needed(report: &mut Report, table: &Table<'_>, key: &str, advice: &str) -> Option<(String, Location)> {
    match table.at(key) {
        Some((node, location)) => report.text(node, &location).map(|text| (text.to_owned(), location)),
        None => {
            report.add(&table.location, "key_missing", format!("`{key}` is missing"), advice);
            None
        }
    }
}

/// Values as they are written: like those that are given with a run, they are never rendered.
fn vars(report: &mut Report, table: &Table<'_>) -> BTreeMap<String, String> {
    let Some((node, location)) = table.at("vars") else { return BTreeMap::new() };
    let Content::Table(entries) = &node.content else {
        report.wrong_type(node, &location, "a table (`name: value` lines)");
        return BTreeMap::new();
    };
    let mut vars = BTreeMap::new();
    for (key, node) in entries {
        let value = match &node.content {
            Content::Text(text) => text.clone(),
            Content::Number(number) => number.to_string(),
            Content::Bool(flag) => flag.to_string(),
            _ => {
                let location = Location::new(node.place, join(&location.path, &key.text));
                report.wrong_type(node, &location, "text, a number, or true or false");
                continue;
            }
        };
        vars.insert(key.text.clone(), value);
    }
    vars
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-25T08:00:00Z.
    const NOW: i64 = 1_795_593_600_000;
    const WHOLE: &str = "schedule: cron(0 6 ? * MON-FRI *)\ntimezone: Europe/Berlin\npipeline: pipelines/posters.yaml\n\
                         input: a poster\nvars: { size: 3 }\nenabled: false\noverlap: allow\n";

    #[test]
    fn a_whole_schedule_and_a_short_one() {
        let whole = scheduled(WHOLE, Some(NOW)).unwrap();
        assert_eq!((whole.timezone.as_str(), whole.enabled, whole.overlap), ("Europe/Berlin", false, Overlap::Allow));
        assert_eq!(whole.pipeline, ScheduledPipeline::Key("pipelines/posters.yaml".to_owned()));
        assert_eq!((whole.input.as_deref(), whole.vars["size"].as_str()), (Some("a poster"), "3"));
        // 06:00 in Berlin is 05:00 in UTC.
        assert_eq!(whole.when.next(&whole.zone, NOW, NOW), Some(NOW + 21 * 3_600_000));

        let short =
            scheduled("schedule: rate(1 hour)\npipeline: { steps: [{ type: text_to_image }] }\n", Some(NOW)).unwrap();
        assert_eq!((short.timezone.as_str(), short.enabled, short.overlap), ("UTC", true, Overlap::Skip));
        let inline = "{\"steps\":[{\"type\":\"text_to_image\"}]}".to_owned();
        assert_eq!(short.pipeline, ScheduledPipeline::Inline(inline));
        let block = scheduled("schedule: rate(1 hour)\npipeline: |\n  steps: []\n", Some(NOW)).unwrap();
        assert_eq!(block.pipeline, ScheduledPipeline::Inline("steps: []\n".to_owned()));
    }

    #[test]
    fn the_sample_is_read() {
        let sample = scheduled(include_str!("../../../../../events/schedules/every-morning.yaml"), Some(NOW)).unwrap();
        assert!(sample.enabled && matches!(sample.pipeline, ScheduledPipeline::Inline(_)));
    }

    #[test]
    fn every_problem_has_its_place_and_code() {
        for (from, to, line, code) in [
            ("cron(0 6 ? * MON-FRI *)", "cron(0 25 ? * MON-FRI *)", 1, "bad_schedule"),
            ("cron(0 6 ? * MON-FRI *)", "cron(0 6 30 2 ? *)", 1, "schedule_never"),
            ("cron(0 6 ? * MON-FRI *)", "at(2026-11-25T09:00:00)", 1, "schedule_past"), // in Berlin
            ("cron(0 6 ? * MON-FRI *)", "6", 1, "wrong_type"),
            ("schedule: cron(0 6 ? * MON-FRI *)\n", "", 1, "key_missing"),
            ("Europe/Berlin", "Europe/Atlantis", 2, "unknown_timezone"),
            ("pipelines/posters.yaml", "[]", 3, "wrong_type"),
            ("pipeline: pipelines/posters.yaml\n", "", 1, "key_missing"),
            ("overlap: allow", "overlap: allways", 7, "wrong_value"),
            ("{ size: 3 }", "{ size: [3] }", 5, "wrong_type"),
            ("enabled: false", "enabled: soon", 6, "wrong_type"),
            ("timezone", "timezon", 2, "unknown_key"),
        ] {
            let changed = WHOLE.replacen(from, to, 1);
            assert_ne!(changed, WHOLE);
            let problems = scheduled(&changed, Some(NOW)).unwrap_err().0;
            let found: Vec<_> = problems.iter().map(|problem| (problem.place.line, problem.code.as_str())).collect();
            assert_eq!(found, [(line, code)], "{to}: {problems:?}");
            assert!(!problems[0].advice.is_empty());
        }
        assert_eq!(scheduled("- a\n", Some(NOW)).unwrap_err().0[0].code, "wrong_type");
        assert_eq!(scheduled("a: [", Some(NOW)).unwrap_err().0[0].code, "document_syntax");
        assert_eq!(scheduled("", Some(NOW)).unwrap_err().0.len(), 1);
    }
}
