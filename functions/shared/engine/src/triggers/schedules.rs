//! Keeps the timer of every document under `schedules/` in step with it, and starts one run for each firing of a timer.

use fresco_api_types::{BatchBody, DocumentProblem, FileReport, FiringView, RunBody, ScheduleView};
use fresco_ledger::records::BatchStatus;
use fresco_ledger::records::{Millis, RunRecord, RunStatus};
use fresco_ledger::traits::{
    Batches, Clock, Executions, Firing, FiringOutcome, Firings, Objects, Runs, Scheduler, Timer,
};
use fresco_pipeline::document::{Overlap, Scheduled, ScheduledPipeline, scheduled};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{ContentKey, RunId};
use fresco_pipeline::rows::Format;
use fresco_pipeline::schedule_expression::ScheduleExpression;
use fresco_pipeline::text::{shown, shown_in};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::request::RowsFrom;
use crate::intake::object_keys::{INBOX, PIPELINES, ROWS, SCHEDULE_ERRORS, SCHEDULES, folder, is_plain};
use crate::intake::request::Fetcher;
use crate::intake::start::{IdempotencyKey, StartError, StartedRun};
use crate::intake::uploads::MAX_DOCUMENT;
use crate::platform::Platform;
use crate::triggers::Triggers;
use crate::triggers::inbox::{InboxOutcome, utf8};
use crate::triggers::rejected::StartRejected;

/// Reads of a schedule that changes while it is applied.
const LOOKS: usize = 5;
/// The milliseconds after which a run that is not planned no longer counts as running.
const UNPLANNED: Millis = 15 * 60_000;
/// Schedules that are listed.
const LISTED: usize = 1_000;
/// Schedules that are read concurrently.
const AT_ONCE: usize = 16;

/// The event of a firing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FiringEvent {
    pub schedule: String,
    /// In RFC 3339. A firing may come late, and twice.
    pub scheduled_time: String,
}

/// The outcome of applying a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ScheduleOutcome {
    /// Its timer is set.
    Set { timer: String },
    /// The document is gone, and its timer is removed.
    Removed,
    /// The schedule is invalid, and a report gives the reason.
    Reported {
        report: String,
        /// Stable.
        code: String,
    },
    #[serde(rename = "passed")]
    Ignored { why: &'static str },
}

impl<P: Platform> Triggers<P> {
    /// Brings the timer of a schedule in step with its document. The event does not matter, nor its delay: the current
    /// document counts.
    pub async fn sync_schedule(&self, key: &str, fetcher: &Fetcher) -> Result<ScheduleOutcome, Failure> {
        if !is_schedule(key) {
            return Ok(ScheduleOutcome::Ignored { why: "it is not a schedule's document" });
        }
        let mut seen = self.read_schedule(key).await?;
        for _ in 0..LOOKS {
            let outcome = self.apply(key, seen.as_ref(), fetcher).await?;
            // Another call may have applied a newer document in between.
            let now = self.read_schedule(key).await?;
            if now.as_ref().map(|(tag, _)| tag) == seen.as_ref().map(|(tag, _)| tag) {
                return Ok(outcome);
            }
            seen = now;
        }
        Err(Failure::new(ErrorName::StorageUnavailable, format!("{key} changes all the time")))
    }

    /// Starts the run of a firing, once for each scheduled time. An error is for the dead-letter queue.
    pub async fn start_firing(&self, due: &FiringEvent, fetcher: &Fetcher) -> Result<InboxOutcome, Failure> {
        let at = due.scheduled_time.parse::<jiff::Timestamp>().map_err(|_| {
            Failure::new(ErrorName::InputInvalid, "the event's `scheduled_time` is not a time as 2027-01-31T06:00:00Z")
        })?;
        let at = at.as_millisecond();
        let Some((_, bytes)) = self.read_schedule(&due.schedule).await? else {
            return Ok(InboxOutcome::Ignored { why: "the schedule was removed" });
        };
        let once = IdempotencyKey::event(&["schedule", &self.settings.bucket, &due.schedule, &at.to_string()]);
        let run = once.run()?;
        let last = self.platform.ledger().last_firing(&due.schedule).await?;
        let note = async |fired: FiringOutcome, run| {
            let firing = Firing { at, outcome: fired, run };
            self.platform.ledger().record_firing(&due.schedule, &firing).await?;
            Ok::<_, Failure>(())
        };
        let before = last.and_then(|firing| firing.run);
        let scheduled = match self.parse(&due.schedule, &bytes, None).map_err(Failure::from) {
            Ok(scheduled) if !scheduled.enabled => {
                return Ok(InboxOutcome::Ignored { why: "the schedule is not enabled" });
            }
            Ok(scheduled) => scheduled,
            Err(cause) => {
                note(FiringOutcome::Failed { failure: cause.clone() }, before).await?;
                return Err(cause);
            }
        };
        // A repeated firing does not overlap with itself.
        if scheduled.overlap == Overlap::Skip
            && let Some(before) = before.as_ref().filter(|before| **before != run)
            && let Some((_, true, _)) = self.state_of(before).await?
        {
            note(FiringOutcome::Skipped, Some(before.clone())).await?;
            return Ok(InboxOutcome::Ignored { why: "the run of the firing before goes on" });
        }
        // Recorded before the start: the next firing has to know of it.
        note(FiringOutcome::Started, Some(run.clone())).await?;
        match self.start_scheduled(&once, due, at, &scheduled, fetcher).await {
            Ok(StartedRun { run, existing }) => Ok(InboxOutcome::Started { run_id: run, existing }),
            Err(rejected) => {
                let cause = Failure::from(rejected);
                note(FiringOutcome::Failed { failure: cause.clone() }, before).await?;
                Err(cause)
            }
        }
    }

    async fn start_scheduled(
        &self,
        once: &IdempotencyKey,
        due: &FiringEvent,
        at: Millis,
        scheduled: &Scheduled,
        fetcher: &Fetcher,
    ) -> Result<StartedRun, StartRejected> {
        let body = self.run_body(&due.schedule, scheduled);
        let beside = folder_of(&due.schedule, scheduled);
        let Some(rows) = &scheduled.rows else {
            return self.intake.start(Some(once), Some(beside), fetcher, body).await;
        };
        let next = scheduled.when.next(&scheduled.zone, at, at);
        let period = next.and_then(|next| u64::try_from((next - at) / 1_000).ok());
        let what = async {
            let (body, format) = batch_body(scheduled, rows, body.await?)?;
            Ok((body, Some(RowsFrom { key: rows, tag: None, format, beside, period })))
        };
        self.batches.start_from(Some(once), fetcher, what).await
    }

    /// The status of the run or batch of a firing, whether it is running, and its failure.
    async fn state_of(&self, run: &RunId) -> Result<Option<(RunStatus, bool, Option<Failure>)>, Failure> {
        let ledger = self.platform.ledger();
        if let Some(row) = ledger.run(run).await? {
            let goes_on = self.goes_on(&row);
            return Ok(Some((row.status, goes_on, row.failure)));
        }
        let Some(batch) = ledger.batch(run).await? else { return Ok(None) };
        let status = match batch.status {
            BatchStatus::Planning | BatchStatus::Running => RunStatus::Running,
            BatchStatus::Succeeded => RunStatus::Succeeded,
            BatchStatus::Partial => RunStatus::Partial,
            BatchStatus::Failed => RunStatus::Failed,
            BatchStatus::Stopped => RunStatus::Stopped,
        };
        // A batch whose execution ended without closing it does not count as running.
        let goes_on =
            !batch.status.is_final() && self.platform.executions().batch_is_running(run, batch.generation).await?;
        Ok(Some((status, goes_on, batch.failure)))
    }

    /// Lists the schedules by key, with their last and next firings; at most a thousand.
    pub async fn schedules(&self) -> Result<Vec<ScheduleView>, Failure> {
        let (mut found, mut after) = (Vec::new(), String::new());
        while found.len() < LISTED {
            let page = self.platform.objects().list(SCHEDULES, &after).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.key);
            found.extend(page.into_iter().filter(|object| is_schedule(&object.key)));
        }
        found.truncate(LISTED);
        let views: Vec<_> =
            found.into_iter().map(|object| self.schedule_view(object.key, object.modified_at)).collect();
        let views = futures::stream::iter(views).buffered(AT_ONCE);
        Ok(views.try_collect::<Vec<_>>().await?.into_iter().flatten().collect())
    }

    async fn schedule_view(&self, key: String, made: Millis) -> Result<Option<ScheduleView>, Failure> {
        let Some((tag, bytes)) = self.read_schedule(&key).await? else { return Ok(None) };
        let ledger = self.platform.ledger();
        let last = match ledger.last_firing(&key).await? {
            None => None,
            Some(Firing { at, outcome: fired, run }) => {
                let state = match &run {
                    Some(run) => self.state_of(run).await?,
                    None => None,
                };
                let (status, why) = state.map_or((None, None), |(status, _, why)| (Some(status), why));
                let (outcome, cause) = match fired {
                    FiringOutcome::Started => ("started", why),
                    FiringOutcome::Skipped => ("skipped", None),
                    FiringOutcome::Failed { failure } => ("failed", Some(failure)),
                };
                let run_id = run.map(|run| run.to_string());
                Some(FiringView { at, outcome: outcome.to_owned(), run_id, status, failure: cause })
            }
        };
        let name = name_of(&key).to_owned();
        let blank = ScheduleView { name, key: key.clone(), last, ..ScheduleView::default() };
        // The report counts for more than the document: the pipeline may have problems.
        let report = self.platform.objects().get(&report_key(&key)).await?;
        let report = report.and_then(|json| serde_json::from_slice::<FileReport>(&json).ok());
        if let Some(report) = report.filter(|report| report.etag == tag.trim_matches('"')) {
            return Ok(Some(ScheduleView { problem: Some(report.detail), problems: report.problems, ..blank }));
        }
        Ok(Some(match self.parse(&key, &bytes, None) {
            Ok(scheduled) => {
                let now = self.platform.clock().now();
                let next = scheduled.when.next(&scheduled.zone, now, made).filter(|_| scheduled.enabled);
                ScheduleView {
                    schedule: scheduled.expression,
                    timezone: scheduled.timezone,
                    enabled: scheduled.enabled,
                    overlap: scheduled.overlap,
                    next_at: next,
                    ..blank
                }
            }
            Err(StartRejected::Invalid { detail, problems, .. }) => {
                ScheduleView { problem: Some(detail), problems, ..blank }
            }
            Err(rejected) => return Err(rejected.into()),
        }))
    }

    /// Reads the entity tag and the content, up to the limit of a document.
    async fn read_schedule(&self, key: &str) -> Result<Option<(String, Vec<u8>)>, Failure> {
        let most = usize::try_from(MAX_DOCUMENT).unwrap_or(usize::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        let mut sink = |piece: &[u8]| bytes.extend_from_slice(&piece[..piece.len().min(most - bytes.len())]);
        let tag = self.platform.objects().scan(key, &mut sink).await?;
        Ok(tag.map(|tag| (tag, bytes)))
    }

    /// Parses a schedule. With `now` it has to be due again.
    fn parse(&self, key: &str, bytes: &[u8], now: Option<Millis>) -> Result<Scheduled, StartRejected> {
        if bytes.len() as u64 > MAX_DOCUMENT {
            let detail = format!("the file has more than {MAX_DOCUMENT} bytes");
            return Err(StartRejected::bad("too_large", detail, "Check that it is what its name says."));
        }
        Ok(scheduled(&utf8(key, bytes)?, now)?)
    }

    async fn apply(
        &self,
        key: &str,
        seen: Option<&(String, Vec<u8>)>,
        fetcher: &Fetcher,
    ) -> Result<ScheduleOutcome, Failure> {
        let (timers, name, report) = (self.platform.scheduler(), timer_name(key), report_key(key));
        let Some((tag, bytes)) = seen else {
            timers.delete_timer(&name).await?;
            self.platform.objects().delete(&[report]).await?;
            return Ok(ScheduleOutcome::Removed);
        };
        match self.check_schedule(key, bytes, fetcher).await {
            Ok(scheduled) => {
                let timer = Timer {
                    name: name.clone(),
                    starts_at: self.starts_at(key, &scheduled).await?,
                    expression: scheduled.expression,
                    timezone: scheduled.timezone,
                    enabled: scheduled.enabled,
                    schedule: key.to_owned(),
                };
                match timers.put_timer(&timer).await {
                    Ok(()) => {
                        self.platform.objects().delete(&[report]).await?;
                        Ok(ScheduleOutcome::Set { timer: name })
                    }
                    Err(error) => self.report_schedule(key, tag, error.into()).await,
                }
            }
            Err(StartRejected::Invalid { problems, .. }) if self.has_fired(key, &problems).await? => {
                Ok(ScheduleOutcome::Ignored { why: "it has fired, and is not due again" })
            }
            Err(rejected) => self.report_schedule(key, tag, rejected).await,
        }
    }

    /// The next firing of a rate, which counts from the last change of its document, as the list of schedules does.
    async fn starts_at(&self, key: &str, scheduled: &Scheduled) -> Result<Option<Millis>, Failure> {
        let ScheduleExpression::Rate(_) = scheduled.when else { return Ok(None) };
        let now = self.platform.clock().now();
        let changed = self.platform.objects().head(key).await?.map_or(now, |head| head.modified_at);
        Ok(scheduled.when.next(&scheduled.zone, now, changed))
    }

    /// Checks a schedule and its pipeline.
    async fn check_schedule(&self, key: &str, bytes: &[u8], fetcher: &Fetcher) -> Result<Scheduled, StartRejected> {
        let now = self.platform.clock().now();
        let scheduled = self.parse(key, bytes, Some(now))?;
        let body = self.run_body(key, &scheduled).await?;
        if let Some(rows) = &scheduled.rows {
            batch_body(&scheduled, rows, body)?;
            return Ok(scheduled);
        }
        let request = self.intake.request(body, Some(folder_of(key, &scheduled)), fetcher).await;
        self.intake.compile(&request.map_err(StartError::from)?)?;
        Ok(scheduled)
    }

    /// Returns whether a one-time schedule has fired: its event may be delivered again afterwards.
    async fn has_fired(&self, key: &str, problems: &[DocumentProblem]) -> Result<bool, Failure> {
        match problems {
            [problem] if problem.code == "schedule_past" => {
                Ok(self.platform.ledger().last_firing(key).await?.is_some())
            }
            _ => Ok(false),
        }
    }

    /// Writes a report on an invalid schedule, and removes the timer of its last valid version.
    async fn report_schedule(&self, key: &str, tag: &str, rejected: StartRejected) -> Result<ScheduleOutcome, Failure> {
        let report = report_key(key);
        let code = match rejected {
            StartRejected::Failed(cause) => return Err(cause),
            StartRejected::Ignored(why) => return Ok(ScheduleOutcome::Ignored { why }),
            bad @ StartRejected::Invalid { .. } => self.write_report(&report, key, tag.trim_matches('"'), bad).await?,
        };
        self.platform.scheduler().delete_timer(&timer_name(key)).await?;
        Ok(ScheduleOutcome::Reported { report, code })
    }

    async fn run_body(&self, key: &str, scheduled: &Scheduled) -> Result<RunBody, StartRejected> {
        let pipeline = match &scheduled.pipeline {
            ScheduledPipeline::Inline(document) => document.clone(),
            ScheduledPipeline::Key(place) => {
                if !is_plain(place) || ![PIPELINES, INBOX].iter().any(|prefix| place.starts_with(prefix)) {
                    let detail = format!("{key} names the pipeline `{}`, which is not under {PIPELINES}", shown(place));
                    return Err(StartRejected::bad(
                        "no_pipeline",
                        detail,
                        "Put it there, and name it with its whole key.",
                    ));
                }
                self.pipeline_at(place, "Put it there, or name another.").await?
            }
        };
        let (input, vars) = (scheduled.input.clone(), scheduled.vars.clone());
        Ok(RunBody { pipeline: Some(Value::String(pipeline)), input, vars, ..RunBody::default() })
    }

    fn goes_on(&self, row: &RunRecord) -> bool {
        let until = row.bound_at.unwrap_or(row.created_at + UNPLANNED);
        !row.status.is_final() && self.platform.clock().now() < until
    }
}

/// The request of a batch.
fn batch_body(scheduled: &Scheduled, rows: &str, body: RunBody) -> Result<(BatchBody, Format), StartRejected> {
    if !is_plain(rows) || !rows.starts_with(ROWS) {
        return Err(StartRejected::bad(
            "bad_rows",
            format!("`rows` is `{rows}`, which is not under {ROWS}"),
            "Put them there.",
        ));
    }
    let settings = serde_json::from_value::<BatchBody>(Value::Object(scheduled.batch.clone()));
    // The error names an unknown key; a value that it quotes is a setting.
    let settings = settings.map_err(|error| {
        StartRejected::bad(
            "bad_setting",
            format!("`batch`: {}", shown_in(&error.to_string())),
            "See POST /batches in /openapi.json for what there is.",
        )
    })?;
    let format = settings.format.or_else(|| Format::of_name(rows));
    let format = format.ok_or_else(|| {
        StartRejected::bad(
            "no_format",
            format!("how {rows} is written is not known"),
            "Say it: `batch: { format: csv }`.",
        )
    })?;
    let RunBody { pipeline, input, vars, .. } = body;
    Ok((
        BatchBody { pipeline, input, vars, rows: None, rows_text: None, rows_upload: None, rows_key: None, ..settings },
        format,
    ))
}

fn is_schedule(key: &str) -> bool {
    let ending = key.strip_prefix(SCHEDULES).and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending);
    ending.is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// The name of a schedule: its key without prefix and ending.
fn name_of(key: &str) -> &str {
    let name = key.strip_prefix(SCHEDULES).unwrap_or(key);
    name.rsplit_once('.').map_or(name, |(name, _)| name)
}

/// The name of a timer, short and plain; the hash keeps apart those that would be equal.
fn timer_name(key: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let stem: String = name_of(key).chars().map(plain).take(40).collect();
    let hash = ContentKey::digest(key.as_bytes());
    format!("{stem}-{}", hash.as_str().get(..16).unwrap_or_default())
}

/// The prefix under which the media of its pipeline are looked up.
fn folder_of<'a>(key: &'a str, scheduled: &'a Scheduled) -> &'a str {
    match &scheduled.pipeline {
        ScheduledPipeline::Inline(_) => folder(key),
        ScheduledPipeline::Key(place) => folder(place),
    }
}

fn report_key(key: &str) -> String {
    crate::triggers::inbox::report_key(SCHEDULES, SCHEDULE_ERRORS, key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_have_plain_unique_names() {
        for (key, name) in [
            ("schedules/nightly.yaml", "nightly-"),
            ("schedules/a b/größe+1.YML", "a-b-gr--e-1-"),
            ("schedules/.json", "-"),
        ] {
            assert!(is_schedule(key) && timer_name(key).starts_with(name), "{}", timer_name(key));
        }
        let long = timer_name(&format!("schedules/{}.yaml", "x".repeat(900)));
        assert!(long.len() <= 64, "{long}");
        assert_ne!(timer_name("schedules/a b.yaml"), timer_name("schedules/a-b.yaml"));
        for other in ["schedules/cat.png", "schedules/", "inbox/a.yaml", "schedules/yaml"] {
            assert!(!is_schedule(other), "{other}");
        }
    }
}
