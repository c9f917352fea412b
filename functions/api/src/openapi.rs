//! The API's description, made of the types that go over the wire and of the routes that are served. `openapi.json` beside the
//! code is the same document; a test holds the two together.

use axum::Json;
use fresco_engine::Preview;
use fresco_engine::wire::{
    EventView, ModelView, ProblemView, RunAccepted, RunBody, RunPage, RunView, SchedulePage, StopView, UploadBody,
    UploadView,
};
use fresco_pipeline::catalogue::StepType;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// `GET /openapi.json`.
pub(crate) async fn document() -> Json<Value> {
    Json(build())
}

/// What an operation answers with when it goes well.
enum Answer {
    Json(u16, &'static str, Schema),
    Text(u16, &'static str, &'static str),
}

/// An operation.
struct Operation {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    says: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    answer: Answer,
    /// Statuses of problems that it can answer with, besides those that everything can.
    problems: &'static [u16],
    /// Behind a signed link, not behind the authoriser.
    open: bool,
}

/// The document.
pub(crate) fn build() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let problem = schemas.subschema_for::<ProblemView>();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations(&mut schemas) {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described(&operation, &problem);
    }
    // No answer is of this form as a whole, but every line of /events is.
    schemas.subschema_for::<EventView>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Fresco",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Runs of generative-media pipelines. Money is in micro-dollars, times are milliseconds since the Unix epoch.",
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {
                "authoriser": {
                    "type": "http", "scheme": "AWS4-HMAC-SHA256",
                    "description": "AWS Signature Version 4 for the service execute-api; or a bearer token, where the stack has a JWT authoriser.",
                },
            },
        },
        "security": [{ "authoriser": [] }],
    })
}

fn described(operation: &Operation, problem: &Schema) -> Value {
    let problem = json!({ "application/problem+json": { "schema": problem } });
    let (status, says, content) = match &operation.answer {
        Answer::Json(status, says, schema) => (status, says, json!({ "application/json": { "schema": schema } })),
        Answer::Text(status, says, kind) => (status, says, json!({ *kind: { "schema": { "type": "string" } } })),
    };
    let mut responses = Map::new();
    let mut well = json!({ "description": says, "content": content });
    if operation.id == "startRun" {
        let of_run =
            |operation: &str| json!({ "operationId": operation, "parameters": { "id": "$response.body#/id" } });
        well["links"] = ["showRun", "listEvents", "stopRun"]
            .into_iter()
            .map(|id| (id.to_owned(), of_run(id)))
            .collect::<Map<_, _>>()
            .into();
    }
    responses.insert(status.to_string(), well);
    for status in operation.problems {
        let says = match status {
            400 => "The request cannot be read.",
            403 => "The link is not one that this stack signed, or has expired.",
            404 => "There is no such thing.",
            409 => "It cannot be done as things are.",
            413 => "The body is too large; see POST /uploads.",
            415 => "The body is of a kind that is not taken.",
            422 => "The request can be read, and asks for what cannot be.",
            _ => "A problem.",
        };
        responses.insert(status.to_string(), json!({ "description": says, "content": problem }));
    }
    if !operation.open {
        // Said by the gateway, in its own form.
        let said = json!({ "type": "object", "properties": { "message": { "type": "string" } } });
        let content = json!({ "application/json": { "schema": said } });
        for (status, says) in [("401", "The bearer token is not good."), ("403", "The request is not authorised.")] {
            responses.insert(status.to_owned(), json!({ "description": says, "content": content }));
        }
    }
    let says = "The ledger or the storage did not answer; ask again.";
    responses.insert("503".to_owned(), json!({ "description": says, "content": problem }));
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.says,
        "parameters": operation.parameters,
        "responses": responses,
    });
    if let Some(body) = &operation.body {
        described["requestBody"] = body.clone();
    }
    if operation.open {
        described["security"] = json!([]);
    }
    described
}

fn parameter(place: &str, name: &str, says: &str, schema: Value) -> Value {
    json!({ "in": place, "name": name, "required": place == "path", "description": says, "schema": schema })
}

fn run_id() -> Value {
    parameter("path", "id", "The run.", json!({ "type": "string" }))
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

fn input() -> Value {
    let says = "The input text, where the body is a document by itself.";
    parameter("query", "input", says, json!({ "type": "string" }))
}

fn operations(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let key_says = "The same key gives the same run back, for as long as its record is kept.";
    let key =
        parameter("header", "Idempotency-Key", key_says, json!({ "type": "string", "minLength": 1, "maxLength": 255 }));
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
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 20 });
    let types: Vec<&str> = StepType::ALL.iter().map(|step| step.as_str()).collect();
    let after = json!({ "type": "integer", "format": "int64", "minimum": 0 });
    vec![
        Operation {
            method: "post",
            path: "/runs",
            id: "startRun",
            says: "Starts a run.",
            parameters: vec![input(), key],
            body: Some(pipeline_body(schemas)),
            answer: Answer::Json(202, "It is started.", schemas.subschema_for::<RunAccepted>()),
            problems: &[400, 409, 413, 415, 422],
            open: false,
        },
        get(
            "/runs",
            "listRuns",
            "Lists runs, newest first.",
            vec![
                parameter("query", "limit", "How many.", limit),
                parameter("query", "cursor", "Where to go on: `next` of the page before.", json!({ "type": "string" })),
            ],
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
            says: "A place to upload a file to, which a run can then name.",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ROUTES;

    #[test]
    fn what_is_served_is_what_is_described() {
        let document = build();
        let paths = document["paths"].as_object().unwrap();
        let mut described: Vec<(String, String)> = paths
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone()))
            })
            .collect();
        let mut served: Vec<(String, String)> =
            ROUTES.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
        described.sort();
        served.sort();
        assert_eq!(described, served);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    members.values().for_each(|member| references(member, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let document = build();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn the_document_beside_the_code_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let made = serde_json::to_string_pretty(&build()).unwrap() + "\n";
        if std::env::var_os("FRESCO_WRITE_PAGES").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == made, "FRESCO_WRITE_PAGES=1 cargo test -p fresco-api the_document");
    }
}
