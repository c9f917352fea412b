//! Every operation of the API, with what it takes and what it answers with.

use fresco_api_types::{
    BatchAccepted, BatchBody, BatchPage, BatchResults, BatchView, ModelView, Preview, RunAccepted, RunBody, RunPage,
    RunView, SchedulePage, StopView, UploadBody, UploadView,
};
use fresco_pipeline::catalogue::StepType;
use schemars::JsonSchema;
use schemars::generate::SchemaGenerator;
use serde_json::{Value, json};

use super::{Answer, Operation};

fn parameter(place: &str, name: &str, says: &str, schema: Value) -> Value {
    json!({ "in": place, "name": name, "required": place == "path", "description": says, "schema": schema })
}

fn run_id() -> Value {
    parameter("path", "id", "The run.", json!({ "type": "string" }))
}

fn batch_id() -> Value {
    parameter("path", "id", "The batch.", json!({ "type": "string" }))
}

fn page() -> Vec<Value> {
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 20 });
    vec![
        parameter("query", "limit", "How many.", limit),
        parameter("query", "cursor", "Where to go on: `next` of the page before.", json!({ "type": "string" })),
    ]
}

fn idempotency_key(of: &str) -> Value {
    let says = format!("The same key gives the same {of} back, for as long as its record is kept.");
    parameter("header", "Idempotency-Key", &says, json!({ "type": "string", "minLength": 1, "maxLength": 255 }))
}

fn signed() -> Vec<Value> {
    let text = || json!({ "type": "string" });
    vec![
        run_id(),
        parameter("query", "expires", "Until when the link is good, in seconds since the Unix epoch.", text()),
        parameter("query", "signature", "The stack's signature.", text()),
    ]
}

fn from() -> Value {
    let schema = json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX, "default": 0 });
    parameter("query", "from", "The first step to show: `next` of the answer before.", schema)
}

fn json_body<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": schemas.subschema_for::<T>() } } })
}

/// A pipeline and what is given with it; or the document by itself.
fn pipeline_body(schemas: &mut SchemaGenerator) -> Value {
    let mut body = json_body::<RunBody>(schemas);
    let pipeline = json!({ "name": "one-image", "steps": [{ "type": "text_to_image", "model": "flux_schnell" }] });
    body["content"]["application/json"]["example"] = json!({ "pipeline": pipeline, "input": "a lighthouse at dusk" });
    let says = "The pipeline document by itself; its input text goes into the parameter `input`.";
    let example = "steps: [{ type: text_to_image, params: { prompt: a lighthouse at dusk } }]";
    body["content"]["application/yaml"] =
        json!({ "schema": { "type": "string", "description": says }, "example": example });
    body
}

/// A pipeline and its rows.
fn batch_body(schemas: &mut SchemaGenerator) -> Value {
    let mut body = json_body::<BatchBody>(schemas);
    let pipeline = json!({ "name": "one-image", "steps": [{ "type": "text_to_image", "params": { "prompt": "a {{vars.animal}} at dusk" } }] });
    let rows = json!([{ "id": "1", "vars": { "animal": "heron" } }, { "id": "2", "vars": { "animal": "fox" } }]);
    body["content"]["application/json"]["example"] =
        json!({ "pipeline": pipeline, "rows": rows, "max_concurrent_chunks": 2, "tolerate": "5%" });
    body
}

fn input() -> Value {
    let says = "The input text, where the body is a document by itself.";
    parameter("query", "input", says, json!({ "type": "string" }))
}

/// Every operation.
pub(super) fn operations(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let get = |path, id, says, parameters, answer, problems| Operation {
        method: "get",
        path,
        id,
        says,
        parameters,
        body: None,
        answer,
        problems,
        open: false,
    };
    let types: Vec<&str> = StepType::ALL.iter().map(|step| step.as_str()).collect();
    let after = json!({ "type": "integer", "format": "int64", "minimum": 0 });
    vec![
        Operation {
            method: "post",
            path: "/runs",
            id: "startRun",
            says: "Starts a run.",
            parameters: vec![input(), idempotency_key("run")],
            body: Some(pipeline_body(schemas)),
            answer: Answer::Json(202, "It is started.", schemas.subschema_for::<RunAccepted>()),
            problems: &[400, 409, 413, 415, 422],
            open: false,
        },
        get(
            "/runs",
            "listRuns",
            "Lists runs, newest first.",
            page(),
            Answer::Json(200, "A page of runs.", schemas.subschema_for::<RunPage>()),
            &[400],
        ),
        get(
            "/runs/{id}",
            "showRun",
            "Shows a run, its steps and its outputs.",
            vec![run_id(), from()],
            Answer::Json(200, "The run.", schemas.subschema_for::<RunView>()),
            &[400, 404],
        ),
        Operation {
            method: "delete",
            path: "/runs/{id}",
            id: "stopRun",
            says: "Stops a run: nothing new is submitted, and what is paid is kept. Doing it again is no error.",
            parameters: vec![run_id()],
            body: None,
            answer: Answer::Json(200, "It is stopped, or had ended.", schemas.subschema_for::<StopView>()),
            problems: &[404],
            open: false,
        },
        get(
            "/runs/{id}/events",
            "listEvents",
            "A run's progress as JSON lines, told at least once.",
            vec![run_id(), parameter("query", "after", "Only what happened later, and a little before.", after)],
            Answer::Text(200, "A line an event, of the form `EventView`.", "application/x-ndjson"),
            &[400, 404],
        ),
        Operation {
            open: true,
            ..get(
                "/runs/{id}/view",
                "showPage",
                "The page of a run, behind its signed link.",
                signed(),
                Answer::Text(200, "The page.", "text/html"),
                &[400, 403, 404],
            )
        },
        Operation {
            open: true,
            ..get(
                "/runs/{id}/view/data",
                "showPageData",
                "What the page shows.",
                [signed(), vec![from()]].concat(),
                Answer::Json(200, "The run.", schemas.subschema_for::<RunView>()),
                &[400, 403, 404],
            )
        },
        Operation {
            open: true,
            ..get(
                "/runs/{id}/view/{file}",
                "showPageFile",
                "A file of the page.",
                [signed(), vec![parameter("path", "file", "The file.", json!({ "type": "string" }))]].concat(),
                Answer::Text(200, "The file.", "text/*"),
                &[400, 403, 404],
            )
        },
        Operation {
            method: "post",
            path: "/batches",
            id: "startBatch",
            says: "Starts a batch: one pipeline over many rows.",
            parameters: vec![idempotency_key("batch")],
            body: Some(batch_body(schemas)),
            answer: Answer::Json(202, "It is started.", schemas.subschema_for::<BatchAccepted>()),
            problems: &[400, 409, 413, 415, 422],
            open: false,
        },
        get(
            "/batches",
            "listBatches",
            "Lists batches, newest first.",
            page(),
            Answer::Json(200, "A page of batches.", schemas.subschema_for::<BatchPage>()),
            &[400],
        ),
        get(
            "/batches/{id}",
            "showBatch",
            "Shows a batch: its plan, and what has become of its rows.",
            vec![batch_id()],
            Answer::Json(200, "The batch.", schemas.subschema_for::<BatchView>()),
            &[400, 404],
        ),
        Operation {
            method: "delete",
            path: "/batches/{id}",
            id: "stopBatch",
            says: "Stops a batch: no chunk is begun, those that run are stopped as runs are, and what is paid is kept. Doing it again is no error.",
            parameters: vec![batch_id()],
            body: None,
            answer: Answer::Json(200, "It is stopped, or had ended.", schemas.subschema_for::<BatchView>()),
            problems: &[404],
            open: false,
        },
        Operation {
            method: "post",
            path: "/batches/{id}/redrive",
            id: "redriveBatch",
            says: "Drives a batch that has ended anew: rows that failed or were not run run again, the rest is there already.",
            parameters: vec![batch_id()],
            body: None,
            answer: Answer::Json(202, "It runs again.", schemas.subschema_for::<BatchView>()),
            problems: &[404, 409],
            open: false,
        },
        get(
            "/batches/{id}/results",
            "showBatchResults",
            "Links to what a batch that has ended came to: JSON lines of the form `RowResult`, and a `BatchManifest`.",
            vec![batch_id()],
            Answer::Json(200, "The links.", schemas.subschema_for::<BatchResults>()),
            &[400, 404, 409],
        ),
        Operation {
            method: "post",
            path: "/plans",
            id: "planRun",
            says: "What a run would do: order, cache, prices, times, missing keys. Nothing is started and nothing is spent.",
            parameters: vec![input()],
            body: Some(pipeline_body(schemas)),
            answer: Answer::Json(200, "The plan.", schemas.subschema_for::<Preview>()),
            problems: &[400, 413, 415, 422],
            open: false,
        },
        get(
            "/models",
            "listModels",
            "The models, with times and prices.",
            vec![parameter(
                "query",
                "type",
                "Only those of this step type.",
                json!({ "type": "string", "enum": types }),
            )],
            Answer::Json(200, "The models.", schemas.subschema_for::<Vec<ModelView>>()),
            &[400],
        ),
        get(
            "/schedules",
            "listSchedules",
            "The schedules by their keys, with their last and next firings; at most a thousand.",
            Vec::new(),
            Answer::Json(200, "The schedules.", schemas.subschema_for::<SchedulePage>()),
            &[400],
        ),
        Operation {
            method: "post",
            path: "/uploads",
            id: "newUpload",
            says: "A place to upload a file to, which a run or a batch can then name.",
            parameters: Vec::new(),
            body: Some(json_body::<UploadBody>(schemas)),
            answer: Answer::Json(201, "Where and how to upload.", schemas.subschema_for::<UploadView>()),
            problems: &[400, 413, 415, 422],
            open: false,
        },
        get(
            "/openapi.json",
            "describe",
            "This document.",
            Vec::new(),
            Answer::Json(200, "This document.", schemars::json_schema!({ "type": "object" })),
            &[],
        ),
    ]
}
