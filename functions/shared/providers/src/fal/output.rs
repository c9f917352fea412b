//! Reads a result. Models name their files differently (`images`, `image`, `video`, …), and a picture that a safety
//! check has blanked comes with status 200, so success is decided here and not by the status.

use fresco_pipeline::error::{ErrorName, Failure};
use serde_json::Value;

use crate::provider::{JobReport, RemoteMedia};

/// Lists first: a model with `images` may name its first one `image` as well.
const FIELDS: [&str; 6] = ["images", "videos", "audios", "image", "video", "audio"];
/// Every report goes into a row of the ledger, so it has to stay small.
const MAX_URL: usize = 4096;
const MAX_MEDIA: usize = 64;

/// The report of a job whose result this is.
pub(super) fn report(payload: &Value, billable_units: Option<f64>, seconds: Option<f64>) -> JobReport {
    match media(payload) {
        Ok((media, blanked)) => {
            let inference = || payload.pointer("/timings/inference").and_then(Value::as_f64);
            let seconds = seconds.or_else(inference).filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
            JobReport::Succeeded { media, blanked, billable_units, seconds }
        }
        // The job ran to its end, so it is billed.
        Err(failure) => JobReport::Failed { failure, billed: true },
    }
}

/// The media that can be used, and the number of those that a safety check blanked. Where there are none, it fails with the
/// reason for the first.
fn media(payload: &Value) -> Result<(Vec<RemoteMedia>, u32), Failure> {
    let files = FIELDS.iter().find_map(|field| match payload.get(field) {
        Some(Value::Array(files)) if !files.is_empty() => Some(files.iter().collect::<Vec<_>>()),
        Some(file @ Value::Object(_)) => Some(vec![file]),
        _ => None,
    });
    match files {
        None => Err(Failure::new(ErrorName::ProviderFailed, "fal ended the job without any media")),
        Some(files) if files.len() > MAX_MEDIA => {
            Err(Failure::new(ErrorName::OutputInvalid, format!("fal gave more than {MAX_MEDIA} files")))
        }
        Some(files) => usable(payload, files),
    }
}

fn usable(payload: &Value, files: Vec<&Value>) -> Result<(Vec<RemoteMedia>, u32), Failure> {
    // `has_nsfw_concepts[i] == true` with status 200 means that picture i is blank (fal docs, model schemas).
    let flags = payload.get("has_nsfw_concepts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is_blank = |index: usize| flags.get(index).and_then(Value::as_bool) == Some(true);
    let asked = files.len();
    let (mut media, mut blanked, mut unusable) = (Vec::new(), 0, None);
    for (index, value) in files.into_iter().enumerate() {
        match file(value) {
            _ if is_blank(index) => blanked += 1,
            Ok(usable) => media.push(usable),
            Err(failure) => unusable = unusable.or(Some(failure)),
        }
    }
    match (media.is_empty(), unusable) {
        (false, _) => Ok((media, blanked)),
        (true, Some(failure)) if blanked == 0 => Err(failure),
        (true, _) => {
            let message = format!("fal's safety check blanked {blanked} of {asked} pictures");
            Err(Failure::new(ErrorName::ProviderContentPolicy, message))
        }
    }
}

/// A `File` or an `Image` (fal's JS client, `endpoints.d.ts`).
fn file(file: &Value) -> Result<RemoteMedia, Failure> {
    let url = match file.get("url").and_then(Value::as_str) {
        None | Some("") => return Err(Failure::new(ErrorName::ProviderFailed, "fal gave a file without a URL")),
        // Only with `sync_mode`, which is never asked for. It would not fit into a row.
        Some(url) if url.starts_with("data:") => {
            return Err(Failure::new(ErrorName::OutputInvalid, "fal gave the file within the answer instead of a URL"));
        }
        Some(url) if url.len() > MAX_URL => {
            return Err(Failure::new(ErrorName::OutputInvalid, format!("fal gave a URL longer than {MAX_URL} bytes")));
        }
        Some(url) => url.to_owned(),
    };
    let number = |field: &str| file.get(field).and_then(Value::as_u64).filter(|number| *number > 0);
    let text = |field: &str| file.get(field).and_then(Value::as_str).filter(|text| text.len() <= 128);
    Ok(RemoteMedia {
        url,
        content_type: text("content_type").map(str::to_owned),
        bytes: number("file_size"),
        width: number("width").and_then(|width| u32::try_from(width).ok()),
        height: number("height").and_then(|height| u32::try_from(height).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn media_are_found_under_every_name() {
        let file = json!({"url": "https://v3.fal.media/a.png", "content_type": "image/png", "width": 512, "height": 768,
            "file_size": 12345, "file_name": "a.png"});
        for payload in [
            json!({"images": [file], "seed": 1, "has_nsfw_concepts": [false], "prompt": "x", "timings": {"inference": 1.5}}),
            json!({"image": file, "images": [], "timings": {"inference": 1.5}}),
            json!({"video": file, "image": null, "timings": {"inference": 1.5}}),
        ] {
            let JobReport::Succeeded { media, billable_units, seconds, blanked: 0 } = report(&payload, Some(0.5), None)
            else {
                panic!("{payload}")
            };
            assert_eq!((media.len(), billable_units, seconds), (1, Some(0.5), Some(1.5)));
            let RemoteMedia { url, content_type, bytes, width, height } = &media[0];
            assert_eq!((url.as_str(), content_type.as_deref()), ("https://v3.fal.media/a.png", Some("image/png")));
            assert_eq!((*bytes, *width, *height), (Some(12345), Some(512), Some(768)));
        }
    }

    #[test]
    fn a_result_without_usable_media_is_a_failure_that_was_paid() {
        let file = json!({"url": "https://v3.fal.media/a.png"});
        for (payload, name) in [
            (json!({}), ErrorName::ProviderFailed),
            (json!([]), ErrorName::ProviderFailed),
            (json!({"images": []}), ErrorName::ProviderFailed),
            (json!({"images": [null]}), ErrorName::ProviderFailed),
            (json!({"images": [{"url": ""}]}), ErrorName::ProviderFailed),
            (json!({"images": [{}, {}]}), ErrorName::ProviderFailed),
            (json!({"images": [{"url": "data:image/png;base64,AAAA"}]}), ErrorName::OutputInvalid),
            (json!({"images": [{"url": "x".repeat(5000)}]}), ErrorName::OutputInvalid),
            (json!({"images": vec![file.clone(); 65]}), ErrorName::OutputInvalid),
            (json!({"images": [file, file], "has_nsfw_concepts": [true, true]}), ErrorName::ProviderContentPolicy),
        ] {
            match report(&payload, None, None) {
                JobReport::Failed { failure, billed: true } => assert_eq!(failure.name, name, "{payload}"),
                other => panic!("{payload}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_good_of_a_result_is_kept() {
        let file = |name: &str| json!({"url": format!("https://v3.fal.media/{name}.png")});
        let images = [file("a"), file("b"), file("c"), file("d")];
        for (payload, kept, blank) in [
            (json!({"images": images, "has_nsfw_concepts": [false, true, false, true]}), "ac", 2),
            (json!({"images": images, "has_nsfw_concepts": [true]}), "bcd", 1),
            (json!({"images": images[..3]}), "abc", 0),
            (json!({"images": [file("a"), {}, null, {"url": "data:image/png;base64,AAAA"}]}), "a", 0),
            (json!({"images": [file("a"), {}], "has_nsfw_concepts": [false, true]}), "a", 1),
        ] {
            let JobReport::Succeeded { media, blanked, .. } = report(&payload, None, None) else { panic!("{payload}") };
            let names: Vec<String> = kept.chars().map(|name| format!("https://v3.fal.media/{name}.png")).collect();
            assert_eq!((media.iter().map(|media| media.url.clone()).collect(), blanked), (names, blank), "{payload}");
        }
    }
}
