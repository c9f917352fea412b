//! Batches through the real machines: rows in, chunks that are runs, results in the order of the rows.

#![expect(clippy::unwrap_used, reason = "a test suite: what does not work is to fail loudly")]

use fresco_api_types::{BatchBody, BatchFinished, BatchManifest, BatchView, OnBadRow, RowResult, RowStatus};
use fresco_engine::{Fetcher, IdempotencyKey, StartError, batch_manifest_key};
use fresco_ledger::records::BatchStatus;
use fresco_ledger::records::ResultSource;
use fresco_ledger::traits::Batches;
use fresco_pipeline::error::ErrorName;
use fresco_pipeline::ids::RunId;
use fresco_pipeline::rows::Format;
use fresco_tests::{Function, RawClient, Request, World};
use serde_json::{Value, json};

/// The queue of the simulator and its faults are everybody's.
static SIMULATOR: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// One picture for each row.
fn over(rows: Vec<Value>) -> BatchBody {
    BatchBody {
        pipeline: Some(RawClient::picture("{{input}}").into()),
        rows: Some(rows),
        rate_limit_delay: Some(0),
        ..BatchBody::default()
    }
}

async fn start(world: &World, body: BatchBody) -> RunId {
    RunId::parse(world.api.start_batch(&body, None).await.unwrap().id).unwrap()
}

/// The provider's requests, by the beginning of the prompt.
async fn asked(world: &World, prompt: &str) -> usize {
    world.requests_with(|asked| asked.starts_with(prompt)).await.len()
}

async fn view(world: &World, batch: &RunId) -> BatchView {
    world.api.batch(batch).await.unwrap()
}

/// The batch once it has ended, its manifest and its results.
async fn ended(world: &World, batch: &RunId) -> (BatchView, BatchManifest, Vec<RowResult>) {
    world.until("the batch ends", async || view(world, batch).await.status.is_final()).await;
    let object = async |key: &str| world.object_of(&world.bucket(), key).await.unwrap();
    let manifest = serde_json::from_slice(&object(&batch_manifest_key(batch)).await).unwrap();
    let lines = String::from_utf8(object(&format!("batches/{batch}/results.jsonl")).await).unwrap();
    let results = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (view(world, batch).await, manifest, results)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_rows_end_with_exact_counts() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::get().await;
    let name = "two hundred";
    // Every tenth row asks for what the one before does; every twentieth is refused by the provider; two have no prompt.
    let rows: Vec<Value> = (1..=200u32)
        .map(|row| match row {
            100 | 101 => json!({"id": format!("row-{row}"), "input": ""}),
            row if row % 20 == 5 => json!({"id": format!("row-{row}"), "input": format!("{name}, refused {row}")}),
            row if row % 10 == 0 => json!({"id": format!("row-{row}"), "input": format!("{name} {}", row - 1)}),
            row => json!({"id": format!("row-{row}"), "input": format!("{name} {row}")}),
        })
        .collect();
    let queue = world.listen("fresco", "Batch Finished").await;
    let fault = json!({"fault": "model_error", "type": "content_policy_violation", "prompt": "two hundred, refused"});
    world.control("faults", &json!([fault])).await;
    let batch = start(&world, BatchBody { max_concurrent_chunks: Some(3), ..over(rows.clone()) }).await;
    let (view, manifest, results) = ended(&world, &batch).await;
    let plan = view.plan.unwrap();
    // Row 100 would have been one of the twenty duplicates.
    assert_eq!((plan.rows, plan.bad_rows, plan.duplicates, plan.hits), (200, 2, 19, 0), "{plan:?}");
    assert_eq!((plan.chunks, plan.chunk_size, plan.problems.len()), (20, 10, 2));
    assert_eq!(view.status, BatchStatus::Partial, "{:?}", view.failure);
    let counts = view.counts;
    assert_eq!((counts.done, counts.failed, counts.bad, counts.chunks), (188, 10, 2, 20));
    assert_eq!(results.iter().map(|result| result.row).collect::<Vec<_>>(), (1..=200).collect::<Vec<_>>());
    for result in &results {
        let expected = match result.row {
            100 | 101 => RowStatus::Bad,
            row if row % 20 == 5 => RowStatus::Failed,
            _ => RowStatus::Done,
        };
        assert_eq!(
            (result.status, result.outputs.len()),
            (expected, usize::from(expected == RowStatus::Done)),
            "{result:?}"
        );
        assert_eq!(result.failure.is_some(), expected != RowStatus::Done);
        assert_eq!(result.id, Some(format!("row-{}", result.row)));
    }
    assert_eq!(plan.problems[0].id.as_deref(), Some("row-100"));
    assert_eq!((plan.problems[0].code.as_str(), plan.problems[0].column.as_str()), ("input_missing", "input"));
    // 198 rows that can be run, 19 of them duplicates, 10 refused.
    let paid =
        results.iter().filter(|result| result.source == Some(ResultSource::Generated) && result.cost > 0).count();
    assert_eq!((paid, asked(&world, &format!("{name} ")).await), (169, 169));
    assert_eq!(asked(&world, &format!("{name}, refused")).await, 10);
    assert_eq!((manifest.by_failure["Provider.ContentPolicy"], manifest.by_status["done"]), (10, 188));
    let saved = manifest.saved;
    // What the provider refuses for its policy may be billed, and counts as spent.
    let cost = results.iter().map(|result| result.cost).sum::<i64>();
    assert_eq!((manifest.spent, view.counts.spent.as_micros()), (cost + 10 * cost / 169, manifest.spent));

    // Other systems subscribe to its end by a rule of their own. Batches of other tests end as well.
    let finished: BatchFinished = loop {
        let event = world.next_message(&queue).await;
        let finished: BatchFinished = serde_json::from_value(event["detail"].clone()).unwrap();
        if finished.batch_id == batch {
            break finished;
        }
    };
    assert_eq!((finished.status, finished.done, finished.failed), (BatchStatus::Partial, 188, 10));
    assert_eq!((finished.cost.as_micros(), finished.manifest), (manifest.spent, batch_manifest_key(&batch)));

    // The fault is gone: a redrive submits the failed rows and nothing else.
    world.forget_faults().await;
    let driven = world.api.redrive_batch(&batch).await.unwrap();
    assert!(!driven.status.is_final());
    let (view, manifest, results) = ended(&world, &batch).await;
    assert_eq!((view.status, view.counts.done, view.counts.failed), (BatchStatus::Partial, 198, 0), "{manifest:?}");
    assert_eq!((results.len(), view.counts.bad, view.counts.chunks), (200, 2, 20));
    // What it paid for itself is not taken for a hit, and was not saved.
    assert_eq!((manifest.by_source["generated"], manifest.saved), (179, saved), "{manifest:?}");
    assert_eq!(results.iter().filter(|result| result.cost > 0).count(), 179);
    assert_eq!(asked(&world, name).await, 169 + 10 + 10);
    assert!(world.api.redrive_batch(&RunId::parse("no-such-batch").unwrap()).await.is_err());

    // The same rows as another batch are hits.
    let again = start(&world, over(rows)).await;
    let (view, ..) = ended(&world, &again).await;
    assert_eq!((view.counts.done, view.counts.hits, view.plan.unwrap().hits), (198, 198, 198));
    assert_eq!(asked(&world, name).await, 169 + 10 + 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_cannot_be_planned_is_rejected_and_costs_nothing() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::get().await;
    let text = |text: &str| BatchBody {
        rows: None,
        rows_text: Some(text.to_owned()),
        format: Some(Format::Csv),
        ..over(Vec::new())
    };
    let with = |setting: &str| {
        let document = format!("{}settings: {{ {setting} }}\n", RawClient::picture("{{input}}"));
        BatchBody { pipeline: Some(document.into()), ..over(vec![json!("a")]) }
    };
    for (body, name, said) in [
        (text(""), ErrorName::InputInvalid, "no_rows"),
        (text("id,input\n"), ErrorName::InputInvalid, "no_rows"),
        (text("input,input\na,b\n"), ErrorName::InputInvalid, "bad_header"),
        (text("id,prompt\n1,x\n"), ErrorName::InputInvalid, "none of the 1 rows can be run"),
        (BatchBody { on_bad_row: OnBadRow::Stop, ..text("id,input\n1,fine\n2\n") }, ErrorName::InputInvalid, "row 2"),
        (with("export: s3://elsewhere/x"), ErrorName::ExportDenied, "this stack exports to"),
        (with("max_cost: 1"), ErrorName::InputInvalid, "give the batch one of its own"),
        (BatchBody { chunk_size: Some(51), ..over(vec![json!("a")]) }, ErrorName::InputInvalid, "at most 50"),
    ] {
        let batch = start(&world, body).await;
        world.until("the batch ends", async || view(&world, &batch).await.status.is_final()).await;
        let view = view(&world, &batch).await;
        let failure = view.failure.unwrap();
        assert_eq!((view.status, failure.name, view.plan), (BatchStatus::Failed, name, None));
        assert!(failure.message.contains(said), "{failure}");
    }
    let warned = start(&world, BatchBody { chunk_size: Some(21), ..over(vec![json!("warned")]) }).await;
    let (view, ..) = ended(&world, &warned).await;
    assert_eq!((view.status, view.plan.unwrap().warnings.len()), (BatchStatus::Succeeded, 1));
}

/// Money for ten of a hundred rows: ten submits, and the rest is refused before it is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_bounds_all_chunks_together() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::get().await;
    let rows: Vec<Value> = (0..100).map(|row| json!(format!("on a budget {row}"))).collect();
    let price = world.preview(&RawClient::picture("on a budget"), "unused").await.price.as_micros();
    let batch =
        start(&world, BatchBody { max_cost: Some(price * 10), max_concurrent_chunks: Some(4), ..over(rows) }).await;
    let (view, manifest, results) = ended(&world, &batch).await;
    assert_eq!((view.status, view.counts.done, view.counts.failed), (BatchStatus::Partial, 10, 90), "{manifest:?}");
    assert_eq!(asked(&world, "on a budget").await, 10);
    assert_eq!((view.counts.spent.as_micros(), manifest.by_failure["Budget.Exceeded"]), (price * 10, 90));
    assert_eq!(results.len(), 100);
}

/// An answer without a text is paid and asked for again, which the chunk's grant does not cover: the batch's budget does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_costs_more_than_its_estimate_gets_more_of_the_budget() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::get().await;
    let pipeline = "name: more\nsteps:\n\
        - { name: image, type: text_to_image, params: { prompt: 'more, {{input}}' } }\n\
        - { name: words, type: analyze_image, params: { prompt: 'more words, {{input}}' } }\n";
    let price = world.preview(pipeline, "one").await.price.as_micros();
    for (row, budget, status) in [("one", 2 * price, BatchStatus::Succeeded), ("two", price, BatchStatus::Failed)] {
        let fault = json!({"fault": "empty", "prompt": format!("more words, {row}"), "times": 1});
        world.control("faults", &json!([fault])).await;
        let body = BatchBody { pipeline: Some(pipeline.into()), max_cost: Some(budget), ..over(vec![json!(row)]) };
        let batch = start(&world, body).await;
        let (view, manifest, _) = ended(&world, &batch).await;
        assert_eq!(view.status, status, "{manifest:?}");
        let (spent, left) = (view.counts.spent, world.ledger().batch(&batch).await.unwrap().unwrap().remaining);
        assert_eq!((spent + left).as_micros(), budget, "what was not spent is returned");
        world.forget_faults().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_batch_stops() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::get().await;
    let rows: Vec<Value> = (0..60).map(|row| json!(format!("to be stopped {row}"))).collect();
    world.control("settings", &json!({"concurrency": 0})).await;
    // However long the pause is, and however many chunks there would be.
    let batch = start(&world, BatchBody { rate_limit_delay: Some(3_600), ..over(rows) }).await;
    world.until("a chunk runs", async || view(&world, &batch).await.running_chunks == 1).await;
    world.until("it asks", async || asked(&world, "to be stopped").await > 0).await;
    let stopped = world.api.stop_batch(&batch).await.unwrap();
    assert!(stopped.stopping);
    world.control("settings", &json!({"concurrency": 40})).await;
    let (view, manifest, results) = ended(&world, &batch).await;
    assert_eq!((view.status, results.len()), (BatchStatus::Stopped, 60), "{manifest:?}");
    assert!(asked(&world, "to be stopped").await <= 10, "no second chunk asks for anything");
    assert!(manifest.by_status["not_run"] >= 50, "{manifest:?}");
    assert!(view.failure.unwrap().message.starts_with("the batch was stopped"));
}

/// One chunk after the other with a pause between them, or three at a time, as the provider saw it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_keep_their_order_and_pause_or_overlap() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::get().await;
    let body = |name: &str, at_once| {
        let rows: Vec<Value> = (0..30).map(|row| json!(format!("{name} {row:02}"))).collect();
        let (max_concurrent_chunks, max_workers, rate_limit_delay) = (Some(at_once), Some(10), Some(1));
        BatchBody { max_concurrent_chunks, max_workers, rate_limit_delay, ..over(rows) }
    };
    let batch = start(&world, body("in turn", 1)).await;
    assert_eq!(ended(&world, &batch).await.0.status, BatchStatus::Succeeded);
    let requests = world.requests_with(|asked| asked.starts_with("in turn")).await;
    let chunk = |n: usize| {
        let of = |request: &&Request| request.prompt()["in turn ".len()..].parse::<usize>().unwrap() / 10 == n;
        let requests: Vec<&Request> = requests.iter().filter(of).collect();
        let from = requests.iter().map(|request| request.from()).min().unwrap();
        (from, requests.iter().map(|request| request.to()).max().unwrap())
    };
    let chunks = [chunk(0), chunk(1), chunk(2)];
    assert!(chunks.windows(2).all(|two| two[1].0 >= two[0].1 + 1_000), "{chunks:?}");

    // With the queue held nothing ends: all three chunks ask before any of them is over.
    world.control("settings", &json!({"concurrency": 0})).await;
    let batch = start(&world, body("side by side", 3)).await;
    world.until("all three ask", async || asked(&world, "side by side").await == 30).await;
    assert_eq!(view(&world, &batch).await.running_chunks, 3);
    world.control("settings", &json!({"concurrency": 40})).await;
    assert_eq!(ended(&world, &batch).await.0.status, BatchStatus::Succeeded);
}

/// A key is one batch; asked otherwise under it, it is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_is_one_batch_and_an_early_stop_costs_nothing() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::get().await;
    let engine = world.admin.engine();
    let once = IdempotencyKey { key: "the batch of today".to_owned(), request_hash: "a".to_owned() };
    let body = || over(vec![json!("asked for once")]);
    let first = engine.batches.start(Some(&once), body(), &Fetcher::default()).await.unwrap();
    let again = engine.batches.start(Some(&once), body(), &Fetcher::default()).await.unwrap();
    assert_eq!((&first.run, first.existing, again.existing), (&again.run, false, true));
    let other = IdempotencyKey { request_hash: "b".to_owned(), ..once };
    assert!(matches!(
        engine.batches.start(Some(&other), body(), &Fetcher::default()).await,
        Err(StartError::OtherRequest)
    ));
    assert_eq!(ended(&world, &first.run).await.0.status, BatchStatus::Succeeded);
    assert_eq!(asked(&world, "asked for once").await, 1);

    // It is stopped before any chunk has started.
    let many = (0..5_000).map(|row| json!(format!("stopped while it is planned {row}"))).collect();
    let batch = start(&world, over(many)).await;
    engine.batches.stop(&batch).await.unwrap();
    world.until("the batch ends", async || view(&world, &batch).await.status.is_final()).await;
    assert!(matches!(view(&world, &batch).await.status, BatchStatus::Stopped | BatchStatus::Failed));
    assert_eq!(asked(&world, "stopped while it is planned").await, 0);

    for wrong in [
        BatchBody { max_cost: Some(-1), ..body() },
        BatchBody { chunk_size: Some(0), ..body() },
        BatchBody { tolerate: Some(json!("many")), ..body() },
        BatchBody { rows_text: Some("a".to_owned()), ..body() },
        BatchBody { rows: None, rows_key: Some("outputs/x.csv".to_owned()), ..body() },
    ] {
        assert!(matches!(engine.batches.start(None, wrong, &Fetcher::default()).await, Err(StartError::Invalid(_))));
    }
}

/// Rows name pictures that lie beside them; one that is none is left out when its chunk is planned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_refer_to_media_of_their_own() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::get().await;
    let cat = world.run(&RawClient::picture("a cat for the rows"), "unused").await;
    let output = &cat.steps[0].outputs[0];
    let cat_bytes = world.admin.object(&output.key).await.unwrap().to_vec();
    world.put("rows/pictures/cat.img", cat_bytes.clone(), &[]).await;
    world.put("rows/pictures/text.img", b"no picture".to_vec(), &[]).await;
    let rows = "id,image,input\none,cat.img,in a hat\ntwo,text.img,in a hat\nthree,gone.img,in a hat\nfour,./cat.img,in a coat\n";
    world.put("rows/pictures/all.csv", rows.into(), &[]).await;
    let pipeline = "name: edits\nsteps: [{ name: edit, type: image_to_image, params: { image: '{{vars.image}}', prompt: '{{input}}' } }]\nsettings: { export: 's3://fresco-exports/edits' }\n";
    let (pipeline, rows_key) = (Some(pipeline.into()), Some("rows/pictures/all.csv".to_owned()));
    let batch =
        start(&world, BatchBody { pipeline, rows_key, rate_limit_delay: Some(0), ..BatchBody::default() }).await;
    let (view, manifest, results) = ended(&world, &batch).await;
    assert_eq!((view.status, view.counts.done, view.counts.failed), (BatchStatus::Partial, 2, 2), "{manifest:?}");
    let statuses: Vec<RowStatus> = results.iter().map(|result| result.status).collect();
    assert_eq!(statuses, [RowStatus::Done, RowStatus::Failed, RowStatus::Failed, RowStatus::Done], "{results:?}");
    let why: Vec<&str> = results.iter().filter_map(|result| Some(result.failure.as_ref()?.name.as_str())).collect();
    assert_eq!(why, ["input_kind", "input_unread"]);
    // Deliverables are named by row and step, and the results lie beside them.
    let exported: Vec<String> =
        world.listed("fresco-exports", &format!("edits/{batch}/")).await.into_iter().map(|file| file.key).collect();
    let named = |name: &str| exported.iter().any(|key| key.starts_with(&format!("edits/{batch}/{name}")));
    assert!(named("000001-one-edit.") && named("000004-four-edit."), "{exported:?}");
    assert!(named("results.jsonl") && named("manifest.json") && exported.len() == 4, "{exported:?}");

    // With the cause removed, a redrive generates the rows.
    world.put("rows/pictures/text.img", cat_bytes.clone(), &[]).await;
    world.put("rows/pictures/gone.img", cat_bytes, &[]).await;
    world.api.redrive_batch(&batch).await.unwrap();
    let (view, manifest, results) = ended(&world, &batch).await;
    assert_eq!((view.status, view.counts.done, view.counts.failed), (BatchStatus::Succeeded, 4, 0), "{manifest:?}");
    assert_eq!(results[1].id.as_deref(), Some("two"));
}

/// Equal rows cost once, and an unreadable row costs only itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_rows_cost_once_and_an_unreadable_row_costs_only_itself() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::get().await;
    world.control("settings", &json!({"concurrency": 0})).await;
    let of = |key: &str| BatchBody { rows: None, rows_key: Some(key.to_owned()), chunk_size: Some(50), ..over(vec![]) };
    let planned = async |batch: &RunId| {
        world.until("it is planned", async || view(&world, batch).await.plan.is_some()).await;
        let plan = view(&world, batch).await.plan.unwrap();
        world.api.stop_batch(batch).await.unwrap();
        plan
    };
    world.put("rows/same.txt", "a hundred thousand times the same\n".repeat(100_000).into(), &[]).await;
    let same = start(&world, of("rows/same.txt")).await;
    let plan = planned(&same).await;
    assert_eq!((plan.rows, plan.duplicates, plan.bad_rows, plan.chunks), (100_000, 99_999, 0, 2_000));
    assert_eq!(plan.price.as_micros(), 3_000, "that of one picture");

    let mut rows = "id,input\n".to_owned();
    for row in 1..=10_000 {
        let more = if row == 7_777 { ",one cell too many" } else { "" };
        rows.push_str(&format!("p{row},poison {row}{more}\n"));
    }
    world.put("rows/poison.csv", rows.into(), &[]).await;
    let poisoned = start(&world, of("rows/poison.csv")).await;
    let plan = planned(&poisoned).await;
    assert_eq!((plan.rows, plan.bad_rows, plan.duplicates, plan.problems.len()), (10_000, 1, 0, 1));
    assert_eq!((plan.problems[0].row, plan.problems[0].code.as_str()), (7_777, "ragged_row"));
    let strict = start(&world, BatchBody { on_bad_row: OnBadRow::Stop, ..of("rows/poison.csv") }).await;
    world.control("settings", &json!({"concurrency": 40})).await;
    for batch in [&same, &poisoned] {
        assert_eq!(ended(&world, batch).await.0.status, BatchStatus::Stopped);
    }
    let (view, ..) = ended(&world, &strict).await;
    let why = view.failure.unwrap().message;
    assert!(view.status == BatchStatus::Failed && why.contains("row 7777") && why.contains("ragged_row"), "{why}");
    assert!(asked(&world, "a hundred thousand").await <= 1 && asked(&world, "poison").await <= 50);
}

/// More failures than tolerated stop a batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_stops_above_its_failure_tolerance() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::get().await;
    let fault = json!({"fault": "model_error", "type": "content_policy_violation", "prompt": "not tolerated"});
    world.control("faults", &json!([fault])).await;
    let rows = (0..60).map(|row| json!(format!("not tolerated {row}"))).collect();
    let batch = start(&world, BatchBody { tolerate: Some(json!("25%")), ..over(rows) }).await;
    let (view, manifest, results) = ended(&world, &batch).await;
    assert_eq!((view.status, results.len()), (BatchStatus::Stopped, 60), "{manifest:?}");
    assert_eq!((manifest.by_status["failed"], manifest.by_status["not_run"]), (20, 40));
    let why = view.failure.unwrap().message;
    assert!(why.starts_with("20 rows failed and 15 are tolerated"), "{why}");
    world.forget_faults().await;
}

/// The stack ends while a chunk has ended and another is at work, and is started again: a redrive of the batch pays for what is
/// missing only, and what was at work is not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_survives_the_end_of_its_stack() {
    let world = World::own("restarted", None).await;
    let prompt = "before and after";
    let rows: Vec<Value> = (0..30).map(|row| json!(format!("{prompt} {row:02}"))).collect();
    let batch = start(&world, BatchBody { max_workers: Some(10), rate_limit_delay: Some(2), ..over(rows) }).await;
    world.until("a chunk has ended", async || view(&world, &batch).await.counts.chunks == 1).await;
    world.control("settings", &json!({"concurrency": 0})).await;
    world.until("the next one is at work", async || asked(&world, prompt).await == 20).await;
    world.close().await;
    let world = World::own("restarted", None).await;
    world.control("settings", &json!({"concurrency": 40})).await;
    // Its execution is gone with the stack that was: the sweep finds it when it is due, and closes it with what there is.
    assert!(world.ledger().schedule_batch_check(&batch, 0).await.unwrap());
    world.invoke(Function::Sweep, &json!({})).await;
    let (left, manifest, results) = ended(&world, &batch).await;
    // What was at work at the provider may have come by then, or not.
    let decided = left.counts.done + left.counts.failed;
    assert_eq!((left.status, decided, left.running_chunks), (BatchStatus::Partial, 20, 0), "{manifest:?}");
    assert_eq!((results.len(), manifest.by_status["not_run"]), (30, 10), "{manifest:?}");
    let driven = world.api.redrive_batch(&batch).await.unwrap();
    assert!(!driven.status.is_final());
    let (view, manifest, results) = ended(&world, &batch).await;
    assert_eq!((view.status, view.counts.done, results.len()), (BatchStatus::Succeeded, 30, 30), "{manifest:?}");
    assert_eq!(asked(&world, prompt).await, 30, "nothing is asked for twice, and nothing is lost");
    world.close().await;
}

/// Its rows say why, and the batch goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_cannot_be_planned_reports_its_failure() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::get().await;
    let step = "s".repeat(50);
    let pipeline =
        format!("name: odd\nsteps: [{{ name: {step}, type: text_to_image, params: {{ prompt: '{{{{input}}}}' }} }}]\n");
    let rows = (0..30).map(|row| json!(format!("hard to plan {row:02}"))).collect();
    world.control("settings", &json!({"concurrency": 0})).await;
    let body = BatchBody { pipeline: Some(pipeline.into()), max_workers: Some(10), ..over(rows) };
    let batch = start(&world, body).await;
    world.until("the first chunk is at work", async || asked(&world, "hard to plan").await == 10).await;
    // With numbers as long as these the names of its steps become too long, which nothing but damage can come to.
    let key = format!("batches/{batch}/chunks/1.json");
    let kept = world.object_of(&world.bucket(), &key).await.unwrap();
    let mut file: Value = serde_json::from_slice(&kept).unwrap();
    file["rows"].as_array_mut().unwrap().iter_mut().for_each(|row| row["number"] = json!(u64::MAX));
    world.put(&key, serde_json::to_vec(&file).unwrap(), &[]).await;
    world.control("settings", &json!({"concurrency": 40})).await;
    let (view, manifest, results) = ended(&world, &batch).await;
    assert_eq!((view.status, view.counts.done, view.counts.failed), (BatchStatus::Partial, 20, 10), "{manifest:?}");
    assert_eq!((manifest.by_status["not_run"], manifest.by_failure.values().sum::<u64>()), (10, 10), "{manifest:?}");
    assert_eq!(results.iter().filter(|result| result.failure.is_some()).count(), 10);

    world.put(&key, kept.to_vec(), &[]).await;
    world.api.redrive_batch(&batch).await.unwrap();
    assert_eq!(ended(&world, &batch).await.0.status, BatchStatus::Succeeded);
    assert_eq!(asked(&world, "hard to plan").await, 30);
}

/// A row of two steps: the picture of the second row is paid, and its edit is refused until the redrive. The objects of the
/// first row are gone by then, as they are when results have expired.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redrive_pays_only_for_what_is_missing_whatever_the_cache_policy() {
    let _simulator = SIMULATOR.lock().await;
    let world = World::get().await;
    for cache in ["use", "refresh", "off"] {
        let prompt = format!("redriven with {cache},");
        let pipeline = format!(
            "name: twice\nsettings: {{ cache: {cache} }}\nsteps:\n\
             - {{ name: image, type: text_to_image, params: {{ prompt: '{prompt} {{{{input}}}}' }} }}\n\
             - {{ name: edit, type: image_to_image, params: {{ prompt: 'edit {prompt} {{{{input}}}}' }} }}\n"
        );
        let refused = format!("edit {prompt} second");
        let fault = json!({"fault": "model_error", "type": "content_policy_violation", "prompt": refused});
        world.control("faults", &json!([fault])).await;
        let body = BatchBody { pipeline: Some(pipeline.into()), ..over(vec![json!("first"), json!("second")]) };
        let batch = start(&world, body).await;
        let (view, manifest, results) = ended(&world, &batch).await;
        assert_eq!((view.counts.done, view.counts.failed, results.len()), (1, 1, 2), "{manifest:?}");
        let requests = async || (asked(&world, &prompt).await, asked(&world, &format!("edit {prompt}")).await);
        assert_eq!(requests().await, (2, 2));

        world.forget_faults().await;
        for output in &results[0].outputs {
            world.remove_object(&output.key).await;
        }
        world.api.redrive_batch(&batch).await.unwrap();
        let (view, manifest, again) = ended(&world, &batch).await;
        assert_eq!((view.status, view.counts.done), (BatchStatus::Succeeded, 2), "{manifest:?}");
        assert_eq!(requests().await, (2, 3), "with {cache}, only the edit that was refused is asked for");
        assert_eq!(again[0], results[0], "a row that is done stays as it was");
        assert_eq!((again[1].source, again[1].outputs.len()), (Some(ResultSource::Generated), 2));
    }
}
