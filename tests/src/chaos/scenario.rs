//! The draws of a chaos: pipelines whose steps share few content keys, faults of the providers, and crashes of functions.

use fresco_engine::failpoint::Failpoint;
use serde_json::{Value, json};

use super::chance::Chance;

/// Draws a pipeline of one to five steps over few prompts, so that runs hit, join and wait for each other.
pub(super) fn document(chance: &mut Chance, seed: u64, prompts: usize) -> String {
    let mut steps: Vec<Value> = Vec::new();
    // Positions of the steps that make pictures.
    let mut pictures: Vec<usize> = Vec::new();
    for n in 0..1 + chance.below(5) {
        let prompt = format!("chaos {seed}, {}", chance.below(prompts));
        let name = format!("s{n}");
        let step = match (chance.below(10), pictures.is_empty()) {
            (0..5, _) | (_, true) => {
                pictures.push(n);
                json!({"name": name, "type": "text_to_image", "model": "flux_schnell", "params": {"prompt": prompt}})
            }
            (5..8, _) => {
                let from = format!("s{}", chance.pick(&pictures));
                pictures.push(n);
                let prompt = format!("{prompt}, edited");
                json!({"name": name, "type": "image_to_image", "input_from": from, "params": {"prompt": prompt}})
            }
            (8, _) => {
                let from = format!("s{}", chance.pick(&pictures));
                let params = json!({"prompt": format!("{prompt}, moving"), "resolution": "512P"});
                json!({"name": name, "type": "image_to_video", "input_from": from, "params": params})
            }
            _ => {
                let from = format!("s{}", chance.pick(&pictures));
                let params = json!({"prompt": format!("{prompt}, described")});
                json!({"name": name, "type": "analyze_image", "input_from": from, "params": params})
            }
        };
        steps.push(step);
    }
    let mut settings = json!({
        "fail_fast": chance.percent(50),
        "schedule": if chance.percent(50) { "eager" } else { "groups" },
        "max_workers": 1 + chance.below(4),
    });
    if chance.percent(15) {
        settings["max_cost"] = json!(*chance.pick(&[0.002, 0.01, 0.05, 0.5]));
    }
    let steps = if chance.percent(50) {
        json!([{"type": "parallel_group", "name": "side_by_side", "steps": steps}])
    } else {
        json!(steps)
    };
    json!({"name": "chaos", "settings": settings, "steps": steps}).to_string()
}

/// Faults that lose a reply are only for fal's endpoints. Gemini lists no jobs, so a lost reply of Gemini is paid in vain,
/// which is reported as `Step.Unknown` and is no defect of the ledger.
const FAL: &str = "fal-ai/*";

/// Draws fault rules for the simulator, from all that a provider can do without losing a paid result for good.
pub(super) fn faults(chance: &mut Chance) -> Vec<Value> {
    let everywhere = |fault: &str| json!({"fault": fault});
    let at_fal = |fault: &str| json!({"fault": fault, "endpoint": FAL});
    let with = |mut rule: Value, field: &str, value: Value| {
        rule[field] = value;
        rule
    };
    let all = [
        // Refused.
        with(everywhere("throttled"), "retry_after", json!(1)),
        everywhere("throttled"),
        at_fal("throttled_200"),
        with(at_fal("infrastructure"), "error_type", json!("runner_scheduling_failure")),
        with(everywhere("server_error"), "status", json!(503)),
        everywhere("html_502"),
        everywhere("cut_before"),
        // Accepted, and the reply is lost or slow.
        at_fal("cut_after"),
        at_fal("broken_json"),
        at_fal("no_request_id"),
        with(at_fal("slow_reply"), "seconds", json!(1)),
        // The work fails, unbilled.
        with(at_fal("model_error"), "type", json!("internal_server_error")),
        with(at_fal("infrastructure_end"), "error_type", json!("runner_disconnected")),
        at_fal("payload_error"),
        // Status polls are not answered.
        at_fal("status_error"),
        at_fal("status_html"),
        at_fal("status_cut"),
        // Media are damaged or slow.
        at_fal("media_status"),
        at_fal("media_truncated"),
        at_fal("media_empty"),
        at_fal("media_wrong_type"),
        at_fal("media_wrong_length"),
        at_fal("media_no_length"),
        with(at_fal("media_slow"), "seconds", json!(1)),
        // Webhooks are lost, delayed, repeated and forged.
        at_fal("webhook_lost"),
        at_fal("webhook_twice"),
        with(at_fal("webhook_burst"), "count", json!(10)),
        with(at_fal("webhook_late"), "seconds", json!(2)),
        with(at_fal("webhook_before_reply"), "seconds", json!(3)),
        with(at_fal("webhook_reordered"), "seconds", json!(2)),
        at_fal("webhook_forged_signature"),
        at_fal("webhook_wrong_user"),
        at_fal("webhook_stale"),
        at_fal("webhook_unknown_request"),
        at_fal("webhook_wrong_token"),
        // Cancellations do not do what they answer.
        at_fal("cancel_ignored"),
        at_fal("cancel_too_late"),
        at_fal("cancel_200"),
    ];
    (0..3 + chance.below(6))
        .map(|_| {
            let rule = chance.pick(&all).clone();
            // A paid output is given up after six failed downloads in a row: media faults are too rare for that.
            let media = rule["fault"].as_str().is_some_and(|fault| fault.starts_with("media_"));
            let often: &[f64] = if media { &[0.1, 0.2] } else { &[0.1, 0.3, 0.6] };
            with(rule, "probability", json!(*chance.pick(often)))
        })
        .collect()
}

/// The functions that may crash, by the template's outputs, and the prefixes of their failpoints.
const FUNCTIONS: [(&str, &[&str]); 8] = [
    ("PlanFunctionName", &["plan.", "close."]),
    ("TextToImageFunctionName", &["generate.", "attempt.", "answer.", "notify.", "reconcile."]),
    ("ImageToImageFunctionName", &["generate.", "attempt.", "answer.", "notify.", "reconcile."]),
    ("WebhookFunctionName", &["webhook.", "attempt."]),
    ("CollectFunctionName", &["collect.", "answer.", "notify."]),
    ("SweepFunctionName", &["sweep.", "answer.", "notify.", "reconcile.", "attempt."]),
    ("ApiFunctionName", &["stop."]),
    ("ReportFunctionName", &["close."]),
];

/// Draws a crash: the output with the function's name, and the point.
pub(super) fn crash(chance: &mut Chance) -> (&'static str, Failpoint) {
    let (function, prefixes) = *chance.pick(&FUNCTIONS);
    (function, *chance.pick(&points(prefixes)))
}

fn points(prefixes: &[&str]) -> Vec<Failpoint> {
    let all = Failpoint::ALL.iter().copied();
    all.filter(|point| prefixes.iter().any(|prefix| point.name().starts_with(prefix))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fresco_cli::api::RunRequest;

    #[test]
    fn every_prefix_names_failpoints() {
        for prefix in FUNCTIONS.iter().flat_map(|(_, prefixes)| *prefixes) {
            assert!(!points(&[prefix]).is_empty(), "{prefix}");
        }
    }

    #[test]
    fn drawn_documents_are_valid() {
        let mut chance = Chance::new(5);
        for _ in 0..200 {
            let request = RunRequest::new(document(&mut chance, 5, 8));
            request.check().unwrap_or_else(|problems| panic!("{problems}\n{}", request.document));
        }
    }
}
