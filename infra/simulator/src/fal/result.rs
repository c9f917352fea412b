//! The result of a completed request as a body, which the result route, the listing and the webhook share.

use std::sync::Arc;

use serde_json::{Value, json};

use super::request_store::{EndReason, Request};
use crate::faults::Fault;
use crate::state::State;

/// The body of the result. `None` before the request has ended, or where a picture cannot be encoded.
pub(super) async fn body(state: &Arc<State>, request: &Request) -> Option<Value> {
    let output = match &request.end.as_ref()?.reason {
        EndReason::ModelError { body, .. } => return Some(body.clone()),
        EndReason::PlatformError(error) => {
            return Some(json!({ "detail": error.message(), "error_type": error.error_type() }));
        }
        EndReason::Output(_) if matches!(request.job.fault, Some(Fault::PayloadNull { .. })) => {
            return Some(Value::Null);
        }
        EndReason::Output(output) => output.clone(),
    };
    let base = format!("{}/fal/media/files/{}", state.base(), request.job.id);
    let address = move |name: &str| format!("{base}/{name}");
    let seconds = request.inference_seconds().unwrap_or_default();
    if !output.is_drawn_inline() {
        return output.body(seconds, None, address);
    }
    let inner = state.clone();
    state.renderer.run(move || output.body(seconds, inner.copies(&output.inputs).as_deref(), address)).await
}
