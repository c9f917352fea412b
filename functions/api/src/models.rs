//! The models of the catalogue.

use axum::Json;
use fresco_api_types::ModelView;
use fresco_pipeline::catalogue::{self, Model, StepType};

use crate::body::Query;
use crate::problem::HttpProblem;

/// `GET /models`.
pub(crate) async fn list(query: Query) -> Result<Json<Vec<ModelView>>, HttpProblem> {
    let [step] = query.read(["type"])?;
    let step = step.map(|text| StepType::parse(&text).ok_or_else(unknown_type)).transpose()?;
    let models = catalogue::models().iter().filter(|model| step.is_none_or(|step| model.step == step));
    Ok(Json(models.map(view).collect()))
}

fn unknown_type() -> HttpProblem {
    let known: Vec<&str> = StepType::ALL.iter().map(|step| step.as_str()).collect();
    HttpProblem::bad_request("bad_parameter", format!("`type` has to be one of {}", known.join(", ")))
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
