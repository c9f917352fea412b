//! The handler of `generateContent`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Path, Query, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::describe_image::Description;
use super::fault_responses;
use super::refusal::Refusal;
use super::reply;
use super::request::GenerateRequest;
use super::schema::SCHEMA;
use crate::broken_connection::ConnectionHandle;
use crate::broken_reply;
use crate::faults::Fault;
use crate::request_record::RequestRecord;
use crate::state::State;

/// The bound of an inline request.
const LARGEST_REQUEST: usize = 20 << 20;

/// `POST /gemini/v1beta/models/{model}:generateContent`
pub(super) async fn generate(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(connection): ConnectInfo<ConnectionHandle>,
    Path(call): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    authorize(&state, &query, &headers)?;
    let model = model(&call)?;
    let endpoint = format!("gemini/{model}");
    state.count(|counters| counters.submitted(&endpoint));
    if body.len() > LARGEST_REQUEST {
        let message = format!("Request payload size exceeds the limit: {LARGEST_REQUEST} bytes.");
        return Err(Refusal::invalid(message));
    }
    let request = GenerateRequest::read(&body)?;
    drop(body);
    let (request, images) = describe_images(&state, request).await?;
    let prompt = request.prompt();
    let fault = state.strike(&endpoint, prompt.as_deref(), fault_responses::is_of_submission);
    if let Some(refusal) = fault.as_ref().and_then(|fault| fault_responses::refusal(fault, model, &connection)) {
        return Ok(refusal);
    }
    let work_fault = state.strike(&endpoint, prompt.as_deref(), fault_responses::is_of_work);
    let id = state.random.uuid();
    let reply = reply::body(model, &id, &request, &images, work_fault.as_ref());
    let faults = [&fault, &work_fault].into_iter().flatten().map(|fault| fault.name().to_owned()).collect();
    let record = RequestRecord {
        request_id: id,
        endpoint: endpoint.clone(),
        prompt,
        inputs: images.len(),
        faults,
        ..RequestRecord::default()
    };
    state.count(|counters| counters.accepted(&endpoint));
    let completed = work(&state, record, work_fault);
    // A fault without an answer does not wait for the work.
    if !matches!(fault, Some(Fault::CutAfter | Fault::ReplyNever { .. })) {
        let message = "The service is shutting down.";
        completed.await.map_err(|_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message))?;
    }
    Ok(broken_reply::send(&state.shutdown, &connection, fault.as_ref(), &reply).await)
}

/// Refuses every key but the configured one, in the header or as `?key=`.
fn authorize(state: &State, query: &[(String, String)], headers: &HeaderMap) -> Result<(), Refusal> {
    let header = headers.get("x-goog-api-key").and_then(|value| value.to_str().ok());
    let parameter = query.iter().find(|(name, _)| name == "key").map(|(_, value)| value.as_str());
    match header.or(parameter).filter(|key| !key.is_empty()) {
        Some(key) if key == state.gemini_key => Ok(()),
        Some(_) => Err(Refusal::wrong_key()),
        None => {
            let message = "Method doesn't allow unregistered callers (callers without established identity). Please use \
                           API Key or other form of API consumer identity to call this API.";
            Err(Refusal::new(StatusCode::FORBIDDEN, "PERMISSION_DENIED", message))
        }
    }
}

/// The model of a call, which is `{model}:generateContent`.
fn model(call: &str) -> Result<&str, Refusal> {
    let (model, method) = call.split_once(':').unwrap_or((call, ""));
    if SCHEMA.models.iter().any(|known| known == model) && method == "generateContent" {
        return Ok(model);
    }
    let message = format!(
        "models/{model} is not found for API version v1beta, or is not supported for {method}. Call ListModels to see the \
         list of available models and their supported methods."
    );
    Err(Refusal::new(StatusCode::NOT_FOUND, "NOT_FOUND", message))
}

/// Decodes the images of a request.
async fn describe_images(
    state: &Arc<State>,
    mut request: GenerateRequest,
) -> Result<(GenerateRequest, Vec<Description>), Refusal> {
    let images = std::mem::take(&mut request.images);
    let described =
        state.renderer.run(move || images.iter().map(|bytes| Description::new(bytes).ok()).collect::<Option<_>>());
    let broken = || Refusal::invalid("Unable to process input image. Please retry or report in the developer forum.");
    Ok((request, described.await.ok_or_else(broken)?))
}

/// Starts the work in a task of its own, so that a caller who hangs up ends neither the work nor the bill.
fn work(state: &Arc<State>, record: RequestRecord, fault: Option<Fault>) -> oneshot::Receiver<()> {
    let (low, high) = SCHEMA.seconds;
    let latency = Duration::from_secs_f64(match fault {
        Some(Fault::Slow { seconds }) => seconds,
        _ => state.random.between(low, high) * state.scale(),
    });
    let (done, completed) = oneshot::channel();
    let endpoint = record.endpoint.clone();
    let number = state.calls.begin(record);
    let inner = state.clone();
    state.shutdown.spawn(async move {
        tokio::time::sleep(latency).await;
        inner.calls.complete(number);
        inner.count(|counters| counters.completed(&endpoint, Some(1.0), false));
        // The caller may have hung up.
        done.send(()).ok();
    });
    completed
}
