//! The HTTP API with the real function behind the emulator's HTTP endpoint: what it starts, shows, stops and hands out, and what
//! it refuses. Refusals that need no other service are tested in its own crate.

use std::collections::BTreeSet;

use fresco_api_types::BatchBody;
use fresco_cli::api::RunRequest;
use fresco_cli::api::{ApiError, Inputs, gather};
use fresco_ledger::records::{ResultSource, RunStatus};
use fresco_pipeline::ids::RunId;
use fresco_pipeline::rows::Format;
use fresco_tests::{RawClient, World};
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

fn one(prompt: &str) -> String {
    RawClient::picture(prompt)
}

fn id_of(answer: &Value) -> RunId {
    RawClient::id_of(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_started_shown_and_listed() {
    let world = World::get().await;
    let asking = RawClient::new(&world);
    let hostile = "<script>alert(1)</script> & \\\"quotes\\\"";
    let document = json!({"name": "<b>bold</b>", "steps": [
        {"name": "image", "type": "text_to_image", "model": "flux_schnell", "params": {"prompt": "{{input}}"}},
        {"name": "words", "type": "analyze_image", "params": {"prompt": "What is it?"}}]});
    let (status, started) = asking.start(None, &json!({"pipeline": document, "input": hostile})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{started}");
    let run = id_of(&started);
    assert_eq!(started["links"]["self"], format!("/runs/{run}"));
    let manifest = world.ended(&run).await;
    assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}", manifest.failure);

    let (status, shown) = asking.get(&format!("/runs/{run}")).await;
    assert_eq!((status, shown["status"].as_str()), (StatusCode::OK, Some("succeeded")), "{shown}");
    assert_eq!(shown["spent"].as_i64(), Some(manifest.cost.as_micros()));
    let image = &shown["steps"][0]["outputs"][0];
    let bytes = asking.plain.get(image["url"].as_str().unwrap()).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes.len() as u64, image["bytes"].as_u64().unwrap(), "the link leads to the picture");
    assert!(shown["steps"][1]["outputs"][0]["text"].as_str().is_some_and(|text| !text.is_empty()), "{shown}");

    // Its events, all of them and the later ones.
    let (_, lines) = asking.get(&format!("/runs/{run}/events")).await;
    let events: Vec<Value> = lines.as_str().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"run_started"), Some(&"run_ended")));
    let ids: BTreeSet<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), events.len(), "every event has an id of its own");
    let (_, later) = asking.get(&format!("/runs/{run}/events?after={}", i64::MAX)).await;
    assert_eq!(later, Value::String(String::new()));

    // In the list, page by page.
    for _ in 0..2 {
        world.run(&one("a run in the list"), "unused").await;
    }
    let (mut cursor, mut listed) = (String::new(), Vec::new());
    loop {
        let (status, page) = asking.get(&format!("/runs?limit=2{cursor}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let runs = page["runs"].as_array().unwrap();
        assert!(runs.len() <= 2);
        listed.extend(
            runs.iter().map(|run| (run["created_at"].as_i64().unwrap(), run["id"].as_str().unwrap().to_owned())),
        );
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert!(listed.iter().any(|(_, id)| *id == run.as_str()));
    assert!(listed.is_sorted_by(|a, b| a.0 >= b.0), "newest first: {listed:?}");
    let unique: BTreeSet<&String> = listed.iter().map(|(_, id)| id).collect();
    assert_eq!(unique.len(), listed.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_run_is_shown_in_pieces() {
    let world = World::get().await;
    let asking = RawClient::new(&world);
    let step = |number: u32| {
        json!({"name": format!("step-{number}"), "type": "text_to_image", "model": "flux_schnell",
            "params": {"prompt": "one of many"}})
    };
    let document = |steps: u32| json!({"steps": (0..steps).map(step).collect::<Vec<_>>()}).to_string();
    world.run(&document(1), "unused").await;
    let run = world.run(&document(120), "unused").await.run_id;
    let (status, first) = asking.get(&format!("/runs/{run}")).await;
    assert_eq!((status, first["next"].as_u64()), (StatusCode::OK, Some(100)));
    let (_, rest) = asking.get(&format!("/runs/{run}?from=100")).await;
    assert_eq!((rest["steps"].as_array().unwrap().len(), &rest["next"]), (20, &Value::Null));
    let (_, behind) = asking.get(&format!("/runs/{run}?from=120")).await;
    assert_eq!((&behind["steps"], &behind["next"]), (&json!([]), &Value::Null));
    let view = world.api.run(&run).await.unwrap();
    let names: Vec<String> = (0..120).map(|number| format!("step-{number}")).collect();
    assert!(
        view.steps.iter().map(|step| &step.name).eq(&names) && view.steps.iter().all(|step| step.outputs.len() == 1)
    );
    // The page's data as well, by its own link.
    let link = view.links.view.unwrap().replace("/view?", "/view/data?");
    let (status, rest) = asking.get(&format!("{link}&from=100")).await;
    assert_eq!((status, rest["steps"].as_array().map(Vec::len)), (StatusCode::OK, Some(20)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_returns_the_same_run() {
    let world = World::get().await;
    let asking = RawClient::new(&world);
    let body = json!({"pipeline": one("asked for under a key")});
    // In the same millisecond, as nearly as can be.
    let answers = join_all((0..8).map(|_| asking.start(Some("the-key"), &body))).await;
    let ids: BTreeSet<String> = answers
        .iter()
        .map(|(status, answer)| {
            assert_eq!(*status, StatusCode::ACCEPTED, "{answer}");
            id_of(answer).to_string()
        })
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let run = id_of(&answers[0].1);
    assert_eq!(world.ended(&run).await.status, RunStatus::Succeeded);
    let (status, again) = asking.start(Some("the-key"), &body).await;
    assert_eq!((status, id_of(&again), again["existing"].as_bool()), (StatusCode::ACCEPTED, run.clone(), Some(true)));
    let (status, other) = asking.start(Some("the-key"), &json!({"pipeline": one("something else")})).await;
    assert_eq!((status, other["code"].as_str()), (StatusCode::CONFLICT, Some("idempotency_conflict")), "{other}");
    assert_eq!(world.requests_for("asked for under a key").await.len(), 1);
    assert!(world.requests_for("something else").await.is_empty());
    // Without a key there are two runs; the second is a hit.
    let (_, one_more) = asking.start(None, &body).await;
    assert_ne!(id_of(&one_more), run);
    assert_eq!(world.ended(&id_of(&one_more)).await.steps[0].source, Some(ResultSource::Hit));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_has_to_match_its_declaration() {
    let world = World::get().await;
    let asking = RawClient::new(&world);
    let picture = world.run(&one("a picture to upload"), "unused").await;
    let bytes = world.admin.object(&picture.steps[0].outputs[0].key).await.unwrap();
    let place = async |kind: &str, length: usize| {
        let (status, upload) =
            asking.ask(Method::POST, "/uploads", None, Some(&json!({"kind": kind, "bytes": length}))).await;
        assert_eq!(status, StatusCode::CREATED, "{upload}");
        upload
    };
    let run = async |upload: &Value| {
        let document =
            "steps: [{ name: edit, type: image_to_image, params: { image: cat.jpg, prompt: 'an upload, edited' } }]";
        asking.start(None, &json!({"pipeline": document, "media": {"cat.jpg": upload["id"]}})).await
    };
    let problem = |answer: &Value| answer["problems"][0]["code"].as_str().unwrap_or_default().to_owned();

    let well = place("image", bytes.len()).await;
    let (status, early) = run(&well).await;
    assert_eq!((status.as_u16(), problem(&early)), (422, "input_unread".to_owned()), "never uploaded: {early}");
    assert_eq!(asking.put(&well, &bytes).await, StatusCode::OK);
    // What a run may have looked at is not written over.
    assert_eq!(asking.put(&well, &bytes).await, StatusCode::PRECONDITION_FAILED);
    let (status, started) = run(&well).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{started}");
    let manifest = world.ended(&id_of(&started)).await;
    assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}", manifest.failure);
    assert_eq!(manifest.steps[0].given, [picture.steps[0].outputs[0].sha256.clone()], "content-addressed");

    let text = place("image", 5).await;
    asking.put(&text, b"hello").await;
    let (status, answer) = run(&text).await;
    assert_eq!((status.as_u16(), problem(&answer)), (422, "input_kind".to_owned()), "{answer}");
    // Real S3 refuses another length than the link was signed for; where it came through, it is refused at its use.
    let short = place("image", bytes.len() + 1).await;
    if asking.put(&short, &bytes).await.is_success() {
        let (status, answer) = run(&short).await;
        assert_eq!((status.as_u16(), problem(&answer)), (422, "input_unread".to_owned()), "{answer}");
    }
    // A document by an upload.
    let document = one("a picture to upload");
    let upload = place("document", document.len()).await;
    asking.put(&upload, document.as_bytes()).await;
    let (status, started) = asking.start(None, &json!({"pipeline_upload": upload["id"]})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{started}");
    assert_eq!(world.ended(&id_of(&started)).await.steps[0].source, Some(ResultSource::Hit));
    let (status, answer) = asking.start(None, &json!({"pipeline_upload": well["id"]})).await;
    assert_eq!((status.as_u16(), answer["code"].as_str()), (422, Some("Input.Invalid")), "{answer}");
}

/// A repeated request includes its uploads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_recognises_repeated_uploads() {
    let world = World::get().await;
    let folder = tempfile::tempdir().unwrap();
    let made = world.run(&one("a picture to upload under a key"), "unused").await;
    let picture = world.admin.object(&made.steps[0].outputs[0].key).await.unwrap();
    let other = world.run(&one("another picture to upload under a key"), "unused").await;
    let another = world.admin.object(&other.steps[0].outputs[0].key).await.unwrap();
    assert_ne!(picture, another);
    let document =
        "steps: [{ name: edit, type: image_to_image, params: { image: cat.png, prompt: 'uploaded under a key' } }]";
    let run = async |bytes: &[u8]| {
        std::fs::write(folder.path().join("cat.png"), bytes).unwrap();
        let mut request = RunRequest::new(document);
        let inputs = gather(&mut request, folder.path());
        assert_eq!(inputs.len(), 1, "{:?}", request.inputs.media);
        world.api.start(&request, &inputs, Some("the-key-of-uploads")).await
    };
    let is_conflict = |error: ApiError| assert_eq!(error.code(), "idempotency_conflict", "{error}");
    let first = run(&picture).await.unwrap();
    let again = run(&picture).await.unwrap();
    assert_eq!((&again.id, first.existing, again.existing), (&first.id, false, true));
    is_conflict(run(&another).await.unwrap_err());
    let manifest = world.ended(&RunId::parse(first.id).unwrap()).await;
    assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}", manifest.failure);

    // The rows of a batch.
    let batch = async |rows: &str| {
        let path = folder.path().join("rows.txt");
        std::fs::write(&path, rows).unwrap();
        let body = BatchBody {
            pipeline: Some(one("{{input}}").into()),
            rows_upload: Some(world.api.upload_rows(&path).await.unwrap()),
            format: Some(Format::Text),
            ..BatchBody::default()
        };
        world.api.start_batch(&body, Some("the-key-of-rows")).await
    };
    let first = batch("uploaded as a row\n").await.unwrap();
    let again = batch("uploaded as a row\n").await.unwrap();
    assert_eq!((&again.id, first.existing, again.existing), (&first.id, false, true));
    is_conflict(batch("another row, of sorts\n").await.unwrap_err());

    // What is said of the content holds: it can be put there again, and nothing else in its place.
    let asking = RawClient::new(&world);
    let said = json!({"kind": "image", "bytes": picture.len(), "sha256": made.steps[0].outputs[0].sha256});
    let (_, upload) = asking.ask(Method::POST, "/uploads", None, Some(&said)).await;
    let mut forged = picture.to_vec();
    forged[100] ^= 1;
    assert_eq!(asking.put(&upload, &picture).await, StatusCode::OK);
    assert_eq!(asking.put(&upload, &picture).await, StatusCode::OK);
    assert_eq!(asking.put(&upload, &forged).await, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_shown_by_its_signed_link_only() {
    let world = World::get().await;
    let asking = RawClient::new(&world);
    let (one_run, other) =
        (world.run(&one("a page"), "unused").await.run_id, world.run(&one("another page"), "unused").await.run_id);
    let (_, shown) = asking.get(&format!("/runs/{one_run}")).await;
    let view = shown["links"]["view"].as_str().unwrap().to_owned();
    // A browser signs nothing: the page is open, and nothing else is.
    let stranger = &asking.plain;
    let refused = stranger.get(format!("{}/runs/{one_run}", asking.base)).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    for tail in ["%23", "%3F", "%3Ffrom=0%23", "%2523", "%2Fevents%23"] {
        let path = format!("{}/runs/{one_run}{tail}/view", asking.base);
        let answer = stranger.get(&path).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_client_error() && !text.contains("\"steps\""), "{tail}: {status} {text}");
    }
    let page = stranger.get(format!("{}{view}", asking.base)).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers()["referrer-policy"], "no-referrer");
    let html = page.text().await.unwrap();
    assert!(!html.contains("{{query}}"));
    // Every file that the page names is there, behind the same link.
    for named in html.split(['"', '\'']).filter(|text| text.starts_with("view/")) {
        let file = format!("{}/runs/{one_run}/{}", asking.base, named.replace("&amp;", "&"));
        assert_eq!(stranger.get(&file).send().await.unwrap().status(), StatusCode::OK, "{named}");
    }
    let data = view.replace("/view?", "/view/data?");
    let (status, run) = asking.get(&data).await;
    assert_eq!((status, run["id"].as_str()), (StatusCode::OK, Some(one_run.as_str())));
    assert_eq!(run["links"]["view"], Value::Null, "a link for a day gives none for longer");
    let query = view.split_once('?').unwrap().1;
    for (path, code) in [
        (format!("/runs/{other}/view/data?{query}"), "bad_link"),
        (format!("{data}A"), "bad_link"),
        (data.replace("expires=1", "expires=2"), "bad_link"),
        (format!("/runs/{one_run}/view/data"), "bad_link"),
        (format!("/runs/{one_run}/view/secrets.txt?{query}"), "not_found"),
    ] {
        let (status, problem) = asking.get(&path).await;
        assert_eq!(problem["code"].as_str(), Some(code), "{path}: {status} {problem}");
        assert!(status.is_client_error());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_run_is_not_found_and_an_ended_run_was_not_running() {
    let world = World::get().await;
    let asking = RawClient::new(&world);
    for path in ["/runs/20200101t000000-0000000000", "/runs/20200101t000000-0000000000/events"] {
        let (status, problem) = asking.get(path).await;
        assert_eq!((status, problem["code"].as_str()), (StatusCode::NOT_FOUND, Some("run_not_found")), "{problem}");
    }
    let stop = async |run: &str| asking.ask(Method::DELETE, &format!("/runs/{run}"), None, None).await;
    assert_eq!(stop("20200101t000000-0000000000").await.0, StatusCode::NOT_FOUND);
    let ended = world.run(&one("stopped when it is over"), "unused").await;
    for _ in 0..2 {
        let (status, answer) = stop(ended.run_id.as_str()).await;
        assert_eq!((status, answer["was_running"].as_bool()), (StatusCode::OK, Some(false)), "{answer}");
    }
    assert_eq!(world.admin.status(&ended.run_id).await.unwrap().0.status, RunStatus::Succeeded);
    // A plan of a document that has problems says where, and one that has none says what it would do.
    let bad = RunRequest::new("steps: [{ type: poem }]");
    assert!(matches!(world.api.plan(&bad, &Inputs::default()).await, Err(ApiError::Document(_))));
    let preview = world.preview(&one("stopped when it is over"), "unused").await;
    assert!(preview.steps[0].hit && preview.missing_keys.is_empty());
}
