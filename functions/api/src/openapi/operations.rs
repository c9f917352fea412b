//! The operations of the API: parameters, bodies and answers.

use fresco_api_types::{
    BatchAccepted, BatchBody, BatchPage, BatchResults, BatchView, CleanBody, CleanView, ModelView, Preview,
    RecollectView, RunAccepted, RunBody, RunPage, RunView, SchedulePage, StopView, StorageView, UploadBody, UploadView,
};
use fresco_pipeline::catalogue::StepType;
use schemars::JsonSchema;
use schemars::generate::SchemaGenerator;
use serde_json::{Value, json};

use super::{Answer, Operation};

fn parameter(place: &str, name: &str, description: &str, schema: Value) -> Value {
    json!({ "in": place, "name": name, "required": place == "path", "description": description, "schema": schema })
}

fn run_id() -> Value {
    parameter("path", "id", "The run.", json!({ "type": "string" }))
}

fn batch_id() -> Value {
    parameter("path", "id", "The batch.", json!({ "type": "string" }))
}

fn cursor(description: &str) -> Value {
    parameter("query", "cursor", description, json!({ "type": "string" }))
}

fn page() -> Vec<Value> {
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 20 });
    vec![parameter("query", "limit", "The length of the page.", limit), cursor("The `next` of the page before.")]
}

fn idempotency_key(of: &str) -> Value {
    let description = format!("The same key returns the same {of}, until its record expires.");
    parameter("header", "Idempotency-Key", &description, json!({ "type": "string", "minLength": 1, "maxLength": 255 }))
}

fn signed() -> Vec<Value> {
    let text = || json!({ "type": "string" });
    vec![
        run_id(),
        parameter("query", "expires", "The expiry of the link, in seconds since the Unix epoch.", text()),
        parameter("query", "signature", "The stack's signature.", text()),
    ]
}

fn from() -> Value {
    let schema = json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX, "default": 0 });
    parameter("query", "from", "The index of the first step: `next` of the answer before.", schema)
}

fn json_body<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": schemas.subschema_for::<T>() } } })
}

/// A pipeline with its inputs, or the document by itself.
fn pipeline_body(schemas: &mut SchemaGenerator) -> Value {
    let mut body = json_body::<RunBody>(schemas);
    let pipeline = json!({ "name": "one-image", "steps": [{ "type": "text_to_image", "model": "flux_schnell" }] });
    body["content"]["application/json"]["example"] = json!({ "pipeline": pipeline, "input": "a lighthouse at dusk" });
    let description = "The pipeline document by itself; its input text is the parameter `input`.";
    let example = "steps: [{ type: text_to_image, params: { prompt: a lighthouse at dusk } }]";
    body["content"]["application/yaml"] =
        json!({ "schema": { "type": "string", "description": description }, "example": example });
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
    let description = "The input text, where the body is a document by itself.";
    parameter("query", "input", description, json!({ "type": "string" }))
}

/// Returns every operation.
pub(super) fn operations(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let get = |path, id, summary, parameters, answer, problems| Operation {
        method: "get",
        path,
        id,
        summary,
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
            summary: "Starts a run.",
            parameters: vec![input(), idempotency_key("run")],
            body: Some(pipeline_body(schemas)),
            answer: Answer::Json(202, "The run or the batch has started.", schemas.subschema_for::<RunAccepted>()),
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
            summary: "Stops a run: nothing new is submitted, and paid results are kept. Idempotent.",
            parameters: vec![run_id()],
            body: None,
            answer: Answer::Json(200, "It is stopped, or has ended before.", schemas.subschema_for::<StopView>()),
            problems: &[404],
            open: false,
        },
        Operation {
            method: "post",
            path: "/runs/{id}/recollect",
            id: "recollectRun",
            summary: "Fetches outputs again that are paid and could not be stored. Nothing is paid again. Idempotent.",
            parameters: vec![run_id()],
            body: None,
            answer: Answer::Json(200, "They are fetched, if there are any.", schemas.subschema_for::<RecollectView>()),
            problems: &[404],
            open: false,
        },
        get(
            "/runs/{id}/events",
            "listEvents",
            "Lists a run's events as JSON lines, each at least once.",
            vec![run_id(), parameter("query", "after", "Only events after this time, and a little before.", after)],
            Answer::Text(200, "A line an event, each an `EventView`.", "application/x-ndjson"),
            &[400, 404],
        ),
        Operation {
            open: true,
            ..get(
                "/runs/{id}/view",
                "showPage",
                "Shows the page of a run, behind its signed link.",
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
                "Shows the data of the page.",
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
                "Shows a file of the page.",
                [signed(), vec![parameter("path", "file", "The file.", json!({ "type": "string" }))]].concat(),
                Answer::Text(200, "The file.", "text/*"),
                &[400, 403, 404],
            )
        },
        Operation {
            method: "post",
            path: "/batches",
            id: "startBatch",
            summary: "Starts a batch: one pipeline over many rows.",
            parameters: vec![idempotency_key("batch")],
            body: Some(batch_body(schemas)),
            answer: Answer::Json(202, "The run or the batch has started.", schemas.subschema_for::<BatchAccepted>()),
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
            "Shows a batch: its plan, and its rows by their results.",
            vec![batch_id()],
            Answer::Json(200, "The batch.", schemas.subschema_for::<BatchView>()),
            &[400, 404],
        ),
        Operation {
            method: "delete",
            path: "/batches/{id}",
            id: "stopBatch",
            summary: "Stops a batch: no chunk starts, running chunks are stopped as runs are, and paid results are kept. Idempotent.",
            parameters: vec![batch_id()],
            body: None,
            answer: Answer::Json(200, "It is stopped, or has ended before.", schemas.subschema_for::<BatchView>()),
            problems: &[404],
            open: false,
        },
        Operation {
            method: "post",
            path: "/batches/{id}/redrive",
            id: "redriveBatch",
            summary: "Redrives a batch that has ended: rows that failed or were not run are run again, the others are hits.",
            parameters: vec![batch_id()],
            body: None,
            answer: Answer::Json(202, "The batch runs again.", schemas.subschema_for::<BatchView>()),
            problems: &[404, 409],
            open: false,
        },
        get(
            "/batches/{id}/results",
            "showBatchResults",
            "Returns links to the results of a batch that has ended: JSON lines, each a `RowResult`, and a `BatchManifest`.",
            vec![batch_id()],
            Answer::Json(200, "The links.", schemas.subschema_for::<BatchResults>()),
            &[400, 404, 409],
        ),
        Operation {
            method: "post",
            path: "/plans",
            id: "planRun",
            summary: "Plans a run: order, hits, prices, times, missing keys. Nothing starts and nothing is spent.",
            parameters: vec![input()],
            body: Some(pipeline_body(schemas)),
            answer: Answer::Json(200, "The plan.", schemas.subschema_for::<Preview>()),
            problems: &[400, 413, 415, 422],
            open: false,
        },
        get(
            "/models",
            "listModels",
            "Lists the models, with times and prices.",
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
            "Lists the schedules by their keys, with their last and next firings; at most a thousand.",
            Vec::new(),
            Answer::Json(200, "The schedules.", schemas.subschema_for::<SchedulePage>()),
            &[400],
        ),
        Operation {
            method: "post",
            path: "/uploads",
            id: "newUpload",
            summary: "Creates an upload, which a run or a batch can then name.",
            parameters: Vec::new(),
            body: Some(json_body::<UploadBody>(schemas)),
            answer: Answer::Json(201, "The signed link to upload to.", schemas.subschema_for::<UploadView>()),
            problems: &[400, 413, 415, 422],
            open: false,
        },
        get(
            "/storage",
            "showStorage",
            "Counts the objects of the bucket by kind and age, in parts that a client adds up.",
            vec![cursor("The `cursor` of the part before.")],
            Answer::Json(200, "A part of the bucket.", schemas.subschema_for::<StorageView>()),
            &[400],
        ),
        Operation {
            method: "post",
            path: "/clean",
            id: "clean",
            summary: "Removes old results with their objects, in parts that a client repeats. An open run keeps what it uses.",
            parameters: Vec::new(),
            body: Some(json_body::<CleanBody>(schemas)),
            answer: Answer::Json(200, "The result of a part.", schemas.subschema_for::<CleanView>()),
            problems: &[400, 413, 415, 422],
            open: false,
        },
        get(
            "/openapi.json",
            "describe",
            "Shows this document.",
            Vec::new(),
            Answer::Json(200, "This document.", schemars::json_schema!({ "type": "object" })),
            &[],
        ),
    ]
}
