//! Clean-up: an old result that no run uses is removed together with its objects. Objects cannot be made older on the
//! emulator, which dates them itself; so the engine that cleans takes it to be two hours later than it is, over the stack's
//! own table and bucket.

use fresco_api_types::{CleanBody, CleanTotals, MIN_CLEAN_AGE, MissReason, ObjectKind, ObjectTotals};
use fresco_engine::PruneOptions;
use fresco_ledger::records::ResultSource;
use fresco_ledger::traits::Entries;
use fresco_pipeline::ids::Attempt;
use fresco_tests::{World, clean};
use tokio::time::Instant;

use super::{STACK, concurrency, one, succeeded};

const OLD: PruneOptions = PruneOptions { older_than: MIN_CLEAN_AGE, dry_run: false };
const DRY: PruneOptions = PruneOptions { dry_run: true, ..OLD };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_is_removed_together_with_its_objects() {
    let _stack = STACK.lock().await;
    let world = World::with_limits().await;
    let (late, document) = (world.ahead(2 * MIN_CLEAN_AGE), one(""));
    // What other tests have left goes first.
    clean(&late, OLD).await;
    let first = world.run(&document, "to be cleaned up").await;
    succeeded(&first, ResultSource::Generated);
    let (output, key) = (&first.steps[0].outputs[0], first.steps[0].key.as_ref().unwrap());
    let group = ObjectTotals { objects: 1, bytes: output.bytes };

    // It is too young for an engine whose clock is right, whatever is asked for.
    let right = world.admin.engine();
    let young = clean(right, PruneOptions { older_than: 0, dry_run: false }).await;
    assert_eq!((young.removed, young.in_use, young.under_way), Default::default());

    // A dry run says what would go, and changes nothing.
    let entry = world.entry(key).await;
    let dry = clean(&late, DRY).await;
    assert_eq!((dry.removed, dry.results, dry.in_use), (group, 1, ObjectTotals::default()));
    assert_eq!((world.entry(key).await, world.head(&output.key).await.is_some()), (entry, true));
    succeeded(&world.run(&document, "to be cleaned up").await, ResultSource::Hit);

    let used = world.usage().await.estimate();
    let gone = clean(&late, OLD).await;
    assert_eq!((gone.removed, gone.results, gone.in_use), (group, 1, ObjectTotals::default()));
    assert_eq!((world.entry(key).await.result, world.head(&output.key).await), (None, None));
    assert_eq!(world.usage().await.estimate(), used - output.bytes, "the account knows of it");
    // Another run generates it again, under another attempt.
    let preview = world.preview(&document, "to be cleaned up").await;
    assert_eq!(preview.steps[0].why, Some(MissReason::Removed));
    let again = world.run(&document, "to be cleaned up").await;
    succeeded(&again, ResultSource::Generated);
    assert_eq!(again.steps[0].attempt, Some(Attempt(2)));
    succeeded(&world.run(&document, "to be cleaned up").await, ResultSource::Hit);
    assert_eq!(world.requests_for("to be cleaned up").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_in_use_by_an_open_run_stay() {
    let _stack = STACK.lock().await;
    let world = World::with_limits().await;
    let late = world.ahead(2 * MIN_CLEAN_AGE);
    let picture = world.run(&one(""), "pinned by an open run").await;
    clean(&late, DRY).await;
    let (output, key) = (&picture.steps[0].outputs[0], picture.steps[0].key.as_ref().unwrap());

    // It has the picture pinned, and waits for another one that the provider does not work on.
    concurrency(&world, 0).await;
    let document = "
steps:
- { name: image, type: text_to_image, model: flux_schnell }
- { name: edit, type: image_to_image, params: { prompt: \"an edit that takes its time\" } }
";
    let run = world.start(document, "pinned by an open run").await;
    let source = async || world.step(&run, "edit").await.and_then(|step| step.source);
    world.until("its second step is under way", async || source().await == Some(ResultSource::Generated)).await;
    for which in [DRY, OLD] {
        let cleaned = clean(&late, which).await;
        assert_eq!((cleaned.in_use.objects, cleaned.in_use.bytes), (1, output.bytes), "{cleaned:?}");
        assert!(world.head(&output.key).await.is_some() && world.entry(key).await.result.is_some());
    }
    concurrency(&world, 40).await;
    let manifest = world.ended(&run).await;
    assert_eq!(manifest.steps[0].source, Some(ResultSource::Hit), "{:?}", manifest.failure);

    // After its end the run uses neither this result nor its own.
    let cleaned = clean(&late, OLD).await;
    assert_eq!(
        (cleaned.in_use, cleaned.results, cleaned.removed.objects),
        (ObjectTotals::default(), 2, 2),
        "{cleaned:?}"
    );
    assert_eq!((world.head(&output.key).await, world.entry(key).await.result), (None, None));
    assert!(world.listed(&world.bucket(), "outputs/").await.is_empty());
    let again = world.run(&one(""), "pinned by an open run").await;
    succeeded(&again, ResultSource::Generated);
}

/// The object of an attempt that a refresh replaced belongs to no result, and is removed alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_without_a_result_is_removed_alone() {
    let _stack = STACK.lock().await;
    let world = World::with_limits().await;
    let late = world.ahead(2 * MIN_CLEAN_AGE);
    clean(&late, OLD).await;
    let first = world.run(&one(""), "refreshed").await;
    let fresh = world.run(&one("cache: refresh"), "refreshed").await;
    succeeded(&fresh, ResultSource::Generated);
    let [old, new] = [&first, &fresh].map(|manifest| &manifest.steps[0].outputs[0]);
    assert_ne!(old.key, new.key);
    let cleaned = clean(&late, DRY).await;
    let both = ObjectTotals { objects: 2, bytes: old.bytes + new.bytes };
    assert_eq!((cleaned.removed, cleaned.results), (both, 1));
    // An entry that cannot be read says of none of its objects what they are.
    let key = fresh.steps[0].key.as_ref().unwrap();
    world.damage_entry(key, fresco_tests::Damage::Layout(0)).await;
    let cleaned = clean(&late, OLD).await;
    assert_eq!((cleaned.under_way, cleaned.removed), (both, ObjectTotals::default()));
    world.ledger().repair(key, world.now()).await.unwrap();
    let cleaned = clean(&late, OLD).await;
    assert_eq!((cleaned.removed, cleaned.results), (both, 0), "a repaired entry has no result");
}
/// `GET /storage` and `POST /clean`. The clock of the API is right, so that nothing is old enough to be removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_counts_the_bucket_and_cleans_up() {
    let _stack = STACK.lock().await;
    let world = World::with_limits().await;
    let manifest = world.run(&one(""), "counted by the API").await;
    let output = &manifest.steps[0].outputs[0];
    let report = world.api.storage(|_| {}).await.unwrap();
    let objects: u64 = report.kinds.iter().map(|usage| usage.all.objects).sum();
    assert_eq!((report.all.objects, &report.cursor), (objects, &None));
    let images = report.kinds.iter().find(|usage| usage.kind == ObjectKind::Images).unwrap();
    assert!(images.all.bytes >= output.bytes && images.ages[0] == images.all, "{images:?}");
    let next: u64 = report.next.iter().map(|expiry| expiry.group.objects).sum();
    assert!(next >= images.all.objects && report.unforeseen_rules == 0, "the lifecycle takes outputs: {report:?}");
    assert!(report.limit.is_some_and(|limit| limit.most > 0 && !limit.full), "{:?}", report.limit);
    for dry_run in [true, false] {
        let body = CleanBody { older_than_ms: MIN_CLEAN_AGE, dry_run, while_planning: true, cursor: None };
        let cleaned = world.api.clean(body, |_| {}).await.unwrap();
        assert_eq!((cleaned.totals, cleaned.planning, cleaned.cursor), (CleanTotals::default(), false, None));
    }
    assert!(world.head(&output.key).await.is_some());
}

/// A part ends with its time, and the next one continues after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_up_in_parts_reaches_every_attempt() {
    let _stack = STACK.lock().await;
    let world = World::with_limits().await;
    let late = world.ahead(2 * MIN_CLEAN_AGE);
    clean(&late, OLD).await;
    for prompt in ["a part of a clean-up", "another part of it", "the last part of it"] {
        succeeded(&world.run(&one(""), prompt).await, ResultSource::Generated);
    }
    let (mut totals, mut rest, mut parts) = (CleanTotals::default(), Some(String::new()), 0);
    while let Some(after) = rest {
        let (part, next) = late.upkeep.prune(OLD, &after, Instant::now()).await.unwrap();
        totals += part;
        (rest, parts) = (next, parts + 1);
    }
    assert_eq!((totals.removed.objects, totals.results, parts), (3, 3, 2));
    assert!(world.listed(&world.bucket(), "outputs/").await.is_empty());
}
