//! The address of outputs. No output is stored: a picture or video is drawn from its request and the copies of its
//! inputs when it is fetched, and the last few are kept, as downloads come in bursts.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{ConnectInfo, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::json;
use tokio::sync::Semaphore;

use super::output::Output;
use super::{Answer, answer, faults, media_faults};
use crate::wire::Wire;
use crate::world::World;

/// Encoded bytes that are kept at most.
const KEPT_BYTES: usize = 32 << 20;
/// Drawing takes a canvas of up to 50 MB and a processor each.
const DRAWN_AT_ONCE: usize = 2;

/// Draws outputs and keeps the last ones.
#[derive(Debug)]
pub(crate) struct Gallery {
    turns: Semaphore,
    kept: Mutex<VecDeque<(String, Bytes)>>,
}

impl Gallery {
    pub(crate) fn new() -> Self {
        Self { turns: Semaphore::new(DRAWN_AT_ONCE), kept: Mutex::default() }
    }

    /// Runs something that draws, off the async threads and only so many at once.
    pub(crate) async fn draw<T: Send + 'static>(&self, make: impl FnOnce() -> Option<T> + Send + 'static) -> Option<T> {
        let _turn = self.turns.acquire().await.ok()?;
        tokio::task::spawn_blocking(make).await.ok()?
    }

    fn kept(&self, key: &str) -> Option<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(name, _)| name == key).map(|(_, bytes)| bytes.clone())
    }

    fn keep(&self, key: String, bytes: Bytes) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((key, bytes));
        while kept.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > KEPT_BYTES {
            kept.pop_front();
        }
    }
}

/// `GET /fal/media/files/{request_id}/{name}`: public, as on fal.
pub(crate) async fn serve(
    State(world): State<Arc<World>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    Path((id, name)): Path<(String, String)>,
) -> Response {
    match file(&world, &wire, &id, &name).await {
        Ok(response) => {
            if response.status() == StatusCode::OK {
                world.count(|counters| counters.media_downloads += 1);
            }
            response
        }
        Err(refusal) => refusal.into_response(),
    }
}

async fn file(world: &Arc<World>, wire: &Wire, id: &str, name: &str) -> Result<Response, Answer> {
    let request = world.requests.get(id).ok_or_else(missing)?;
    let output = request.output().ok_or_else(missing)?.clone();
    let content_type = output.work(name).ok_or_else(missing)?.content_type();
    let job = &request.job;
    let fault = world.strike(job.endpoint.id, job.prompt(), faults::download).map(|hit| {
        world.requests.struck(id, hit.name);
        hit.fault
    });
    if let Some(response) = fault.as_ref().and_then(|fault| media_faults::without_file(fault, content_type)) {
        return Ok(response);
    }
    let bytes = bytes_of(world, output, id, name).await?;
    Ok(match fault {
        Some(fault) => media_faults::with_file(world, wire, &fault, content_type, bytes).await,
        None => ([(header::CONTENT_TYPE, content_type)], bytes).into_response(),
    })
}

fn missing() -> Answer {
    answer(StatusCode::NOT_FOUND, json!({ "detail": "Not found" }))
}

async fn bytes_of(world: &Arc<World>, output: Arc<Output>, id: &str, name: &str) -> Result<Bytes, Answer> {
    let key = format!("{id}/{name}");
    if let Some(bytes) = world.gallery.kept(&key) {
        return Ok(bytes);
    }
    let (keeper, name) = (world.clone(), name.to_owned());
    let draw = move || {
        // Without the copy of an input there is nothing to draw from any more: the output has expired.
        let Some(copies) = keeper.copies(&output.inputs) else { return Some(None) };
        output.render(output.work(&name)?, &copies).map(Some)
    };
    let failed = || answer(StatusCode::INTERNAL_SERVER_ERROR, json!({ "detail": "The output cannot be encoded" }));
    let drawn = world.gallery.draw(draw).await.ok_or_else(failed)?;
    let bytes = Bytes::from(drawn.ok_or_else(missing)?);
    world.gallery.keep(key, bytes.clone());
    Ok(bytes)
}
