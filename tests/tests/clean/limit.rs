//! A limit on what is stored: nothing new is generated beyond it, and what is there is found all the same. The account is
//! written as if a gigabyte had been stored; that much does not go through the emulator's memory.

use fresco_ledger::records::ResultSource;
use fresco_ledger::traits::{Usage, UsageCounter};
use fresco_pipeline::error::ErrorName;
use fresco_tests::World;

use super::{STACK, one, refused, succeeded};

const GIGABYTE: i64 = 1_000_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_bucket_rejects_new_runs() {
    let _stack = STACK.lock().await;
    let world = World::with_limits().await;
    // The first sweep measures, and then none for a quarter of an hour: the account is the test's.
    world.admin.sweep().await.unwrap();
    assert!(world.usage().await.measured_at.is_some());
    let before = world.usage().await.estimate();
    let first = world.run(&one(""), "there in time").await;
    succeeded(&first, ResultSource::Generated);
    let bytes = first.steps[0].outputs[0].bytes;
    assert_eq!(world.usage().await.estimate(), before + bytes, "what is stored is added up");

    world.ledger().add_usage(GIGABYTE).await.unwrap();
    refused(&world, &one(""), "too late", ErrorName::StorageFull).await;
    refused(&world, &one("cache: refresh"), "there in time", ErrorName::StorageFull).await;
    succeeded(&world.run(&one(""), "there in time").await, ResultSource::Hit);
    // By a byte.
    let over = i64::try_from(world.usage().await.estimate()).unwrap() - GIGABYTE;
    world.ledger().add_usage(-over).await.unwrap();
    refused(&world, &one(""), "too late", ErrorName::StorageFull).await;
    world.ledger().add_usage(-1).await.unwrap();
    succeeded(&world.run(&one(""), "too late").await, ResultSource::Generated);
    assert!(world.usage().await.estimate() > GIGABYTE as u64, "what is paid is stored all the same");

    // A sweep that measures finds what is there, whatever the account said; and says so, for the alarm.
    let account = world.usage().await;
    let stale = Usage { measured_at: account.measured_at.map(|at| at - 3_600_000), ..account };
    assert!(world.ledger().measure(&stale, 0).await.unwrap());
    world.admin.sweep().await.unwrap();
    let (measured, listed) = (world.usage().await, world.listed(&world.bucket(), "").await);
    let there: u64 = listed.iter().map(|object| object.bytes).sum();
    assert!(listed.len() < 1_000 && there < GIGABYTE as u64 / 2);
    assert_eq!((measured.estimate(), measured.objects, measured.since), (there, listed.len() as u64, 0));
    assert!(measured.measured_at > account.measured_at && measured.pass.is_none(), "{measured:?}");
    succeeded(&world.run(&one(""), "room again").await, ResultSource::Generated);

    let metric = async || {
        let lines = world.logged("sweep", "StoragePercent").await;
        let values = lines.iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        values.filter(|line| line["StoredBytes"] == there).collect::<Vec<_>>()
    };
    world.until("the metric is logged", async || !metric().await.is_empty()).await;
    let line = metric().await.remove(0);
    assert_eq!(line["Stack"], "fresco");
    assert_eq!(line["StoragePercent"], there as f64 / GIGABYTE as f64 * 100.0);
    let directive = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!((&directive["Namespace"], &directive["Dimensions"][0][0]), (&"Fresco".into(), &"Stack".into()));
}

/// The alarm that the template declares is of the metric that the sweep writes. The emulator does not say its dimensions,
/// and counts no metric out of a log, so whether it goes off is not seen here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_alarm_on_storage_exists() {
    let alarms = World::with_limits().await.alarms().await;
    let alarm = alarms.split("<member>").find(|alarm| alarm.contains("fresco-storage")).unwrap();
    for part in [
        "<Namespace>Fresco</Namespace>",
        "<MetricName>StoragePercent</MetricName>",
        "<ComparisonOperator>GreaterThanOrEqualToThreshold</ComparisonOperator>",
        "<Threshold>80.0</Threshold>",
    ] {
        assert!(alarm.contains(part), "{part}: {alarm}");
    }
}
