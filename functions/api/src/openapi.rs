//! The API's description, made of the types that go over the wire and of the routes that are served. `openapi.json` beside the
//! code is the same document; a test holds the two together.

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
    // No answer is of these forms as a whole: the first is a line of /events, the others are behind links of /results.
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
    let (status, says, content) = match &operation.answer {
        Answer::Json(status, says, schema) => (status, says, json!({ "application/json": { "schema": schema } })),
        Answer::Text(status, says, kind) => (status, says, json!({ *kind: { "schema": { "type": "string" } } })),
    };
    let mut responses = Map::new();
    let mut well = json!({ "description": says, "content": content });
    let followed_by: &[&str] = match operation.id {
        "startRun" => &["showRun", "listEvents", "stopRun"],
        "startBatch" => &["showBatch", "showBatchResults", "stopBatch"],
        _ => &[],
    };
    if !followed_by.is_empty() {
        let of_it = |operation: &str| json!({ "operationId": operation, "parameters": { "id": "$response.body#/id" } });
        well["links"] = followed_by.iter().map(|id| ((*id).to_owned(), of_it(id))).collect::<Map<_, _>>().into();
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
