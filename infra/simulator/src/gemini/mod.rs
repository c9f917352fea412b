//! Gemini's `generateContent` on loopback, as far as an analysis of pictures needs it: the key, the body with inline
//! data, the answer with its usage, and errors in Google's envelope. The wire format is that of the v1beta REST
//! reference.

mod faults;
mod look;
mod reply;
mod request;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::faults::WorkFault;
use crate::wire::Wire;
use crate::world::World;
use look::Seen;
use request::Asked;

/// The models that are simulated.
const MODELS: [&str; 2] = ["gemini-2.0-flash", "gemini-2.5-flash"];
/// The typical duration of a call, from and to, in seconds.
const SECONDS: (f64, f64) = (2.0, 5.0);
/// What an inline request may weigh. More is read only to be refused in Google's words.
const LARGEST_REQUEST: usize = 20 << 20;
const LARGEST_BODY: usize = 64 << 20;
/// How the names of error types begin.
const TYPES: &str = "type.googleapis.com";

/// All routes beneath `/gemini`.
pub(crate) fn router() -> Router<Arc<World>> {
    Router::new().route("/gemini/v1beta/models/{call}", post(generate)).layer(DefaultBodyLimit::max(LARGEST_BODY))
}

/// An error in Google's envelope.
#[derive(Debug)]
struct Refusal {
    code: StatusCode,
    status: &'static str,
    message: String,
    details: Vec<Value>,
}

impl Refusal {
    fn new(code: StatusCode, status: &'static str, message: impl Into<String>) -> Self {
        Self { code, status, message: message.into(), details: Vec::new() }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut error = json!({ "code": self.code.as_u16(), "message": self.message, "status": self.status });
        if !self.details.is_empty() {
            error["details"] = Value::Array(self.details);
        }
        (self.code, Json(json!({ "error": error }))).into_response()
    }
}

/// `POST /gemini/v1beta/models/{model}:generateContent`
async fn generate(
    State(world): State<Arc<World>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    Path(call): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    authorize(&world, &query, &headers)?;
    let (model, method) = call.split_once(':').unwrap_or((&call, ""));
    if !MODELS.contains(&model) || method != "generateContent" {
        let message = format!(
            "models/{model} is not found for API version v1beta, or is not supported for {method}. Call ListModels to \
             see the list of available models and their supported methods."
        );
        return Err(Refusal::new(StatusCode::NOT_FOUND, "NOT_FOUND", message));
    }
    let endpoint = format!("gemini/{model}");
    world.count(|counters| {
        counters.submits += 1;
        counters.endpoint(&endpoint).submits += 1;
    });
    if body.len() > LARGEST_REQUEST {
        let message = format!("Request payload size exceeds the limit: {LARGEST_REQUEST} bytes.");
        return Err(Refusal::invalid(message));
    }
    let asked = Asked::read(&body)?;
    drop(body);
    let (asked, seen) = look_at(&world, asked).await?;
    let prompt = asked.prompt();
    let fault = world.strike(&endpoint, prompt.as_deref(), faults::submit);
    if let Some(refusal) = fault.as_ref().and_then(|hit| faults::refusal(&hit.fault, model, &wire)) {
        return Ok(refusal);
    }
    let work_fault = world.strike(&endpoint, prompt.as_deref(), faults::work);
    let id = world.chance.uuid();
    let number = world.calls.begin(id.clone(), endpoint.clone(), prompt, seen.len());
    world.count(|counters| {
        counters.accepted += 1;
        counters.endpoint(&endpoint).accepted += 1;
    });
    for name in [fault.as_ref().map(|hit| hit.name), work_fault.as_ref().map(|hit| hit.name)].into_iter().flatten() {
        world.calls.struck(number, name);
    }
    let usual = world.chance.between(SECONDS.0, SECONDS.1) * world.scale();
    let latency = Duration::from_secs_f64(match work_fault.as_ref().map(|hit| &hit.fault) {
        Some(WorkFault::Slow { seconds }) => *seconds,
        _ => usual,
    });
    let mut reply = reply::body(model, &id, &asked, &seen);
    if let Some(hit) = work_fault {
        reply::spoil(&mut reply, &hit.fault);
    }
    let (done, ended) = oneshot::channel();
    let inner = world.clone();
    // A task of its own: a caller that hangs up does not end the work, nor the bill.
    world.spawn(async move {
        tokio::time::sleep(latency).await;
        inner.calls.answered(number);
        inner.count(|counters| {
            counters.completions += 1;
            counters.billed_completions += 1;
            let own = counters.endpoint(&endpoint);
            own.completions += 1;
            own.billed_completions += 1;
            own.billable_units += 1.0;
        });
        // Nobody may be left to hear of it.
        done.send(()).ok();
    });
    let stopped = |_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "The service is shutting down.");
    let fault = fault.and_then(|hit| crate::reply::Fault::of(&hit.fault));
    // Those that give no answer do not wait for one.
    if !matches!(fault, Some(crate::reply::Fault::Cut | crate::reply::Fault::Never(_))) {
        ended.await.map_err(stopped)?;
    }
    Ok(crate::reply::send(&world, &wire, fault.as_ref(), &reply).await)
}

/// Lets only the one key pass, in the header or as `?key=`.
fn authorize(world: &World, query: &[(String, String)], headers: &HeaderMap) -> Result<(), Refusal> {
    let header = headers.get("x-goog-api-key").and_then(|value| value.to_str().ok());
    let parameter = query.iter().find(|(name, _)| name == "key").map(|(_, value)| value.as_str());
    match header.or(parameter).filter(|key| !key.is_empty()) {
        Some(key) if key == world.gemini_key => Ok(()),
        Some(_) => Err(wrong_key()),
        None => {
            let message = "Method doesn't allow unregistered callers (callers without established identity). Please use \
                           API Key or other form of API consumer identity to call this API.";
            Err(Refusal::new(StatusCode::FORBIDDEN, "PERMISSION_DENIED", message))
        }
    }
}

fn wrong_key() -> Refusal {
    let mut refusal = Refusal::invalid("API key not valid. Please pass a valid API key.");
    refusal.details.push(json!({ "@type": format!("{TYPES}/google.rpc.ErrorInfo"), "reason": "API_KEY_INVALID",
        "domain": "googleapis.com", "metadata": { "service": "generativelanguage.googleapis.com" } }));
    refusal
}

/// Reads the pictures of a request, off the async threads.
async fn look_at(world: &Arc<World>, asked: Asked) -> Result<(Asked, Vec<Seen>), Refusal> {
    let looked = world.gallery.draw(move || {
        let mut asked = asked;
        let pictures = std::mem::take(&mut asked.pictures);
        let seen: Result<Vec<Seen>, _> = pictures.iter().map(|bytes| Seen::new(bytes)).collect();
        Some((asked, seen))
    });
    let broken = || Refusal::invalid("Unable to process input image. Please retry or report in the developer forum.");
    let (asked, seen) = looked.await.ok_or_else(broken)?;
    seen.map(|seen| (asked, seen)).map_err(|_| broken())
}
