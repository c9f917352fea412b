//! Helpers of the suites: a client of the simulator, polling with a bound, a receiver of webhooks, and a host of inputs.

#![allow(dead_code, reason = "each suite uses its part")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use fresco_simulator::{Config, Running, Simulator};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use tokio::sync::mpsc;

pub(crate) struct Fal {
    pub(crate) running: Running,
    pub(crate) http: reqwest::Client,
}

impl Fal {
    pub(crate) async fn start(config: Config) -> Self {
        let running = Simulator::start(config).await.unwrap();
        Self { running, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    /// A simulator that answers at once.
    pub(crate) async fn instant() -> Self {
        Self::start(Config { scale: 0.0, ..Config::default() }).await
    }

    pub(crate) fn authorization(&self) -> String {
        format!("Key {}", self.running.fal_key())
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/fal/queue/{path}", self.running.url());
        let sent = self.http.post(url).header("authorization", self.authorization()).json(body).send().await;
        read(sent.unwrap()).await
    }

    pub(crate) async fn get(&self, url: &str) -> (u16, Value) {
        read(self.get_raw(url).await).await
    }

    pub(crate) async fn get_raw(&self, url: &str) -> reqwest::Response {
        self.http.get(url).header("authorization", self.authorization()).send().await.unwrap()
    }

    pub(crate) async fn control(&self, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/_control/{path}", self.running.url());
        read(self.http.post(url).json(&body).send().await.unwrap()).await
    }

    pub(crate) async fn submit(&self, endpoint: &str, body: Value) -> Value {
        let (status, reply) = self.post(endpoint, &body).await;
        assert_eq!(status, 200, "{reply}");
        reply
    }

    /// Polls until the request has ended, then fetches its result.
    pub(crate) async fn result(&self, reply: &Value) -> reqwest::Response {
        let status_url = reply["status_url"].as_str().unwrap();
        until("the request ends", async || self.get(status_url).await.0 == 200).await;
        self.get_raw(reply["response_url"].as_str().unwrap()).await
    }

    /// Downloads an output; no key is needed.
    pub(crate) async fn download(&self, file: &Value) -> (String, Bytes) {
        let answer = self.http.get(file["url"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (content_type, answer.bytes().await.unwrap())
    }

    pub(crate) async fn run(&self, endpoint: &str, body: Value) -> (u16, Value) {
        let reply = self.submit(endpoint, body).await;
        read(self.result(&reply).await).await
    }
}

pub(crate) async fn read(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(json!(text)))
}

/// Polls a condition for at most twenty seconds.
pub(crate) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < Duration::from_secs(20), "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A delivery that arrived at the receiver.
pub(crate) struct Delivery {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Delivery {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether the signature of this message is valid for a public key.
    pub(crate) fn verifies(&self, public_key: &[u8]) -> bool {
        let message = format!(
            "{}\n{}\n{}\n{}",
            self.header("x-fal-webhook-request-id"),
            self.header("x-fal-webhook-user-id"),
            self.header("x-fal-webhook-timestamp"),
            hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&self.body)),
        );
        let signature = hex::decode(self.header("x-fal-webhook-signature")).unwrap();
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public_key);
        key.verify(message.as_bytes(), &signature).is_ok()
    }
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    pub(crate) deliveries: mpsc::UnboundedReceiver<Delivery>,
}

type Sink =
    (mpsc::UnboundedSender<Delivery>, Arc<dyn Fn(usize) -> u16 + Send + Sync>, Arc<std::sync::atomic::AtomicUsize>);

/// Listens for webhooks and answers the n-th with the status that `answer` gives.
pub(crate) async fn receiver(answer: impl Fn(usize) -> u16 + Send + Sync + 'static) -> Receiver {
    let (sender, deliveries) = mpsc::unbounded_channel();
    let sink: Sink = (sender, Arc::new(answer), Arc::default());
    let router = axum::Router::new().fallback(receive).with_state(sink);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks/fal/7c0ffee", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Receiver { url, deliveries }
}

async fn receive(
    State((sender, answer, count)): State<Sink>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(&'static str, &'static str); 1], &'static str) {
    let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    sender.send(Delivery { path: uri.path().to_owned(), headers, body }).ok();
    (StatusCode::from_u16(answer(number)).unwrap(), [("location", "/elsewhere")], "heard")
}

impl Receiver {
    pub(crate) async fn next(&mut self) -> Delivery {
        tokio::time::timeout(Duration::from_secs(20), self.deliveries.recv()).await.expect("a delivery").unwrap()
    }
}

/// A host of inputs, which serves its files until it is closed.
pub(crate) struct Inputs {
    pub(crate) url: String,
    closed: Arc<AtomicBool>,
}

type Files = (Arc<HashMap<&'static str, Vec<u8>>>, Arc<AtomicBool>);

impl Inputs {
    /// `/wide` is 320x180 and all blue, `/tall` 90x160 and all orange, `/split` 200x100 with halves of red and green,
    /// `/text` no picture, `/large` a byte too long, `/moved` an address that points to another.
    pub(crate) async fn start() -> Self {
        let split = RgbImage::from_fn(200, 100, |x, _| Rgb(if x < 100 { RED } else { GREEN }));
        let files: HashMap<&'static str, Vec<u8>> = HashMap::from([
            ("/wide", png(&RgbImage::from_pixel(320, 180, Rgb(BLUE)))),
            ("/tall", png(&RgbImage::from_pixel(90, 160, Rgb(ORANGE)))),
            ("/split", png(&split)),
            ("/text", b"<html>no picture</html>".to_vec()),
        ]);
        let closed = Arc::new(AtomicBool::new(false));
        let router = axum::Router::new().fallback(give).with_state((Arc::new(files), closed.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, closed }
    }

    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}?X-Amz-Signature=0123", self.url)
    }

    /// Refuses every request from now on, as if the signed addresses had expired.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }
}

async fn give(State((files, closed)): State<Files>, uri: Uri) -> Response {
    if closed.load(Ordering::SeqCst) {
        return (StatusCode::FORBIDDEN, "Request has expired").into_response();
    }
    match files.get(uri.path()) {
        Some(bytes) => bytes.clone().into_response(),
        None if uri.path() == "/large" => vec![0u8; (64 << 20) + 1].into_response(),
        None if uri.path() == "/moved" => (StatusCode::FOUND, [("location", "/wide")], "").into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

pub(crate) const BLUE: [u8; 3] = [40, 90, 200];
pub(crate) const ORANGE: [u8; 3] = [230, 140, 40];
pub(crate) const RED: [u8; 3] = [200, 40, 40];
pub(crate) const GREEN: [u8; 3] = [30, 160, 60];

pub(crate) fn png(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// The mean of a part of a picture, given in hundredths of its sides.
pub(crate) fn mean(picture: &RgbImage, across: std::ops::Range<u32>, down: std::ops::Range<u32>) -> [u8; 3] {
    let (width, height) = picture.dimensions();
    let (mut sums, mut count) = ([0u64; 3], 0);
    for y in height * down.start / 100..height * down.end / 100 {
        for x in width * across.start / 100..width * across.end / 100 {
            let pixel = picture.get_pixel(x, y).0;
            (0..3).for_each(|c| sums[c] += u64::from(pixel[c]));
            count += 1;
        }
    }
    sums.map(|sum| (sum / count) as u8)
}

/// Whether two colours look alike.
pub(crate) fn alike(a: [u8; 3], b: [u8; 3]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.abs_diff(b) <= 20)
}
