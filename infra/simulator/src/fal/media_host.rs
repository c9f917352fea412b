//! The media host. No output is stored: a file is drawn from its request and the copies of its inputs when it is fetched.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::answer::{Answer, detail};
use super::broken_media;
use super::output::Output;
use crate::broken_connection::ConnectionHandle;
use crate::state::State;

/// `GET /fal/media/files/{request_id}/{name}`: public, as on fal.
pub(super) async fn serve(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(connection): ConnectInfo<ConnectionHandle>,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, Answer> {
    let response = file(&state, &connection, &id, &name).await?;
    if response.status() == StatusCode::OK {
        state.count(|counters| counters.media_downloads += 1);
    }
    Ok(response)
}

async fn file(state: &Arc<State>, connection: &ConnectionHandle, id: &str, name: &str) -> Result<Response, Answer> {
    let request = state.requests.get(id).ok_or_else(not_found)?;
    let output = request.output().ok_or_else(not_found)?.clone();
    let content_type = output.picture(name).ok_or_else(not_found)?.format.content_type();
    let fault = state.strike_job(&request.job, broken_media::is_of_download);
    if let Some(response) = fault.as_ref().and_then(|fault| broken_media::without_file(fault, content_type)) {
        return Ok(response);
    }
    let bytes = bytes_of(state, output, id, name).await?;
    Ok(match fault {
        Some(fault) => broken_media::with_file(state, connection, &fault, content_type, bytes).await,
        None => ([(header::CONTENT_TYPE, content_type)], bytes).into_response(),
    })
}

fn not_found() -> Answer {
    detail(StatusCode::NOT_FOUND, "Not found")
}

async fn bytes_of(state: &Arc<State>, output: Arc<Output>, id: &str, name: &str) -> Result<Bytes, Answer> {
    let key = format!("{id}/{name}");
    if let Some(bytes) = state.renderer.cached(&key) {
        return Ok(bytes);
    }
    let (inner, name) = (state.clone(), name.to_owned());
    let draw = move || {
        // The output has expired with the copy of an input.
        let Some(copies) = inner.copies(&output.inputs) else { return Some(None) };
        output.render(output.picture(&name)?, &copies).map(Some)
    };
    let failed = || detail(StatusCode::INTERNAL_SERVER_ERROR, "The output cannot be encoded");
    let drawn = state.renderer.run(draw).await.ok_or_else(failed)?;
    let bytes = Bytes::from(drawn.ok_or_else(not_found)?);
    state.renderer.cache(key, bytes.clone());
    Ok(bytes)
}
