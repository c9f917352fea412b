//! What runs by itself.

use axum::Json;
use axum::extract::State;
use fresco_api_types::SchedulePage;

use crate::body::Query;
use crate::problem::Problem;
use crate::routes::App;

/// `GET /schedules`.
pub(crate) async fn list(State(app): State<App>, query: Query) -> Result<Json<SchedulePage>, Problem> {
    let [] = query.take([])?;
    Ok(Json(SchedulePage { schedules: app.engine.schedules().await? }))
}
