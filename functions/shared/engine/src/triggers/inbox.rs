//! Runs the objects of the inbox: a pipeline that is put under `inbox/`, a text for the pipeline that it names or that
//! lies beside it, or rows. An object that cannot be run gets a report.

use std::future::ready;

use bytes::Bytes;
use fresco_api_types::{BatchBody, DocumentProblem, FileReport, RunBody};
use fresco_ledger::traits::{Clock, ConditionalGet, Objects};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{ContentKey, RunId};
use fresco_pipeline::rows::Format;
use fresco_pipeline::text::shown;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::request::RowsFrom;
use crate::intake::object_keys::{INBOX, INBOX_ERRORS, folder, is_plain};
use crate::intake::request::Fetcher;
use crate::intake::start::{IdempotencyKey, StartedRun};
use crate::intake::uploads::MAX_DOCUMENT;
use crate::metrics;
use crate::platform::Platform;
use crate::triggers::Triggers;
use crate::triggers::rejected::StartRejected;

/// The name of the pipeline of the texts beside it.
const PIPELINE: &str = "pipeline.yaml";
/// The metadata with which a text names another pipeline.
const NAMED_BY: &str = "fresco-pipeline";
/// The limit of S3 for a key, in bytes.
const MAX_KEY: usize = 1_024;

/// An object that was created in the inbox, as the events of S3 describe it. Source: Amazon S3 User Guide, "EventBridge
/// event message structure"; the key is not encoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectCreated {
    pub key: String,
    #[serde(rename = "etag")]
    pub tag: String,
    /// In bytes.
    #[serde(rename = "size")]
    pub bytes: u64,
    /// Present where the bucket has versions.
    #[serde(rename = "version-id")]
    pub version: Option<String>,
    /// The order of the events of one key.
    #[serde(default)]
    pub sequencer: String,
}

/// The outcome of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum InboxOutcome {
    /// A run or a batch is started.
    Started {
        run_id: RunId,
        /// Whether it existed before: events may be delivered twice.
        existing: bool,
    },
    /// It cannot be run, and a report gives the reason.
    Reported {
        report: String,
        /// Stable.
        code: String,
    },
    /// A file that it needs has not arrived. A report says which, and the file's arrival runs it.
    Waiting {
        report: String,
        /// Stable.
        code: String,
    },
    #[serde(rename = "passed")]
    Ignored { why: &'static str },
}

/// The kind of an object in the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InboxKind {
    Document,
    Text,
    Rows(Format),
}

impl InboxKind {
    pub(super) fn of(key: &str) -> Option<Self> {
        let (_, ending) = key.rsplit_once('/')?.1.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "yaml" | "yml" | "json" => Some(InboxKind::Document),
            "txt" => Some(InboxKind::Text),
            "csv" | "jsonl" | "ndjson" => Format::of_name(key).map(InboxKind::Rows),
            _ => None,
        }
    }
}

impl<P: Platform> Triggers<P> {
    /// Starts the run that an event requests, once for each id of an event. An error is for the dead-letter queue.
    pub async fn start_requested(
        &self,
        event: &str,
        body: RunBody,
        fetcher: &Fetcher,
    ) -> Result<InboxOutcome, Failure> {
        let once = IdempotencyKey::event(&["event", event]);
        let started = self.intake.start::<StartRejected>(Some(&once), None, fetcher, ready(Ok(body))).await?;
        Ok(InboxOutcome::Started { run_id: started.run, existing: started.existing })
    }

    /// Runs an object of the inbox, once however often the event is delivered, and the objects that waited for it. An
    /// error is for the dead-letter queue.
    pub async fn accept_object_created(
        &self,
        object: &ObjectCreated,
        fetcher: &Fetcher,
    ) -> Result<InboxOutcome, Failure> {
        let outcome = self.accept_object(object, fetcher).await?;
        if object.bytes > 0 {
            self.accept_waiting(&object.key, fetcher).await?;
        }
        Ok(outcome)
    }

    /// Runs an object of the inbox, or leaves a report. The report on an earlier object under its key is removed when it
    /// runs.
    pub(super) async fn accept_object(
        &self,
        object: &ObjectCreated,
        fetcher: &Fetcher,
    ) -> Result<InboxOutcome, Failure> {
        let report = report_key(INBOX, INBOX_ERRORS, &object.key);
        let (result, is_waiting) = self.start_or_wait(object, fetcher).await?;
        let outcome = match result {
            Ok(StartedRun { run, existing }) => InboxOutcome::Started { run_id: run, existing },
            Err(StartRejected::Failed(failure)) => return Err(failure),
            Err(StartRejected::Ignored(why)) => return Ok(InboxOutcome::Ignored { why }),
            Err(StartRejected::Invalid { problems, .. }) if is_for_texts(&object.key, &problems) => {
                InboxOutcome::Ignored { why: "it is the pipeline of what comes beside it" }
            }
            Err(bad) => {
                let code = self.write_report(&report, &object.key, &object.tag, bad).await?;
                return Ok(match is_waiting {
                    true => InboxOutcome::Waiting { report, code },
                    false => InboxOutcome::Reported { report, code },
                });
            }
        };
        self.platform.objects().delete(&[report]).await?;
        Ok(outcome)
    }

    /// Writes a report and returns its stable code.
    pub(crate) async fn write_report(
        &self,
        report: &str,
        key: &str,
        tag: &str,
        rejected: StartRejected,
    ) -> Result<String, Failure> {
        let StartRejected::Invalid { code, detail, advice, problems, .. } = rejected else {
            return Err(rejected.into());
        };
        let at = self.platform.clock().now();
        let written = FileReport { key: key.to_owned(), etag: tag.to_owned(), at, code, detail, advice, problems };
        let json = serde_json::to_vec_pretty(&written)
            .map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))?;
        self.platform.objects().put(report, Bytes::from(json), "application/json").await?;
        Ok(written.code)
    }

    /// Formats the metric that counts reports, as a line of the function's log.
    pub fn error_metric_line(&self) -> String {
        metrics::line(&self.settings.stack, self.platform.clock().now(), &[("InboxErrors", "Count", 1.into())])
    }

    pub(super) async fn start_object(
        &self,
        object: &ObjectCreated,
        fetcher: &Fetcher,
    ) -> Result<StartedRun, StartRejected> {
        let Some(kind) = InboxKind::of(&object.key) else {
            return Err(StartRejected::Ignored("it is neither a pipeline nor a text nor rows"));
        };
        let version = object.version.as_deref().unwrap_or(&object.tag);
        let once = IdempotencyKey::event(&["inbox", &self.settings.bucket, &object.key, version, &object.sequencer]);
        let beside = folder(&object.key);
        let InboxKind::Rows(format) = kind else {
            return self.intake.start(Some(&once), Some(beside), fetcher, self.body_of(object, kind)).await;
        };
        let what = async {
            self.require_some(object).await?;
            let pipeline = self.pipeline_of(&object.key, None).await?;
            let body = BatchBody { pipeline: Some(Value::String(pipeline)), ..BatchBody::default() };
            let from = RowsFrom { key: &object.key, tag: Some(&object.tag), format, beside, period: None };
            Ok((body, Some(from)))
        };
        self.batches.start_from(Some(&once), fetcher, what).await
    }

    pub(super) async fn body_of(&self, object: &ObjectCreated, kind: InboxKind) -> Result<RunBody, StartRejected> {
        self.require_some(object).await?;
        if object.bytes > MAX_DOCUMENT {
            let detail = format!("the file has {} bytes; {MAX_DOCUMENT} are taken", object.bytes);
            return Err(StartRejected::bad("too_large", detail, "Check that it is what its name says."));
        }
        let (bytes, metadata) = match self.platform.objects().get_matching(&object.key, &object.tag).await? {
            ConditionalGet::Found { bytes, metadata } => (bytes, metadata),
            ConditionalGet::Changed => {
                return Err(StartRejected::Ignored("it was replaced, which has an event of its own"));
            }
            ConditionalGet::Missing => return Err(StartRejected::Ignored("it was removed before it was read")),
        };
        let text = utf8(&object.key, &bytes)?;
        match kind {
            // Rows are read by the planning of the batch.
            InboxKind::Document | InboxKind::Rows(_) => {
                Ok(RunBody { pipeline: Some(Value::String(text)), ..RunBody::default() })
            }
            InboxKind::Text => {
                let pipeline = self.pipeline_of(&object.key, metadata.get(NAMED_BY).map(String::as_str)).await?;
                // Editors end a file with a line feed, which is no part of a prompt.
                let input = text.trim_end_matches(['\r', '\n']).to_owned();
                Ok(RunBody { pipeline: Some(Value::String(pipeline)), input: Some(input), ..RunBody::default() })
            }
        }
    }

    /// Refuses an empty file, unless its content has arrived since.
    async fn require_some(&self, object: &ObjectCreated) -> Result<(), StartRejected> {
        if object.bytes > 0 {
            return Ok(());
        }
        match self.platform.objects().head(&object.key).await? {
            Some(head) if head.bytes == 0 => {
                Err(StartRejected::bad("empty", "the file is empty", "Put the whole file there again."))
            }
            _ => Err(StartRejected::Ignored("it was replaced, which has an event of its own")),
        }
    }

    /// Returns the pipeline of a text: the one that its metadata names, relative to the inbox or to the folder of the
    /// text; else the one of the folder.
    async fn pipeline_of(&self, key: &str, named: Option<&str>) -> Result<String, StartRejected> {
        let advice = "Put a pipeline.yaml beside the text, or name a pipeline in its metadata `fresco-pipeline`.";
        let name = named.unwrap_or(PIPELINE);
        let place = match name.starts_with(INBOX) {
            true => name.to_owned(),
            false => format!("{}{name}", folder(key)),
        };
        if !is_plain(&place) {
            return Err(StartRejected::bad(
                "no_pipeline",
                format!("`{}` is not a file of the inbox", shown(name)),
                advice,
            ));
        }
        self.pipeline_at(&place, advice).await
    }

    /// Reads the text of a pipeline.
    pub(crate) async fn pipeline_at(&self, place: &str, advice: &str) -> Result<String, StartRejected> {
        let missing = || StartRejected::Invalid {
            code: "no_pipeline".to_owned(),
            detail: format!("there is no {place}"),
            advice: advice.to_owned(),
            problems: Vec::new(),
            missing: Some(place.to_owned()),
        };
        let (key, head) = self.intake.find_beside("", place).await?.ok_or_else(missing)?;
        if head.bytes > MAX_DOCUMENT {
            let detail = format!("{place} has {} bytes; {MAX_DOCUMENT} are taken", head.bytes);
            return Err(StartRejected::bad("too_large", detail, advice));
        }
        let bytes = self.platform.objects().get(&key).await?.ok_or_else(missing)?;
        utf8(place, &bytes)
    }
}

pub(crate) fn utf8(key: &str, bytes: &[u8]) -> Result<String, StartRejected> {
    let text = String::from_utf8(bytes.to_vec());
    text.map_err(|_| StartRejected::bad("not_utf8", format!("{key} is not UTF-8 text"), "Save it as UTF-8."))
}

/// Returns whether this is a `pipeline.yaml` that lacks nothing but a text or vars: it waits for the texts beside it.
fn is_for_texts(key: &str, problems: &[DocumentProblem]) -> bool {
    key.rsplit('/').next() == Some(PIPELINE)
        && !problems.is_empty()
        && problems.iter().all(|problem| matches!(problem.code.as_str(), "input_missing" | "unknown_var"))
}

/// The key of the report on an object under the prefix `of`.
pub(crate) fn report_key(of: &str, errors: &str, key: &str) -> String {
    let named = format!("{errors}{}.json", key.strip_prefix(of).unwrap_or(key));
    match named.len() <= MAX_KEY {
        true => named,
        false => format!("{errors}{}.json", ContentKey::digest(key.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_of_a_key_decides_how_it_is_run() {
        for (key, kind) in [
            ("inbox/a.yaml", Some(InboxKind::Document)),
            ("inbox/b c/ü+.YML", Some(InboxKind::Document)),
            ("inbox/line\nbreak.json", Some(InboxKind::Document)),
            ("inbox/a.yaml/text.txt", Some(InboxKind::Text)),
            ("inbox/a.yaml/cat.png", None),
            ("inbox/posters.csv", Some(InboxKind::Rows(Format::Csv))),
            ("inbox/posters.JSONL", Some(InboxKind::Rows(Format::Jsonl))),
            ("inbox/a.yaml/", None),
            ("inbox/yaml", None),
            ("inbox/.yaml", Some(InboxKind::Document)),
        ] {
            assert_eq!(InboxKind::of(key), kind, "{key}");
        }
    }

    #[test]
    fn reports_lie_outside_the_inbox() {
        assert_eq!(report_key(INBOX, INBOX_ERRORS, "inbox/a/b.yaml"), "inbox-errors/a/b.yaml.json");
        let long = format!("{INBOX}{}.yaml", "x".repeat(1_010));
        assert!(
            report_key(INBOX, INBOX_ERRORS, &long).len() < 100
                && report_key(INBOX, INBOX_ERRORS, &long).starts_with(INBOX_ERRORS)
        );
        assert!(!report_key(INBOX, INBOX_ERRORS, "inbox/a.yaml").starts_with(INBOX));
    }
}
