//! What a chaos run draws from its seed: pipelines whose steps meet under few keys, what goes wrong at the providers, and
//! where functions end.

use fresco_engine::failpoint::Failpoint;
use serde_json::{Value, json};

use super::chance::Chance;

/// A random pipeline: one to five steps over few prompts, so that runs hit, join and wait for each other.
pub(super) fn document(chance: &mut Chance, seed: u64, prompts: usize) -> String {
    let mut steps: Vec<Value> = Vec::new();
    // Places of steps that give pictures.
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

/// fal's endpoints: faults that lose a reply are for them only. Gemini lists no jobs, so a reply of its that is lost is paid
/// in vain, which is known and said (`Step.Unknown`), and no fault of the ledger.
const FAL: &str = "fal-ai/*";

/// Rules for the simulator: some of everything that a provider can do without a paid result being lost for good.
pub(super) fn weather(chance: &mut Chance) -> Vec<Value> {
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
        // Accepted, and the reply is lost or late.
        at_fal("cut_after"),
        at_fal("broken_json"),
        at_fal("no_request_id"),
        with(at_fal("slow_reply"), "seconds", json!(1)),
        // The work fails, unbilled.
        with(at_fal("model_error"), "type", json!("internal_server_error")),
        with(at_fal("infrastructure_end"), "error_type", json!("runner_disconnected")),
        at_fal("payload_error"),
        // Questions are not answered.
        at_fal("status_error"),
        at_fal("status_html"),
        at_fal("status_cut"),
        // Media come badly.
        at_fal("media_status"),
        at_fal("media_truncated"),
        at_fal("media_empty"),
        at_fal("media_wrong_type"),
        at_fal("media_wrong_length"),
        at_fal("media_no_length"),
        with(at_fal("media_slow"), "seconds", json!(1)),
        // Webhooks are lost, late, many and forged.
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
        // Cancellations are not what they seem.
        at_fal("cancel_ignored"),
        at_fal("cancel_too_late"),
        at_fal("cancel_200"),
    ];
    (0..3 + chance.below(6))
        .map(|_| {
            let rule = chance.pick(&all).clone();
            // An output that cannot be had six times in a row is given up, and was paid: seldom enough not to happen here.
            let media = rule["fault"].as_str().is_some_and(|fault| fault.starts_with("media_"));
            let often: &[f64] = if media { &[0.1, 0.2] } else { &[0.1, 0.3, 0.6] };
            with(rule, "probability", json!(*chance.pick(often)))
        })
        .collect()
}

/// The functions that a process may end in, by the template's outputs, and where.
const FUNCTIONS: [(&str, &[&str]); 8] = [
    ("PlanFunctionName", &["plan.", "report."]),
    ("TextToImageFunctionName", &["generate.", "attempt.", "tell.", "examine."]),
    ("ImageToImageFunctionName", &["generate.", "attempt.", "tell.", "examine."]),
    ("WebhookFunctionName", &["webhook.", "attempt."]),
    ("CollectFunctionName", &["collect.", "tell."]),
    ("SweepFunctionName", &["sweep.", "tell.", "examine.", "attempt."]),
    ("ApiFunctionName", &["stop."]),
    ("ReportFunctionName", &["report."]),
];

/// A crash to come: the function's output name and the point.
pub(super) fn crash(chance: &mut Chance) -> (&'static str, Failpoint) {
    let (function, prefixes) = *chance.pick(&FUNCTIONS);
    let points: Vec<Failpoint> = Failpoint::ALL
        .iter()
        .copied()
        .filter(|point| prefixes.iter().any(|prefix| point.name().starts_with(prefix)))
        .collect();
    (function, *chance.pick(&points))
}
