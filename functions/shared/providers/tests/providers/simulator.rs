//! The whole way against the simulator: submit, check, result, download, inspect; and a webhook delivered to a listener.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::error::ErrorName;
use fresco_pipeline::inspection::{Inspector, MediaInfo};
use fresco_providers::fal::{Fal, FalConfig};
use fresco_providers::media::{Downloader, HostList};
use fresco_providers::{
    Accepted, CancelAnswer, JobReport, JobState, Provider, RemoteMedia, Submission, SubmitError, WebhookError,
    WebhookReport, WebhookRequest,
};
use fresco_simulator::{Config, Mutation, Running, SettingsChange, Simulator};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{keys, request};

const ENDPOINT: &str = "fal-ai/flux/schnell";
/// A slow machine gets this long; nothing waits for all of it.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn start(scale: f64, concurrency: usize) -> Running {
    Simulator::start(Config { scale, concurrency, seed: Some(7), ..Config::default() }).await.unwrap()
}

pub(super) fn fal(simulator: &Running, key: &str) -> Fal {
    let config = FalConfig {
        queue_url: simulator.fal_queue_url(),
        rest_url: simulator.fal_rest_url(),
        api_url: simulator.fal_api_url(),
        user_id: simulator.user_id().to_owned(),
        key_name: "/fresco/fal-key".to_owned(),
    };
    Fal::new(config, keys(key)).unwrap()
}

fn submission(input: Value, webhook_url: Option<String>) -> Submission {
    Submission {
        request: request(ENDPOINT, input),
        media: BTreeMap::new(),
        webhook_url,
        deadline: std::time::Duration::from_secs(60),
    }
}

pub(super) async fn accepted(fal: &Fal, submission: &Submission) -> String {
    match fal.submit(submission).await.unwrap() {
        Accepted::Queued { request_id } => request_id,
        Accepted::Done(_) => panic!("fal has a queue"),
    }
}

async fn end(fal: &Fal, request_id: &str) -> JobReport {
    end_of(fal, ENDPOINT, request_id).await
}

/// Asks until the job is over.
pub(super) async fn end_of(fal: &Fal, endpoint: &str, request_id: &str) -> JobReport {
    let asking = async {
        loop {
            match fal.check(endpoint, request_id).await.unwrap() {
                JobState::Ended(report) => return report,
                JobState::Queued { .. } | JobState::Running => tokio::task::yield_now().await,
                JobState::Missing => panic!("the job is missing"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("the job ends")
}

async fn fetched(simulator: &Running, media: &RemoteMedia) -> MediaInfo {
    downloaded(simulator, media, MediaKind::Image).await.0
}

/// The medium, looked at while it comes, and its bytes.
pub(super) async fn downloaded(simulator: &Running, media: &RemoteMedia, kind: MediaKind) -> (MediaInfo, Bytes) {
    let downloader = Downloader::new(HostList::parse(&simulator.url()).unwrap()).unwrap();
    let mut download = downloader.fetch(&media.url, kind, kind.max_bytes()).await.unwrap();
    let mut inspector = Inspector::new();
    let mut bytes = Vec::new();
    while let Some(chunk) = download.chunk().await.unwrap() {
        inspector.feed(&chunk);
        bytes.extend_from_slice(&chunk);
    }
    (inspector.finish(kind).unwrap(), bytes.into())
}

pub(super) fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[tokio::test]
async fn a_picture_is_ordered_found_fetched_and_looked_at() {
    let simulator = start(0.0, 40).await;
    let fal = fal(&simulator, simulator.fal_key());
    for (format, content_type) in [("png", "image/png"), ("jpeg", "image/jpeg")] {
        let input = json!({"prompt": "a fox", "num_images": 2, "image_size": {"width": 320, "height": 192},
            "output_format": format});
        let id = accepted(&fal, &submission(input, None)).await;
        let report = end(&fal, &id).await;
        let JobReport::Succeeded { media, billable_units, seconds, .. } = report else { panic!("{report:?}") };
        assert_eq!(media.len(), 2);
        assert!(billable_units.is_some_and(|units| units > 0.0) && seconds.is_some());
        for media in &media {
            let info = fetched(&simulator, media).await;
            assert_eq!((info.content_type, info.width, info.height), (content_type, 320, 192));
            assert_eq!((media.width, media.height), (Some(320), Some(192)));
            assert_eq!(media.content_type.as_deref(), Some(content_type));
        }
        assert_ne!(fetched(&simulator, &media[0]).await.sha256, fetched(&simulator, &media[1]).await.sha256);
    }
    assert_eq!(simulator.counters().submits, 2);
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let simulator = start(0.0, 40).await;
    let stranger = fal(&simulator, "wrong:key");
    let Err(SubmitError::Rejected { failure, .. }) = stranger.submit(&submission(json!({"prompt": "x"}), None)).await
    else {
        panic!()
    };
    assert_eq!(failure.name, ErrorName::ProviderUnauthorized);
    let fal = fal(&simulator, simulator.fal_key());
    let mut unknown = submission(json!({"prompt": "x"}), None);
    unknown.request.endpoint = "fal-ai/no-such-model".to_owned();
    let Err(SubmitError::Rejected { failure, .. }) = fal.submit(&unknown).await else { panic!() };
    assert_eq!(failure.name, ErrorName::ProviderNotFound);
    let id = accepted(&fal, &submission(json!({"num_images": 1}), None)).await;
    let JobReport::Failed { failure, billed } = end(&fal, &id).await else { panic!() };
    assert_eq!((failure.name, billed), (ErrorName::ProviderRejected, false));
    assert!(failure.message.contains("missing at body.prompt"), "{failure}");
    assert_eq!(fal.check(ENDPOINT, "00000000-0000-0000-0000-000000000000").await, Ok(JobState::Missing));
    assert_eq!(fal.cancel(ENDPOINT, "00000000-0000-0000-0000-000000000000").await, Ok(CancelAnswer::Missing));
}

#[tokio::test]
async fn a_lost_submission_is_found_by_its_input() {
    // So slow that nothing ends by itself, and one at a time.
    let simulator = start(1e6, 1).await;
    let fal = fal(&simulator, simulator.fal_key());
    let begin = now_ms() - 1000;
    let input = json!({"prompt": "a fox", "num_images": 1, "seed": 5});
    let first = accepted(&fal, &submission(input.clone(), None)).await;
    let other = accepted(&fal, &submission(json!({"prompt": "a cat", "num_images": 1, "seed": 5}), None)).await;
    let second = accepted(&fal, &submission(input.clone(), None)).await;
    let ids = |found: Vec<fresco_providers::FoundJob>| {
        found.into_iter().map(|job| (job.request_id, job.ended)).collect::<Vec<_>>()
    };
    let mut both = ids(fal.find(&request(ENDPOINT, input.clone()), begin).await.unwrap());
    let mut expected = vec![(first.clone(), false), (second.clone(), false)];
    // Accepted within one millisecond, they have no order of their own.
    both.sort();
    expected.sort();
    assert_eq!(both, expected);
    let cat = request(ENDPOINT, json!({"seed": 5, "num_images": 1.0, "prompt": "a cat"}));
    let one = fal.find(&cat, begin).await.unwrap();
    assert_eq!(ids(one), [(other.clone(), false)]);
    assert_eq!(fal.find(&request(ENDPOINT, json!({"prompt": "a dog"})), begin).await, Ok(Vec::new()));
    assert_eq!(fal.find(&request(ENDPOINT, input), now_ms() + 60_000).await, Ok(Vec::new()));

    assert!(matches!(fal.check(ENDPOINT, &second).await, Ok(JobState::Queued { position: Some(_) })));
    assert_eq!(fal.cancel(ENDPOINT, &second).await, Ok(CancelAnswer::Requested));
    assert_eq!(end(&fal, &second).await, JobReport::Cancelled { billed: false });
    assert_eq!(fal.cancel(ENDPOINT, &second).await, Ok(CancelAnswer::TooLate));
    assert_eq!(fal.cancel(ENDPOINT, &first).await, Ok(CancelAnswer::Requested));
    assert_eq!(end(&fal, &first).await, JobReport::Cancelled { billed: false });
}

/// The listener's reading of a delivery.
type Delivery = (String, Result<WebhookReport, WebhookError>);

/// A listener that verifies what it gets, answers accordingly and passes it on.
async fn listener(fal: Arc<Fal>) -> (String, mpsc::UnboundedReceiver<Delivery>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    type Shared = (Arc<Fal>, mpsc::UnboundedSender<Delivery>);
    async fn hook(
        State((fal, sender)): State<Shared>,
        Path(token): Path<String>,
        headers: HeaderMap,
        body: Bytes,
    ) -> StatusCode {
        let text = |value: &axum::http::HeaderValue| value.to_str().unwrap().to_owned();
        let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let result = fal.read_webhook(&WebhookRequest { headers, body, now_ms: now_ms() }).await;
        let status = result.as_ref().map_or_else(|error| error.status(), |_| 200);
        sender.send((token, result)).unwrap();
        StatusCode::from_u16(status).unwrap()
    }
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", socket.local_addr().unwrap());
    let router = axum::Router::new().route("/hooks/fal/{token}", post(hook)).with_state((fal, sender));
    tokio::spawn(async move { axum::serve(socket, router).await });
    (base, receiver)
}

async fn next(deliveries: &mut mpsc::UnboundedReceiver<Delivery>) -> Delivery {
    tokio::time::timeout(PATIENCE, deliveries.recv()).await.expect("a webhook comes").unwrap()
}

#[tokio::test]
async fn webhooks_are_verified_as_the_simulator_signs_them() {
    let simulator = start(0.0, 40).await;
    let fal = Arc::new(fal(&simulator, simulator.fal_key()));
    let (base, mut deliveries) = listener(fal.clone()).await;
    let hook = |token: &str| Some(format!("{base}/hooks/fal/{token}?x=1&y=a%20b"));

    let id = accepted(&fal, &submission(json!({"prompt": "a fox"}), hook("abc123"))).await;
    let (token, result) = next(&mut deliveries).await;
    let report = result.unwrap();
    assert_eq!((token.as_str(), &report.request_id), ("abc123", &id));
    let JobReport::Succeeded { media, .. } = &report.report else { panic!("{report:?}") };
    assert_eq!(fetched(&simulator, &media[0]).await.content_type, media[0].content_type.as_deref().unwrap());
    // The report survives the row that it is stored in.
    let stored = serde_json::to_string(&report.report).unwrap();
    assert_eq!(serde_json::from_str::<JobReport>(&stored).unwrap(), report.report);

    for (mutation, error) in [
        (Mutation::Signature, WebhookError::BadSignature),
        (Mutation::UserId, WebhookError::NotOurs),
        (Mutation::Stale, WebhookError::Stale),
    ] {
        let resent = simulator.resend_webhook(&id, Some(mutation)).await.unwrap();
        assert_eq!(resent.status, 401);
        assert_eq!(next(&mut deliveries).await.1, Err(error));
    }
    // The URL is not signed: that the token is another one is for the ledger to see.
    assert_eq!(simulator.resend_webhook(&id, Some(Mutation::Token)).await.unwrap().status, 200);
    let (token, result) = next(&mut deliveries).await;
    assert!(token != "abc123" && result.is_ok());

    let id = accepted(&fal, &submission(json!({"num_images": 1}), hook("refused"))).await;
    let report = next(&mut deliveries).await.1.unwrap();
    assert_eq!(report.request_id, id);
    assert!(matches!(report.report, JobReport::Failed { failure, .. } if failure.name == ErrorName::ProviderRejected));

    simulator.change(SettingsChange { scale: Some(1e6), ..SettingsChange::default() }).unwrap();
    let id = accepted(&fal, &submission(json!({"prompt": "slow"}), hook("cancelled"))).await;
    assert_eq!(fal.cancel(ENDPOINT, &id).await, Ok(CancelAnswer::Requested));
    let report = next(&mut deliveries).await.1.unwrap();
    assert_eq!((report.request_id, report.report), (id, JobReport::Cancelled { billed: false }));
}
