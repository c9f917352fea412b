//! The progress of a run as JSON lines. Events are not stored: they are derived from the records, each with an id of its own, so
//! that a client can drop repeated ones.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fresco_api_types::{EventView, FailureView, RunEvent};
use fresco_engine::platform::Platform;
use fresco_ledger::records::{Millis, ResultSource, RunRecord, StepRecord, StepState};
use fresco_ledger::traits::Runs;
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use crate::app::App;
use crate::body::{Query, number};
use crate::parameters::RunPath;
use crate::problem::HttpProblem;

/// Events this much older than `after` are repeated: the clocks of functions differ, and a record may be written a little after
/// the time in it.
const OVERLAP: Millis = 5_000;

/// `GET /runs/{id}/events`.
pub(crate) async fn list(State(app): State<App>, RunPath(run): RunPath, query: Query) -> Result<Response, HttpProblem> {
    let [after] = query.read(["after"])?;
    let after = number("after", after, 0..=i64::MAX)?.unwrap_or(0);
    let ledger = app.engine.platform.ledger();
    // The record first: steps that are read after a final status are final, too.
    let record = ledger.run(&run).await?.ok_or_else(HttpProblem::no_run)?;
    let steps = ledger.steps(&run).await?;
    let mut lines = String::new();
    for event in events_of(&record, &steps).iter().filter(|event| event.at >= after - OVERLAP) {
        lines.push_str(&serde_json::to_string(event).unwrap_or_default());
        lines.push('\n');
    }
    let mut response = lines.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// Returns the events so far, in order.
fn events_of(run: &RunRecord, steps: &[StepRecord]) -> Vec<EventView> {
    let run_id = run.id.to_string();
    let event = |id: &str, at: Millis, what: RunEvent| EventView { id: id.to_owned(), at, what };
    let mut events = vec![event("started", run.created_at, RunEvent::RunStarted { run_id: run_id.clone() })];
    // Step records may exist before the plan is complete; their events follow it.
    if run.bound_at.is_some() || run.status.is_final() {
        let planned_at = steps.iter().filter_map(|step| step.started_at).min().unwrap_or(run.created_at);
        let hits = steps.iter().filter(|step| step.source == Some(ResultSource::Hit) && step.calls == 0).count();
        let planned = RunEvent::RunPlanned {
            run_id: run_id.clone(),
            steps: run.steps,
            hits: u32::try_from(hits).unwrap_or(u32::MAX),
        };
        events.push(event("planned", planned_at, planned));
        for step in steps {
            events.extend(step_events(&run_id, step));
        }
    }
    if let (true, Some(at)) = (run.status.is_final(), run.ended_at) {
        let ended =
            RunEvent::RunEnded { run_id, status: run.status, failure: run.failure.as_ref().map(FailureView::from) };
        events.push(event("ended", at, ended));
    }
    // The sort is stable: events of one time stay in causal order. The end is the last, whatever a clock says.
    let last = events.iter().map(|event| event.at).max();
    if let (Some(end), Some(last)) = (events.last_mut().filter(|event| event.id == "ended"), last) {
        end.at = last;
    }
    events.sort_by_key(|event| event.at);
    events
}

fn step_events(run_id: &str, step: &StepRecord) -> Vec<EventView> {
    let name = step.plan.id().public_name();
    let changed = |state: StepState, took_ms: Option<Millis>| RunEvent::StepChanged {
        run_id: run_id.to_owned(),
        step: name.to_string(),
        model: step.plan.model.clone(),
        state,
        source: step.source,
        took_ms,
        failure: step.failure.as_ref().filter(|_| state == StepState::Failed).map(FailureView::from),
    };
    let mut events = Vec::new();
    // A hit was never under way.
    let started = step.started_at.filter(|_| step.calls > 0 && step.source.is_some());
    if let Some(at) = started {
        let id = format!("{name}/running");
        events.push(EventView { id, at, what: changed(StepState::Running, None) });
    }
    if let (StepState::Done | StepState::Failed, Some(at)) = (step.state, step.ended_at) {
        let took = step.started_at.map(|from| (at - from).max(0));
        // A result after a failure is an event of its own.
        let how = if step.state == StepState::Done { "done" } else { "failed" };
        let id = format!("{name}/{how}");
        events.push(EventView { id, at, what: changed(step.state, took) });
    }
    events
}
