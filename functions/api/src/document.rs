//! From what a client sends to a request of the engine: the document's text, and its media, which are uploads or https URLs.

use std::collections::BTreeMap;
use std::time::Duration;

use fresco_engine::wire::RunBody;
use fresco_engine::{RunRequest, UploadId, describe_input, fetch_input, input_problem};
use fresco_pipeline::document::Mention;
use fresco_pipeline::error::Failure;
use fresco_pipeline::media::{InputMedia, MediaProblem};
use http::StatusCode;
use http::header::HeaderMap;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::body::{self, Kind, Query};
use crate::problem::Problem;
use crate::routes::App;

/// How long a request may take to fetch what it names by URL, all of it together; API Gateway waits for 30 seconds.
const FETCHES: Duration = Duration::from_secs(20);

/// What the client sends: JSON, or a document by itself with the input text as a parameter.
pub(crate) fn read(headers: &HeaderMap, query: Query, bytes: &bytes::Bytes) -> Result<RunBody, Problem> {
    match body::kind(headers, bytes)? {
        Kind::Json => {
            let [] = query.take([])?;
            body::parse(bytes)
        }
        Kind::Yaml => {
            let [input] = query.take(["input"])?;
            let text = String::from_utf8(bytes.to_vec())
                .map_err(|_| Problem::bad_request("not_utf8", "the document is not UTF-8 text"))?;
            Ok(RunBody { pipeline: Some(Value::String(text)), input, ..RunBody::default() })
        }
    }
}

/// The request, with every medium looked at and kept.
pub(crate) async fn request(app: &App, body: RunBody) -> Result<RunRequest, Problem> {
    let mut request = RunRequest {
        document: document(app, body.pipeline, body.pipeline_upload).await?,
        input: body.input,
        image: body.image,
        vars: body.vars,
        env: body.env,
        parallel: body.parallel,
        ..RunRequest::default()
    };
    let mentions = request.mentions();
    let given = uploads(&body.media, &mentions)?;
    let until = Instant::now() + FETCHES;
    for mention in mentions {
        let found = match given.get(mention.text.as_str()) {
            Some(upload) => app.engine.take_upload(upload, mention.kind).await?,
            None if mention.text.contains("://") => fetch(app, &mention, until).await?,
            None => Err(input_problem(
                "input_unread",
                format!("`{}` is not among the request's media", mention.text),
                "Ask POST /uploads for a place to put it, and name that upload in `media` under this name.",
            )),
        };
        match found {
            Ok(media) => drop(request.media.insert(mention.text, media)),
            Err(problem) => drop(request.refused.insert(mention.text, problem)),
        }
    }
    Ok(request)
}

async fn document(app: &App, inline: Option<Value>, upload: Option<String>) -> Result<String, Problem> {
    match (inline, upload) {
        (Some(Value::String(text)), None) => Ok(text),
        // A document may be JSON, and this is one; it is shown again as it is written here.
        (Some(document @ Value::Object(_)), None) => Ok(serde_json::to_string_pretty(&document).unwrap_or_default()),
        (Some(_), None) => Err(Problem::bad_request(
            "bad_json",
            "`pipeline` has to be the document's text, or the document as an object",
        )),
        (None, Some(id)) => match UploadId::parse(&id) {
            Some(id) => Ok(app.engine.uploaded_document(&id).await?),
            None => Err(no_upload(&id)),
        },
        (None, None) => {
            Err(Problem::bad_request("no_pipeline", "the request has neither `pipeline` nor `pipeline_upload`"))
        }
        (Some(_), Some(_)) => {
            Err(Problem::bad_request("two_pipelines", "the request has both `pipeline` and `pipeline_upload`"))
        }
    }
}

/// The uploads by the names that the document gives them. A name that it does not give is a mistake of the request.
fn uploads(given: &BTreeMap<String, String>, mentions: &[Mention]) -> Result<BTreeMap<String, UploadId>, Problem> {
    let mut uploads = BTreeMap::new();
    for (name, id) in given {
        if !mentions.iter().any(|mention| mention.text == *name) {
            let detail = format!("`media` has `{name}`, which the document does not name");
            let advice = "Name it in the document (params.image), or leave it out.";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unused_media", detail, advice));
        }
        uploads.insert(name.clone(), UploadId::parse(id).ok_or_else(|| no_upload(id))?);
    }
    Ok(uploads)
}

fn no_upload(id: &str) -> Problem {
    let shown: String = id.chars().take(80).collect();
    let detail = format!("`{shown}` is not the id of an upload");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_upload", detail, "Take the id that POST /uploads gave.")
}

/// `until` is when this request has no more time for it.
async fn fetch(app: &App, mention: &Mention, until: Instant) -> Result<Result<InputMedia, MediaProblem>, Failure> {
    let Some(downloader) = &app.downloader else {
        return Ok(Err(input_problem("input_fetch", "URLs cannot be fetched here", "Upload it instead.")));
    };
    let bytes = match timeout_at(until, fetch_input(downloader, mention.kind, &mention.text)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(problem)) => return Ok(Err(problem)),
        Err(_) => {
            let message = format!("it did not arrive within {} s", FETCHES.as_secs());
            return Ok(Err(input_problem("input_fetch", message, "Upload it instead: POST /uploads.")));
        }
    };
    match describe_input(mention.kind, &bytes) {
        Ok(media) => {
            app.engine.store_input(&media, bytes).await?;
            Ok(Ok(media))
        }
        Err(problem) => Ok(Err(problem)),
    }
}
