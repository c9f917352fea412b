//! The inbox: a pipeline that is put under `inbox/` in the bucket is run, and so is a text, by the pipeline that it names or
//! that lies beside it. What cannot be run leaves a report.

use std::future::ready;

use bytes::Bytes;
use fresco_api_types::{BatchBody, DocumentProblem, FIX_PROBLEMS, FileReport, RunBody};
use fresco_ledger::records::Millis;
use fresco_ledger::traits::{Clock, ConditionalGet, Objects, StoreError};
use fresco_pipeline::document::Problems;
use fresco_pipeline::error::{ErrorName, ErrorOwner, Failure};
use fresco_pipeline::ids::{ContentKey, RunId};
use fresco_pipeline::rows::Format;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::RowsFrom;
use crate::intake::request::Fetcher;
use crate::intake::start::{Begun, Once, StartError};
use crate::platform::Platform;
use crate::{Engine, MAX_DOCUMENT, metrics};

/// Where the inbox is.
pub const INBOX: &str = "inbox/";
/// Where its reports are.
pub const INBOX_ERRORS: &str = "inbox-errors/";
/// The pipeline of the texts beside it.
const PIPELINE: &str = "pipeline.yaml";
/// The metadata by which a text names another.
const NAMED_BY: &str = "fresco-pipeline";
/// The longest key that S3 takes, in bytes.
const MAX_KEY: usize = 1_024;

/// An object that has come into the inbox, as S3's events tell of it. Source: Amazon S3 User Guide, "EventBridge event message
/// structure"; the key is as it is, not encoded.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Arrival {
    /// Its key.
    pub key: String,
    /// Its entity tag.
    #[serde(rename = "etag")]
    pub tag: String,
    /// Its length.
    #[serde(rename = "size")]
    pub bytes: u64,
    /// Its version, where the bucket has versions.
    #[serde(rename = "version-id")]
    pub version: Option<String>,
    /// Where S3 puts the event in the order of those of its key.
    #[serde(default)]
    pub sequencer: String,
}

/// What became of an arrival.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Taken {
    /// It is run.
    Started {
        /// The run, or the batch.
        run_id: RunId,
        /// Whether it had been started before: events may come twice.
        existing: bool,
    },
    /// It cannot be run, and a report says why.
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

/// Why nothing was started.
pub(crate) enum Unstarted {
    /// There is nothing to start.
    Passed(&'static str),
    /// What was asked cannot be done; asking again does not help.
    Bad { code: String, detail: String, advice: String, problems: Vec<DocumentProblem> },
    /// It could not be done just now.
    Failed(Failure),
}

impl Unstarted {
    pub(crate) fn bad(code: &str, detail: impl Into<String>, advice: &str) -> Self {
        Unstarted::Bad { code: code.to_owned(), detail: detail.into(), advice: advice.to_owned(), problems: Vec::new() }
    }
}

impl From<Failure> for Unstarted {
    fn from(failure: Failure) -> Self {
        match failure.name.owner() {
            ErrorOwner::Author | ErrorOwner::Operator => {
                Unstarted::bad(failure.name.as_str(), failure.message, failure.name.advice())
            }
            _ => Unstarted::Failed(failure),
        }
    }
}

impl From<StoreError> for Unstarted {
    fn from(error: StoreError) -> Self {
        Failure::from(error).into()
    }
}

impl From<Problems> for Unstarted {
    fn from(problems: Problems) -> Self {
        Unstarted::Bad {
            code: "document_invalid".to_owned(),
            detail: problems.to_string(),
            advice: FIX_PROBLEMS.to_owned(),
            problems: problems.0.into_iter().map(DocumentProblem::from).collect(),
        }
    }
}

/// As it is said where nobody reads a report: in the queue of failures.
impl From<Unstarted> for Failure {
    fn from(unstarted: Unstarted) -> Self {
        match unstarted {
            Unstarted::Failed(failure) => failure,
            Unstarted::Passed(why) => Failure::new(ErrorName::Internal, why),
            Unstarted::Bad { code, detail, advice, problems } => {
                let name = match ErrorName::parse(&code) {
                    Some(name) => return Failure::new(name, detail),
                    None if problems.is_empty() => ErrorName::InputInvalid,
                    None => ErrorName::DocumentInvalid,
                };
                Failure::new(name, format!("{code}: {detail}. {advice}"))
            }
        }
    }
}

impl From<StartError> for Unstarted {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Document(problems) => problems.into(),
            StartError::Order(bad) => Unstarted::bad(bad.code, bad.detail, bad.advice),
            StartError::Failed(failure) => failure.into(),
            // The id comes of the event alone, and so does what is noted as asked.
            StartError::OtherRequest => Unstarted::Failed(Failure::new(ErrorName::Internal, error.to_string())),
        }
    }
}

/// What of the inbox is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Document,
    Text,
    Rows(Format),
}

impl Kind {
    fn of(key: &str) -> Option<Self> {
        let (_, ending) = key.rsplit_once('/')?.1.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "yaml" | "yml" | "json" => Some(Kind::Document),
            "txt" => Some(Kind::Text),
            "csv" | "jsonl" | "ndjson" => Format::of_name(key).map(Kind::Rows),
            _ => None,
        }
    }
}

impl<P: Platform> Engine<P> {
    /// Starts what an event asks for, once for each id of an event. An error is for the queue of failures.
    pub async fn take_request(&self, event: &str, body: RunBody, fetcher: &Fetcher) -> Result<Taken, Failure> {
        let once = Once::event(&["event", event]);
        let begun = self.start_order::<Unstarted>(Some(&once), None, fetcher, ready(Ok(body))).await?;
        Ok(Taken::Started { run_id: begun.run, existing: begun.existing })
    }

    /// Runs what has come into the inbox, once however often that is told. An error is for the queue of failures.
    pub async fn take_arrival(&self, arrival: &Arrival, fetcher: &Fetcher) -> Result<Taken, Failure> {
        let unstarted = match self.start_arrival(arrival, fetcher).await {
            Ok(Begun { run, existing }) => return Ok(Taken::Started { run_id: run, existing }),
            Err(unstarted) => unstarted,
        };
        match unstarted {
            Unstarted::Passed(why) => Ok(Taken::Passed { why }),
            Unstarted::Failed(failure) => Err(failure),
            Unstarted::Bad { problems, .. } if is_for_texts(&arrival.key, &problems) => {
                Ok(Taken::Passed { why: "it is the pipeline of what comes beside it" })
            }
            bad @ Unstarted::Bad { .. } => {
                let report = report_key(INBOX, INBOX_ERRORS, &arrival.key);
                let code = self.write_report(&report, &arrival.key, &arrival.tag, bad).await?;
                Ok(Taken::Reported { report, code })
            }
        }
    }

    /// Writes why an object cannot be taken; its stable code.
    pub(crate) async fn write_report(
        &self,
        report: &str,
        key: &str,
        tag: &str,
        unstarted: Unstarted,
    ) -> Result<String, Failure> {
        let Unstarted::Bad { code, detail, advice, problems } = unstarted else { return Err(unstarted.into()) };
        let at = self.platform.clock().now();
        let written = FileReport { key: key.to_owned(), etag: tag.to_owned(), at, code, detail, advice, problems };
        let json = serde_json::to_vec_pretty(&written)
            .map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))?;
        self.platform.objects().put(report, Bytes::from(json), "application/json").await?;
        Ok(written.code)
    }

    /// The metric that counts reports, as a line of the function's log.
    pub fn inbox_metric_line(&self) -> String {
        metrics::line(&self.settings.stack, self.platform.clock().now(), &[("InboxErrors", "Count", 1.into())])
    }

    async fn start_arrival(&self, arrival: &Arrival, fetcher: &Fetcher) -> Result<Begun, Unstarted> {
        let Some(kind) = Kind::of(&arrival.key) else {
            return Err(Unstarted::Passed("it is neither a pipeline nor a text nor rows"));
        };
        let version = arrival.version.as_deref().unwrap_or(&arrival.tag);
        let once = Once::event(&["inbox", &self.settings.bucket, &arrival.key, version, &arrival.sequencer]);
        let beside = folder(&arrival.key);
        let Kind::Rows(format) = kind else {
            return self.start_order(Some(&once), Some(beside), fetcher, self.body_of(arrival, kind)).await;
        };
        let what = async {
            require_some(arrival)?;
            let pipeline = self.pipeline_of(&arrival.key, None).await?;
            let body = BatchBody { pipeline: Some(Value::String(pipeline)), ..BatchBody::default() };
            let from = RowsFrom { key: &arrival.key, tag: Some(&arrival.tag), format, beside, period: None };
            Ok((body, Some(from)))
        };
        self.start_batch_of(Some(&once), fetcher, what).await
    }

    async fn body_of(&self, arrival: &Arrival, kind: Kind) -> Result<RunBody, Unstarted> {
        require_some(arrival)?;
        if arrival.bytes > MAX_DOCUMENT {
            let detail = format!("the file has {} bytes; {MAX_DOCUMENT} are taken", arrival.bytes);
            return Err(Unstarted::bad("too_large", detail, "Check that it is what its name says."));
        }
        let (bytes, metadata) = match self.platform.objects().get_matching(&arrival.key, &arrival.tag).await? {
            ConditionalGet::Found { bytes, metadata } => (bytes, metadata),
            ConditionalGet::Changed => {
                return Err(Unstarted::Passed("it was replaced, which has an event of its own"));
            }
            ConditionalGet::Missing => return Err(Unstarted::Passed("it was removed before it was read")),
        };
        let text = utf8(&arrival.key, &bytes)?;
        match kind {
            // Rows are read by the batch.
            Kind::Document | Kind::Rows(_) => Ok(RunBody { pipeline: Some(Value::String(text)), ..RunBody::default() }),
            Kind::Text => {
                let pipeline = self.pipeline_of(&arrival.key, metadata.get(NAMED_BY).map(String::as_str)).await?;
                // Editors end a file with a line's end, which is no part of a prompt.
                let input = text.trim_end_matches(['\r', '\n']).to_owned();
                Ok(RunBody { pipeline: Some(Value::String(pipeline)), input: Some(input), ..RunBody::default() })
            }
        }
    }

    /// The pipeline of a text: the one that its metadata names, from the inbox or from the text's folder on; else the folder's.
    async fn pipeline_of(&self, key: &str, named: Option<&str>) -> Result<String, Unstarted> {
        let advice = "Put a pipeline.yaml beside the text, or name a pipeline in its metadata `fresco-pipeline`.";
        let name = named.unwrap_or(PIPELINE);
        let place = match name.starts_with(INBOX) {
            true => name.to_owned(),
            false => format!("{}{name}", folder(key)),
        };
        if !is_plain(&place) {
            return Err(Unstarted::bad("no_pipeline", format!("`{name}` is not a file of the inbox"), advice));
        }
        self.pipeline_at(&place, advice).await
    }

    /// The text of a pipeline that an object is.
    pub(crate) async fn pipeline_at(&self, place: &str, advice: &str) -> Result<String, Unstarted> {
        let missing = || Unstarted::bad("no_pipeline", format!("there is no {place}"), advice);
        let head = self.platform.objects().head(place).await?.ok_or_else(missing)?;
        if head.bytes > MAX_DOCUMENT {
            let detail = format!("{place} has {} bytes; {MAX_DOCUMENT} are taken", head.bytes);
            return Err(Unstarted::bad("too_large", detail, advice));
        }
        let bytes = self.platform.objects().get(place).await?.ok_or_else(missing)?;
        utf8(place, &bytes)
    }
}

fn require_some(arrival: &Arrival) -> Result<(), Unstarted> {
    if arrival.bytes == 0 {
        return Err(Unstarted::bad("empty", "the file is empty", "Put the whole file there again."));
    }
    Ok(())
}

pub(crate) fn utf8(key: &str, bytes: &[u8]) -> Result<String, Unstarted> {
    let text = String::from_utf8(bytes.to_vec());
    text.map_err(|_| Unstarted::bad("not_utf8", format!("{key} is not UTF-8 text"), "Save it as UTF-8."))
}

/// Whether it names something beneath where it is looked for, and nothing above.
pub(crate) fn is_plain(key: &str) -> bool {
    !key.split('/').any(|segment| matches!(segment, "" | "." | ".."))
}

pub(crate) fn folder(key: &str) -> &str {
    key.rfind('/').map_or("", |slash| &key[..=slash])
}

/// A `pipeline.yaml` that missing_input nothing but a text, or vars, waits for what comes beside it.
fn is_for_texts(key: &str, problems: &[DocumentProblem]) -> bool {
    key.rsplit('/').next() == Some(PIPELINE)
        && !problems.is_empty()
        && problems.iter().all(|problem| matches!(problem.code.as_str(), "input_missing" | "unknown_var"))
}

/// The key of the report about an object under the prefix `of`.
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
    fn endings_say_what_is_run() {
        for (key, kind) in [
            ("inbox/a.yaml", Some(Kind::Document)),
            ("inbox/b c/ü+.YML", Some(Kind::Document)),
            ("inbox/line\nbreak.json", Some(Kind::Document)),
            ("inbox/a.yaml/text.txt", Some(Kind::Text)),
            ("inbox/a.yaml/cat.png", None),
            ("inbox/posters.csv", Some(Kind::Rows(Format::Csv))),
            ("inbox/posters.JSONL", Some(Kind::Rows(Format::Jsonl))),
            ("inbox/a.yaml/", None),
            ("inbox/yaml", None),
            ("inbox/.yaml", Some(Kind::Document)),
        ] {
            assert_eq!(Kind::of(key), kind, "{key}");
        }
    }

    #[test]
    fn reports_lie_where_they_start_nothing() {
        assert_eq!(report_key(INBOX, INBOX_ERRORS, "inbox/a/b.yaml"), "inbox-errors/a/b.yaml.json");
        let long = format!("{INBOX}{}.yaml", "x".repeat(1_010));
        assert!(
            report_key(INBOX, INBOX_ERRORS, &long).len() < 100
                && report_key(INBOX, INBOX_ERRORS, &long).starts_with(INBOX_ERRORS)
        );
        assert!(!report_key(INBOX, INBOX_ERRORS, "inbox/a.yaml").starts_with(INBOX));
    }
}
