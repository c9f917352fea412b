//! Reads a request (the body of `POST /runs`, an event, an object of the inbox): the text of its document, and its
//! media, which are uploads, objects beside the document, or https URLs.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fresco_api_types::RunBody;
use fresco_pipeline::document::{MediaReference, Problem};
use fresco_pipeline::error::Failure;
use fresco_pipeline::inspection::{describe_input, input_problem};
use fresco_pipeline::media::Media;
use fresco_pipeline::text::shown;
use fresco_providers::media::{Downloader, HostList};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::intake::Intake;
use crate::intake::beside::{composed, name_beside};
use crate::intake::input_media::fetch_input;
use crate::intake::uploads::UploadId;
use crate::platform::Platform;
use crate::run::request::RunRequest;

/// The time for fetching all URLs of a request; API Gateway waits for 30 seconds.
const FETCH_TIMEOUT: Duration = Duration::from_secs(20);
/// The time of a try to fetch a URL.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// Tries to fetch a URL.
const TRIES: usize = 2;
/// The code of a URL that could not be fetched.
pub(crate) const NOT_FETCHED: &str = "input_fetch";

/// An invalid request, apart from its document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct InvalidRequest {
    /// Stable.
    pub code: &'static str,
    pub detail: String,
    pub advice: &'static str,
    /// Whether its form is wrong, in contrast to a value.
    pub malformed: bool,
}

/// The reason for which a request is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// The request is invalid.
    #[error("{0}")]
    Invalid(InvalidRequest),
    /// It could not be read, or names something that cannot be used.
    #[error("{0}")]
    Failed(#[from] Failure),
}

/// The advice for a request of the wrong form.
pub const AS_DESCRIBED: &str = "Correct the request as /openapi.json describes it.";

impl IntakeError {
    fn malformed(code: &'static str, detail: impl Into<String>) -> Self {
        IntakeError::Invalid(InvalidRequest { code, detail: detail.into(), advice: AS_DESCRIBED, malformed: true })
    }
}

/// Fetches the media that requests name by URL, from public addresses only. Its client is made when it is first needed:
/// few requests name URLs.
#[derive(Clone, Default)]
pub struct Fetcher(Arc<OnceLock<Option<Downloader>>>);

impl Fetcher {
    /// Returns the client, or `None` where it cannot be made.
    fn downloader(&self) -> Option<&Downloader> {
        self.0.get_or_init(|| Downloader::for_inputs(HostList::anywhere()).ok()).as_ref()
    }
}

impl<P: Platform> Intake<P> {
    /// Reads a request and stores its media. `beside` is the prefix of keys under which file names are looked up, where
    /// the document lies in the bucket.
    pub async fn request(
        &self,
        body: RunBody,
        beside: Option<&str>,
        fetcher: &Fetcher,
    ) -> Result<RunRequest, IntakeError> {
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
        let until = Instant::now() + FETCH_TIMEOUT;
        for reference in media_references {
            let found = match given.get(reference.text.as_str()) {
                Some(upload) => self.accept_upload(upload, reference.kind).await?,
                None => self.find_medium(&reference, beside, fetcher, until).await?,
            };
            match found {
                Ok(media) => drop(request.media.insert(reference.text, media)),
                Err(problem) => drop(request.refused.insert(reference.text, problem)),
            }
        }
        Ok(request)
    }

    /// Finds and stores a medium behind an https URL, or beside a document or a file of rows. The inner error is a
    /// problem of the medium.
    pub(crate) async fn find_medium(
        &self,
        reference: &MediaReference,
        beside: Option<&str>,
        fetcher: &Fetcher,
        until: Instant,
    ) -> Result<Result<Media, Problem>, Failure> {
        match beside {
            _ if reference.text.contains("://") => self.fetch(fetcher, reference, until).await,
            Some(folder) => self.accept_beside(folder, reference).await,
            None => Ok(Err(input_problem(
                "input_unread",
                "it is not among the request's media",
                "Ask POST /uploads for a place to put it, and name that upload in `media` under this name.",
            ))),
        }
    }

    async fn document(&self, inline: Option<Value>, upload: Option<String>) -> Result<String, IntakeError> {
        match (inline, upload) {
            (Some(Value::String(text)), None) => Ok(text),
            // The document may be JSON, and is shown later as it is formatted here.
            (Some(document @ Value::Object(_)), None) => {
                Ok(serde_json::to_string_pretty(&document).unwrap_or_default())
            }
            (Some(_), None) => Err(IntakeError::malformed(
                "bad_json",
                "`pipeline` has to be the document's text, or the document as an object",
            )),
            (None, Some(id)) => match UploadId::parse(&id) {
                Some(id) => Ok(self.uploaded_document(&id).await?),
                None => Err(no_upload(&id)),
            },
            (None, None) => {
                Err(IntakeError::malformed("no_pipeline", "the request has neither `pipeline` nor `pipeline_upload`"))
            }
            (Some(_), Some(_)) => {
                Err(IntakeError::malformed("two_pipelines", "the request has both `pipeline` and `pipeline_upload`"))
            }
        }
    }

    async fn fetch(
        &self,
        fetcher: &Fetcher,
        reference: &MediaReference,
        until: Instant,
    ) -> Result<Result<Media, Problem>, Failure> {
        let Some(downloader) = fetcher.downloader() else {
            return Ok(Err(input_problem("input_fetch", "URLs cannot be fetched here", "Upload it instead.")));
        };
        let fetch = || fetch_input(downloader, reference.kind, &reference.text);
        let bytes = match with_retry(until, TRY_TIMEOUT, fetch).await {
            Ok(bytes) => bytes,
            Err(problem) => return Ok(Err(problem)),
        };
        match describe_input(reference.kind, &bytes) {
            Ok(media) => {
                self.store_input(&media, bytes).await?;
                Ok(Ok(media))
            }
            Err(problem) => Ok(Err(problem)),
        }
    }

    /// Stores a file in or below the folder of the document. The inner error is a problem of the medium.
    async fn accept_beside(&self, folder: &str, reference: &MediaReference) -> Result<Result<Media, Problem>, Failure> {
        let advice = "Put it beside the document, and name it relative to that.";
        let Some(name) = name_beside(&reference.text) else {
            return Ok(Err(input_problem("input_unread", "it is not under the document's folder", advice)));
        };
        match self.find_beside(folder, name).await? {
            Some((key, head)) => self.accept_object(&key, head.bytes, reference.kind, advice).await,
            None => Ok(Err(input_problem("input_unread", "it is not beside the document", advice))),
        }
    }
}

/// Fetches with a deadline for each try and one for all of them.
async fn with_retry<T, F: Future<Output = Result<T, Problem>>>(
    until: Instant,
    each: Duration,
    fetch: impl Fn() -> F,
) -> Result<T, Problem> {
    let mut result = Err(input_problem(NOT_FETCHED, "it was not fetched in time", "Upload it instead."));
    for _ in 0..TRIES {
        let now = Instant::now();
        if now >= until {
            break;
        }
        result = timeout_at(until.min(now + each), fetch()).await.unwrap_or_else(|_| {
            let message = format!("it did not arrive within {} s", each.as_secs());
            Err(input_problem(NOT_FETCHED, message, "Upload it instead."))
        });
        if result.is_ok() {
            break;
        }
    }
    result
}

/// The uploads by the names that the document gives them. A name that the document does not use makes the request
/// invalid.
fn uploads(
    given: &BTreeMap<String, String>,
    media_references: &[MediaReference],
) -> Result<BTreeMap<String, UploadId>, IntakeError> {
    let mut uploads = BTreeMap::new();
    for (name, id) in given {
        let is_meant = |reference: &&MediaReference| composed(&reference.text) == composed(name);
        let Some(reference) = media_references.iter().find(is_meant) else {
            return Err(IntakeError::Invalid(InvalidRequest {
                code: "unused_media",
                detail: format!("`media` has `{}`, which the document does not name", shown(name)),
                advice: "Name it in the document (params.image), or leave it out.",
                malformed: false,
            }));
        };
        uploads.insert(reference.text.clone(), UploadId::parse(id).ok_or_else(|| no_upload(id))?);
    }
    Ok(uploads)
}

fn no_upload(id: &str) -> IntakeError {
    IntakeError::Invalid(InvalidRequest {
        code: "bad_upload",
        detail: format!("`{}` is not the id of an upload", shown(id)),
        advice: "Take the id that POST /uploads gave.",
        malformed: false,
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use fresco_pipeline::catalogue::MediaKind;

    use super::*;

    #[tokio::test]
    async fn a_url_has_two_tries_each_with_a_deadline_and_all_urls_have_one() {
        let calls = Cell::new(0);
        let fetch = |good: usize, hang: bool| {
            calls.set(calls.get() + 1);
            let call = calls.get();
            async move {
                match call {
                    call if call == good => Ok(call),
                    _ if hang => std::future::pending().await,
                    _ => Err(input_problem(NOT_FETCHED, "503", "")),
                }
            }
        };
        let each = Duration::from_millis(5);
        let later = Instant::now() + Duration::from_secs(3_600);
        for (good, hang, until, expected) in [
            (1, false, later, (Some(1), 1)),
            (2, false, later, (Some(2), 2)),
            (2, true, later, (Some(2), 2)),
            (3, false, later, (None, 2)),
            (3, true, later, (None, 2)),
            (1, false, Instant::now(), (None, 0)),
        ] {
            calls.set(0);
            let result = with_retry(until, each, || fetch(good, hang)).await;
            assert_eq!((result.as_ref().ok().copied(), calls.get()), expected);
            assert!(result.err().is_none_or(|problem| problem.code == NOT_FETCHED));
        }
    }

    #[test]
    fn an_upload_is_found_in_either_form_of_its_name() {
        let id = format!("image-12-{}", "ab".repeat(16));
        let (composed, decomposed) = ("caf\u{e9}.png", "cafe\u{301}.png");
        for (written, given) in [(composed, decomposed), (decomposed, composed), (composed, composed)] {
            let reference = MediaReference { text: written.to_owned(), kind: MediaKind::Image };
            let found = uploads(&[(given.to_owned(), id.clone())].into(), &[reference]).unwrap();
            assert_eq!(found.keys().collect::<Vec<_>>(), [written]);
        }
        assert!(uploads(&[("cafe.png".to_owned(), id)].into(), &[]).is_err());
    }
}
