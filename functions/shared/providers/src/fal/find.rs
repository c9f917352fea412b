//! The look-up of a job whose submission had an unknown outcome: fal's list of our requests, compared by their input. fal
//! takes no idempotency key, so the input, the endpoint and the time are all there is to know a job by.

use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::request::GenerationRequest;
use serde_json::Value;

use super::client::{Client, is_request_id, json, refused};
use super::errors::{bad_id, terminal, unavailable};
use super::input::{JobMatch, compare};
use crate::provider::{CheckError, FoundJob};

/// The most pages of 100 entries.
const PAGES: usize = 5;
/// No submission is accepted later than this after it was sent; it keeps the list short on a busy account.
const SPAN_MS: i64 = 60 * 60 * 1000;

/// `GET /v1/models/requests/by-endpoint` with payloads (fal docs, platform APIs). A list that is longer than what is read is
/// an error unless the job was on it, and so is one with entries that cannot be compared: "not there" must never be said of
/// what was not seen.
pub(super) async fn find(
    client: &Client,
    request: &GenerationRequest,
    not_before_ms: i64,
) -> Result<Vec<FoundJob>, CheckError> {
    let base = client.api_url("/v1/models/requests/by-endpoint").ok_or_else(bad_id)?;
    let (start, end) = (instant(not_before_ms)?, instant(not_before_ms.saturating_add(SPAN_MS))?);
    let mut found = Vec::new();
    let mut whole = true;
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES {
        let mut url = base.clone();
        url.query_pairs_mut()
            .append_pair("endpoint_id", &request.endpoint)
            .append_pair("start", &start)
            .append_pair("end", &end)
            .append_pair("expand", "payloads")
            .append_pair("limit", "100")
            .extend_pairs(cursor.iter().map(|cursor| ("cursor", cursor)));
        let answer = client.get(url).await?;
        if !answer.is_success() {
            return Err(refused(&answer));
        }
        let page = json(&answer)?;
        let Some(items) = page.get("items").and_then(Value::as_array) else {
            return Err(unavailable("fal's list of requests has no items"));
        };
        for item in items {
            match entry(item, request, not_before_ms) {
                Entry::Candidate(job) => found.push(job),
                Entry::Other => {}
                Entry::Unreadable => whole = false,
            }
        }
        cursor = page.get("next_cursor").and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        let more = page.get("has_more").and_then(Value::as_bool).unwrap_or(cursor.is_some());
        if !more || cursor.is_none() {
            whole &= !more;
            return conclude(found, whole);
        }
    }
    conclude(found, false)
}

fn conclude(mut found: Vec<FoundJob>, whole: bool) -> Result<Vec<FoundJob>, CheckError> {
    if found.is_empty() && !whole {
        return Err(unavailable("fal's list of requests could not be read to its end"));
    }
    found.sort_by(|a, b| (a.sent_at_ms, &a.request_id).cmp(&(b.sent_at_ms, &b.request_id)));
    found.dedup_by(|a, b| a.request_id == b.request_id);
    Ok(found)
}

/// The relation of an entry of the list to the request.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    /// It could be the job.
    Candidate(FoundJob),
    /// It is another one.
    Other,
    /// It is not known: its input or its time is absent, or its media are not as they were submitted.
    Unreadable,
}

fn entry(item: &Value, request: &GenerationRequest, not_before_ms: i64) -> Entry {
    if item.get("endpoint_id").and_then(Value::as_str).is_some_and(|endpoint| endpoint != request.endpoint) {
        return Entry::Other;
    }
    let text = |field: &str| item.get(field).and_then(Value::as_str);
    let sent_at_ms = text("sent_at").and_then(milliseconds);
    if sent_at_ms.is_some_and(|sent| sent < not_before_ms) {
        return Entry::Other;
    }
    let id = text("request_id").filter(|id| is_request_id(id));
    let (Some(sent_at_ms), Some(id), Some(input)) = (sent_at_ms, id, item.get("json_input").and_then(Value::as_object))
    else {
        return Entry::Unreadable;
    };
    // Without media a field is not submitted.
    let media: Vec<_> = request.inputs.iter().filter(|field| !field.media.is_empty()).collect();
    let alike = input.len() == request.params.len() + media.len()
        && request.params.iter().all(|(name, value)| input.get(name).is_some_and(|other| same(value, other)))
        && media.iter().all(|field| input.contains_key(&field.to));
    if !alike {
        return Entry::Other;
    }
    let media = || media.iter().filter_map(|field| Some(compare(field, input.get(&field.to)?)));
    if media().any(|alike| alike == JobMatch::No) {
        return Entry::Other;
    }
    if media().any(|alike| alike == JobMatch::Unreadable) {
        return Entry::Unreadable;
    }
    let ended = item.get("ended_at").is_some_and(|instant| !instant.is_null());
    Entry::Candidate(FoundJob { request_id: id.to_owned(), sent_at_ms, ended })
}

/// An instant; one without an offset is taken as UTC.
fn milliseconds(text: &str) -> Option<i64> {
    let instant = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    })?;
    Some(instant.as_millisecond())
}

/// Equality of JSON values where 1 and 1.0 are the same number: the list need not spell numbers as they were sent.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        // Two integers are compared exactly: seeds exceed the precision of a float.
        (Value::Number(x), Value::Number(y)) => x == y || (x.is_f64() != y.is_f64() && x.as_f64() == y.as_f64()),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(name, x)| y.get(name).is_some_and(|y| same(x, y)))
        }
        _ => a == b,
    }
}

fn instant(ms: i64) -> Result<String, CheckError> {
    jiff::Timestamp::from_millisecond(ms)
        .map(|instant| instant.to_string())
        .map_err(|_| terminal(Failure::new(ErrorName::Internal, "the instant of the submission is out of range")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Entry, GenerationRequest, conclude, entry, same};
    use crate::provider::FoundJob;
    use crate::submission::tests::{field, request};

    const NOT_BEFORE: i64 = 1_767_225_600_000;

    fn ours() -> GenerationRequest {
        let params = json!({"prompt": "a fox", "num_images": 1, "scale": 3.5, "size": {"width": 512}});
        request("fal-ai/flux/dev", params)
    }

    #[test]
    fn a_job_is_known_by_its_input_and_its_time() {
        let input = json!({"size": {"width": 512.0}, "scale": 3.5, "num_images": 1.0, "prompt": "a fox"});
        let item = json!({"request_id": "r-1", "endpoint_id": "fal-ai/flux/dev", "sent_at": "2026-01-01T00:00:01.5Z",
            "ended_at": null, "json_input": input});
        let job = FoundJob { request_id: "r-1".to_owned(), sent_at_ms: 1_767_225_601_500, ended: false };
        assert_eq!(entry(&item, &ours(), NOT_BEFORE), Entry::Candidate(job.clone()));
        let mut naive = item.clone();
        naive["sent_at"] = json!("2026-01-01T00:00:01.500");
        assert_eq!(entry(&naive, &ours(), NOT_BEFORE), Entry::Candidate(job));
        for (field, value, what) in [
            ("sent_at", json!("2025-12-31T23:59:59Z"), Entry::Other),
            ("sent_at", json!("yesterday"), Entry::Unreadable),
            ("endpoint_id", json!("fal-ai/flux/schnell"), Entry::Other),
            ("request_id", json!("../x"), Entry::Unreadable),
            ("json_input", json!(null), Entry::Unreadable),
            ("json_input", json!({"prompt": "a fox"}), Entry::Other),
            (
                "json_input",
                json!({"prompt": "a fox", "num_images": 2, "scale": 3.5, "size": {"width": 512}}),
                Entry::Other,
            ),
            (
                "json_input",
                json!({"prompt": "a fox", "num_images": 1, "scale": 3.5, "x": {"width": 512}}),
                Entry::Other,
            ),
        ] {
            let mut other = item.clone();
            other[field] = value;
            assert_eq!(entry(&other, &ours(), NOT_BEFORE), what, "{other}");
        }
    }

    #[test]
    fn media_are_compared_beside_the_params() {
        let mut ours = request("fal-ai/flux/dev", json!({"prompt": "a fox"}));
        ours.inputs = vec![
            field("image_urls", true, &["in/a.png", "in/b.png"]),
            field("mask_url", false, &["in/m.png"]),
            field("end_image_url", false, &[]),
        ];
        let url = |key: &str| format!("https://b.example/{key}?X-Amz-Date=2");
        let (a, b, m) = (url("in/a.png"), url("in/b.png"), url("in/m.png"));
        for (input, is_it) in [
            (json!({"prompt": "a fox", "image_urls": [a, b], "mask_url": m}), Some(true)),
            (json!({"prompt": "a cat", "image_urls": [a, b], "mask_url": m}), Some(false)),
            (json!({"prompt": "a fox", "image_urls": [b, a], "mask_url": m}), Some(false)),
            (json!({"prompt": "a fox", "image_urls": [a, b], "mask_url": a}), Some(false)),
            (json!({"prompt": "a fox", "image_urls": [a, b]}), Some(false)),
            (json!({"prompt": "a fox", "image_urls": [a, b], "end_image_url": m}), Some(false)),
            (json!({"prompt": "a fox", "image_urls": [a, b], "mask_url": m, "end_image_url": m}), Some(false)),
            (json!({"prompt": "a fox", "image_urls": [a, b], "mask_url": null}), None),
            (json!({"prompt": "a fox", "image_urls": [b, a], "mask_url": null}), Some(false)),
            (json!({"prompt": "a cat", "image_urls": null, "mask_url": null}), Some(false)),
        ] {
            let item = json!({"request_id": "r-1", "sent_at": "2026-01-01T00:00:01Z", "json_input": input});
            let found = match entry(&item, &ours, NOT_BEFORE) {
                Entry::Candidate(_) => Some(true),
                Entry::Other => Some(false),
                Entry::Unreadable => None,
            };
            assert_eq!(found, is_it, "{item}");
        }
    }

    #[test]
    fn nothing_found_in_a_part_of_the_list_is_not_nothing() {
        assert_eq!(conclude(Vec::new(), true), Ok(Vec::new()));
        assert!(conclude(Vec::new(), false).is_err());
        let job = |id: &str, sent_at_ms| FoundJob { request_id: id.to_owned(), sent_at_ms, ended: false };
        let found = conclude(vec![job("b", 2), job("a", 1), job("b", 2)], false).unwrap();
        assert_eq!(found, [job("a", 1), job("b", 2)]);
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        assert!(same(&json!(1), &json!(1.0)) && same(&json!([0, {"a": 2.0}]), &json!([0.0, {"a": 2}])));
        assert!(!same(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992_u64)));
        assert!(!same(&json!(1), &json!("1")) && !same(&json!(1), &json!(true)) && !same(&json!([1]), &json!([1, 2])));
    }
}
