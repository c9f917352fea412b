//! `fresco plan`, `schema` and `models`: the preview of a run, the schema of documents, and the catalogue.

use fresco_cli::api::ApiError;
use fresco_cli::view;
use fresco_pipeline::catalogue::{self, StepType};
use fresco_pipeline::document;
use serde_json::json;

use super::output::Output;
use super::{CommandError, EXIT_INPUT, PlanArgs, Target, stack};

pub(super) async fn plan(output: &Output, target: &Target, args: PlanArgs) -> Result<(), CommandError> {
    let pipeline = args.pipeline.read(output).await?;
    let connection = stack::connect_as_built(output, target, &args.simulator).await?;
    let preview = match connection.api.plan(&pipeline.request, &pipeline.inputs).await {
        Ok(preview) => preview,
        Err(ApiError::Document(problems)) => return Err(pipeline.report(output, &problems)),
        Err(error) => return Err(error.into()),
    };
    output.result(|| Some(view::plan::of(&preview)), &json!({"event": "plan", "plan": preview}));
    Ok(())
}

/// Prints the schema, which is JSON with and without `--json`.
pub(super) fn schema(output: &Output) -> Result<(), CommandError> {
    let schema = document::schema();
    let text = || Some(serde_json::to_string_pretty(&schema).unwrap_or_default());
    output.result(text, &schema);
    Ok(())
}

pub(super) fn models(output: &Output, step: Option<&str>) -> Result<(), CommandError> {
    let step = match step.map(|text| (text, StepType::parse(text))) {
        None => None,
        Some((_, Some(step))) => Some(step),
        Some((text, None)) => {
            let known: Vec<&str> = StepType::ALL.iter().map(|step| step.as_str()).collect();
            output.error("unknown_type", &format!("unknown step type `{text}`; expected one of {}", known.join(", ")));
            return Err(CommandError::Code(EXIT_INPUT));
        }
    };
    let models: Vec<_> =
        catalogue::models().iter().filter(|model| step.is_none_or(|step| model.step == step)).collect();
    output.result(|| Some(view::models::of(&models)), &json!({"event": "models", "models": models}));
    Ok(())
}
