//! Reads an answer. A prompt that was blocked and a text that was withheld come with status 200, so success is decided
//! here and not by the status; and what was answered is billed, whether there is a text in it or not.

use std::time::Duration;

use fresco_pipeline::error::{ErrorName, Failure};
use serde_json::Value;

use crate::http::{Answer, BodyError, MAX_ANSWER};
use crate::message::word;
use crate::provider::{JobReport, SubmitError};

/// The longest text, in bytes: it is stored in a row of the ledger.
const MAX_TEXT: usize = 64 * 1024;
/// The ends by which a text is withheld (Google's Python client, `types.FinishReason`). What stands before such an end is half
/// an answer.
const WITHHELD: [&str; 5] = ["SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "IMAGE_SAFETY"];
/// The ends that say nothing of the request: the same one is mostly answered at the next try.
const BY_CHANCE: [&str; 3] = ["", "STOP", "RECITATION"];
/// The ends of a text that is whole, or as long as it may be.
const WHOLE: [&str; 3] = ["", "STOP", "MAX_TOKENS"];

/// The report of a call that was answered with a 2xx. One that cannot be read may have held a text that was billed.
pub(super) fn report(answer: &Answer, took: Duration) -> Result<JobReport, SubmitError> {
    let unknown = |message: String| Err(SubmitError::Unknown { message });
    let body = match &answer.body {
        Ok(body) => body,
        Err(BodyError::TooLong) => return unknown(format!("Gemini's answer is longer than {MAX_ANSWER} bytes")),
        Err(BodyError::Broken(reason)) => return unknown(format!("Gemini's answer: {reason}")),
    };
    match serde_json::from_slice::<Value>(body) {
        Ok(body) if body.is_object() => Ok(read(&body, took)),
        Ok(_) => unknown("Gemini's answer is not a JSON object".to_owned()),
        Err(_) => unknown("Gemini's answer is not JSON".to_owned()),
    }
}

fn read(body: &Value, took: Duration) -> JobReport {
    let failed = |name, message: String| JobReport::Failed { failure: Failure::new(name, message), billed: true };
    let Some(candidate) = body.pointer("/candidates/0") else {
        // A blocked prompt has no candidates (Google's Python client, `types.BlockedReason`).
        return match body.pointer("/promptFeedback/blockReason").and_then(Value::as_str) {
            Some(reason) => {
                failed(ErrorName::ProviderContentPolicy, format!("Gemini blocked the request ({})", word(reason)))
            }
            None => failed(ErrorName::ProviderNoResult, "Gemini answered without a candidate".to_owned()),
        };
    };
    let text = text(candidate);
    let reason = candidate.get("finishReason").and_then(Value::as_str).unwrap_or_default();
    if WITHHELD.contains(&reason) {
        return failed(ErrorName::ProviderContentPolicy, format!("Gemini withheld its answer ({reason})"));
    }
    if text.trim().is_empty() || !WHOLE.contains(&reason) {
        let by_chance = BY_CHANCE.contains(&reason);
        let name = if by_chance { ErrorName::ProviderNoResult } else { ErrorName::ProviderFailed };
        let reason = if reason.is_empty() { String::new() } else { format!(" ({})", word(reason)) };
        return failed(name, format!("Gemini answered without a whole text{reason}"));
    }
    if text.len() > MAX_TEXT {
        return failed(ErrorName::OutputInvalid, format!("Gemini's text is longer than {MAX_TEXT} bytes"));
    }
    let tokens = |name: &str| body.get("usageMetadata").and_then(|usage| usage.get(name)).and_then(Value::as_u64);
    // Thoughts are billed as output.
    let output_tokens = match (tokens("candidatesTokenCount"), tokens("thoughtsTokenCount")) {
        (None, None) => None,
        (text, thoughts) => Some(text.unwrap_or(0).saturating_add(thoughts.unwrap_or(0))),
    };
    // A text that ended at its limit is kept as far as it goes: it is paid. Whether its length was asked for is not known here.
    JobReport::TextOutput {
        text,
        input_tokens: tokens("promptTokenCount"),
        output_tokens,
        seconds: Some(took.as_secs_f64()),
        cut: reason == "MAX_TOKENS",
    }
}

/// The text of a candidate, without what the model thought on the way.
fn text(candidate: &Value) -> String {
    let parts = candidate.pointer("/content/parts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let said = parts.iter().filter(|part| part.get("thought").and_then(Value::as_bool) != Some(true));
    said.filter_map(|part| part.get("text").and_then(Value::as_str)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> JobReport {
        super::read(body, Duration::from_millis(1500))
    }

    #[test]
    fn a_text_is_concatenated_from_its_parts() {
        let usage = json!({"promptTokenCount": 264, "candidatesTokenCount": 51, "thoughtsTokenCount": 9});
        let parts = json!([{"text": "hm", "thought": true}, {"text": "A fox", "thought": false}, {"inlineData": {}},
            {"text": " in snow.\n"}]);
        for reason in ["STOP", "MAX_TOKENS"] {
            let body = json!({"candidates": [{"content": {"parts": parts}, "finishReason": reason}, {}],
                "usageMetadata": usage});
            let expected = JobReport::TextOutput {
                text: "A fox in snow.\n".to_owned(),
                input_tokens: Some(264),
                output_tokens: Some(60),
                seconds: Some(1.5),
                cut: reason == "MAX_TOKENS",
            };
            assert_eq!(read(&body), expected);
        }
    }

    #[test]
    fn tokens_are_reported_only_where_they_are_known() {
        for (usage, input, output) in [
            (json!(null), None, None),
            (json!({"promptTokenCount": 3}), Some(3), None),
            (json!({"candidatesTokenCount": 4}), None, Some(4)),
            (json!({"thoughtsTokenCount": 5}), None, Some(5)),
            (json!({"promptTokenCount": -1, "candidatesTokenCount": "4"}), None, None),
        ] {
            let body = json!({"candidates": [{"content": {"parts": [{"text": "x"}]}}], "usageMetadata": usage});
            let JobReport::TextOutput { input_tokens, output_tokens, .. } = read(&body) else { panic!("{body}") };
            assert_eq!((input_tokens, output_tokens), (input, output), "{usage}");
        }
    }

    #[test]
    fn an_answer_without_a_text_is_a_failure_that_was_paid() {
        use ErrorName::{OutputInvalid, ProviderContentPolicy, ProviderFailed, ProviderNoResult};
        let candidate =
            |reason: &str, parts: Value| json!({"candidates": [{"content": {"parts": parts}, "finishReason": reason}]});
        for (body, name) in [
            (json!({"promptFeedback": {"blockReason": "SAFETY"}}), ProviderContentPolicy),
            (json!({"candidates": [], "promptFeedback": {"blockReason": "OTHER"}}), ProviderContentPolicy),
            (json!({"promptFeedback": {"safetyRatings": []}}), ProviderNoResult),
            (json!({}), ProviderNoResult),
            (json!({"candidates": [{"finishReason": "SAFETY"}]}), ProviderContentPolicy),
            (candidate("PROHIBITED_CONTENT", json!([])), ProviderContentPolicy),
            (candidate("BLOCKLIST", json!([{"text": ""}])), ProviderContentPolicy),
            (candidate("SPII", json!(null)), ProviderContentPolicy),
            (candidate("IMAGE_SAFETY", json!([{}])), ProviderContentPolicy),
            (candidate("RECITATION", json!([{"text": "hm", "thought": true}])), ProviderNoResult),
            (candidate("MAX_TOKENS", json!([{"text": "hm", "thought": true}])), ProviderFailed),
            (candidate("STOP", json!([{"text": " \n"}])), ProviderNoResult),
            (candidate("OTHER", json!([])), ProviderFailed),
            (json!({"candidates": [{}]}), ProviderNoResult),
            (candidate("STOP", json!([{"text": "x".repeat(MAX_TEXT + 1)}])), OutputInvalid),
            // Half an answer is none, whatever text it has.
            (candidate("SAFETY", json!([{"text": "A fox that"}])), ProviderContentPolicy),
            (candidate("PROHIBITED_CONTENT", json!([{"text": "A fox that"}])), ProviderContentPolicy),
            (candidate("SPII", json!([{"text": "A fox that"}])), ProviderContentPolicy),
            (candidate("BLOCKLIST", json!([{"text": "A fox that"}])), ProviderContentPolicy),
            (candidate("RECITATION", json!([{"text": "A fox that"}])), ProviderNoResult),
            (candidate("OTHER", json!([{"text": "A fox that"}])), ProviderFailed),
            (candidate("MALFORMED_FUNCTION_CALL", json!([{"text": "A fox that"}])), ProviderFailed),
        ] {
            match read(&body) {
                JobReport::Failed { failure, billed: true } => assert_eq!(failure.name, name, "{failure}"),
                other => panic!("{other:?}"),
            }
        }
        let longest = candidate("STOP", json!([{"text": "x".repeat(MAX_TEXT)}]));
        assert!(matches!(read(&longest), JobReport::TextOutput { .. }));
    }

    #[test]
    fn a_report_is_stored_whole_and_shown_without_its_text() {
        let report = read(&json!({"candidates": [{"content": {"parts": [{"text": "secret fox"}]}}]}));
        let shown = format!("{report:?} {report:#?}");
        assert!(shown.contains("bytes: 10") && !shown.contains("fox"), "{shown}");
        let stored = serde_json::to_value(&report).unwrap();
        assert_eq!(stored, json!({"report": "text_output", "text": "secret fox", "seconds": 1.5}));
        assert_eq!(serde_json::from_value::<JobReport>(stored).unwrap(), report);
    }
}
