//! From what somebody asks for (the body of `POST /runs`, an event, a file in the inbox) to a request: the document's text, and
//! its media, which are uploads, objects beside the document, or https URLs.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fresco_api_types::RunBody;
use fresco_ledger::traits::Objects;
use fresco_pipeline::document::MediaReference;
use fresco_pipeline::error::Failure;
use fresco_pipeline::media::{InputMedia, MediaProblem};
use fresco_providers::media::{Downloader, HostList};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::Engine;
use crate::intake::input_media::{describe_input, fetch_input, input_problem};
use crate::intake::start::RunRequest;
use crate::intake::uploads::UploadId;
use crate::platform::Platform;
use crate::triggers::inbox::is_plain;

/// How long an order may take to fetch what it names by URL, all of it together; API Gateway waits for 30 seconds.
pub(crate) const FETCHES: Duration = Duration::from_secs(20);

/// What is wrong with an order, apart from its document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct BadOrder {
    /// A stable code.
    pub code: &'static str,
    /// What is wrong.
    pub detail: String,
    /// What to do.
    pub advice: &'static str,
    /// Whether it has not the form of an order, in contrast to one that names what cannot be.
    pub malformed: bool,
}

/// Why there is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The order is wrong.
    #[error("{0}")]
    Bad(BadOrder),
    /// It could not be looked at, or what it names cannot be used.
    #[error("{0}")]
    Failed(#[from] Failure),
}

/// What to do about an order that has not the form of one.
pub const AS_DESCRIBED: &str = "Mend the request as /openapi.json describes it.";

impl OrderError {
    fn malformed(code: &'static str, detail: impl Into<String>) -> Self {
        OrderError::Bad(BadOrder { code, detail: detail.into(), advice: AS_DESCRIBED, malformed: true })
    }
}

/// What fetches the media that orders name by URL, from public addresses only. Its client is made when it is first needed: few
/// orders name URLs.
#[derive(Clone, Default)]
pub struct Fetcher(Arc<OnceLock<Option<Downloader>>>);

impl Fetcher {
    /// `None` where the client cannot be made.
    fn downloader(&self) -> Option<&Downloader> {
        self.0.get_or_init(|| Downloader::for_inputs(HostList::anywhere()).ok()).as_ref()
    }
}

impl<P: Platform> Engine<P> {
    /// The request of an order, with every medium looked at and kept. `beside` is the prefix of keys under which names of files
    /// are looked for, where the document lies in the bucket.
    pub async fn order(
        &self,
        body: RunBody,
        beside: Option<&str>,
        fetcher: &Fetcher,
    ) -> Result<RunRequest, OrderError> {
        let mut request = RunRequest {
            document: self.document(body.pipeline, body.pipeline_upload).await?,
            input: body.input,
            image: body.image,
            vars: body.vars,
            env: body.env,
            parallel: body.parallel,
            ..RunRequest::default()
        };
        let media_references = request.media_references();
        let given = uploads(&body.media, &media_references)?;
        let until = Instant::now() + FETCHES;
        for reference in media_references {
            let found = match given.get(reference.text.as_str()) {
                Some(upload) => self.take_upload(upload, reference.kind).await?,
                None => self.find_medium(&reference, beside, fetcher, until).await?,
            };
            match found {
                Ok(media) => drop(request.media.insert(reference.text, media)),
                Err(problem) => drop(request.refused.insert(reference.text, problem)),
            }
        }
        Ok(request)
    }

    /// A medium behind an https URL, or beside a document or a file of rows.
    pub(crate) async fn find_medium(
        &self,
        reference: &MediaReference,
        beside: Option<&str>,
        fetcher: &Fetcher,
        until: Instant,
    ) -> Result<Result<InputMedia, MediaProblem>, Failure> {
        match beside {
            _ if reference.text.contains("://") => self.fetch(fetcher, reference, until).await,
            Some(folder) => self.take_beside(folder, reference).await,
            None => Ok(Err(input_problem(
                "input_unread",
                format!("`{}` is not among the request's media", reference.text),
                "Ask POST /uploads for a place to put it, and name that upload in `media` under this name.",
            ))),
        }
    }

    async fn document(&self, inline: Option<Value>, upload: Option<String>) -> Result<String, OrderError> {
        match (inline, upload) {
            (Some(Value::String(text)), None) => Ok(text),
            // A document may be JSON, and this is one; it is shown again as it is written here.
            (Some(document @ Value::Object(_)), None) => {
                Ok(serde_json::to_string_pretty(&document).unwrap_or_default())
            }
            (Some(_), None) => Err(OrderError::malformed(
                "bad_json",
                "`pipeline` has to be the document's text, or the document as an object",
            )),
            (None, Some(id)) => match UploadId::parse(&id) {
                Some(id) => Ok(self.uploaded_document(&id).await?),
                None => Err(no_upload(&id)),
            },
            (None, None) => {
                Err(OrderError::malformed("no_pipeline", "the request has neither `pipeline` nor `pipeline_upload`"))
            }
            (Some(_), Some(_)) => {
                Err(OrderError::malformed("two_pipelines", "the request has both `pipeline` and `pipeline_upload`"))
            }
        }
    }

    async fn fetch(
        &self,
        fetcher: &Fetcher,
        reference: &MediaReference,
        until: Instant,
    ) -> Result<Result<InputMedia, MediaProblem>, Failure> {
        let Some(downloader) = fetcher.downloader() else {
            return Ok(Err(input_problem("input_fetch", "URLs cannot be fetched here", "Upload it instead.")));
        };
        let bytes = match timeout_at(until, fetch_input(downloader, reference.kind, &reference.text)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(problem)) => return Ok(Err(problem)),
            Err(_) => {
                let message = format!("it did not arrive within {} s", FETCHES.as_secs());
                return Ok(Err(input_problem("input_fetch", message, "Upload it instead.")));
            }
        };
        match describe_input(reference.kind, &bytes) {
            Ok(media) => {
                self.store_input(&media, bytes).await?;
                Ok(Ok(media))
            }
            Err(problem) => Ok(Err(problem)),
        }
    }

    /// A file that lies beside the document in the bucket, or beneath its folder.
    async fn take_beside(
        &self,
        folder: &str,
        reference: &MediaReference,
    ) -> Result<Result<InputMedia, MediaProblem>, Failure> {
        let advice = "Put it beside the document, and name it relative to that.";
        let name = reference.text.strip_prefix("./").unwrap_or(&reference.text);
        if name.starts_with('/') || !is_plain(name) {
            let message = format!("`{}` is not beneath the document's folder", reference.text);
            return Ok(Err(input_problem("input_unread", message, advice)));
        }
        let key = format!("{folder}{name}");
        match self.platform.objects().head(&key).await? {
            Some(head) => self.take_object(&key, head.bytes, reference.kind, advice).await,
            None => {
                let message = format!("`{}` is not beside the document", reference.text);
                Ok(Err(input_problem("input_unread", message, advice)))
            }
        }
    }
}

/// The uploads by the names that the document gives them. A name that it does not give is a mistake of the order.
fn uploads(
    given: &BTreeMap<String, String>,
    media_references: &[MediaReference],
) -> Result<BTreeMap<String, UploadId>, OrderError> {
    let mut uploads = BTreeMap::new();
    for (name, id) in given {
        if !media_references.iter().any(|reference| reference.text == *name) {
            return Err(OrderError::Bad(BadOrder {
                code: "unused_media",
                detail: format!("`media` has `{name}`, which the document does not name"),
                advice: "Name it in the document (params.image), or leave it out.",
                malformed: false,
            }));
        }
        uploads.insert(name.clone(), UploadId::parse(id).ok_or_else(|| no_upload(id))?);
    }
    Ok(uploads)
}

fn no_upload(id: &str) -> OrderError {
    let shown: String = id.chars().take(80).collect();
    OrderError::Bad(BadOrder {
        code: "bad_upload",
        detail: format!("`{shown}` is not the id of an upload"),
        advice: "Take the id that POST /uploads gave.",
        malformed: false,
    })
}
