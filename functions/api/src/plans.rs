//! What a run would do, and what there is to choose from.

use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use fresco_api_types::{ModelView, Preview};
use fresco_pipeline::catalogue::{self, Model, StepType};
use http::HeaderMap;

use crate::body::Query;
use crate::document;
use crate::problem::Problem;
use crate::routes::App;

/// `POST /plans`.
pub(crate) async fn plan(
    State(app): State<App>,
    query: Query,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<Preview>, Problem> {
    let body = document::read(&headers, query, &bytes)?;
    let request = app.engine.order(body, None, &app.fetcher).await?;
    Ok(Json(app.engine.preview(&request).await?))
}

/// `GET /models`.
pub(crate) async fn models(query: Query) -> Result<Json<Vec<ModelView>>, Problem> {
    let [kind] = query.take(["type"])?;
    let kind = match kind {
        None => None,
        Some(text) => Some(StepType::parse(&text).ok_or_else(|| {
            let known: Vec<&str> = StepType::ALL.iter().map(|step| step.as_str()).collect();
            Problem::bad_request("bad_parameter", format!("`type` has to be one of {}", known.join(", ")))
        })?),
    };
    let models = catalogue::models().iter().filter(|model| kind.is_none_or(|kind| model.step == kind));
    Ok(Json(models.map(view).collect()))
}

fn view(model: &Model) -> ModelView {
    let params = model.params.iter();
    ModelView {
        name: model.name.clone(),
        aliases: model.aliases.clone(),
        kind: model.step.as_str().to_owned(),
        default: catalogue::default_model(model.step).is_some_and(|default| default.name == model.name),
        provider: model.provider.as_str().to_owned(),
        label: model.label.clone(),
        seconds: (model.seconds.min, model.seconds.max),
        timeout: model.timeout_seconds(),
        unit: model.price.unit.as_str().to_owned(),
        price: model.price.list,
        output_price: model.price.output_list,
        params: params.map(|(name, param)| (name.clone(), serde_json::to_value(param).unwrap_or_default())).collect(),
        media: model.inputs.iter().map(|input| input.param.clone()).collect(),
    }
}
