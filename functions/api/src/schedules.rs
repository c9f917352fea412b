//! Schedules.

use axum::Json;
use axum::extract::State;
use fresco_api_types::SchedulePage;

use crate::app::App;
use crate::body::Query;
use crate::problem::HttpProblem;

/// `GET /schedules`.
pub(crate) async fn list(State(app): State<App>, query: Query) -> Result<Json<SchedulePage>, HttpProblem> {
    let [] = query.read([])?;
    Ok(Json(SchedulePage { schedules: app.engine.triggers.schedules().await? }))
}
