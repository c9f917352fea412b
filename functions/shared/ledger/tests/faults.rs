//! The adapters' handling of answers that an emulator does not give: lost replies, conflicts, throttling. A server on loopback
//! answers from a script and records the requests.
#![expect(clippy::unwrap_used, reason = "a test suite: a failure is to be loud")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fresco_ledger::contract::sample;
use fresco_ledger::services::aws::{Aws, connect_local};
use fresco_ledger::traits::{
    BudgetChange, Change, CommitError, Delivery, Entries, Invoker, Objects, Put, Runs, TaskCallbacks, Upload, Waiters,
};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::Attempt;
use fresco_pipeline::money::Money;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An answer of the script.
enum Answer {
    /// Closes the connection.
    Nothing,
    Say(u16, String),
}

use Answer::{Nothing, Say};

/// A received request.
#[derive(Debug, Clone)]
struct Asked {
    line: String,
    headers: String,
    body: Bytes,
}

impl Asked {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

type Log = Arc<Mutex<Vec<Asked>>>;

/// A server with this script, and a connection to it.
async fn scripted(script: impl IntoIterator<Item = Answer>) -> (Aws, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let script = Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>()));
    let log = Log::default();
    let received = log.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (script, received) = (script.clone(), received.clone());
            tokio::spawn(async move { while answer(&script, &received, &mut stream).await.is_some() {} });
        }
    });
    (connect_local(&endpoint).await, log)
}

/// Answers one request; `None` when the connection ends.
async fn answer(script: &Mutex<VecDeque<Answer>>, log: &Log, stream: &mut TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let (line, headers) = head.split_once("\r\n")?;
    let headers = headers.to_ascii_lowercase();
    let length = headers.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    log.lock().unwrap().push(Asked { line: line.to_owned(), headers, body: body.into() });
    let next = script.lock().unwrap().pop_front();
    let Some(Say(status, body)) = next else { return None };
    let answer = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.ok()
}

fn error(status: u16, name: &str, message: &str) -> Answer {
    Say(status, json!({ "__type": format!("com.amazonaws#{name}"), "message": message }).to_string())
}

fn cancelled(reasons: Value) -> Answer {
    let body = json!({ "__type": "com.amazonaws#TransactionCanceledException", "CancellationReasons": reasons });
    Say(400, body.to_string())
}

fn s3_error(status: u16, code: &str) -> Answer {
    Say(status, format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>"))
}

fn hold() -> Change {
    let budget = BudgetChange::Hold { run: sample::run_id("one"), amount: Money::micros(5) };
    Change { budget: Some(budget), ..sample::creation("a") }
}

async fn commit(script: impl IntoIterator<Item = Answer>) -> (Result<(), CommitError>, Vec<Asked>) {
    let (aws, log) = scripted(script).await;
    let outcome = aws.ledger("table").commit(&hold()).await;
    let received = log.lock().unwrap().clone();
    (outcome, received)
}

/// Every try of a commit carries the same token, so that a retry after a lost reply does not conflict with itself.
#[tokio::test]
async fn a_retry_after_a_lost_reply_has_the_same_token() {
    let (outcome, received) = commit([Nothing, Say(500, String::new()), Say(200, "{}".to_owned())]).await;
    assert_eq!(outcome, Ok(()));
    let tokens: Vec<Value> = received.iter().map(|received| received.json()["ClientRequestToken"].clone()).collect();
    assert_eq!(tokens.len(), 3);
    assert!(tokens[0].as_str().is_some_and(|token| token.len() == 32), "{tokens:?}");
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
}

/// Without an answer to any try, one may have been committed.
#[tokio::test]
async fn a_commit_without_an_answer_is_unclear() {
    for script in [
        vec![Nothing, Nothing, Nothing],
        vec![Say(500, String::new()), Say(503, String::new()), Nothing],
        vec![error(400, "TransactionInProgressException", "the transaction is in progress")],
        vec![Nothing, error(400, "ValidationException", "no")],
        vec![Say(200, "<html>".to_owned())],
    ] {
        let (outcome, received) = commit(script).await;
        let Err(CommitError::Unclear(failure)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(failure.name, ErrorName::LedgerUnavailable);
        assert!(failure.message.starts_with("DynamoDB TransactWriteItems: "), "{failure}");
        assert!(received.len() <= 3);
    }
}

/// Reasons in DynamoDB's form.
#[tokio::test]
async fn a_cancellation_is_reported_by_its_reason() {
    let (none, check) = (json!({ "Code": "None" }), json!({ "Code": "ConditionalCheckFailed", "Message": "no" }));
    let seen = |stop: bool, status: &str| {
        let item = json!({ "stop": { "BOOL": stop }, "status": { "S": status }, "remaining": { "N": "4" } });
        json!({ "Code": "ConditionalCheckFailed", "Item": item })
    };
    for (reasons, means) in [
        (json!([check, seen(false, "running")]), CommitError::Conflict),
        (json!([none, { "Code": "TransactionConflict", "Message": "ongoing" }]), CommitError::Conflict),
        (json!([none, { "Code": "ThrottlingError" }]), CommitError::Conflict),
        (json!([none, check]), CommitError::RunMissing),
        (json!([none, seen(true, "running")]), CommitError::RunStopped),
        (json!([none, seen(false, "partial")]), CommitError::RunStopped),
        (json!([none, seen(false, "running")]), CommitError::OverBudget),
    ] {
        let (outcome, received) = commit([cancelled(reasons.clone())]).await;
        assert_eq!((outcome, received.len()), (Err(means), 1), "{reasons}");
    }
}

/// A conflict is not a second run of the same id.
#[tokio::test]
async fn a_conflict_is_not_reported_as_an_existing_run() {
    let (aws, _) = scripted([cancelled(json!([{ "Code": "TransactionConflict" }, { "Code": "None" }]))]).await;
    aws.ledger("table").create_run(&sample::run("one", 1)).await.unwrap_err();
    let (aws, _) = scripted([cancelled(json!([{ "Code": "ConditionalCheckFailed" }, { "Code": "None" }]))]).await;
    assert!(!aws.ledger("table").create_run(&sample::run("one", 1)).await.unwrap());
}

/// A transaction that holds the item for a moment is waited out, as often as it takes.
#[tokio::test]
async fn a_plain_write_in_conflict_with_a_transaction_is_sent_again() {
    let conflict = || error(400, "TransactionConflictException", "Transaction is ongoing for the item");
    let done = Say(200, json!({ "Attributes": { "stop": { "BOOL": true } } }).to_string());
    let (aws, log) = scripted([conflict(), conflict(), conflict(), conflict(), done]).await;
    assert!(aws.ledger("table").stop_run(&sample::run_id("one")).await.unwrap());
    assert_eq!(log.lock().unwrap().len(), 5);
    let (aws, log) = scripted([conflict(), Say(200, "{}".to_owned())]).await;
    aws.ledger("table").delete_waiter(&sample::key("a"), &sample::step_id("one", "image")).await.unwrap();
    assert_eq!(log.lock().unwrap().len(), 2);
    let (aws, log) = scripted([error(400, "ValidationException", "no")]).await;
    aws.ledger("table").stop_run(&sample::run_id("one")).await.unwrap_err();
    assert_eq!(log.lock().unwrap().len(), 1);
}

/// Only unprocessed keys are requested again.
#[tokio::test]
async fn unprocessed_keys_are_requested_again() {
    let rest = json!({ "table": { "Keys": [{ "pk": { "S": "K#rest" }, "sk": { "S": "E" } }] } });
    let some = json!({ "Responses": { "table": [] }, "UnprocessedKeys": rest }).to_string();
    let none = json!({ "Responses": { "table": [] }, "UnprocessedKeys": {} }).to_string();
    let (aws, log) = scripted([Say(200, some.clone()), Say(200, some), Say(200, none)]).await;
    assert_eq!(aws.ledger("table").entries(&[sample::key("a"), sample::key("b")]).await.unwrap().entries, []);
    let received = log.lock().unwrap().clone();
    assert_eq!(received.len(), 3);
    assert_eq!(received[0].json()["RequestItems"]["table"]["ConsistentRead"], true);
    assert_eq!(received[2].json()["RequestItems"]["table"]["ConsistentRead"], true);
    assert_eq!(received[2].json()["RequestItems"]["table"]["Keys"], rest["table"]["Keys"]);
}

async fn put(script: impl IntoIterator<Item = Answer>) -> (Result<Put, ErrorName>, Vec<Asked>) {
    let (aws, log) = scripted(script).await;
    let mut upload = aws.objects("bucket").upload("key", "image/png").await.unwrap();
    upload.write(Bytes::from_static(b"bytes")).await.unwrap();
    let outcome = upload.finish().await.map_err(|error| error.0.name);
    let received = log.lock().unwrap().clone();
    (outcome, received)
}

/// A conflict decides nothing and is retried once; a taken key is an answer.
#[tokio::test]
async fn a_conditional_put_in_conflict_is_retried_once() {
    let conflict = || s3_error(409, "ConditionalRequestConflict");
    let (outcome, received) = put([conflict(), Say(200, String::new())]).await;
    assert_eq!((outcome, received.len()), (Ok(Put::Stored), 2));
    for received in &received {
        assert!(received.line.starts_with("PUT /bucket/key"), "{}", received.line);
        assert!(received.headers.contains("if-none-match: *"), "{}", received.headers);
        assert!(!received.headers.contains("x-amz-checksum"), "{}", received.headers);
        assert_eq!(received.body, "bytes");
    }
    let (outcome, received) = put([conflict(), conflict()]).await;
    assert_eq!((outcome, received.len()), (Err(ErrorName::StorageUnavailable), 2));
    let (outcome, _) = put([conflict(), s3_error(412, "PreconditionFailed")]).await;
    assert_eq!(outcome, Ok(Put::Exists));
    let (outcome, received) = put([s3_error(403, "AccessDenied")]).await;
    assert_eq!((outcome, received.len()), (Err(ErrorName::StorageDenied), 1));
}

/// A lost part makes no object, and the sent parts are removed.
#[tokio::test]
async fn an_upload_that_lost_a_part_cannot_be_finished() {
    let created = "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>";
    let script = [Say(200, created.to_owned()), s3_error(403, "AccessDenied"), Say(204, String::new())];
    let (aws, log) = scripted(script).await;
    let mut upload = aws.objects("bucket").upload("key", "video/mp4").await.unwrap();
    let part = Bytes::from(vec![7; 8 << 20]);
    upload.write(part.clone()).await.unwrap();
    upload.write(part.clone()).await.unwrap();
    assert_eq!(upload.write(part).await.unwrap_err().0.name, ErrorName::StorageDenied);
    upload.write(Bytes::from_static(b"more")).await.unwrap_err();
    upload.finish().await.unwrap_err();
    let lines: Vec<String> = log.lock().unwrap().iter().map(|received| received.line.clone()).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[2].starts_with("DELETE /bucket/key?"), "{lines:?}");
}

/// No error repeats a token.
#[tokio::test]
async fn errors_do_not_repeat_a_token() {
    for name in ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"] {
        let (aws, _) = scripted([error(400, name, "secret-token"), error(400, name, "secret-token")]).await;
        assert_eq!(aws.callbacks().succeed("secret-token", "{}").await, Ok(Delivery::Expired));
        let failure = Failure::new(ErrorName::Internal, "no");
        assert_eq!(aws.callbacks().fail("secret-token", &failure).await, Ok(Delivery::Expired));
    }
    let (aws, _) = scripted([error(400, "ValidationException", "Value 'secret-token' at 'taskToken'")]).await;
    let error = aws.callbacks().succeed("secret-token", "{}").await.unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    assert!(error.to_string().contains("ValidationException (HTTP 400)"), "{error}");
}

#[tokio::test]
async fn collect_is_invoked_as_an_event() {
    let (aws, log) = scripted([Say(202, String::new())]).await;
    aws.invoker("collect", "batch", "report").collect(&sample::key("a"), Attempt(3)).await.unwrap();
    let received = log.lock().unwrap()[0].clone();
    assert!(received.line.starts_with("POST /2015-03-31/functions/collect/invocations"), "{}", received.line);
    assert!(received.headers.contains("x-amz-invocation-type: event"), "{}", received.headers);
    assert_eq!(received.json(), json!({ "key": sample::key("a"), "attempt": 3 }));
}
