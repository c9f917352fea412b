//! Rows of the ledger as they are shown.

use fresco_engine::platform::Platform;
use fresco_engine::wire::{Cause, ExportView, OutputView, RunLinks, RunSummary, RunView, StepView};
use fresco_engine::{Manifest, manifest_key, names};
use fresco_ledger::records::{Output, ResultSource, RunRecord, StepRecord, StepState};
use fresco_ledger::traits::{Clock, Objects, Runs};
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::RunId;
use fresco_pipeline::money::Money;
use futures::{StreamExt, TryStreamExt, stream};

use crate::problem::Problem;
use crate::routes::App;
use crate::signature;

/// The longest text that is shown in place.
const MAX_TEXT: u64 = 32 * 1024;
/// The most steps of an answer, and their most bytes. Lambda answers with 6 MB at most, in which every quote is escaped once
/// more; a link with its session token has nearly 2 kB.
const MAX_STEPS: usize = 100;
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// How many objects are read side by side.
const AT_ONCE: usize = 16;

/// A run, and its steps from one on.
pub(crate) async fn run(app: &App, id: &RunId, from: usize) -> Result<RunView, Problem> {
    let ledger = app.engine.platform.ledger();
    let row = ledger.run(id).await.map_err(|error| error.0)?.ok_or_else(Problem::no_run)?;
    let steps = ledger.steps(id).await.map_err(|error| error.0)?;
    let manifest = match row.status.is_final() && row.export.is_some() {
        true => manifest(app, id).await?,
        false => None,
    };
    let names = names::of_steps(steps.iter().map(|step| {
        let outputs = step.pinned.as_ref().map_or(&[][..], |ready| &ready.outputs);
        (step.plan.name.as_str(), outputs.iter().map(|output| output.key.as_str()).collect())
    }));
    let mut views: Vec<StepView> = steps.iter().skip(from).take(MAX_STEPS).map(step).collect();
    let outputs = names.into_iter().filter_map(|named| {
        let place = named.step.checked_sub(from).filter(|place| *place < MAX_STEPS)?;
        let output = steps.get(named.step)?.pinned.as_ref()?.outputs.get(named.output)?.clone();
        Some((place, named.name, output))
    });
    let shown: Vec<(usize, OutputView)> = stream::iter(outputs.collect::<Vec<_>>())
        .map(|(place, name, output)| async move { Ok::<_, Failure>((place, show(app, name, output).await?)) })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    for (place, output) in shown {
        if let Some(view) = views.get_mut(place) {
            view.outputs.push(output);
        }
    }
    let mut bytes = 0;
    let fit = views.iter().take_while(|view| {
        bytes += serde_json::to_vec(view).map_or(0, |json| json.len());
        bytes <= MAX_BYTES
    });
    // One at least: a step's outputs are a few.
    views.truncate(fit.count().max(1));
    let next = Some(from + views.len()).filter(|next| *next < steps.len());
    let saved = steps.iter().filter(|step| matches!(step.source, Some(ResultSource::Hit | ResultSource::Joined)));
    let saved: Money = saved.filter_map(|step| Some(step.pinned.as_ref()?.cost)).sum();
    Ok(RunView {
        run: summary(&row),
        bound_at: row.bound_at,
        stopping: row.stop,
        saved: saved.as_micros(),
        failure: row.failure.as_ref().map(cause),
        steps: views,
        next: next.and_then(|next| u32::try_from(next).ok()),
        exported: manifest.and_then(|manifest| manifest.exported).map(|exported| ExportView {
            to: exported.to,
            files: exported.files,
            failed: exported.failed.into_iter().map(|failed| failed.name).collect(),
        }),
        manifest: match row.status.is_final() {
            true => Some(link(app, &manifest_key(id)).await?),
            false => None,
        },
        links: links(app, id).await?,
    })
}

async fn link(app: &App, key: &str) -> Result<String, Failure> {
    let seconds = app.engine.settings.link_life().as_secs();
    app.engine.platform.objects().presign_get(key, seconds).await.map_err(|error| error.0)
}

async fn manifest(app: &App, id: &RunId) -> Result<Option<Manifest>, Failure> {
    let bytes = app.engine.platform.objects().get(&manifest_key(id)).await.map_err(|error| error.0)?;
    // One that cannot be read is of another version, and says nothing more than the rows do.
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

async fn show(app: &App, file: String, output: Output) -> Result<OutputView, Failure> {
    let objects = app.engine.platform.objects();
    let seconds = app.engine.settings.link_life().as_secs();
    let url = link(app, &output.key).await?;
    let text = match output.kind == MediaKind::Text && output.bytes <= MAX_TEXT {
        true => objects.get(&output.key).await.map_err(|error| error.0)?,
        false => None,
    };
    Ok(OutputView {
        file,
        kind: output.kind.as_str().to_owned(),
        content_type: output.content_type,
        bytes: output.bytes,
        sha256: output.sha256,
        width: output.width,
        height: output.height,
        duration_ms: output.duration_ms,
        url,
        url_expires_at: app.engine.platform.clock().now() + i64::try_from(seconds).unwrap_or(0) * 1_000,
        text: text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    })
}

/// A run in a list.
pub(crate) fn summary(row: &RunRecord) -> RunSummary {
    RunSummary {
        id: row.id.to_string(),
        name: row.name.clone(),
        status: row.status,
        created_at: row.created_at,
        ended_at: row.ended_at,
        step_count: row.steps,
        spent: row.settled.as_micros(),
        held: row.held.as_micros(),
    }
}

fn step(row: &StepRecord) -> StepView {
    let ready = row.pinned.as_ref();
    let own = ready.filter(|_| row.source == Some(ResultSource::Generated));
    StepView {
        name: row.plan.name.to_string(),
        of: row.plan.of.to_string(),
        kind: row.plan.step.as_str().to_owned(),
        model: row.plan.model.clone(),
        state: row.state,
        source: row.source,
        started_at: row.started_at,
        ended_at: row.ended_at,
        cost: own.map_or(0, |ready| ready.cost.as_micros()),
        price: row.plan.price.as_micros(),
        reads: row.plan.reads().into_iter().map(ToString::to_string).collect(),
        failure: row.failure.as_ref().filter(|_| row.state == StepState::Failed).map(cause),
        outputs: Vec::new(),
    }
}

pub(crate) fn cause(failure: &Failure) -> Cause {
    Cause {
        name: failure.name.as_str().to_owned(),
        message: failure.message.clone(),
        advice: failure.name.advice().to_owned(),
    }
}

/// Where a run is found.
pub(crate) async fn links(app: &App, id: &RunId) -> Result<RunLinks, Problem> {
    let query = signature::query(app, id).await?;
    Ok(RunLinks {
        this: format!("/runs/{id}"),
        events: format!("/runs/{id}/events"),
        view: Some(format!("/runs/{id}/view?{query}")),
    })
}
