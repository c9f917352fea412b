//! Events of API Gateway and their answers, without a ledger or a storage: both are unreachable. The suite `api` of the package
//! `fresco-tests` sends requests to a whole stack.

use std::sync::Arc;

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::encodings::Body;
use fresco_engine::Engine;
use fresco_engine::aws::AwsPlatform;
use fresco_engine::settings::Settings;
use serde_json::{Value, json};

use crate::app::App;
use crate::gateway;
use crate::routes::Routers;

async fn router() -> Routers {
    let settings = Settings::read(|name| {
        let value = match name {
            "FRESCO_MAX_AGE_DAYS" => "7",
            "FRESCO_MAX_STORED_GIGABYTES"
            | "FRESCO_EXPORT_BUCKET"
            | "FRESCO_UNKNOWN_POLICY"
            | "FRESCO_FUNCTION_SECONDS" => return None,
            "FRESCO_FAL_MEDIA_HOSTS" => "fal.media",
            name if name.ends_with("_URL") => "https://provider.test",
            _ => "test",
        };
        Some(value.to_owned())
    });
    // Nothing listens on this port.
    let aws = fresco_ledger::services::aws::connect_local("http://127.0.0.1:9").await;
    let settings = settings.unwrap();
    let engine = Engine::new(AwsPlatform::new(&aws, &settings).unwrap(), settings);
    Routers::new(&App::new(Arc::new(engine)))
}

fn event(method: &str, target: &str, kind: Option<&str>, body: Option<&str>) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../../events/api-list-runs.json")).unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if let (["", "runs", id, "view", file @ ..], "GET") = (&path.split('/').collect::<Vec<_>>()[..], method)
        && file.len() < 2
    {
        event = match file.first() {
            None => open_event("GET /runs/{id}/view", &[("id", id)]),
            Some(file) => open_event("GET /runs/{id}/view/{file}", &[("id", id), ("file", file)]),
        };
    }
    event["rawPath"] = json!(path);
    event["rawQueryString"] = json!(query);
    event["requestContext"]["http"]["method"] = json!(method);
    if let Some(kind) = kind {
        event["headers"]["content-type"] = json!(kind);
    }
    event["body"] = json!(body);
    event
}

/// An event of a route without authorisation.
fn open_event(key: &str, parameters: &[(&str, &str)]) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../../events/api-list-runs.json")).unwrap();
    event["routeKey"] = json!(key);
    event["requestContext"]["routeKey"] = json!(key);
    event["rawQueryString"] = json!("");
    event["pathParameters"] = parameters.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    event
}

async fn answer(router: &Routers, event: &Value) -> (i64, Value, ApiGatewayV2httpResponse) {
    let event: ApiGatewayV2httpRequest = serde_json::from_value(event.clone()).unwrap();
    let answer = gateway::answer(router, event).await;
    let text = match &answer.body {
        Some(Body::Text(text)) => text.clone(),
        other => panic!("{other:?}"),
    };
    (answer.status_code, serde_json::from_str(&text).unwrap_or(Value::String(text)), answer)
}

const JSON: Option<&str> = Some("application/json");
const YAML: Option<&str> = Some("application/yaml");

#[tokio::test]
async fn every_bad_request_has_a_code() {
    let router = router().await;
    let long = "x".repeat(5 * 1024 * 1024);
    let unknown_step = "steps: [{ type: text_to_imgae }]";
    let typed = json!({"pipeline": {"steps": [{"type": "text_to_image", "take": -1}]}}).to_string();
    let unused =
        json!({"pipeline": "steps: []", "media": {"cat.png": format!("image-1-{}", "a".repeat(32))}}).to_string();
    let upload = json!({"pipeline_upload": "../../secret"}).to_string();
    let unread = |name: &str| {
        let pipeline = "steps: [{type: text_to_image, params: {prompt: x}}]";
        json!({"pipeline": pipeline, name: {"style": "ink"}}).to_string()
    };
    let (unread_var, unread_env) = (unread("vars"), unread("env"));
    for (method, target, kind, body, status, code) in [
        ("POST", "/runs", None, Some("{}"), 415, "unsupported_media_type"),
        ("POST", "/runs", Some("text/html"), Some("{}"), 415, "unsupported_media_type"),
        ("POST", "/runs", JSON, Some(long.as_str()), 413, "body_too_large"),
        ("POST", "/runs", JSON, Some("{"), 400, "bad_json"),
        ("POST", "/runs", JSON, Some(r#"{"pipelines": ""}"#), 400, "bad_json"),
        ("POST", "/runs", JSON, Some("{}"), 400, "no_pipeline"),
        ("POST", "/runs", JSON, Some(r#"{"pipeline": "", "pipeline_upload": ""}"#), 400, "two_pipelines"),
        ("POST", "/runs", JSON, Some(r#"{"pipeline": 5}"#), 400, "bad_json"),
        ("POST", "/runs", JSON, Some(upload.as_str()), 422, "bad_upload"),
        ("POST", "/runs", JSON, Some(unused.as_str()), 422, "unused_media"),
        ("POST", "/runs", JSON, Some(unread_var.as_str()), 422, "document_invalid"),
        ("POST", "/plans", JSON, Some(unread_env.as_str()), 422, "document_invalid"),
        ("POST", "/runs?inptu=x", YAML, Some("steps: []"), 400, "unknown_parameter"),
        ("POST", "/runs?input=x&input=y", YAML, Some("steps: []"), 400, "repeated_parameter"),
        ("POST", "/runs", YAML, Some(unknown_step), 422, "document_invalid"),
        ("POST", "/plans", JSON, Some(typed.as_str()), 422, "document_invalid"),
        ("POST", "/plans", YAML, Some(""), 422, "document_invalid"),
        ("POST", "/uploads", JSON, Some(r#"{"kind": "audio", "bytes": 1}"#), 400, "bad_json"),
        ("POST", "/uploads", JSON, Some(r#"{"kind": "image", "bytes": -1}"#), 400, "bad_json"),
        ("POST", "/uploads", JSON, Some(r#"{"kind": "image", "bytes": 0}"#), 422, "Input.Invalid"),
        ("POST", "/uploads", JSON, Some(r#"{"kind": "image", "bytes": 99999999999}"#), 422, "Input.Invalid"),
        ("POST", "/uploads", JSON, Some(r#"{"kind": "image", "bytes": 1, "sha256": "no"}"#), 422, "Input.Invalid"),
        ("POST", "/uploads", YAML, Some("kind: image"), 415, "unsupported_media_type"),
        ("POST", "/batches", None, Some("{}"), 415, "unsupported_media_type"),
        ("POST", "/batches", YAML, Some("steps: []"), 415, "unsupported_media_type"),
        ("POST", "/batches", JSON, Some(long.as_str()), 413, "body_too_large"),
        ("POST", "/batches?input=x", JSON, Some("{}"), 400, "unknown_parameter"),
        ("POST", "/batches", JSON, Some(r#"{"row": []}"#), 400, "bad_json"),
        ("POST", "/batches", JSON, Some(r#"{"format": "xml"}"#), 400, "bad_json"),
        ("POST", "/batches", JSON, Some("{}"), 422, "bad_rows"),
        ("POST", "/batches", JSON, Some(r#"{"rows": [], "rows_text": ""}"#), 422, "bad_rows"),
        ("POST", "/batches", JSON, Some(r#"{"rows_key": "rows/../secret.csv"}"#), 422, "bad_rows"),
        ("POST", "/batches", JSON, Some(r#"{"rows_key": "rows/a"}"#), 422, "no_format"),
        ("POST", "/batches", JSON, Some(r#"{"rows_key": "rows/a.csv"}"#), 400, "no_pipeline"),
        ("POST", "/batches", JSON, Some(r#"{"rows_upload": "../../secret", "format": "csv"}"#), 422, "bad_upload"),
        ("POST", "/batches", JSON, Some(r#"{"max_cost": -1}"#), 422, "bad_max_cost"),
        ("POST", "/batches", JSON, Some(r#"{"chunk_size": 0}"#), 422, "bad_setting"),
        ("POST", "/uploads", JSON, Some(r#"{"kind": "rows", "bytes": 1073741825}"#), 422, "Input.Invalid"),
        ("GET", "/batches?limit=101", None, None, 400, "bad_parameter"),
        ("GET", "/batches?cursor=cnVuczoxI3J1bi0wMDAwMDAwMQ", None, None, 400, "bad_cursor"),
        ("GET", "/batches/no", None, None, 404, "batch_not_found"),
        ("GET", "/batches/run-00000001?from=1", None, None, 400, "unknown_parameter"),
        ("GET", "/batches/..%2f..%2fetc/results", None, None, 404, "batch_not_found"),
        ("DELETE", "/batches/%00", None, None, 404, "batch_not_found"),
        ("GET", "/runs?limit=0", None, None, 400, "bad_parameter"),
        ("GET", "/runs?limit=101", None, None, 400, "bad_parameter"),
        ("GET", "/runs/run-00000001?from=-1", None, None, 400, "bad_parameter"),
        ("GET", "/runs?cursor=YmF0Y2hlczoxI3g", None, None, 400, "bad_cursor"),
        ("GET", "/runs/no", None, None, 404, "run_not_found"),
        ("GET", "/runs/UPPER-CASE-0001", None, None, 404, "run_not_found"),
        ("GET", "/runs/..%2f..%2fetc", None, None, 404, "run_not_found"),
        ("GET", "/runs/%2e%2e/events", None, None, 404, "run_not_found"),
        ("GET", "/runs/a/b/c", None, None, 404, "not_found"),
        ("GET", "/runs/run-00000001/events?after=-1", None, None, 400, "bad_parameter"),
        ("DELETE", "/runs/%00", None, None, 404, "run_not_found"),
        ("GET", "/runs/run-00000001/view", None, None, 403, "bad_link"),
        ("GET", "/runs/run-00000001/view?expires=x&signature=y", None, None, 403, "bad_link"),
        ("GET", "/runs/run-00000001/view/page.js", None, None, 403, "bad_link"),
        ("GET", "/storage?cursor=Y2xlYW46b3V0cHV0cy8", None, None, 400, "bad_cursor"),
        ("GET", "/storage?limit=5", None, None, 400, "unknown_parameter"),
        ("POST", "/clean", JSON, Some("{}"), 400, "bad_json"),
        ("POST", "/clean", JSON, Some(r#"{"older_than_ms": 3599999}"#), 422, "bad_age"),
        ("POST", "/clean", JSON, Some(r#"{"older_than_ms": 3600000, "cursor": "x"}"#), 400, "bad_cursor"),
        ("POST", "/clean", YAML, Some("older_than_ms: 3600000"), 415, "unsupported_media_type"),
        ("GET", "/models?type=poem", None, None, 400, "bad_parameter"),
        ("PUT", "/runs", None, None, 405, "method_not_allowed"),
        ("GET", "/", None, None, 404, "not_found"),
        ("GET", "/nothing here", None, None, 404, "not_found"),
    ] {
        let (found, problem, event) = answer(&router, &event(method, target, kind, body)).await;
        assert_eq!((found, problem["code"].as_str()), (status, Some(code)), "{method} {target}: {problem}");
        assert_eq!(event.headers["content-type"], "application/problem+json", "{method} {target}");
        for field in ["type", "title", "detail", "advice"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{method} {target}: {problem}");
        }
    }
}

/// A handler that reads the ledger, which is unreachable, answers 503: no handler but those of the page may be reached.
#[tokio::test]
async fn no_path_of_an_open_route_reaches_another_handler() {
    let router = router().await;
    let tails = [
        "",
        "#",
        "?",
        "%23",
        "%3F",
        "%2523",
        "%253F",
        "%2F",
        "%2f..",
        "/..",
        "#/",
        "?from=1#",
        "%3Ffrom=100%23",
        "/events#",
        "%2Fevents%23",
        "/events?after=0",
        ";",
        "%3B",
        "\\",
        "%5C",
        "%00",
        "\n",
        "%0A%23",
        "＃",
        "%EF%BC%83",
        "+",
        " ",
        "\"",
    ];
    for tail in tails {
        let id = format!("run-00000001{tail}");
        let open = |file: Option<&str>| match file {
            None => open_event("GET /runs/{id}/view", &[("id", &id)]),
            Some(file) => open_event("GET /runs/{id}/view/{file}", &[("id", &id), ("file", file)]),
        };
        for file in [None, Some("data"), Some("page.js"), Some("../../../runs"), Some("..%2F..#"), Some("?x")] {
            for path in [format!("/runs/{id}/view"), format!("/runs/{id}"), "/runs".to_owned(), "/clean".to_owned()] {
                let mut event = open(file);
                event["rawPath"] = json!(path);
                let (status, problem, _) = answer(&router, &event).await;
                let code = problem["code"].as_str().unwrap_or_default();
                let refused = [(403, "bad_link"), (404, "run_not_found"), (404, "not_found")];
                assert!(refused.contains(&(status, code)), "{event}: {problem}");
            }
        }
    }
}

#[tokio::test]
async fn a_character_of_a_path_never_ends_it() {
    let router = router().await;
    for path in [
        "/runs/run-00000001#",
        "/runs/run-00000001?from=1",
        "/runs/run-00000001#/events",
        "/runs/run-00000001%23",
        "/runs#",
        "/runs?limit=1",
        "/batches/run-00000001#",
        "/batches/run-00000001?/results",
        "/models#",
        "/openapi.json?x",
        "runs",
        "",
        "http://other.test/runs",
        "/runs/run-00000001 ",
        "/runs/ü",
    ] {
        let mut event = event("GET", "", None, None);
        event["rawPath"] = json!(path);
        let (status, problem, _) = answer(&router, &event).await;
        assert_eq!(status, 404, "{path}: {problem}");
    }
    // A character that a query cannot have does not cut it either.
    let (_, problem, _) = answer(&router, &event("GET", "/models?type=image#to", None, None)).await;
    assert_eq!(problem["code"], "bad_parameter", "{problem}");
}

#[tokio::test]
async fn a_route_key_that_the_template_does_not_have_leads_nowhere() {
    let router = router().await;
    for key in [json!("GET /runs/{id}"), json!("ANY /{proxy+}"), json!(""), Value::Null] {
        let mut event = event("GET", "/runs", None, None);
        event["routeKey"] = key;
        assert_eq!(answer(&router, &event).await.0, 404, "{event}");
    }
    // A parameter is missing.
    assert_eq!(answer(&router, &open_event("GET /runs/{id}/view/{file}", &[("id", "run-00000001")])).await.0, 404);
}

#[tokio::test]
async fn preflights_reach_no_handler() {
    let router = router().await;
    for path in ["/runs", "/runs/run-00000001/view", "/nowhere"] {
        let mut event = event("OPTIONS", path, None, None);
        event["routeKey"] = json!(crate::routes::PREFLIGHT_KEY);
        let (status, body, _) = answer(&router, &event).await;
        assert_eq!((status, body), (204, json!("")), "{path}");
    }
}

#[tokio::test]
async fn a_problem_repeats_little_of_a_text() {
    let router = router().await;
    let prompt = "a lighthouse at dusk ".repeat(10);
    for (target, kind, body) in [
        ("/runs", JSON, json!({"pipeline": "steps: []", "vars": prompt})),
        ("/runs", JSON, json!({"pipeline": "steps: []", &prompt: "x"})),
        ("/runs", JSON, json!({"pipeline": "steps: []", "media": {&prompt: "x"}})),
        ("/runs", JSON, json!({"pipeline_upload": prompt})),
        ("/uploads", JSON, json!({"kind": prompt})),
        ("/batches", JSON, json!({"rows_key": prompt})),
        ("/batches", JSON, json!({"format": prompt})),
        ("/batches", JSON, json!({"tolerate": prompt})),
        ("/clean", JSON, json!({"cursor": {"x": prompt}})),
        (&format!("/runs?{}=x", prompt.replace(' ', "%20")), YAML, json!({})),
        (&format!("/runs?input=x&{}=x", prompt.replace(' ', "+")), YAML, json!({})),
        ("/runs", Some(prompt.trim()), json!({})),
    ] {
        let (status, problem, _) = answer(&router, &event("POST", target, kind, Some(&body.to_string()))).await;
        assert!((400..500).contains(&status), "{target} {body}: {problem}");
        assert!(!problem.to_string().contains(&prompt[..41]), "{target} {body}: {problem}");
    }
}

#[tokio::test]
async fn problems_of_a_document_have_positions() {
    let router = router().await;
    let document = "name: x\nsteps:\n  - name: a\n    type: text_to_imgae\n";
    let (_, problem, _) = answer(&router, &event("POST", "/runs", YAML, Some(document))).await;
    let first = &problem["problems"][0];
    assert_eq!((first["line"].as_u64(), first["code"].as_str()), (Some(4), Some("unknown_type")), "{problem}");
    let many: String = (0..10_000).map(|n| format!("- {{ name: s{n}, type: text_to_image }}\n")).collect();
    let (status, problem, _) = answer(&router, &event("POST", "/plans", YAML, Some(&format!("steps:\n{many}")))).await;
    assert_eq!((status, problem["problems"][0]["code"].as_str()), (422, Some("too_many_steps")), "{problem}");
}

#[tokio::test]
async fn a_base64_body_is_decoded_and_an_invalid_one_refused() {
    let router = router().await;
    let mut encoded = event("POST", "/runs", YAML, Some("c3RlcHM6IFtd")); // steps: []
    encoded["isBase64Encoded"] = json!(true);
    assert_eq!(answer(&router, &encoded).await.1["problems"][0]["code"], "no_steps");
    encoded["body"] = json!("%%%");
    let (status, problem, _) = answer(&router, &encoded).await;
    assert_eq!((status, problem["code"].as_str()), (400, Some("bad_base64")));
}

#[tokio::test]
async fn the_document_the_models_and_uploads_need_no_ledger() {
    let router = router().await;
    let (status, document, _) = answer(&router, &event("GET", "/openapi.json", None, None)).await;
    assert_eq!((status, document["openapi"].as_str()), (200, Some("3.1.0")));
    let (status, models, _) = answer(&router, &event("GET", "/models?type=image_to_video", None, None)).await;
    let models = models.as_array().unwrap();
    assert!(status == 200 && !models.is_empty() && models.iter().all(|model| model["type"] == "image_to_video"));
    assert_eq!(models.iter().filter(|model| model["default"] == true).count(), 1);
    let (status, upload, _) =
        answer(&router, &event("POST", "/uploads", JSON, Some(r#"{"kind": "image", "bytes": 12}"#))).await;
    assert_eq!((status, upload["method"].as_str()), (201, Some("PUT")), "{upload}");
    assert!(upload["url"].as_str().unwrap().contains("X-Amz-Signature"), "{upload}");
}

#[tokio::test]
async fn the_same_content_has_the_same_upload() {
    let router = router().await;
    let upload_of = async |kind: &str, sha256: Option<&str>| {
        let body = json!({"kind": kind, "bytes": 12, "sha256": sha256}).to_string();
        let (status, upload, _) = answer(&router, &event("POST", "/uploads", JSON, Some(&body))).await;
        assert_eq!(status, 201, "{upload}");
        upload
    };
    let (hash, other) = ("0f".repeat(32), "1f".repeat(32));
    let hashed = upload_of("image", Some(&hash)).await;
    assert_eq!(hashed["id"], format!("image-12-{}", "0f".repeat(16)));
    assert_eq!(upload_of("image", Some(&hash)).await["id"], hashed["id"]);
    assert_ne!(upload_of("image", Some(&other)).await["id"], hashed["id"]);
    assert_ne!(upload_of("video", Some(&hash)).await["id"], hashed["id"]);
    let random = upload_of("image", None).await;
    assert_ne!(upload_of("image", None).await["id"], random["id"]);
    // The storage checks the content against the hash, which is a signed header.
    let signed = |upload: &Value, header: &str| {
        let url = upload["url"].as_str().unwrap();
        let names = url.split(['?', '&']).find_map(|part| part.strip_prefix("X-Amz-SignedHeaders=")).unwrap();
        let sent = upload["headers"][header].as_str().map(str::to_owned);
        names.split("%3B").any(|name| name == header).then_some(sent).flatten()
    };
    let base64 = "Dw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8=";
    assert_eq!(signed(&hashed, "x-amz-checksum-sha256").as_deref(), Some(base64), "{hashed}");
    assert_eq!(signed(&hashed, "if-none-match"), None, "it can be sent again");
    assert_eq!(signed(&random, "x-amz-checksum-sha256"), None);
    assert_eq!(signed(&random, "if-none-match").as_deref(), Some("*"), "{random}");
}

/// The ledger is unreachable: each sample is read, and answered with 503 and `retry-after`.
#[tokio::test]
async fn the_sample_events_are_read() {
    let router = router().await;
    for (name, sample) in [
        ("api-start-run", include_str!("../../../events/api-start-run.json")),
        ("api-start-run-base64", include_str!("../../../events/api-start-run-base64.json")),
        ("api-list-runs", include_str!("../../../events/api-list-runs.json")),
        ("api-stop-run", include_str!("../../../events/api-stop-run.json")),
        ("api-start-batch", include_str!("../../../events/api-start-batch.json")),
        ("api-plan", include_str!("../../../events/api-plan.json")),
        ("api-clean", include_str!("../../../events/api-clean.json")),
    ] {
        let (status, problem, event) = answer(&router, &serde_json::from_str(sample).unwrap()).await;
        assert_eq!((status, problem["status"].as_u64()), (503, Some(503)), "{name}: {problem}");
        assert_eq!(event.headers["retry-after"], "1", "{name}");
    }
}
