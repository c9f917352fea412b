//! Videos over HTTP: lengths, outputs, prices, and an MP4 that is taken apart here.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{BLUE, Fal, Inputs, read};
use serde_json::{Value, json};

const HAILUO: &str = "fal-ai/minimax/hailuo-02/standard/image-to-video";
const KLING: &str = "fal-ai/kling-video/v2.1/standard/image-to-video";
const KLING_PRO: &str = "fal-ai/kling-video/v2.6/pro/image-to-video";
const SORA: &str = "fal-ai/sora-2/image-to-video";
const SORA_PRO: &str = "fal-ai/sora-2/image-to-video/pro";

/// The content of the first box of a type on every level of a path.
fn find<'a>(mut bytes: &'a [u8], path: &[&str]) -> &'a [u8] {
    for kind in path {
        loop {
            let length = be(bytes, 0) as usize;
            let (this, rest) = bytes.split_at(length);
            if &this[4..8] == kind.as_bytes() {
                bytes = &this[8..];
                break;
            }
            bytes = rest;
        }
    }
    bytes
}

fn be(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The bits of a unit without its escape bytes.
struct Bits(Vec<u8>, usize);

impl Bits {
    fn of(unit: &[u8]) -> Self {
        let mut bytes: Vec<u8> = Vec::new();
        let mut zeros = 0;
        for byte in &unit[1..] {
            if zeros >= 2 && *byte == 3 {
                zeros = 0;
                continue;
            }
            zeros = if *byte == 0 { zeros + 1 } else { 0 };
            bytes.push(*byte);
        }
        Self(bytes, 0)
    }

    fn u(&mut self, count: usize) -> u32 {
        (0..count).fold(0, |value, _| {
            let bit = self.0[self.1 / 8] >> (7 - self.1 % 8) & 1;
            self.1 += 1;
            value << 1 | u32::from(bit)
        })
    }

    fn ue(&mut self) -> u32 {
        let mut zeros = 0;
        while self.u(1) == 0 {
            zeros += 1;
        }
        (1 << zeros) - 1 + self.u(zeros)
    }

    /// The mean of each plane of a raw block.
    fn raw(&mut self) -> [u8; 3] {
        let start = self.1.div_ceil(8);
        self.1 = (start + 384) * 8;
        let mean = |range: std::ops::Range<usize>| {
            let length = range.len();
            (self.0[start..][range].iter().map(|sample| usize::from(*sample)).sum::<usize>() / length) as u8
        };
        [mean(0..256), mean(256..320), mean(320..384)]
    }

    /// Whether bits are left before the stop bit.
    fn more(&self) -> bool {
        let last = self.0.iter().rposition(|byte| *byte != 0).unwrap();
        self.1 < last * 8 + 7 - self.0[last].trailing_zeros() as usize
    }
}

/// Takes a video apart: checks the structure and gives the unit of its only frame.
fn frame(file: &[u8], (width, height): (u32, u32), seconds: u32) -> Vec<u8> {
    let kinds: Vec<_> = {
        let (mut at, mut kinds) = (0, Vec::new());
        while at < file.len() {
            kinds.push(String::from_utf8(file[at + 4..at + 8].to_vec()).unwrap());
            at += be(file, at) as usize;
        }
        assert_eq!(at, file.len());
        kinds
    };
    assert_eq!(kinds, ["ftyp", "moov", "mdat"]);
    let header = find(file, &["moov", "mvhd"]);
    assert_eq!(be(header, 16) / be(header, 12), seconds);
    assert_eq!(be(header, 16) % be(header, 12), 0);
    let track = find(file, &["moov", "trak", "tkhd"]);
    assert_eq!((be(track, 76) >> 16, be(track, 80) >> 16), (width, height));
    let media = find(file, &["moov", "trak", "mdia", "mdhd"]);
    assert_eq!(be(media, 16), be(media, 12) * seconds);
    let table = |kind| find(file, &["moov", "trak", "mdia", "minf", "stbl", kind]);
    // One sample that lasts as long as the video.
    let times = table("stts");
    assert_eq!((be(times, 4), be(times, 8), be(times, 12)), (1, 1, be(media, 16)));
    assert_eq!(be(table("stsc"), 12), 1);
    let sizes = table("stsz");
    assert_eq!((be(sizes, 4), be(sizes, 8)), (0, 1));
    let entry = table("stsd");
    assert_eq!(&entry[12..16], b"avc1");
    // The configuration follows the 78 bytes of the sample entry.
    let configuration = find(&entry[16 + 78..], &["avcC"]);
    assert_eq!(configuration[..6], [1, 66, 0xC0, 31, 0xFF, 0xE1]);
    let at = be(table("stco"), 8) as usize;
    let length = be(sizes, 12) as usize;
    assert_eq!((be(file, at) as usize + 4, at + length), (length, file.len()));
    file[at + 4..].to_vec()
}

async fn make(fal: &Fal, endpoint: &str, mut body: Value, seconds: u32) -> (Value, Vec<u8>) {
    body["prompt"] = json!("the camera moves");
    let reply = fal.submit(endpoint, body).await;
    let result = fal.result(&reply).await;
    assert_eq!(result.headers()["x-fal-billable-units"], seconds.to_string());
    let (status, output) = read(result).await;
    assert_eq!(status, 200, "{output}");
    let (content_type, bytes) = fal.download(&output["video"]).await;
    assert_eq!((content_type.as_str(), &output["video"]["content_type"]), ("video/mp4", &json!("video/mp4")));
    assert_eq!(output["video"]["file_size"], bytes.len());
    (output, bytes.to_vec())
}

#[tokio::test]
async fn every_endpoint_makes_a_video_of_the_requested_length_and_size() {
    let (fal, inputs) = (Fal::instant().await, Inputs::start().await);
    let wide = inputs.at("wide");
    let cases = [
        (HAILUO, json!({ "image_url": wide }), 6, (640, 360)),
        (HAILUO, json!({ "image_url": wide, "duration": "10", "end_image_url": inputs.at("tall") }), 10, (640, 360)),
        (KLING, json!({ "image_url": inputs.at("tall") }), 5, (360, 640)),
        (KLING, json!({ "image_url": wide, "duration": "10" }), 10, (640, 360)),
        (KLING_PRO, json!({ "start_image_url": wide, "generate_audio": false }), 5, (640, 360)),
        (SORA, json!({ "image_url": wide }), 4, (640, 360)),
        (SORA, json!({ "image_url": wide, "duration": 20, "aspect_ratio": "9:16" }), 20, (360, 640)),
        (SORA_PRO, json!({ "image_url": wide, "duration": 8, "resolution": "1080p" }), 8, (640, 360)),
    ];
    for (endpoint, body, seconds, size) in cases {
        let (output, file) = make(&fal, endpoint, body, seconds).await;
        frame(&file, size, seconds);
        assert_eq!(output.get("video_id").is_some(), endpoint.contains("sora"), "{output}");
        if endpoint.contains("sora") {
            let video = &output["video"];
            assert_eq!((&video["width"], &video["height"]), (&json!(size.0), &json!(size.1)));
            assert_eq!((&video["duration"], &video["num_frames"]), (&json!(f64::from(seconds)), &json!(1)));
            assert_eq!(video["fps"], 1.0 / f64::from(seconds));
        }
    }
}

#[tokio::test]
async fn a_video_shows_its_input_above_the_prompt() {
    let (fal, inputs) = (Fal::instant().await, Inputs::start().await);
    let reply = fal.submit(KLING, json!({ "image_url": inputs.at("wide"), "prompt": "the camera moves" })).await;
    let (_, output) = read(fal.result(&reply).await).await;
    inputs.close();
    let (_, file) = fal.download(&output["video"]).await;
    let unit = frame(&file, (640, 360), 5);
    let (columns, rows) = (40, 23);
    // The input's blue in limited-range BT.601.
    let [r, g, b] = BLUE.map(i32::from);
    let blue = [
        (((66 * r + 129 * g + 25 * b + 128) >> 8) + 16) as u8,
        (((-38 * r - 74 * g + 112 * b + 128) >> 8) + 128) as u8,
        (((112 * r - 94 * g - 18 * b + 128) >> 8) + 128) as u8,
    ];
    assert_eq!(unit[0], 0x65);
    let mut key = Bits::of(&unit);
    assert_eq!((key.ue(), key.ue(), key.ue(), key.u(4), key.ue()), (0, 7, 0, 0, 0));
    assert_eq!((key.u(2), key.ue(), key.ue()), (0, 0, 1));
    for address in 0..columns * rows {
        assert_eq!(key.ue(), 25);
        let seen = key.raw();
        // A frame lies around the input, and the texts lie below it.
        let is_free = (1..columns - 1).contains(&(address % columns)) && (1..13).contains(&(address / columns));
        let is_blue = seen.iter().zip(blue).all(|(a, b)| a.abs_diff(b) <= 3);
        assert!(is_blue || !is_free, "{address}: {seen:?}, not {blue:?}");
    }
    assert!(!key.more());
}

#[tokio::test]
async fn the_same_request_gives_the_same_video() {
    let inputs = Inputs::start().await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let fal = Fal::start(fresco_simulator::Config { scale: 0.0, seed: Some(3), ..Default::default() }).await;
        seen.push(make(&fal, SORA, json!({ "image_url": inputs.at("split") }), 4).await.1);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn lengths_of_the_wrong_type_and_missing_inputs_are_refused() {
    let (fal, inputs) = (Fal::instant().await, Inputs::start().await);
    let wide = inputs.at("wide");
    let cases = [
        (KLING, json!({ "image_url": wide, "duration": 5 }), "duration", "one_of"),
        (KLING, json!({ "image_url": wide, "duration": "7" }), "duration", "one_of"),
        (KLING, json!({ "image_url": wide, "duration": 7 }), "duration", "one_of"),
        (HAILUO, json!({ "image_url": wide, "duration": 6 }), "duration", "one_of"),
        (HAILUO, json!({ "image_url": wide, "resolution": "768p" }), "resolution", "one_of"),
        (KLING, json!({}), "image_url", "missing"),
        (KLING_PRO, json!({ "image_url": wide }), "start_image_url", "missing"),
        (SORA, json!({ "image_url": wide, "duration": "8" }), "duration", "one_of"),
        (SORA, json!({ "image_url": wide, "duration": 7 }), "duration", "one_of"),
        (SORA, json!({ "image_url": wide, "resolution": "1080p" }), "resolution", "one_of"),
        (SORA_PRO, json!({ "image_url": inputs.at("text") }), "image_url", "image_load_error"),
        (
            HAILUO,
            json!({ "image_url": wide, "end_image_url": inputs.at("absent") }),
            "end_image_url",
            "file_download_error",
        ),
    ];
    for (endpoint, mut body, field, kind) in cases {
        body["prompt"] = json!("x");
        let (status, answer) = fal.run(endpoint, body.clone()).await;
        let entry = &answer["detail"][0];
        assert_eq!((status, &entry["loc"][1], &entry["type"]), (422, &json!(field), &json!(kind)), "{body} {answer}");
    }
    assert_eq!(fal.running.counters().billed_completions, 0);
}

#[tokio::test]
async fn videos_are_priced_by_the_second() {
    let fal = Fal::instant().await;
    for (endpoint, price) in [(HAILUO, 0.045), (KLING, 0.056), (KLING_PRO, 0.14), (SORA, 0.1), (SORA_PRO, 0.3)] {
        let url = format!("{}/fal/api/v1/models/pricing?endpoint_id={endpoint}", fal.running.url());
        let (_, body) = fal.get(&url).await;
        let expected = json!({ "endpoint_id": endpoint, "unit_price": price, "unit": "seconds", "currency": "USD" });
        assert_eq!(body["prices"][0], expected);
    }
}
