//! Schedules: documents under `schedules/` in the bucket, kept in step with the scheduler by the real function, and
//! the scheduler's firings. The emulator's scheduler fires as AWS's does.

#![expect(clippy::unwrap_used, reason = "a test suite: what does not work is to fail loudly")]

use fresco_api_types::ScheduleView;
use fresco_ledger::records::RunStatus;
use fresco_pipeline::ids::RunId;
use fresco_tests::{RawClient, World};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// `at(…)` so many seconds from now, on the clock of a time zone.
fn at(seconds: i64, zone: &str) -> String {
    let time = Timestamp::now() + SignedDuration::from_secs(seconds);
    format!("at({})", time.to_zoned(TimeZone::get(zone).unwrap()).strftime("%Y-%m-%dT%H:%M:%S"))
}

fn inline(schedule: &str, name: &str, rest: &str) -> String {
    let pipeline = json!({"name": name, "steps": [{"type": "text_to_image", "model": "flux_schnell"}]});
    format!("schedule: {schedule}\npipeline: {pipeline}\ninput: {name}\n{rest}\n")
}

async fn put(world: &World, name: &str, document: &str) {
    world.put(&format!("schedules/{name}.yaml"), document.to_owned().into(), &[]).await;
}

async fn view(world: &World, name: &str) -> Option<ScheduleView> {
    world.api.schedules().await.unwrap().schedules.into_iter().find(|schedule| schedule.name == name)
}

/// The schedule once it is as it shall be.
async fn once(world: &World, name: &str, what: &str, is: impl Fn(&ScheduleView) -> bool) -> ScheduleView {
    world.until(&format!("{name}: {what}"), async || view(world, name).await.is_some_and(|view| is(&view))).await;
    view(world, name).await.unwrap()
}

/// The timers of a schedule in the emulator's scheduler.
async fn timers(world: &World, name: &str) -> Vec<Value> {
    let listed = world.timers().await;
    listed.into_iter().filter(|timer| timer["Name"].as_str().is_some_and(|found| found.starts_with(name))).collect()
}

async fn has_timer(world: &World, name: &str, state: &str) {
    world
        .until(&format!("{name} is {state}"), async || {
            timers(world, name).await.first().is_some_and(|timer| timer["State"] == state)
        })
        .await;
}

async fn concurrency(world: &World, most: usize) {
    world.control("settings", &json!({"concurrency": most})).await;
}

fn due(name: &str, time: &str) -> Value {
    json!({"source": "fresco.schedule", "schedule": format!("schedules/{name}.yaml"), "scheduled_time": time})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_of_a_rate_and_of_a_time_fire() {
    let world = World::get().await;
    let created = Timestamp::now().as_millisecond();
    world.put("pipelines/posters.yaml", RawClient::picture("{{input}} {{vars.size}}").into(), &[]).await;
    put(
        &world,
        "every-minute",
        "schedule: rate(1 minute)\npipeline: pipelines/posters.yaml\ninput: a poster\nvars: { size: 3 }\n",
    )
    .await;
    put(&world, "once only", &inline(&at(6, "Asia/Tokyo"), "once only", "timezone: Asia/Tokyo")).await;
    let fired = once(&world, "once only", "a run that succeeded", |view| {
        view.last.as_ref().is_some_and(|last| last.status == Some(RunStatus::Succeeded))
    })
    .await;
    let last = fired.last.unwrap();
    assert_eq!((last.outcome.as_str(), fired.next_at), ("started", None));
    let manifest = world.ended(&RunId::parse(last.run_id.unwrap()).unwrap()).await;
    assert_eq!(manifest.name, "once only");
    // One that is over is gone from the scheduler, and an event that comes late is no mistake.
    world.until("the timer is gone", async || timers(&world, "once-only").await.is_empty()).await;
    let late = world.trigger(&changed("once only")).await;
    assert_eq!(late["outcome"], "passed", "{late}");

    let asked = Timestamp::now().as_millisecond();
    let every = once(&world, "every-minute", "a run that succeeded", |view| {
        view.last.as_ref().is_some_and(|last| last.status == Some(RunStatus::Succeeded))
    })
    .await;
    let last = every.last.unwrap();
    // A rate fires one period after its document, not at once, and the list of schedules says so. The time of a firing is in
    // whole seconds.
    let next = every.next_at.unwrap();
    let first = last.at - created;
    assert!(first >= 59_000, "created {created}, fired {}", last.at);
    assert!(asked < next && next <= Timestamp::now().as_millisecond() + 60_000, "{next}, asked at {asked}");
    let manifest = world.ended(&RunId::parse(last.run_id.unwrap()).unwrap()).await;
    assert_eq!(world.requests_for("a poster 3").await.len(), 1, "{manifest:?}");
    world.remove_object("schedules/every-minute.yaml").await;
}

/// An event about the document, as it is now.
fn changed(name: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../events/schedule-object-created.json")).unwrap();
    event["detail"]["object"]["key"] = json!(format!("schedules/{name}.yaml"));
    event
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_follows_its_document() {
    let world = World::get().await;
    let name = "follows";
    put(&world, name, &inline("cron(0 6 ? * MON-FRI *)", name, "timezone: Europe/Berlin")).await;
    has_timer(&world, name, "ENABLED").await;
    let timer = world.timer(&timers(&world, name).await[0]).await;
    assert_eq!(
        (&timer["ScheduleExpressionTimezone"], &timer["FlexibleTimeWindow"]["Mode"]),
        (&json!("Europe/Berlin"), &json!("OFF"))
    );
    assert!(
        timer["Target"]["DeadLetterConfig"]["Arn"].as_str().is_some_and(|arn| arn.contains("TriggerFailures")),
        "{timer}"
    );
    let next = once(&world, name, "a next time", |view| view.next_at.is_some()).await.next_at.unwrap();

    put(&world, name, &inline("cron(0 7 ? * MON-FRI *)", name, "timezone: Europe/Berlin\nenabled: false")).await;
    has_timer(&world, name, "DISABLED").await;
    assert_eq!(view(&world, name).await.unwrap().next_at, None);
    let passed = world.trigger(&due(name, "2026-11-26T05:00:00Z")).await;
    assert_eq!(passed["outcome"], "passed", "{passed}");

    put(&world, name, &inline("cron(0 7 ? * MON-FRI *)", name, "timezone: Europe/Berlin")).await;
    has_timer(&world, name, "ENABLED").await;
    let later = once(&world, name, "another next time", |view| view.next_at.is_some()).await.next_at.unwrap();
    assert!(later != next && (later - next) % 3_600_000 == 0);

    // A delayed event describes a former state; only the present one counts.
    let key = format!("schedules/{name}.yaml");
    world.remove_object(&key).await;
    world.until("the timer is gone", async || timers(&world, name).await.is_empty()).await;
    assert_eq!(world.trigger(&changed(name)).await["outcome"], "removed");
    assert_eq!(world.trigger(&due(name, "2026-11-26T05:00:00Z")).await["outcome"], "passed");
    assert!(view(&world, name).await.is_none() && timers(&world, name).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_schedule_leaves_a_report_and_stops() {
    let world = World::get().await;
    for (name, document, code) in [
        ("impossible", inline("cron(0 6 31 2 ? *)", "x", ""), "schedule_never"),
        ("unreadable", inline("cron(0 25 * * ? *)", "x", ""), "bad_schedule"),
        ("past", inline(&at(-60, "UTC"), "x", ""), "schedule_past"),
        ("zone", inline("rate(1 hour)", "x", "timezone: Mars/Olympus"), "unknown_timezone"),
        ("typo", inline("rate(1 hour)", "x", "overlapp: skip"), "unknown_key"),
        ("pipeline", inline("rate(1 hour)", "x", "").replace("text_to_image", "text_to_imgae"), "unknown_type"),
    ] {
        // It was kept before: what cannot be kept does not go on as it was.
        put(&world, name, &inline("rate(7 days)", "x", "")).await;
        has_timer(&world, name, "ENABLED").await;
        put(&world, name, &document).await;
        let report = format!("schedule-errors/{name}.yaml.json");
        world.until(&report, async || world.object_of(&world.bucket(), &report).await.is_some()).await;
        let said: Value = serde_json::from_slice(&world.object_of(&world.bucket(), &report).await.unwrap()).unwrap();
        assert_eq!((&said["code"], &said["problems"][0]["code"]), (&json!("document_invalid"), &json!(code)), "{said}");
        world.until("no timer", async || timers(&world, name).await.is_empty()).await;
        let listed = view(&world, name).await.unwrap();
        assert!(listed.next_at.is_none() && listed.problem.is_some() && listed.problems[0].code == code, "{listed:?}");
        // A corrected document is scheduled again, and the report is removed.
        put(&world, name, &inline("rate(7 days)", "x", "")).await;
        has_timer(&world, name, "ENABLED").await;
        world.until("no report", async || world.object_of(&world.bucket(), &report).await.is_none()).await;
    }
    put(&world, "nowhere", "schedule: rate(1 hour)\npipeline: outputs/secret.yaml\n").await;
    let report = "schedule-errors/nowhere.yaml.json";
    world.until(report, async || world.object_of(&world.bucket(), report).await.is_some()).await;
    let listed = view(&world, "typo").await.unwrap();
    assert_eq!((listed.problem, listed.next_at.is_some()), (None, true));
}

/// A firing is one run however often it is delivered; while its run goes on, the next firing is skipped, or runs beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn firings_overlap_as_the_schedule_says() {
    let world = World::get().await;
    for overlap in ["skip", "allow"] {
        // The queue is held, so that the run goes on until it is let go.
        let name = format!("overlap {overlap}");
        let document = inline("rate(7 days)", &name, &format!("overlap: {overlap}"));
        concurrency(&world, 0).await;
        put(&world, &name, &document).await;
        let times = ["2026-11-25T05:00:00Z", "2026-11-25T06:00:00Z"];
        let first = world.trigger(&due(&name, times[0])).await;
        assert_eq!((&first["outcome"], &first["existing"]), (&json!("started"), &json!(false)), "{first}");
        let again = world.trigger(&due(&name, times[0])).await;
        assert_eq!((&again["run_id"], &again["existing"]), (&first["run_id"], &json!(true)), "{again}");
        let second = world.trigger(&due(&name, times[1])).await;
        let listed = view(&world, &name).await.unwrap().last.unwrap();
        match overlap {
            "skip" => {
                assert_eq!(second["outcome"], "passed", "{second}");
                assert_eq!((listed.outcome.as_str(), listed.run_id.as_deref()), ("skipped", first["run_id"].as_str()));
            }
            _ => {
                assert_eq!(second["outcome"], "started", "{second}");
                assert_ne!(first["run_id"], second["run_id"]);
                assert_eq!((listed.outcome.as_str(), listed.run_id.as_deref()), ("started", second["run_id"].as_str()));
            }
        }
        concurrency(&world, 40).await;
        let run = RunId::parse(first["run_id"].as_str().unwrap()).unwrap();
        assert_eq!(world.ended(&run).await.status, RunStatus::Succeeded);
        // The run is over: the next firing starts one.
        let third = world.trigger(&due(&name, "2026-11-25T07:00:00Z")).await;
        assert_eq!(third["outcome"], "started", "{third}");
        // A firing that is delivered late does not count as the last one.
        world.ended(&RunId::parse(third["run_id"].as_str().unwrap()).unwrap()).await;
        world.trigger(&due(&name, "2026-11-25T04:00:00Z")).await;
        assert_eq!(view(&world, &name).await.unwrap().last.unwrap().run_id.as_deref(), third["run_id"].as_str());
        world.remove_object(&format!("schedules/{name}.yaml")).await;
    }
}

/// With rows it is a batch; one that goes on longer than until the next is warned about.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_with_rows_starts_a_batch() {
    let world = World::get().await;
    world.put("pipelines/rows.yaml", RawClient::picture("{{input}}, by schedule").into(), &[]).await;
    let rows: String = (0..1_000).map(|row| format!("row {row}\n")).collect();
    world.put("rows/all.txt", rows.into(), &[]).await;
    let document = |rows: &str, batch: &str| {
        format!("schedule: rate(1 minute)\nenabled: false\npipeline: pipelines/rows.yaml\nrows: {rows}\n{batch}\n")
    };
    for (name, document, code) in [
        ("rows elsewhere", document("outputs/x.csv", ""), "bad_rows"),
        ("rows unknown", document("rows/x.bin", ""), "no_format"),
        ("rows setting", document("rows/x.csv", "batch: { chunk_sizes: 3 }"), "bad_setting"),
    ] {
        put(&world, name, &document).await;
        let report = format!("schedule-errors/{name}.yaml.json");
        world.until(&report, async || world.object_of(&world.bucket(), &report).await.is_some()).await;
        let said: Value = serde_json::from_slice(&world.object_of(&world.bucket(), &report).await.unwrap()).unwrap();
        assert_eq!(said["code"], code, "{said}");
    }
    let enabled = document("rows/all.txt", "batch: { chunk_size: 20 }").replace("enabled: false", "enabled: true");
    put(&world, "rows", &enabled.replace("rate(1 minute)", "rate(3 minutes)")).await;
    let fired = world.trigger(&due("rows", "2026-11-25T05:00:00Z")).await;
    assert_eq!(fired["outcome"], "started", "{fired}");
    let batch = RunId::parse(fired["run_id"].as_str().unwrap()).unwrap();
    let engine = world.admin.engine();
    world.until("it is planned", async || engine.batches.view(&batch).await.unwrap().plan.is_some()).await;
    let plan = engine.batches.view(&batch).await.unwrap().plan.unwrap();
    assert_eq!((plan.rows, plan.chunks), (1_000, 50));
    assert!(plan.warnings.iter().any(|warning| warning.contains("the next one is due in 3")), "{:?}", plan.warnings);
    let listed = view(&world, "rows").await.unwrap().last.unwrap();
    assert_eq!((listed.status, listed.run_id.as_deref()), (Some(RunStatus::Running), Some(batch.as_str())));
    let skipped = world.trigger(&due("rows", "2026-11-25T06:00:00Z")).await;
    assert_eq!(skipped["outcome"], "passed", "{skipped}");
    engine.batches.stop(&batch).await.unwrap();
    world.until("it stops", async || engine.batches.view(&batch).await.unwrap().status.is_final()).await;
    world.remove_object("schedules/rows.yaml").await;
}

/// A firing whose run cannot be started is in the queue of failures, and in the list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_start_goes_to_the_dead_letter_queue() {
    let world = World::get().await;
    world.put("pipelines/goes.yaml", RawClient::picture("it goes").into(), &[]).await;
    put(&world, "fails", &format!("schedule: {}\npipeline: pipelines/goes.yaml\n", at(8, "UTC"))).await;
    has_timer(&world, "fails", "ENABLED").await;
    world.remove_object("pipelines/goes.yaml").await;
    let failed = once(&world, "fails", "a firing", |view| view.last.is_some()).await.last.unwrap();
    assert_eq!((failed.outcome.as_str(), failed.run_id), ("failed", None));
    assert!(failed.failure.unwrap().message.contains("pipelines/goes.yaml"));
    let failure = world.next_failure().await;
    assert_eq!(failure["requestPayload"]["schedule"], "schedules/fails.yaml", "{failure}");
    assert_eq!(failure["responsePayload"]["errorType"], "Input.Invalid", "{failure}");
}
