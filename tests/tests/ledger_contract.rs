//! The real implementations of the ledger's traits pass the same contract as the fakes in memory: DynamoDB, S3, Step
//! Functions and SSM, as the local AWS plays them. Every test has a table, a bucket or a state machine of its own, so that
//! they run side by side and on an endpoint that is shared.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test suite: what does not work is to fail loudly")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use fresco_ledger::contract::sample;
use fresco_ledger::contract::tokens::OpensTokens;
use fresco_ledger::records::{AttemptStage, Entry};
use fresco_ledger::services::aws::{Aws, S3Objects, SfnCallbacks, SfnExecutions, connect_local};
use fresco_ledger::store::DynamoLedger;
use fresco_ledger::table::{DUE, DUE_INDEX, DUE_SHARD, EXPIRES_AT, PK, SK};
use fresco_ledger::traits::{
    Change, Delivery, Entries, Executions, Objects, Runs, StoreError, TaskCallbacks, Upload, Waiters,
};
use fresco_ledger::{objects_contract, table_contract, tokens_contract};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey};

table_contract!(table());
objects_contract!(bucket());
tokens_contract!(machine());

const RUN_MACHINE: &str = "arn:aws:states:us-east-1:000000000000:stateMachine:fresco-run";

async fn aws() -> Aws {
    connect_local(&fresco_tests::endpoint_url().await).await
}

/// A name that no other test has, in this process or another.
fn unique(what: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("{what}-{time:x}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn key_of(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap()
}

fn attribute(name: &str, kind: ScalarAttributeType) -> AttributeDefinition {
    AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
}

async fn table() -> DynamoLedger {
    let (aws, name) = (aws().await, unique("table"));
    let index = GlobalSecondaryIndex::builder()
        .index_name(DUE_INDEX)
        .key_schema(key_of(DUE_SHARD, KeyType::Hash))
        .key_schema(key_of(DUE, KeyType::Range))
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build());
    let create = aws
        .dynamo_client()
        .create_table()
        .table_name(&name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute(PK, ScalarAttributeType::S))
        .attribute_definitions(attribute(SK, ScalarAttributeType::S))
        .attribute_definitions(attribute(DUE_SHARD, ScalarAttributeType::S))
        .attribute_definitions(attribute(DUE, ScalarAttributeType::N))
        .key_schema(key_of(PK, KeyType::Hash))
        .key_schema(key_of(SK, KeyType::Range))
        .global_secondary_indexes(index.build().unwrap());
    create.send().await.unwrap();
    aws.ledger(name)
}

async fn bucket() -> S3Objects {
    let (aws, name) = (aws().await, unique("bucket"));
    aws.s3_client().create_bucket().bucket(&name).send().await.unwrap();
    aws.objects(name)
}

/// TaskCallbacks of an activity: whatever the task, tokens are answered alike.
struct Machine {
    client: aws_sdk_sfn::Client,
    arn: String,
    activity: String,
    tokens: SfnCallbacks,
    runs: SfnExecutions,
}

async fn machine() -> Machine {
    let aws = aws().await;
    let client = aws_sdk_sfn::Client::new(aws.config());
    // A role that Step Functions may assume: that of the stack's own machine.
    let own = client.describe_state_machine().state_machine_arn(RUN_MACHINE).send().await.unwrap();
    let activity = client.create_activity().name(unique("activity")).send().await.unwrap().activity_arn;
    let definition = format!(
        r#"{{"StartAt":"Wait","States":{{"Wait":{{"Type":"Task","Resource":"{activity}","TimeoutSeconds":60,"End":true}}}}}}"#
    );
    let arn = client
        .create_state_machine()
        .name(unique("machine"))
        .role_arn(own.role_arn())
        .definition(definition)
        .send()
        .await
        .unwrap()
        .state_machine_arn;
    Machine { tokens: aws.callbacks(), runs: aws.runs(&arn, &arn), client, arn, activity }
}

impl TaskCallbacks for Machine {
    async fn succeed(&self, token: &str, output: &str) -> Result<Delivery, StoreError> {
        self.tokens.succeed(token, output).await
    }

    async fn fail(&self, token: &str, failure: &Failure) -> Result<Delivery, StoreError> {
        self.tokens.fail(token, failure).await
    }

    async fn retry_in(&self, token: &str, seconds: u32, reason: &Failure) -> Result<Delivery, StoreError> {
        self.tokens.retry_in(token, seconds, reason).await
    }
}

impl OpensTokens for Machine {
    async fn open(&self) -> String {
        self.client.start_execution().state_machine_arn(&self.arn).input("{}").send().await.unwrap();
        let task = self.client.get_activity_task().activity_arn(&self.activity).send().await.unwrap();
        task.task_token.unwrap()
    }

    async fn taken(&self) {
        for _ in 0..100 {
            let list = self.client.list_executions().state_machine_arn(&self.arn).send().await.unwrap();
            if list.executions.iter().all(|execution| execution.status().as_str() != "RUNNING") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the execution did not take its answer");
    }
}

/// The answer to the token decides how the execution ends.
#[tokio::test]
async fn an_answer_to_a_task_token_ends_the_execution() {
    let machine = machine().await;
    let token = machine.open().await;
    let failure = Failure::new(ErrorName::ProviderRejected, "no such size");
    assert_eq!(machine.fail(&token, &failure).await.unwrap(), Delivery::Delivered);
    let executions = machine.client.list_executions().state_machine_arn(&machine.arn).send().await.unwrap().executions;
    let arn = executions[0].execution_arn();
    for _ in 0..100 {
        let execution = machine.client.describe_execution().execution_arn(arn).send().await.unwrap();
        if execution.status().as_str() != "RUNNING" {
            assert_eq!(execution.error(), Some("Provider.Rejected"));
            assert_eq!(execution.cause(), Some("no such size"));
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the execution did not end");
}

/// A second start of the same run is the first one.
#[tokio::test]
async fn a_run_is_started_once() {
    let machine = machine().await;
    machine.runs.start_run(&sample::run_id("one")).await.unwrap();
    machine.runs.start_run(&sample::run_id("one")).await.unwrap();
    machine.runs.start_run(&sample::run_id("two")).await.unwrap();
    let executions = machine.client.list_executions().state_machine_arn(&machine.arn).send().await.unwrap().executions;
    let mut names: Vec<&str> = executions.iter().map(|execution| execution.name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["run-one-000000", "run-two-000000"]);
    let execution = machine.client.describe_execution().execution_arn(executions[0].execution_arn());
    let input = execution.send().await.unwrap().input.unwrap();
    let input: serde_json::Value = serde_json::from_str(&input).unwrap();
    assert_eq!(input, serde_json::json!({ "run_id": executions[0].name() }));
}

/// Neither an upload that was aborted nor one whose key was taken leaves parts behind, which would be paid for.
#[tokio::test]
async fn aborted_and_conflicting_uploads_leave_no_parts() {
    let (aws, store) = (aws().await, bucket().await);
    let long = vec![7; (16 << 20) + 1];
    let mut aborted = store.upload("aborted", "video/mp4").await.unwrap();
    aborted.write(long.clone().into()).await.unwrap();
    aborted.abort().await;
    store.put("taken", "there".into(), "text/plain").await.unwrap();
    let mut late = store.upload("taken", "video/mp4").await.unwrap();
    late.write(long.into()).await.unwrap();
    late.finish().await.unwrap();
    let left = aws.s3_client().list_multipart_uploads().bucket(store.bucket()).send().await.unwrap();
    assert_eq!(left.uploads().len(), 0);
}

/// The media type that an upload began with is the object's, and a link reads it without credentials.
#[tokio::test]
async fn a_link_reads_the_object() {
    // The second call finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (aws, store) = (aws().await, bucket().await);
    for (key, length) in [("runs/x/short text.json", 10), ("long.mp4", (8 << 20) + 1)] {
        let mut upload = store.upload(key, "video/mp4").await.unwrap();
        upload.write(vec![7; length].into()).await.unwrap();
        upload.finish().await.unwrap();
        let head = aws.s3_client().head_object().bucket(store.bucket()).key(key).send().await.unwrap();
        assert_eq!(head.content_type(), Some("video/mp4"));
        let link = store.presign_get(key, 60).await.unwrap();
        assert!(link.contains("X-Amz-Expires=60") && !link.contains("checksum"), "{link}");
        let answer = reqwest::get(link).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.bytes().await.unwrap().len(), length);
    }
}

/// Only what is due carries the index's attributes, and only what is at rest expires.
#[tokio::test]
async fn index_and_expiry_are_sparse() {
    let store = table().await;
    let raw = async |name: &str| {
        let item = rows(&store, &sample::key(name), "E").await.remove(0);
        [DUE_SHARD, DUE, EXPIRES_AT].map(|name| item.contains_key(name))
    };
    store.commit(&sample::creation("rest")).await.unwrap();
    assert_eq!(raw("rest").await, [false, false, true]);
    store.commit(&Change::of(sample::full_entry("busy"))).await.unwrap();
    assert_eq!(raw("busy").await, [true, true, false]);
    let entry = store.entry(&sample::key("busy")).await.unwrap().unwrap();
    store
        .commit(&Change::of(Entry { pending: None, next_check_at: None, notify_pending: false, ..entry }))
        .await
        .unwrap();
    assert_eq!(raw("busy").await, [false, false, true]);
}

/// Sets an attribute of an entry's row, or of an attempt's, to what is not meant to be there, or removes it.
async fn spoil(store: &DynamoLedger, key: &ContentKey, sk: &str, attribute: &str, value: Option<AttributeValue>) {
    let update = aws().await.dynamo_client().update_item().table_name(store.table().name());
    let update = update.key(PK, AttributeValue::S(format!("K#{key}"))).key(SK, AttributeValue::S(sk.to_owned()));
    let update = update.expression_attribute_names("#it", attribute);
    let update = match value {
        Some(value) => update.update_expression("SET #it = :it").expression_attribute_values(":it", value),
        None => update.update_expression("REMOVE #it"),
    };
    update.send().await.unwrap();
}

/// The rows of a content key whose sort key begins so.
async fn rows(store: &DynamoLedger, key: &ContentKey, begins: &str) -> Vec<HashMap<String, AttributeValue>> {
    let query = aws().await.dynamo_client().query().table_name(store.table().name());
    let query = query.key_condition_expression("pk = :pk AND begins_with(sk, :begins)");
    let query = query.expression_attribute_values(":pk", AttributeValue::S(format!("K#{key}")));
    let query = query.expression_attribute_values(":begins", AttributeValue::S(begins.to_owned()));
    query.send().await.unwrap().items.unwrap()
}

/// An entry of another layout, or with a part that does not read, is an error that names it: never a miss by accident.
#[tokio::test]
async fn an_unreadable_record_is_an_error() {
    let store = table().await;
    store.commit(&sample::creation("well")).await.unwrap();
    for (attribute, value) in damages() {
        let key = sample::key(attribute);
        store.commit(&sample::creation(attribute)).await.unwrap();
        spoil(&store, &key, "E", attribute, value).await;
        let error = store.entry(&key).await.unwrap_err();
        assert_eq!(error.0.name, ErrorName::LedgerUnreadable, "{error}");
        assert!(error.0.message.contains(key.as_str()), "{error}");
        // One that cannot be read hides no other.
        let looked = store.entries(&[key.clone(), sample::key("well")]).await.unwrap();
        assert_eq!(looked.entries.iter().map(|entry| &entry.key).collect::<Vec<_>>(), [&sample::key("well")]);
        assert_eq!(looked.unreadable, [(key, error.0)]);
    }
}

/// Damages that make an entry unreadable.
fn damages() -> [(&'static str, Option<AttributeValue>); 6] {
    [
        ("v", Some(AttributeValue::N("0".to_owned()))),
        ("pending", Some(AttributeValue::S("{\"attempt\":".to_owned()))),
        ("rev", Some(AttributeValue::S("1".to_owned()))),
        ("notify_pending", Some(AttributeValue::N("1".to_owned()))),
        ("tries", None),
        ("last", None),
    ]
}

/// An entry with an attempt under way and a step that waits for it.
async fn under_way(store: &DynamoLedger, name: &str) -> Entry {
    let key = sample::key(name);
    let entry = Entry { result: None, failure: None, late_completions: Vec::new(), ..sample::full_entry(name) };
    let attempt = Some(sample::attempt(name, 2, "leader"));
    store.commit(&Change { attempt, ..Change::of(entry) }).await.unwrap();
    store.put_waiter(&key, &sample::wait(&sample::step_id("leader", "image"), "token", 0, sample::NOW)).await.unwrap();
    store.entry(&key).await.unwrap().unwrap()
}

/// After any damage, the attempt under way is pending again, and the damaged record is put aside.
#[tokio::test]
async fn an_attempt_under_way_survives_a_damaged_entry() {
    let store = table().await;
    for (attribute, value) in damages() {
        let entry = under_way(&store, attribute).await;
        let key = &entry.key;
        spoil(&store, key, "E", attribute, value).await;
        let damaged = rows(&store, key, "E").await;
        store.repair(key, sample::NOW).await.unwrap();

        let repaired = store.entry(key).await.unwrap().unwrap();
        let pending = repaired.pending.as_ref().unwrap();
        assert_eq!((pending.attempt, pending.stage), (Attempt(2), AttemptStage::Submitted), "{attribute}");
        assert_eq!(
            (pending.request_id.as_deref(), &pending.leader),
            (Some("request-1"), &sample::step_id("leader", "image"))
        );
        assert_eq!(
            (repaired.next_check_at, repaired.notify_pending, &repaired.result),
            (Some(sample::NOW), false, &None)
        );
        assert!(repaired.last_attempt >= Attempt(2), "a number is not given out twice");
        assert_eq!(store.entries_to_check(sample::NOW, 100).await.unwrap().iter().filter(|due| *due == key).count(), 1);

        // Beside it is what was there, out of the index.
        let aside = rows(&store, key, "X#").await;
        let kept = |row: &HashMap<String, AttributeValue>| {
            let mut row = row.clone();
            row.retain(|name, _| ![SK, DUE_SHARD, EXPIRES_AT].contains(&name.as_str()));
            row
        };
        assert_eq!(aside.iter().map(kept).collect::<Vec<_>>(), damaged.iter().map(kept).collect::<Vec<_>>());
        assert_eq!((aside[0].contains_key(DUE_SHARD), aside[0].contains_key(EXPIRES_AT)), (false, true));

        // Once is enough.
        store.repair(key, sample::NOW + 1).await.unwrap();
        assert_eq!(store.entry(key).await.unwrap(), Some(repaired));
        assert_eq!(rows(&store, key, "X#").await.len(), 1, "{attribute}");
    }
}

/// An unreadable attempt cannot be polled: it fails, and is not paid again without a new request.
#[tokio::test]
async fn an_unreadable_attempt_has_an_unknown_outcome() {
    let store = table().await;
    for (attribute, value) in [("v", Some(AttributeValue::N("0".to_owned()))), ("request", None), ("hold", None)] {
        let entry = under_way(&store, &format!("attempt {attribute}")).await;
        spoil(&store, &entry.key, "A#000002", attribute, value).await;
        assert!(store.attempt(&entry.key, Attempt(2)).await.unwrap_err().is_unreadable(), "{attribute}");
        store.repair(&entry.key, sample::NOW).await.unwrap();
        let repaired = store.entry(&entry.key).await.unwrap().unwrap();
        let failed = repaired.failure.as_ref().unwrap();
        assert_eq!(
            (repaired.pending.as_ref(), repaired.last_attempt, repaired.notify_pending),
            (None, Attempt(2), true)
        );
        assert_eq!((failed.failure.name, failed.retryable), (ErrorName::StepUnknown, false));
        assert_eq!(rows(&store, &entry.key, "X#").await.len(), 1);
    }
}

/// An intact entry is left alone, and a missing one is not created.
#[tokio::test]
async fn an_intact_entry_is_not_repaired() {
    let store = table().await;
    let entry = under_way(&store, "well").await;
    store.repair(&entry.key, sample::NOW).await.unwrap();
    assert_eq!(store.entry(&entry.key).await.unwrap(), Some(entry.clone()));
    store.repair(&sample::key("nowhere"), sample::NOW).await.unwrap();
    assert_eq!(store.entry(&sample::key("nowhere")).await.unwrap(), None);
    assert!(rows(&store, &entry.key, "X#").await.is_empty());
}

/// The errors of a missing table or bucket differ from an answer.
#[tokio::test]
async fn a_missing_table_or_bucket_is_an_error() {
    let aws = aws().await;
    let (store, step_id) = (aws.ledger("no-such-table"), sample::step_id("one", "image"));
    let key = sample::key("a");
    assert_eq!(store.entry(&key).await.unwrap_err().0.name, ErrorName::LedgerUnavailable);
    store.entries(std::slice::from_ref(&key)).await.unwrap_err();
    store.waiters(&key).await.unwrap_err();
    store.record_join(&key, &step_id, Attempt(1)).await.unwrap_err();
    store.list_runs(1, None, sample::NOW).await.unwrap_err();
    store.create_run(&sample::run("one", 1)).await.unwrap_err();
    let objects = aws.objects(unique("no-such-bucket"));
    assert_eq!(objects.get("a").await.unwrap_err().0.name, ErrorName::StorageUnavailable);
    objects.put("a", "b".into(), "text/plain").await.unwrap_err();
}

/// The SDK's own tokens come from a generator that is seeded with the clock: two functions that start in one moment, here made
/// to have one seed, would make the same ones, and the second one's write would be taken for a repetition of the first one's.
#[tokio::test]
async fn functions_that_start_in_one_moment_do_not_share_tokens() {
    let (aws, name) = (aws().await, table().await.table().name().to_owned());
    let function = || {
        fastrand::seed(7);
        aws.ledger(&name)
    };
    for run in ["one", "two", "three"] {
        assert!(function().create_run(&sample::run(run, 1)).await.unwrap(), "{run}");
    }
}

/// Opening connections changes nothing and fails nothing, whatever is there.
#[tokio::test]
async fn a_failed_warm_up_is_ignored() {
    let aws = aws().await;
    Aws::warm(&aws.ledger("no-such-table"), Some(&aws.objects("no-such-bucket"))).await;
    let (dynamo, objects) = (table().await, bucket().await);
    Aws::warm(&dynamo, Some(&objects)).await;
    let nowhere = connect_local("http://127.0.0.1:9").await;
    Aws::warm(&nowhere.ledger("table"), Some(&nowhere.objects("bucket"))).await;
}

/// A secret is read once in five minutes; one that is missing is named with the command that sets it.
#[tokio::test]
async fn secrets_are_read_once_and_cached() {
    let (aws, prefix) = (aws().await, format!("/{}", unique("stack")));
    let (secrets, client) = (aws.secrets(&prefix), aws_sdk_ssm::Client::new(aws.config()));
    let missing = secrets.get("fal").await.unwrap_err();
    assert_eq!(missing.name, ErrorName::SecretMissing);
    assert!(missing.message.contains(&format!("--name '{prefix}/fal'")), "{missing}");
    let put = async |value: &str| {
        let put = client.put_parameter().name(format!("{prefix}/fal")).value(value).overwrite(true);
        put.r#type(aws_sdk_ssm::types::ParameterType::SecureString).send().await.unwrap();
    };
    put("one").await;
    assert_eq!(secrets.get("fal").await.unwrap(), "one");
    put("two").await;
    assert_eq!(secrets.get("fal").await.unwrap(), "one");
    assert_eq!(aws.secrets(&prefix).get("fal").await.unwrap(), "two");
    assert!(!format!("{secrets:?}").contains("one"));
}
