//! Builds the views of runs from the records of the ledger.

use fresco_api_types::{
    ExportView, FailureView, Manifest, OutputView, RunLinks, RunSummary, RunView, StepView, filenames,
};
use fresco_engine::manifest_key;
use fresco_engine::platform::Platform;
use fresco_ledger::records::{ResultSource, RunRecord, StepRecord, StepState};
use fresco_ledger::traits::{Clock, Objects, Runs};
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{RunId, StepName};
use fresco_pipeline::media::Media;
use fresco_pipeline::money::Money;
use futures::{StreamExt, TryStreamExt, stream};

use crate::app::App;
use crate::page_link;
use crate::problem::HttpProblem;

/// The longest text that an answer contains, in bytes.
const MAX_TEXT: u64 = 32 * 1024;
/// The most steps of an answer, and their most bytes. An answer of Lambda has at most 6 MB, in which every quote is escaped once
/// more; a link with its session token has nearly 2 kB.
const MAX_STEPS: usize = 100;
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// The number of objects that are read side by side.
const AT_ONCE: usize = 16;

/// Returns the view of a run with its steps from the index `from` on.
pub(crate) async fn run(app: &App, id: &RunId, from: usize) -> Result<RunView, HttpProblem> {
    let ledger = app.engine.platform.ledger();
    let record = ledger.run(id).await?.ok_or_else(HttpProblem::no_run)?;
    let steps = ledger.steps(id).await?;
    let manifest = match record.status.is_final() && record.export.is_some() {
        true => manifest(app, id).await?,
        false => None,
    };
    let public: Vec<StepName> = steps.iter().map(|step| step.plan.id().public_name()).collect();
    let names = filenames::of_steps(steps.iter().zip(&public).map(|(step, name)| {
        let outputs = step.pinned.as_ref().map_or(&[][..], |ready| &ready.outputs);
        (name.as_str(), outputs.iter().map(|output| output.key.as_str()).collect())
    }));
    let mut views: Vec<StepView> = steps.iter().skip(from).take(MAX_STEPS).map(step_view).collect();
    let outputs = names.into_iter().filter_map(|named| {
        let place = named.step.checked_sub(from).filter(|place| *place < MAX_STEPS)?;
        let output = steps.get(named.step)?.pinned.as_ref()?.outputs.get(named.output)?.clone();
        Some((place, named.name, output))
    });
    let shown: Vec<(usize, OutputView)> = stream::iter(outputs.collect::<Vec<_>>())
        .map(|(place, name, output)| async move { Ok::<_, Failure>((place, output_view(app, name, output).await?)) })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    for (place, output) in shown {
        if let Some(view) = views.get_mut(place) {
            view.outputs.push(output);
        }
    }
    let mut bytes = 0;
    let fitting = views.iter().take_while(|view| {
        bytes += serde_json::to_vec(view).map_or(0, |json| json.len());
        bytes <= MAX_BYTES
    });
    // At least one: the outputs of a step are few.
    views.truncate(fitting.count().max(1));
    let next = Some(from + views.len()).filter(|next| *next < steps.len());
    let saved = steps.iter().filter(|step| matches!(step.source, Some(ResultSource::Hit | ResultSource::Joined)));
    let saved: Money = saved.filter_map(|step| Some(step.pinned.as_ref()?.cost)).sum();
    Ok(RunView {
        run: summary(&record),
        bound_at: record.bound_at,
        stopping: record.stop,
        saved: saved.as_micros(),
        failure: record.failure.as_ref().map(FailureView::from),
        steps: views,
        next: next.and_then(|next| u32::try_from(next).ok()),
        exported: manifest.and_then(|manifest| manifest.exported).map(ExportView::from),
        manifest: match record.status.is_final() {
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
    let bytes = app.engine.platform.objects().get(&manifest_key(id)).await?;
    // A manifest of another version adds nothing to the records.
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

async fn output_view(app: &App, file: String, output: Media) -> Result<OutputView, Failure> {
    let objects = app.engine.platform.objects();
    let seconds = app.engine.settings.link_life().as_secs();
    let url = link(app, &output.key).await?;
    let text = match output.kind == MediaKind::Text && output.bytes <= MAX_TEXT {
        true => objects.get(&output.key).await?,
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

/// Returns the view of a run in a list.
pub(crate) fn summary(record: &RunRecord) -> RunSummary {
    RunSummary {
        id: record.id.to_string(),
        name: record.name.clone(),
        status: record.status,
        created_at: record.created_at,
        ended_at: record.ended_at,
        step_count: record.steps,
        spent: record.settled.as_micros(),
        held: record.held.as_micros(),
    }
}

fn step_view(record: &StepRecord) -> StepView {
    let ready = record.pinned.as_ref();
    let own = ready.filter(|_| record.source == Some(ResultSource::Generated));
    StepView {
        name: record.plan.id().public_name().into(),
        of: record.plan.sibling(&record.plan.of).public_name().into(),
        kind: record.plan.step.as_str().to_owned(),
        model: record.plan.model.clone(),
        state: record.state,
        source: record.source,
        started_at: record.started_at,
        ended_at: record.ended_at,
        cost: own.map_or(0, |ready| ready.cost.as_micros()),
        price: record.plan.price.as_micros(),
        reads: record.plan.reads().iter().map(|step| step.public_name().into()).collect(),
        failure: record.failure.as_ref().filter(|_| record.state == StepState::Failed).map(FailureView::from),
        outputs: Vec::new(),
        shortfall: ready.and_then(|ready| ready.shortfall.as_ref()).map(ToString::to_string),
    }
}

/// Returns the links to a run.
pub(crate) async fn links(app: &App, id: &RunId) -> Result<RunLinks, HttpProblem> {
    let query = page_link::query(app, id).await?;
    Ok(RunLinks {
        this: format!("/runs/{id}"),
        events: format!("/runs/{id}/events"),
        view: Some(format!("/runs/{id}/view?{query}")),
    })
}
