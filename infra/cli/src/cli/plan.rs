//! `fresco plan`, `schema` and `models`: what a run would do, what a document may say, and what there is to choose from.

use fresco_cli::api::ApiError;
use fresco_cli::view;
use fresco_pipeline::catalogue::{self, StepType};
use fresco_pipeline::document;
use serde_json::json;

use super::output::Output;
use super::{EXIT_INPUT, Ended, Place, PlanArgs, stack};

pub(super) async fn plan(output: &Output, place: &Place, args: PlanArgs) -> Result<(), Ended> {
    let pipeline = args.pipeline.read(output).await?;
    let asked = stack::asked_as_built(output, place, &args.simulator).await?;
    let preview = match asked.api.plan(&pipeline.request, &pipeline.inputs).await {
        Ok(preview) => preview,
        Err(ApiError::Document(problems)) => return Err(pipeline.say(output, &problems)),
        Err(error) => return Err(error.into()),
    };
    output.result(|| Some(view::plan::of(&preview)), &json!({"event": "plan", "plan": preview}));
    Ok(())
}

/// The schema is JSON either way.
pub(super) fn schema(output: &Output) -> Result<(), Ended> {
    let schema = document::schema();
    let text = || Some(serde_json::to_string_pretty(&schema).unwrap_or_default());
    output.result(text, &schema);
    Ok(())
}

pub(super) fn models(output: &Output, step: Option<&str>) -> Result<(), Ended> {
    let step = match step.map(|text| (text, StepType::parse(text))) {
        None => None,
        Some((_, Some(step))) => Some(step),
        Some((text, None)) => {
            let known: Vec<&str> = StepType::ALL.iter().map(|step| step.as_str()).collect();
            output.error("unknown_type", &format!("there is no step type `{text}`; there are {}", known.join(", ")));
            return Err(Ended::Code(EXIT_INPUT));
        }
    };
    let models: Vec<_> =
        catalogue::models().iter().filter(|model| step.is_none_or(|step| model.step == step)).collect();
    output.result(|| Some(view::models::of(&models)), &json!({"event": "models", "models": models}));
    Ok(())
}
