//! A run's progress as JSON lines. There is no log of events: they are read off the rows, each with an id of its own, so that
//! telling one twice does no harm.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fresco_api_types::{EventView, FailureView, RunEvent};
use fresco_engine::platform::Platform;
use fresco_ledger::records::{Millis, ResultSource, RunRecord, StepRecord, StepState};
use fresco_ledger::traits::Runs;
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use crate::body::{Query, number};
use crate::problem::Problem;
use crate::routes::App;
use crate::runs::OfRun;

/// Events so much older than asked for are told again: functions' clocks differ, and a row may be written a little after the
/// time that stands in it.
const OVERLAP: Millis = 5_000;

/// `GET /runs/{id}/events`.
pub(crate) async fn events(State(app): State<App>, OfRun(run): OfRun, query: Query) -> Result<Response, Problem> {
    let [after] = query.take(["after"])?;
    let after = number("after", after, 0..=i64::MAX)?.unwrap_or(0);
    let ledger = app.engine.platform.ledger();
    // The record first: steps that are read after a final status are final too.
    let row = ledger.run(&run).await.map_err(|error| error.0)?.ok_or_else(Problem::no_run)?;
    let steps = ledger.steps(&run).await.map_err(|error| error.0)?;
    let mut lines = String::new();
    for event in of(&row, &steps).iter().filter(|event| event.at >= after - OVERLAP) {
        lines.push_str(&serde_json::to_string(event).unwrap_or_default());
        lines.push('\n');
    }
    let mut response = lines.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// Everything that has happened so far, in order.
fn of(run: &RunRecord, steps: &[StepRecord]) -> Vec<EventView> {
    let run_id = run.id.to_string();
    let event = |id: &str, at: Millis, what: RunEvent| EventView { id: id.to_owned(), at, what };
    let mut events = vec![event("started", run.created_at, RunEvent::RunStarted { run_id: run_id.clone() })];
    // Rows may be there before the plan is whole; what they say is told after it is.
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
            events.extend(of_step(&run_id, step));
        }
    }
    if let (true, Some(at)) = (run.status.is_final(), run.ended_at) {
        let ended =
            RunEvent::RunEnded { run_id, status: run.status, failure: run.failure.as_ref().map(FailureView::from) };
        events.push(event("ended", at, ended));
    }
    // Stable: of one time, in the order of cause and effect. The end is the last whatever a clock says.
    let last = events.iter().map(|event| event.at).max();
    if let (Some(end), Some(last)) = (events.last_mut().filter(|event| event.id == "ended"), last) {
        end.at = last;
    }
    events.sort_by_key(|event| event.at);
    events
}

fn of_step(run_id: &str, step: &StepRecord) -> Vec<EventView> {
    let changed = |state: StepState, took_ms: Option<Millis>| RunEvent::StepChanged {
        run_id: run_id.to_owned(),
        step: step.plan.name.to_string(),
        model: step.plan.model.clone(),
        state,
        source: step.source,
        took_ms,
        failure: step.failure.as_ref().filter(|_| state == StepState::Failed).map(FailureView::from),
    };
    let mut events = Vec::new();
    // What was there at once was never under way.
    let begun = step.started_at.filter(|_| step.calls > 0 && step.source.is_some());
    if let Some(at) = begun {
        let id = format!("{}/running", step.plan.name);
        events.push(EventView { id, at, what: changed(StepState::Running, None) });
    }
    if let (StepState::Done | StepState::Failed, Some(at)) = (step.state, step.ended_at) {
        let took = step.started_at.map(|from| (at - from).max(0));
        // A result that comes after a failure is news.
        let how = if step.state == StepState::Done { "done" } else { "failed" };
        let id = format!("{}/{how}", step.plan.name);
        events.push(EventView { id, at, what: changed(step.state, took) });
    }
    events
}
