//! Runs that are not started through the API: by objects in the inbox, and by events. Everything goes through the
//! bucket's events and EventBridge to the real function.

#![expect(clippy::unwrap_used, reason = "a test suite: what does not work is to fail loudly")]

use fresco_api_types::{Manifest, RunFinished, RunSummary};
use fresco_ledger::records::{ResultSource, RunStatus};
use fresco_pipeline::ids::RunId;
use fresco_tests::{RawClient, World};
use serde_json::{Value, json};

const KEEPS: &str = "triggers keep to themselves";

/// The runs of a pipeline, newest first.
async fn runs(world: &World, pipeline: &str) -> Vec<RunSummary> {
    let page = world.api.runs(100, None).await.unwrap();
    page.runs.into_iter().filter(|run| run.name == pipeline).collect()
}

/// The only run of a pipeline, once it has ended.
async fn only_run(world: &World, pipeline: &str) -> Manifest {
    world.until(pipeline, async || !runs(world, pipeline).await.is_empty()).await;
    let runs = runs(world, pipeline).await;
    assert_eq!(runs.len(), 1, "{runs:?}");
    world.ended(&RunId::parse(&runs[0].id).unwrap()).await
}

fn picture(name: &str, prompt: &str) -> String {
    RawClient::picture(prompt).replacen("name: one", &format!("name: {name}"), 1)
}

/// The report about an object of the inbox, once it is there.
async fn report(world: &World, key: &str) -> Value {
    let place = format!("inbox-errors/{key}.json");
    world.until(&place, async || world.object_of(&world.bucket(), &place).await.is_some()).await;
    serde_json::from_slice(&world.object_of(&world.bucket(), &place).await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_in_the_inbox_is_run() {
    let world = World::get().await;
    // As keys may be: spaces, plus signs, other letters, line breaks.
    for (n, key) in ["plain.yaml", "with space+plus.yml", "größer/ünï.yaml", "line\nbreak.yaml"].into_iter().enumerate()
    {
        let name = format!("inbox {n}");
        world.put(&format!("inbox/{key}"), picture(&name, &format!("inbox {n}")).into(), &[]).await;
        let manifest = only_run(&world, &name).await;
        assert_eq!(manifest.status, RunStatus::Succeeded, "{key:?}: {:?}", manifest.failure);
        assert!(manifest.run_id.as_str().starts_with("once-"));
    }
    let json = json!({"name": "inbox json", "steps": [{"name": "image", "type": "text_to_image", "params": {"prompt": KEEPS}}]});
    world.put("inbox/a.json", json.to_string().into(), &[]).await;
    assert_eq!(only_run(&world, "inbox json").await.status, RunStatus::Succeeded);

    // Twice in a second: two runs, and one bill.
    let twice = picture("inbox twice", "twice in a second");
    for _ in 0..2 {
        world.put("inbox/twice.yaml", twice.clone().into(), &[]).await;
    }
    world.until("both runs", async || runs(&world, "inbox twice").await.len() == 2).await;
    for run in runs(&world, "inbox twice").await {
        assert_eq!(world.ended(&RunId::parse(&run.id).unwrap()).await.status, RunStatus::Succeeded);
    }
    assert_eq!(world.requests_for("twice in a second").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_and_media_in_the_inbox_are_inputs_of_the_pipeline_beside_them() {
    let world = World::get().await;
    let cat = world.run(&picture("a cat", "a cat for the inbox"), "unused").await;
    let output = &cat.steps[0].outputs[0];
    let bytes = world.admin.object(&output.key).await.unwrap().to_vec();
    let ending = output.key.rsplit_once('.').unwrap().1;
    world.put(&format!("inbox/cats/media/cat.{ending}"), bytes, &[]).await;
    let document = |name: &str| {
        format!(
            "name: {name}\nsteps: [{{ name: edit, type: image_to_image, params: {{ image: media/cat.{ending}, prompt: '{{{{input}}}}' }} }}]\n"
        )
    };
    // The folder's pipeline waits for its texts: no run and no report of its own.
    world.put("inbox/cats/pipeline.yaml", document("beside").into(), &[]).await;
    world.put("inbox/cats/other.yaml", document("named").replace("{{input}}", "{{input}}, named").into(), &[]).await;
    let other = report(&world, "cats/other.yaml").await;
    assert_eq!((&other["code"], &other["problems"][0]["code"]), (&json!("document_invalid"), &json!("input_missing")));
    world.put("inbox/cats/one.txt", "in a hat\n".into(), &[]).await;
    let manifest = only_run(&world, "beside").await;
    assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}", manifest.failure);
    assert_eq!(manifest.steps[0].given, std::slice::from_ref(&output.sha256));
    assert!(world.object_of(&world.bucket(), "inbox-errors/cats/pipeline.yaml.json").await.is_none());
    world.put("inbox/cats/two.txt", "in a coat".into(), &[("fresco-pipeline", "other.yaml")]).await;
    assert_eq!(only_run(&world, "named").await.status, RunStatus::Succeeded);

    world.put("inbox/alone/text.txt", "a text without a pipeline".into(), &[]).await;
    assert_eq!(report(&world, "alone/text.txt").await["code"], "no_pipeline");
    world.put("inbox/up/text.txt", "a text that climbs".into(), &[("fresco-pipeline", "../cats/other.yaml")]).await;
    assert_eq!(report(&world, "up/text.txt").await["code"], "no_pipeline");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_that_cannot_run_leaves_a_report() {
    let world = World::get().await;
    for (key, bytes, code) in [
        ("empty.yaml", Vec::new(), "empty"),
        ("large.yaml", vec![b'#'; 5 << 20], "too_large"),
        ("binary.yaml", vec![0x89, b'P', b'N', b'G', 0xff], "not_utf8"),
        ("typo.yaml", b"name: x\nsteps:\n  - type: text_to_imgae\n".to_vec(), "document_invalid"),
        ("climbs.yaml", picture("climbs", "up").replace("text_to_image", "image_to_image").into(), "document_invalid"),
    ] {
        world.put(&format!("inbox/{key}"), bytes, &[]).await;
        let report = report(&world, key).await;
        assert_eq!((&report["code"], &report["key"]), (&json!(code), &json!(format!("inbox/{key}"))), "{report}");
        assert!(["detail", "advice"].iter().all(|field| report[*field].as_str().is_some_and(|text| !text.is_empty())));
    }
    let typo = report(&world, "typo.yaml").await;
    assert_eq!((&typo["problems"][0]["line"], &typo["problems"][0]["code"]), (&json!(3), &json!("unknown_type")));
    world.until("a metric", async || !world.logged("trigger", "InboxErrors").await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_starts_a_run() {
    let world = World::get().await;
    // Another stack of the account hears events, too: each listens to those that name it.
    for other in [json!({"stack": "fresco-2"}), json!({})] {
        let mut body = other;
        body["pipeline"] = json!(picture("not by event", "for another stack"));
        world.put_event("fresco.request", "Run Requested", &body).await;
    }
    let body =
        json!({"stack": "fresco", "pipeline": picture("by event", "{{input}}"), "input": "asked for by an event"});
    world.put_event("fresco.request", "Run Requested", &body).await;
    let manifest = only_run(&world, "by event").await;
    assert!(world.requests_for("for another stack").await.is_empty());
    assert_eq!((manifest.status, manifest.steps[0].source), (RunStatus::Succeeded, Some(ResultSource::Generated)));

    // A bad one waits in the queue of failures, with the reason.
    world
        .put_event(
            "fresco.request",
            "Run Requested",
            &json!({"stack": "fresco", "pipeline": "steps: [{ type: poem }]"}),
        )
        .await;
    let failure = world.next_failure().await;
    assert_eq!(failure["requestPayload"]["detail"]["pipeline"], "steps: [{ type: poem }]");
    let reason = failure["responsePayload"]["errorMessage"].as_str().unwrap_or_default();
    assert!(reason.contains("unknown_type") && reason.contains("poem"), "{failure}");
    assert_eq!(failure["responsePayload"]["errorType"], "Document.Invalid");
}

/// Rows are run by the pipeline beside them, once however often the event is delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_in_the_inbox_start_a_batch() {
    let world = World::get().await;
    world.put("inbox/rows/pipeline.yaml", picture("rows of the inbox", "{{vars.what}} in a row").into(), &[]).await;
    world.put("inbox/rows/all.csv", "id,what\none,a cat\ntwo,a dog\nthree,a cat\n".into(), &[]).await;
    let found = async || {
        let batches = world.admin.engine().batches.list(10, None).await.unwrap();
        batches.into_iter().find(|batch| batch.name == "rows of the inbox" && batch.status.is_final())
    };
    world.until("the batch ends", async || found().await.is_some()).await;
    let batch = found().await.unwrap();
    assert_eq!(
        (batch.counts.done, batch.counts.failed, batch.plan.unwrap().duplicates),
        (3, 0, 1),
        "{:?}",
        batch.failure
    );
    assert_eq!(world.requests_for("a cat in a row").await.len(), 1);
    assert!(world.object_of(&world.bucket(), "inbox-errors/rows/pipeline.yaml.json").await.is_none());
    world.put("inbox/alone/rows.jsonl", "{}".into(), &[]).await;
    assert_eq!(report(&world, "alone/rows.jsonl").await["code"], "no_pipeline");
}

/// The same event again, later, and after the object is gone: the same run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_event_is_the_same_run() {
    let world = World::get().await;
    // Beside the inbox, where the function may read, so that these events are the only ones.
    let key = "pipelines/repeated/duplicate.yaml";
    let document = picture("duplicate", "delivered more than once");
    world.put(key, document.clone().into(), &[]).await;
    let mut event: Value = serde_json::from_str(include_str!("../../events/inbox-object-created.json")).unwrap();
    event["detail"]["object"] =
        json!({"key": key, "size": document.len(), "etag": world.tag_of(key).await, "sequencer": "0A"});
    let first = world.trigger(&event).await;
    assert_eq!((&first["outcome"], &first["existing"]), (&json!("started"), &json!(false)), "{first}");
    for _ in 0..2 {
        let again = world.trigger(&event).await;
        assert_eq!((&again["run_id"], &again["existing"]), (&first["run_id"], &json!(true)), "{again}");
        world.remove_object(key).await;
    }
    assert_eq!(only_run(&world, "duplicate").await.status, RunStatus::Succeeded);
    // An event of what is gone, or has become another, starts nothing.
    event["detail"]["object"]["sequencer"] = json!("0B");
    assert_eq!(world.trigger(&event).await["outcome"], "passed");
    world.put(key, picture("duplicate", "another content").into(), &[]).await;
    assert_eq!(world.trigger(&event).await["outcome"], "passed");
    assert_eq!(runs(&world, "duplicate").await.len(), 1);
}

/// Texts and rows before their pipeline, a document before its picture, empty files before their content: each is run once
/// all of it is there. The picture's name is composed in the document and decomposed in the bucket, as a Mac uploads it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_belong_together_run_in_whatever_order_they_arrive() {
    let world = World::get().await;
    let cat = world.run(&picture("a cat", "a cat that comes late"), "unused").await;
    let output = &cat.steps[0].outputs[0];
    let bytes = world.admin.object(&output.key).await.unwrap().to_vec();
    let gone = async |key: &str| {
        let place = format!("inbox-errors/{key}.json");
        world.until(&place, async || world.object_of(&world.bucket(), &place).await.is_none()).await;
    };

    world.put("inbox/late/dusk.txt", "a text before its pipeline".into(), &[]).await;
    assert_eq!(report(&world, "late/dusk.txt").await["code"], "no_pipeline");
    world.put("inbox/late/pipeline.yaml", Vec::new(), &[]).await;
    assert_eq!(report(&world, "late/pipeline.yaml").await["code"], "empty");
    let document = "name: late\nsteps: [{ name: edit, type: image_to_image, params: { image: media/caf\u{e9}.img, prompt: '{{input}}' } }]\n";
    world.put("inbox/late/pipeline.yaml", document.into(), &[]).await;
    // It has its pipeline, and waits for the picture.
    world
        .until("the text waits for the picture", async || {
            report(&world, "late/dusk.txt").await["code"] == "document_invalid"
        })
        .await;
    world.put("inbox/late/media/cafe\u{301}.img", Vec::new(), &[]).await;
    world.put("inbox/late/media/cafe\u{301}.img", bytes, &[]).await;
    let manifest = only_run(&world, "late").await;
    assert_eq!(manifest.status, RunStatus::Succeeded, "{:?}", manifest.failure);
    assert_eq!(manifest.steps[0].given, std::slice::from_ref(&output.sha256));
    gone("late/dusk.txt").await;
    gone("late/pipeline.yaml").await;

    world.put("inbox/late-rows/all.csv", "Input\na row before its pipeline\n".into(), &[]).await;
    assert_eq!(report(&world, "late-rows/all.csv").await["code"], "no_pipeline");
    world.put("inbox/late-rows/pipeline.yaml", picture("late rows", "{{input}}").into(), &[]).await;
    world
        .until("the row is asked for", async || !world.requests_for("a row before its pipeline").await.is_empty())
        .await;
    gone("late-rows/all.csv").await;
}

/// The end of a run is published as an event that others subscribe to: of a run that generated, one of hits only, one that failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_run_is_an_event() {
    let world = World::get().await;
    let queue = world.listen("fresco", "Run Finished").await;
    let mut ended = Vec::new();
    let dear =
        picture("published", "over its budget").replace("flux_schnell", "imagen4") + "settings: { max_cost: 0.001 }\n";
    for document in [picture("published", "the end is an event"), picture("published", "the end is an event"), dear] {
        ended.push(world.run(&document, "unused").await);
    }
    assert_eq!(ended[1].function_calls, 1);
    let mut heard = std::collections::BTreeMap::new();
    // Other tests' runs end as well; one may be delivered more than once.
    while !ended.iter().all(|manifest| heard.contains_key(manifest.run_id.as_str())) {
        let event = world.next_message(&queue).await;
        heard.insert(event["detail"]["run_id"].as_str().unwrap().to_owned(), event);
    }
    for manifest in &ended {
        let event = &heard[manifest.run_id.as_str()];
        let finished: RunFinished = serde_json::from_value(event["detail"].clone()).unwrap();
        assert_eq!((event["source"].as_str(), event["detail-type"].as_str()), (Some("fresco"), Some("Run Finished")));
        assert_eq!((finished.status, finished.cost, finished.saved), (manifest.status, manifest.cost, manifest.saved));
        let kept = world.object_of(&finished.bucket, &finished.manifest).await.unwrap();
        assert_eq!(&serde_json::from_slice::<Manifest>(&kept).unwrap(), manifest);
    }
    let statuses: Vec<RunStatus> = ended.iter().map(|manifest| manifest.status).collect();
    assert_eq!(statuses, [RunStatus::Succeeded, RunStatus::Succeeded, RunStatus::Failed]);
}
