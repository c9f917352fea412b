//! Clean-up: an old result that no run uses is removed together with its objects. Objects cannot be made older on the
//! emulator, which dates them itself; so the engine that cleans takes it to be two hours later than it is, over the stack's
//! own table and bucket.

use fresco_api_types::MissReason;
use fresco_engine::{Group, Which, YOUNGEST};
use fresco_ledger::records::ResultSource;
use fresco_ledger::traits::Entries;
use fresco_pipeline::ids::Attempt;
use fresco_tests::World;

use super::{STACK, concurrency, one, succeeded};

const OLD: Which = Which { older_than: YOUNGEST, dry_run: false };
const DRY: Which = Which { dry_run: true, ..OLD };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_is_removed_together_with_its_objects() {
    let _stack = STACK.lock().await;
    let world = World::with_limits().await;
    let (late, document) = (world.ahead(2 * YOUNGEST), one(""));
    // What other tests have left goes first.
    late.clean(OLD, |_| {}).await.unwrap();
    let first = world.run(&document, "to be cleaned up").await;
    succeeded(&first, ResultSource::Generated);
    let (output, key) = (&first.steps[0].outputs[0], first.steps[0].key.as_ref().unwrap());
    let group = Group { objects: 1, bytes: output.bytes };

    // It is too young for an engine whose clock is right, whatever is asked for.
    let right = world.admin.engine();
    let young = right.clean(Which { older_than: 0, dry_run: false }, |_| {}).await.unwrap();
    assert_eq!((young.removed, young.in_use, young.under_way), Default::default());

    // A dry run says what would go, and changes nothing.
    let entry = world.entry(key).await;
    let dry = late.clean(DRY, |_| {}).await.unwrap();
    assert_eq!((dry.removed, dry.results, dry.in_use), (group, 1, Group::default()));
    assert_eq!((world.entry(key).await, world.head(&output.key).await.is_some()), (entry, true));
    succeeded(&world.run(&document, "to be cleaned up").await, ResultSource::Hit);

    let used = world.usage().await.estimate();
    let gone = late.clean(OLD, |_| {}).await.unwrap();
    assert_eq!((gone.removed, gone.results, gone.in_use), (group, 1, Group::default()));
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
    let late = world.ahead(2 * YOUNGEST);
    let picture = world.run(&one(""), "pinned by an open run").await;
    late.clean(DRY, |_| {}).await.unwrap();
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
        let cleaned = late.clean(which, |_| {}).await.unwrap();
        assert_eq!((cleaned.in_use.objects, cleaned.in_use.bytes), (1, output.bytes), "{cleaned:?}");
        assert!(world.head(&output.key).await.is_some() && world.entry(key).await.result.is_some());
    }
    concurrency(&world, 40).await;
    let manifest = world.ended(&run).await;
    assert_eq!(manifest.steps[0].source, Some(ResultSource::Hit), "{:?}", manifest.failure);

    // After its end the run uses neither this result nor its own.
    let cleaned = late.clean(OLD, |_| {}).await.unwrap();
    assert_eq!((cleaned.in_use, cleaned.results, cleaned.removed.objects), (Group::default(), 2, 2), "{cleaned:?}");
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
    let late = world.ahead(2 * YOUNGEST);
    late.clean(OLD, |_| {}).await.unwrap();
    let first = world.run(&one(""), "refreshed").await;
    let fresh = world.run(&one("cache: refresh"), "refreshed").await;
    succeeded(&fresh, ResultSource::Generated);
    let [old, new] = [&first, &fresh].map(|manifest| &manifest.steps[0].outputs[0]);
    assert_ne!(old.key, new.key);
    let cleaned = late.clean(DRY, |_| {}).await.unwrap();
    let both = Group { objects: 2, bytes: old.bytes + new.bytes };
    assert_eq!((cleaned.removed, cleaned.results), (both, 1));
    // An entry that cannot be read says of none of its objects what they are.
    let key = fresh.steps[0].key.as_ref().unwrap();
    world.damage_entry(key, fresco_tests::Damage::Layout(99)).await;
    let cleaned = late.clean(OLD, |_| {}).await.unwrap();
    assert_eq!((cleaned.under_way, cleaned.removed), (both, Group::default()));
    world.ledger().repair(key, world.now()).await.unwrap();
    let cleaned = late.clean(OLD, |_| {}).await.unwrap();
    assert_eq!((cleaned.removed, cleaned.results), (both, 0), "the repaired entry has no result");
}
