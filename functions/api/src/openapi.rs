//! The OpenAPI document, generated from the wire types and the list of operations. A test compares it with the routes and with
//! `openapi.json`.

mod operations;

use axum::Json;
use fresco_api_types::{BatchManifest, EventView, ProblemView, RowResult};
use schemars::Schema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use operations::operations;

/// `GET /openapi.json`.
pub(crate) async fn document() -> Json<Value> {
    Json(build())
}

/// The successful answer of an operation: status, description, and schema or media type.
enum Answer {
    Json(u16, &'static str, Schema),
    Text(u16, &'static str, &'static str),
}

/// An operation.
struct Operation {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    answer: Answer,
    /// The statuses of its problems, besides those that every operation has.
    problems: &'static [u16],
    /// Whether it is behind a signed link, not behind the authoriser.
    open: bool,
}

/// Builds the document.
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
    // No answer has these schemas as a whole: the first is a line of /events, the others are behind links of /results.
    schemas.subschema_for::<EventView>();
    schemas.subschema_for::<RowResult>();
    schemas.subschema_for::<BatchManifest>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Fresco",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Runs and batches of generative-media pipelines. Money is in micro-dollars, times are milliseconds since the Unix epoch.",
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
    let (status, description, content) = match &operation.answer {
        Answer::Json(status, description, schema) => {
            (status, description, json!({ "application/json": { "schema": schema } }))
        }
        Answer::Text(status, description, media_type) => {
            (status, description, json!({ *media_type: { "schema": { "type": "string" } } }))
        }
    };
    let mut responses = Map::new();
    let mut success = json!({ "description": description, "content": content });
    let followed_by: &[&str] = match operation.id {
        "startRun" => &["showRun", "listEvents", "stopRun"],
        "startBatch" => &["showBatch", "showBatchResults", "stopBatch"],
        _ => &[],
    };
    if !followed_by.is_empty() {
        let link_to =
            |operation: &str| json!({ "operationId": operation, "parameters": { "id": "$response.body#/id" } });
        success["links"] = followed_by.iter().map(|id| ((*id).to_owned(), link_to(id))).collect::<Map<_, _>>().into();
    }
    responses.insert(status.to_string(), success);
    for status in operation.problems {
        let description = match status {
            400 => "The request is malformed.",
            403 => "The link is not signed by this stack, or has expired.",
            404 => "There is no such resource.",
            409 => "The state of the resource or of the stack does not allow it.",
            413 => "The body is too large; see POST /uploads.",
            415 => "The content type is not accepted.",
            422 => "The request is well-formed and cannot be carried out.",
            _ => "A problem.",
        };
        responses.insert(status.to_string(), json!({ "description": description, "content": problem }));
    }
    if !operation.open {
        // Answered by the gateway, in its own form.
        let message = json!({ "type": "object", "properties": { "message": { "type": "string" } } });
        let content = json!({ "application/json": { "schema": message } });
        for (status, description) in
            [("401", "The bearer token is invalid."), ("403", "The request is not authorised.")]
        {
            responses.insert(status.to_owned(), json!({ "description": description, "content": content }));
        }
    }
    let description = "The ledger or the storage did not answer; retry.";
    responses.insert("503".to_owned(), json!({ "description": description, "content": problem }));
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::{AUTHORISED, OPEN};

    #[test]
    fn the_document_describes_every_route() {
        let document = build();
        let paths = document["paths"].as_object().unwrap();
        let mut described: Vec<(String, String)> = paths
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone()))
            })
            .collect();
        let mut served: Vec<(String, String)> =
            AUTHORISED.iter().chain(OPEN).map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
        described.sort();
        served.sort();
        assert_eq!(described, served);
    }

    #[test]
    fn every_reference_resolves() {
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
    fn openapi_json_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let generated = serde_json::to_string_pretty(&build()).unwrap() + "\n";
        if std::env::var_os("FRESCO_WRITE_PAGES").is_some() {
            std::fs::write(path, &generated).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == generated, "FRESCO_WRITE_PAGES=1 cargo test -p fresco-api openapi_json");
    }
}
