//! Schedules: a document under `schedules/` in the bucket is kept in step with a timer, and each firing of the timer is one run.

use fresco_ledger::records::{BatchStatus, Millis, RunRecord, RunStatus};
use fresco_ledger::traits::{
    Batches, Clock, Executions, Firing, FiringOutcome, Firings, Objects, Runs, Scheduler, Timer,
};
use fresco_pipeline::document::{Overlap, Scheduled, ScheduledPipeline, scheduled};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{ContentKey, RunId};
use fresco_pipeline::rows::Format;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::wire::BatchBody;
use crate::batch::{ROWS, RowsFrom};
use crate::inbox::{INBOX, Unstarted, folder, is_plain, utf8};
use crate::order::Fetcher;
use crate::platform::Platform;
use crate::start::{Begun, Once, StartError};
use crate::transact::failure;
use crate::wire::{FiringView, RunBody, ScheduleView};
use crate::{Engine, FileReport, MAX_DOCUMENT, Taken};

/// Where schedules are.
pub const SCHEDULES: &str = "schedules/";
/// Where reports about them are.
pub const SCHEDULE_ERRORS: &str = "schedule-errors/";
/// Where pipelines lie that schedules name.
pub const PIPELINES: &str = "pipelines/";
/// How often a schedule is looked at again that changes while it is taken over.
const LOOKS: usize = 5;
/// A run that was recorded and not planned within so many milliseconds is not waited for.
const UNPLANNED: Millis = 15 * 60_000;
/// How many schedules are listed.
const LISTED: usize = 1_000;
/// How many of them are read side by side.
const AT_ONCE: usize = 16;

/// A firing, as the timer tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Due {
    /// The key of the schedule's document.
    pub schedule: String,
    /// The time that it was scheduled for, in RFC 3339: a firing may come late, and twice.
    pub scheduled_time: String,
}

/// What became of a schedule's document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Kept {
    /// Its timer is as it says.
    Set {
        /// The timer's name.
        timer: String,
    },
    /// It is gone, and so is its timer.
    Removed,
    /// It cannot be kept, and a report says why.
    Reported {
        /// The report's key.
        report: String,
        /// A stable code.
        code: String,
    },
    /// There is nothing to do.
    Passed {
        /// Why.
        why: &'static str,
    },
}

impl<P: Platform> Engine<P> {
    /// Brings the timer of a schedule in step with its document, whatever the event was and however late: what counts is what
    /// is there now.
    pub async fn keep_schedule(&self, key: &str, fetcher: &Fetcher) -> Result<Kept, Failure> {
        if !is_schedule(key) {
            return Ok(Kept::Passed { why: "it is not a schedule's document" });
        }
        let mut seen = self.read_schedule(key).await?;
        for _ in 0..LOOKS {
            let kept = self.apply(key, seen.as_ref(), fetcher).await?;
            // Another call may have read what came later, and been quicker.
            let now = self.read_schedule(key).await?;
            if now.as_ref().map(|(tag, _)| tag) == seen.as_ref().map(|(tag, _)| tag) {
                return Ok(kept);
            }
            seen = now;
        }
        Err(Failure::new(ErrorName::StorageUnavailable, format!("{key} changes all the time")))
    }

    /// Starts the run of a firing, once for each scheduled time. An error is for the queue of failures.
    pub async fn fire(&self, due: &Due, fetcher: &Fetcher) -> Result<Taken, Failure> {
        let at = due.scheduled_time.parse::<jiff::Timestamp>().map_err(|_| {
            Failure::new(ErrorName::InputInvalid, "the event's `scheduled_time` is not a time as 2027-01-31T06:00:00Z")
        })?;
        let at = at.as_millisecond();
        let Some((_, bytes)) = self.read_schedule(&due.schedule).await? else {
            return Ok(Taken::Passed { why: "the schedule was removed" });
        };
        let once = Once::event(&["schedule", &self.settings.bucket, &due.schedule, &at.to_string()]);
        let run = once.run()?;
        let last = self.platform.ledger().last_firing(&due.schedule).await.map_err(failure)?;
        let note = async |outcome: FiringOutcome, run| {
            let firing = Firing { at, outcome, run };
            self.platform.ledger().record_firing(&due.schedule, &firing).await.map_err(failure).map(drop)
        };
        let before = last.and_then(|firing| firing.run);
        let scheduled = match self.scheduled(&due.schedule, &bytes, None).map_err(Failure::from) {
            Ok(scheduled) if !scheduled.enabled => return Ok(Taken::Passed { why: "the schedule is not enabled" }),
            Ok(scheduled) => scheduled,
            Err(cause) => {
                note(FiringOutcome::Failed { failure: cause.clone() }, before).await?;
                return Err(cause);
            }
        };
        // The same firing again is no overlap with itself.
        if scheduled.overlap == Overlap::Skip
            && let Some(before) = before.as_ref().filter(|before| **before != run)
            && let Some((_, true, _)) = self.state_of(before).await?
        {
            note(FiringOutcome::Skipped, Some(before.clone())).await?;
            return Ok(Taken::Passed { why: "the run of the firing before goes on" });
        }
        // Before it is started: the next firing has to know of it.
        note(FiringOutcome::Started, Some(run.clone())).await?;
        match self.start_scheduled(&once, due, at, &scheduled, fetcher).await {
            Ok(Begun { run, existing }) => Ok(Taken::Started { run_id: run, existing }),
            Err(unstarted) => {
                let cause = Failure::from(unstarted);
                note(FiringOutcome::Failed { failure: cause.clone() }, before).await?;
                Err(cause)
            }
        }
    }

    async fn start_scheduled(
        &self,
        once: &Once,
        due: &Due,
        at: Millis,
        scheduled: &Scheduled,
        fetcher: &Fetcher,
    ) -> Result<Begun, Unstarted> {
        let order = self.order_of(&due.schedule, scheduled);
        let beside = folder_of(&due.schedule, scheduled);
        let Some(rows) = &scheduled.rows else {
            return self.start_order(Some(once), Some(beside), fetcher, order).await;
        };
        let next = scheduled.when.next(&scheduled.zone, at, at);
        let period = next.and_then(|next| u64::try_from((next - at) / 1_000).ok());
        let what = async {
            let (body, format) = batch_of(scheduled, rows, order.await?)?;
            Ok((body, Some(RowsFrom { key: rows, tag: None, format, beside, period })))
        };
        self.start_batch_of(Some(once), fetcher, what).await
    }

    /// Where the run of a firing is, or its batch.
    async fn state_of(&self, run: &RunId) -> Result<Option<(RunStatus, bool, Option<Failure>)>, Failure> {
        let ledger = self.platform.ledger();
        if let Some(row) = ledger.run(run).await.map_err(failure)? {
            let goes_on = self.goes_on(&row);
            return Ok(Some((row.status, goes_on, row.failure)));
        }
        let Some(batch) = ledger.batch(run).await.map_err(failure)? else { return Ok(None) };
        let status = match batch.status {
            BatchStatus::Planning | BatchStatus::Running => RunStatus::Running,
            BatchStatus::Succeeded => RunStatus::Succeeded,
            BatchStatus::Partial => RunStatus::Partial,
            BatchStatus::Failed => RunStatus::Failed,
            BatchStatus::Stopped => RunStatus::Stopped,
        };
        // One whose execution ended without closing it is not waited for for ever.
        let goes_on = !batch.status.is_final()
            && self.platform.executions().batch_is_running(run, batch.generation).await.map_err(failure)?;
        Ok(Some((status, goes_on, batch.failure)))
    }

    /// The schedules by their keys, with their last and next firings; at most a thousand.
    pub async fn schedules(&self) -> Result<Vec<ScheduleView>, Failure> {
        let (mut found, mut after) = (Vec::new(), String::new());
        while found.len() < LISTED {
            let page = self.platform.objects().list(SCHEDULES, &after).await.map_err(failure)?;
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
        let last = match ledger.last_firing(&key).await.map_err(failure)? {
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
        // What the keeping of it came to counts for more than what it says: its pipeline may have problems.
        let report = self.platform.objects().get(&report_key(&key)).await.map_err(failure)?;
        let report = report.and_then(|json| serde_json::from_slice::<FileReport>(&json).ok());
        if let Some(report) = report.filter(|report| report.etag == tag.trim_matches('"')) {
            return Ok(Some(ScheduleView { problem: Some(report.detail), problems: report.problems, ..blank }));
        }
        Ok(Some(match self.scheduled(&key, &bytes, None) {
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
            Err(Unstarted::Bad { detail, problems, .. }) => ScheduleView { problem: Some(detail), problems, ..blank },
            Err(unstarted) => return Err(unstarted.into()),
        }))
    }

    /// The entity tag and the content, of which no more is read than a document may have.
    async fn read_schedule(&self, key: &str) -> Result<Option<(String, Vec<u8>)>, Failure> {
        let most = usize::try_from(MAX_DOCUMENT).unwrap_or(usize::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        let mut sink = |piece: &[u8]| bytes.extend_from_slice(&piece[..piece.len().min(most - bytes.len())]);
        let tag = self.platform.objects().scan(key, &mut sink).await.map_err(failure)?;
        Ok(tag.map(|tag| (tag, bytes)))
    }

    /// `now` where the schedule has to be due again.
    fn scheduled(&self, key: &str, bytes: &[u8], now: Option<Millis>) -> Result<Scheduled, Unstarted> {
        if bytes.len() as u64 > MAX_DOCUMENT {
            let detail = format!("the file has more than {MAX_DOCUMENT} bytes");
            return Err(Unstarted::bad("too_large", detail, "Check that it is what its name says."));
        }
        Ok(scheduled(&utf8(key, bytes)?, now)?)
    }

    async fn apply(&self, key: &str, seen: Option<&(String, Vec<u8>)>, fetcher: &Fetcher) -> Result<Kept, Failure> {
        let (timers, name, report) = (self.platform.scheduler(), timer_name(key), report_key(key));
        let Some((tag, bytes)) = seen else {
            timers.delete_timer(&name).await.map_err(failure)?;
            self.platform.objects().delete(&[report]).await.map_err(failure)?;
            return Ok(Kept::Removed);
        };
        match self.check_schedule(key, bytes, fetcher).await {
            Ok(scheduled) => {
                let timer = Timer {
                    name: name.clone(),
                    expression: scheduled.expression,
                    timezone: scheduled.timezone,
                    enabled: scheduled.enabled,
                    schedule: key.to_owned(),
                };
                match timers.put_timer(&timer).await.map_err(|error| Unstarted::from(failure(error))) {
                    Ok(()) => {
                        self.platform.objects().delete(&[report]).await.map_err(failure)?;
                        Ok(Kept::Set { timer: name })
                    }
                    Err(unstarted) => self.report_schedule(key, tag, unstarted).await,
                }
            }
            Err(Unstarted::Bad { problems, .. }) if self.has_fired(key, &problems).await? => {
                Ok(Kept::Passed { why: "it has fired, and is not due again" })
            }
            Err(unstarted) => self.report_schedule(key, tag, unstarted).await,
        }
    }

    /// The schedule, if it and its pipeline are as they have to be.
    async fn check_schedule(&self, key: &str, bytes: &[u8], fetcher: &Fetcher) -> Result<Scheduled, Unstarted> {
        let now = self.platform.clock().now();
        let scheduled = self.scheduled(key, bytes, Some(now))?;
        let order = self.order_of(key, &scheduled).await?;
        if let Some(rows) = &scheduled.rows {
            batch_of(&scheduled, rows, order)?;
            return Ok(scheduled);
        }
        let request = self.order(order, Some(folder_of(key, &scheduled)), fetcher).await.map_err(StartError::from)?;
        request.fixed(now, "00000000")?.check().map_err(StartError::Document)?;
        Ok(scheduled)
    }

    /// An event about a schedule may be told again after its one time has come.
    async fn has_fired(&self, key: &str, problems: &[crate::wire::DocumentProblem]) -> Result<bool, Failure> {
        match problems {
            [problem] if problem.code == "schedule_past" => {
                Ok(self.platform.ledger().last_firing(key).await.map_err(failure)?.is_some())
            }
            _ => Ok(false),
        }
    }

    /// What cannot be kept does not fire as it did before, either.
    async fn report_schedule(&self, key: &str, tag: &str, unstarted: Unstarted) -> Result<Kept, Failure> {
        let report = report_key(key);
        let code = match unstarted {
            Unstarted::Failed(cause) => return Err(cause),
            Unstarted::Passed(why) => return Ok(Kept::Passed { why }),
            bad @ Unstarted::Bad { .. } => self.write_report(&report, key, tag.trim_matches('"'), bad).await?,
        };
        self.platform.scheduler().delete_timer(&timer_name(key)).await.map_err(failure)?;
        Ok(Kept::Reported { report, code })
    }

    async fn order_of(&self, key: &str, scheduled: &Scheduled) -> Result<RunBody, Unstarted> {
        let pipeline = match &scheduled.pipeline {
            ScheduledPipeline::Inline(document) => document.clone(),
            ScheduledPipeline::Key(place) => {
                if !is_plain(place) || ![PIPELINES, INBOX].iter().any(|prefix| place.starts_with(prefix)) {
                    let detail = format!("{key} names the pipeline `{place}`, which is not beneath {PIPELINES}");
                    return Err(Unstarted::bad("no_pipeline", detail, "Put it there, and name it with its whole key."));
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

/// What is asked of a batch.
fn batch_of(scheduled: &Scheduled, rows: &str, order: RunBody) -> Result<(BatchBody, Format), Unstarted> {
    if !is_plain(rows) || !rows.starts_with(ROWS) {
        return Err(Unstarted::bad(
            "bad_rows",
            format!("`rows` is `{rows}`, which is not beneath {ROWS}"),
            "Put them there.",
        ));
    }
    let settings = serde_json::from_value::<BatchBody>(Value::Object(scheduled.batch.clone()));
    // The parser says which key it does not know; what it quotes of a value is a setting.
    let settings = settings.map_err(|error| {
        Unstarted::bad(
            "bad_setting",
            format!("`batch`: {error}"),
            "See POST /batches in /openapi.json for what there is.",
        )
    })?;
    let format = settings.format.or_else(|| Format::of_name(rows));
    let format = format.ok_or_else(|| {
        Unstarted::bad("no_format", format!("how {rows} is written is not known"), "Say it: `batch: { format: csv }`.")
    })?;
    let RunBody { pipeline, input, vars, .. } = order;
    Ok((
        BatchBody { pipeline, input, vars, rows: None, rows_text: None, rows_upload: None, rows_key: None, ..settings },
        format,
    ))
}

fn is_schedule(key: &str) -> bool {
    let ending = key.strip_prefix(SCHEDULES).and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending);
    ending.is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// The name that people know it by.
fn name_of(key: &str) -> &str {
    let name = key.strip_prefix(SCHEDULES).unwrap_or(key);
    name.rsplit_once('.').map_or(name, |(name, _)| name)
}

/// Names of timers are short and plain; the hash tells those apart that would look the same.
fn timer_name(key: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let stem: String = name_of(key).chars().map(plain).take(40).collect();
    let hash = ContentKey::digest(key.as_bytes());
    format!("{stem}-{}", hash.as_str().get(..16).unwrap_or_default())
}

/// Where media of its pipeline are looked for.
fn folder_of<'a>(key: &'a str, scheduled: &'a Scheduled) -> &'a str {
    match &scheduled.pipeline {
        ScheduledPipeline::Inline(_) => folder(key),
        ScheduledPipeline::Key(place) => folder(place),
    }
}

fn report_key(key: &str) -> String {
    crate::inbox::report_key(SCHEDULES, SCHEDULE_ERRORS, key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_have_plain_names_of_their_own() {
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
