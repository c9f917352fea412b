//! Edits over HTTP: inputs are fetched and shown in the result; inputs that cannot be fetched or decoded are refused.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{BLUE, Fal, GREEN, Inputs, ORANGE, RED, alike, mean, read};
use serde_json::{Value, json};

fn files(output: &Value) -> Vec<Value> {
    match output.get("images") {
        Some(images) => images.as_array().unwrap().clone(),
        None => vec![output["image"].clone()],
    }
}

#[tokio::test]
async fn every_edit_shows_its_input_in_the_right_size() {
    let (fal, inputs) = (Fal::instant().await, Inputs::start().await);
    let wide = inputs.at("wide");
    let cases = [
        (
            "fal-ai/luma-photon/flash/modify",
            json!({ "image_url": wide, "strength": 0.8, "aspect_ratio": "1:1" }),
            (1024, 1024),
            "images",
        ),
        (
            "fal-ai/luma-photon/modify",
            json!({ "image_url": wide, "strength": 0.8, "aspect_ratio": "9:16" }),
            (768, 1360),
            "images",
        ),
        ("fal-ai/flux-kontext/dev", json!({ "image_url": wide }), (320, 180), "images"),
        ("fal-ai/flux-kontext/dev", json!({ "image_url": wide, "resolution_mode": "4:3" }), (1184, 880), "images"),
        ("fal-ai/flux-pro/kontext/max/multi", json!({ "image_urls": [wide] }), (320, 180), "images"),
        ("fal-ai/bytedance/seededit/v3/edit-image", json!({ "image_url": wide }), (320, 180), "image"),
        ("fal-ai/clarity-upscaler", json!({ "image_url": wide, "upscale_factor": 3 }), (960, 540), "image"),
        ("fal-ai/nano-banana-pro/edit", json!({ "image_urls": [wide] }), (1376, 768), "images"),
    ];
    for (endpoint, mut body, size, field) in cases {
        body["prompt"] = json!("make it winter");
        let reply = fal.submit(endpoint, body).await;
        let result = fal.result(&reply).await;
        assert_eq!(result.headers()["x-fal-billable-units"], "1", "{endpoint}");
        let (status, output) = read(result).await;
        assert_eq!(status, 200, "{output}");
        assert!(output.get(field).is_some(), "{endpoint}: {output}");
        let file = files(&output).remove(0);
        match endpoint.contains("photon") {
            // The type of its files has no size.
            true => assert_eq!((file.get("width"), file.get("height")), (None, None)),
            false => assert_eq!((&file["width"], &file["height"]), (&json!(size.0), &json!(size.1)), "{endpoint}"),
        }
        let (content_type, bytes) = fal.download(&file).await;
        assert_eq!(file["content_type"], content_type);
        let picture = image::load_from_memory(&bytes).unwrap().into_rgb8();
        assert_eq!(picture.dimensions(), size, "{endpoint}");
        // The lower part holds the panel with the prompt, which is larger in proportion in a small picture.
        let free = if size.1 < 200 { 50 } else { 60 };
        let seen = mean(&picture, 10..90, 10..free);
        assert!(alike(seen, BLUE), "{endpoint}: {seen:?}");
        assert!(!alike(mean(&picture, 35..65, 70..85), BLUE), "{endpoint}");
    }
}

#[tokio::test]
async fn several_inputs_are_shown_side_by_side_after_their_addresses_have_expired() {
    let (fal, inputs) = (Fal::instant().await, Inputs::start().await);
    let split = format!("data:image/png;base64,{}", {
        let bytes = fal.http.get(inputs.at("split")).send().await.unwrap().bytes().await.unwrap();
        STANDARD.encode(bytes)
    });
    let body = json!({ "prompt": "join them", "image_urls": [inputs.at("wide"), split, inputs.at("tall")],
        "num_images": 2, "aspect_ratio": "3:2", "output_format": "png" });
    let (status, output) = fal.run("fal-ai/flux-pro/kontext/max/multi", body).await;
    assert_eq!(status, 200, "{output}");
    inputs.close();
    let mut drawn = Vec::new();
    for file in files(&output) {
        let picture = image::load_from_memory(&fal.download(&file).await.1).unwrap().into_rgb8();
        assert_eq!(picture.dimensions(), (1248, 832));
        for (across, colour) in [(5..28, BLUE), (37..47, RED), (53..63, GREEN), (70..95, ORANGE)] {
            let seen = mean(&picture, across.clone(), 10..60);
            assert!(alike(seen, colour), "{across:?}: {seen:?}");
        }
        drawn.push(picture);
    }
    assert!(drawn.len() == 2 && drawn[0] != drawn[1]);
    assert_eq!(fal.running.requests()[0].inputs, 3);
}

#[tokio::test]
async fn an_edit_can_be_inline() {
    let (fal, inputs) = (Fal::instant().await, Inputs::start().await);
    let body = json!({ "prompt": "x", "image_urls": [inputs.at("tall")], "sync_mode": true });
    let (_, output) = fal.run("fal-ai/nano-banana-pro/edit", body).await;
    let data = output["images"][0]["url"].as_str().unwrap().strip_prefix("data:image/png;base64,").unwrap();
    let picture = image::load_from_memory(&STANDARD.decode(data).unwrap()).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (768, 1376));
    assert!(alike(mean(&picture, 10..90, 10..60), ORANGE));
}

#[tokio::test]
async fn an_input_that_cannot_be_used_ends_the_request_unbilled() {
    let (fal, inputs) = (Fal::instant().await, Inputs::start().await);
    let closed_port = {
        // A port that was free a moment ago, without a listener.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/x.png", listener.local_addr().unwrap())
    };
    let cases = [
        (inputs.at("text"), "image_load_error"),
        (inputs.at("absent"), "file_download_error"),
        (inputs.at("large"), "file_too_large"),
        (inputs.at("moved"), "file_download_error"),
        (closed_port, "file_download_error"),
        ("ftp://127.0.0.1/x.png".to_owned(), "file_download_error"),
        ("no address".to_owned(), "file_download_error"),
        ("data:image/png;base64,AAAA".to_owned(), "image_load_error"),
        ("data:image/png;base64,&".to_owned(), "file_download_error"),
    ];
    let number = cases.len() as u64;
    for (address, kind) in cases {
        let reply = fal.submit("fal-ai/flux-kontext/dev", json!({ "prompt": "x", "image_url": address })).await;
        let result = fal.result(&reply).await;
        assert!(result.headers().get("x-fal-billable-units").is_none());
        assert_eq!(result.headers()["x-fal-retryable"], "false");
        let (status, body) = read(result).await;
        let entry = &body["detail"][0];
        assert_eq!(
            (status, &entry["type"], &entry["loc"]),
            (422, &json!(kind), &json!(["body", "image_url"])),
            "{address}"
        );
        assert_eq!(entry["url"], format!("https://docs.fal.ai/errors#{kind}"));
        assert_eq!(entry["input"], address);
    }
    let counters = fal.running.counters();
    assert_eq!((counters.completions, counters.failures, counters.billed_completions), (number, number, 0));

    let body = json!({ "prompt": "x", "image_urls": [inputs.at("wide"), inputs.at("absent"), inputs.at("text")] });
    let (status, body) = fal.run("fal-ai/nano-banana-pro/edit", body).await;
    let places: Vec<_> = body["detail"].as_array().unwrap().iter().map(|entry| entry["loc"].clone()).collect();
    assert_eq!((status, places), (422, vec![json!(["body", "image_urls", 1]), json!(["body", "image_urls", 2])]));
}

#[tokio::test]
async fn a_body_without_its_input_is_refused() {
    let fal = Fal::instant().await;
    let cases = [
        ("fal-ai/flux-kontext/dev", json!({ "prompt": "x" }), "image_url", "missing"),
        ("fal-ai/nano-banana-pro/edit", json!({ "prompt": "x", "image_url": "u" }), "image_urls", "missing"),
        ("fal-ai/nano-banana-pro/edit", json!({ "prompt": "x", "image_urls": [] }), "image_urls", "sequence_too_short"),
        ("fal-ai/luma-photon/modify", json!({ "image_url": "u", "aspect_ratio": "1:1" }), "strength", "missing"),
        (
            "fal-ai/clarity-upscaler",
            json!({ "image_url": "u", "upscale_factor": 5 }),
            "upscale_factor",
            "less_than_equal",
        ),
    ];
    for (endpoint, body, field, kind) in cases {
        let (status, body) = fal.run(endpoint, body).await;
        let entry = &body["detail"][0];
        assert_eq!((status, &entry["loc"][1], &entry["type"]), (422, &json!(field), &json!(kind)), "{body}");
    }
}
