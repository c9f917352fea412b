//! Faults of outputs and their downloads, byte for byte.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Fal, Inputs, receiver};
use crate::{FLUX, FullAnswer, raw};

const SMALL: &str = "fal-ai/flux/dev";

/// One picture of a request: its path on the simulator, and its bytes without a fault.
async fn picture(fal: &Fal) -> (String, Vec<u8>) {
    let size = json!({ "width": 320, "height": 200 });
    let (_, output) = fal.run(SMALL, json!({ "prompt": "x", "output_format": "png", "image_size": size })).await;
    let (_, bytes) = fal.download(&output["images"][0]).await;
    (path(fal, &output["images"][0]), bytes.to_vec())
}

fn path(fal: &Fal, file: &Value) -> String {
    file["url"].as_str().unwrap().strip_prefix(&fal.running.url()).unwrap().to_owned()
}

/// A download byte for byte.
struct Wire {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Wire {
    async fn read(fal: &Fal, path: &str) -> Self {
        let bytes = raw(fal, "GET", path, &[], "").await;
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body: bytes[end + 4..].to_vec() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn length(&self) -> Option<usize> {
        self.header("content-length").map(|length| length.parse().unwrap())
    }
}

#[tokio::test]
async fn a_download_can_be_refused_or_redirected() {
    let fal = Fal::instant().await;
    let (path, _) = picture(&fal).await;
    let downloads = fal.running.counters().media_downloads;
    for (status, detail) in [(404, "Not found"), (403, "Forbidden"), (500, "Internal Server Error")] {
        fal.fault(json!({ "fault": "media_status", "status": status }));
        let got = fal.get(&format!("{}{path}", fal.running.url())).await;
        assert_eq!(got, (status, json!({ "detail": detail })));
    }
    for location in ["https://evil.example/x.png", "http://169.254.169.254/latest/meta-data"] {
        fal.fault(json!({ "fault": "media_redirect", "location": location }));
        let wire = Wire::read(&fal, &path).await;
        assert_eq!((wire.status, wire.header("location")), (302, Some(location)));
    }
    assert_eq!(fal.running.counters().media_downloads, downloads);
}

#[tokio::test]
async fn a_download_can_be_truncated() {
    let fal = Fal::instant().await;
    let (path, whole) = picture(&fal).await;
    let half = &whole[..whole.len() / 2];

    fal.fault(json!({ "fault": "media_truncated" }));
    let wire = Wire::read(&fal, &path).await;
    assert_eq!((wire.status, wire.length()), (200, Some(whole.len())));
    assert!(wire.body == half, "{} of {}", wire.body.len(), whole.len());
    let cut = fal.http.get(format!("{}{path}", fal.running.url())).send().await.unwrap();
    assert!(cut.bytes().await.is_err());

    fal.fault(json!({ "fault": "media_short" }));
    let wire = Wire::read(&fal, &path).await;
    assert_eq!((wire.status, wire.length(), wire.header("content-type")), (200, Some(half.len()), Some("image/png")));
    assert!(wire.body == half && image::load_from_memory(&wire.body).is_err());

    fal.fault(json!({ "fault": "media_empty" }));
    let wire = Wire::read(&fal, &path).await;
    assert_eq!((wire.status, wire.length(), wire.body.len()), (200, Some(0), 0));
}

#[tokio::test]
async fn the_length_of_a_download_can_be_wrong_or_missing() {
    let fal = Fal::instant().await;
    let (path, whole) = picture(&fal).await;

    fal.fault(json!({ "fault": "media_wrong_length" }));
    let wire = Wire::read(&fal, &path).await;
    assert_eq!(wire.length(), Some(whole.len() + 1000));
    assert!(wire.body == whole);
    let cut = fal.http.get(format!("{}{path}", fal.running.url())).send().await.unwrap();
    assert!(cut.bytes().await.is_err());

    fal.fault(json!({ "fault": "media_wrong_length", "by": -7 }));
    let wire = Wire::read(&fal, &path).await;
    assert_eq!(wire.length(), Some(whole.len() - 7));
    assert!(wire.body == whole[..whole.len() - 7]);

    fal.fault(json!({ "fault": "media_no_length" }));
    let wire = Wire::read(&fal, &path).await;
    assert_eq!((wire.length(), wire.header("transfer-encoding")), (None, Some("chunked")));
    let answer = fal.http.get(format!("{}{path}", fal.running.url())).send().await.unwrap();
    assert_eq!(answer.content_length(), None);
    assert!(answer.bytes().await.unwrap() == whole);
}

#[tokio::test]
async fn a_download_can_have_another_type() {
    let (fal, inputs) = (Fal::instant().await, Inputs::start().await);
    let (picture, _) = picture(&fal).await;
    let body = json!({ "prompt": "x", "image_url": inputs.at("wide") });
    let (_, output) = fal.run("fal-ai/kling-video/v2.1/standard/image-to-video", body).await;
    let video = path(&fal, &output["video"]);

    fal.fault(json!({ "fault": "media_mislabelled" }));
    let wire = Wire::read(&fal, &video).await;
    assert_eq!(
        (wire.status, wire.header("content-type"), wire.length()),
        (200, Some("video/mp4"), Some(wire.body.len()))
    );
    assert_eq!(image::guess_format(&wire.body).unwrap(), image::ImageFormat::Png);
    assert!(image::load_from_memory(&wire.body).is_ok());
    let wire = Wire::read(&fal, &picture).await;
    assert_eq!((wire.header("content-type"), &wire.body[4..8]), (Some("image/png"), b"ftyp".as_slice()));

    fal.fault(json!({ "fault": "media_wrong_type" }));
    for path in [picture, video] {
        let wire = Wire::read(&fal, &path).await;
        assert_eq!((wire.status, wire.header("content-type")), (200, Some("text/html; charset=utf-8")));
        assert!(wire.body.starts_with(b"<!doctype") || wire.body.starts_with(b"<!DOCTYPE"));
    }
}

#[tokio::test]
async fn a_download_can_be_too_large() {
    let fal = Fal::instant().await;
    let (path, whole) = picture(&fal).await;
    fal.fault(json!({ "fault": "media_oversized", "bytes": 3_000_000 }));
    let wire = Wire::read(&fal, &path).await;
    assert_eq!((wire.length(), wire.body.len()), (Some(3_000_000), 3_000_000));
    assert!(wire.body.starts_with(&whole) && wire.body[whole.len()..].iter().all(|byte| *byte == 0));

    fal.fault(json!({ "fault": "media_oversized", "bytes": 3_000_000, "length": false }));
    let url = format!("{}{path}", fal.running.url());
    let answer = fal.http.get(&url).send().await.unwrap();
    assert_eq!(answer.content_length(), None);
    assert_eq!(answer.bytes().await.unwrap().len(), 3_000_000);

    // A huge body takes no memory, and a reader may hang up.
    fal.fault(json!({ "fault": "media_oversized", "bytes": 1_u64 << 50 }));
    let mut answer = fal.http.get(&url).send().await.unwrap();
    assert_eq!(answer.content_length(), Some(1 << 50));
    assert!(!answer.chunk().await.unwrap().unwrap().is_empty());
}

#[tokio::test]
async fn a_download_can_be_slow() {
    let fal = Fal::instant().await;
    let (path, whole) = picture(&fal).await;
    fal.fault(json!({ "fault": "media_slow", "seconds": 0.4 }));
    let started = Instant::now();
    let mut answer = fal.http.get(format!("{}{path}", fal.running.url())).send().await.unwrap();
    assert_eq!(answer.content_length(), Some(whole.len() as u64));
    let (mut pieces, mut bytes) = (0, Vec::new());
    while let Some(piece) = answer.chunk().await.unwrap() {
        pieces += 1;
        bytes.extend_from_slice(&piece);
    }
    assert!(pieces > 3 && started.elapsed() >= Duration::from_millis(350), "{pieces} {:?}", started.elapsed());
    assert!(bytes == whole);
}

#[tokio::test]
async fn an_output_can_name_another_address() {
    let (fal, mut receiver) = (Fal::instant().await, receiver(|_| 200).await);
    let webhook: String = url::form_urlencoded::byte_serialize(receiver.url.as_bytes()).collect();
    for url in ["http://169.254.169.254/x.png", "https://evil.example/x.png"] {
        fal.fault(json!({ "fault": "media_url", "url": url }));
        let reply = fal.submit(&format!("{FLUX}?fal_webhook={webhook}"), json!({ "prompt": "x" })).await;
        let result = FullAnswer::read(fal.result(&reply).await).await.unwrap();
        assert_eq!((result.status, &result.json()["images"][0]["url"]), (200, &json!(url)));
        assert_eq!(receiver.next().await.json()["payload"], result.json());
        assert_eq!(fal.hits(), 1, "decided once");
    }
}
