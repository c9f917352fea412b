//! The scenario of a history, drawn from its seed: the settings of the stack, the faults of the world, and the runs.

use fresco_engine::RunRequest;
use fresco_engine::settings::Settings;
use fresco_ledger::records::Millis;
use fresco_ledger::transition::UnknownPolicy;
use fresco_pipeline::time::{DAY, HOUR};
use serde_json::{Value, json};

use crate::rng::Rng;

/// The behaviour of the world.
#[derive(Debug, Clone)]
pub(crate) struct Knobs {
    /// Whether webhooks arrive. Where not, the nudge is the poll loop.
    pub(crate) webhooks: bool,
    /// Whether the provider can be searched.
    pub(crate) can_find: bool,
    pub(crate) policy: UnknownPolicy,
    /// Faults in all: failing calls, lost replies, crashes, events that are dropped.
    pub(crate) faults: u32,
    /// One call in so many fails or loses its reply.
    pub(crate) fault_one_in: usize,
    /// One step of an actor in so many is its last.
    pub(crate) crash_one_in: usize,
    /// One submission in so many is not simply accepted.
    pub(crate) refuse_one_in: usize,
    /// Of submissions that are not, how many in a hundred have an unknown outcome.
    pub(crate) unclear_percent: usize,
    /// One choice of the scheduler in so many moves the clock. Huge: only when no actor can run.
    pub(crate) jump_one_in: usize,
    /// Of those, so many in a hundred go only to what happens next, so that it meets what is under way.
    pub(crate) meet_percent: usize,
    /// When chance stops doing harm.
    pub(crate) chaos_steps: usize,
    /// How much longer than its timeout a function may run: clock skew.
    pub(crate) overrun: Millis,
    /// The longest lag of the provider's list.
    pub(crate) list_lag: Millis,
    pub(crate) runs: usize,
    pub(crate) prompts: usize,
    pub(crate) refresh_percent: usize,
    /// Steps that read another step, in a hundred.
    pub(crate) reader_percent: usize,
    pub(crate) max_age_days: u32,
    /// Clean-ups, at any time between the runs.
    pub(crate) cleans: usize,
    /// One choice of the scheduler in so many damages an entry.
    pub(crate) damage_one_in: usize,
    /// Runs begin so far apart, at most.
    pub(crate) spread: Millis,
    /// When the provider is out, from the start of the history.
    pub(crate) outages: Vec<(Millis, Millis)>,
    /// No outage is longer than the one that every step survives, and nothing else is refused.
    pub(crate) short_outages_alone: bool,
}

impl Knobs {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        // A world without faults has to be right too, and so has one in which time passes only when no actor can run.
        let calm = rng.one_in(12);
        let short = calm || rng.one_in(2);
        let outages = outages(rng, short);
        Knobs {
            webhooks: rng.percent(70),
            can_find: rng.percent(70),
            policy: if rng.percent(45) { UnknownPolicy::ResubmitOnce } else { UnknownPolicy::Fail },
            faults: if calm { 0 } else { *rng.pick(&[1, 2, 4, 8, 16, 40]) },
            fault_one_in: *rng.pick(&[12, 40, 120]),
            crash_one_in: *rng.pick(&[30, 100, 400]),
            refuse_one_in: if calm { usize::MAX } else { *rng.pick(&[2, 4, 10]) },
            unclear_percent: *rng.pick(&[10, 50, 90]),
            jump_one_in: if calm || rng.one_in(3) { usize::MAX } else { *rng.pick(&[15, 40, 150, 600]) },
            meet_percent: *rng.pick(&[20, 95]),
            chaos_steps: *rng.pick(&[300, 900, 2_500]),
            overrun: rng.between(0, 240_000),
            list_lag: *rng.pick(&[0, 0, 60_000, 300_000, 4 * HOUR]),
            runs: 1 + rng.below(4),
            prompts: 1 + rng.below(3),
            refresh_percent: *rng.pick(&[0, 10, 40]),
            reader_percent: *rng.pick(&[0, 0, 30, 70]),
            max_age_days: *rng.pick(&[1, 2, 7, 7]),
            cleans: *rng.pick(&[0, 0, 1, 4]),
            damage_one_in: if calm { usize::MAX } else { *rng.pick(&[usize::MAX, usize::MAX, 1_000, 200]) },
            spread: *rng.pick(&[0, 3_000, 30_000, 600_000, 2 * HOUR, DAY, 9 * DAY]),
            outages,
            short_outages_alone: calm,
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            stack: "simulation".into(),
            table: "t".into(),
            bucket: "b".into(),
            public_url: self.webhooks.then(|| "https://fresco.test".to_owned()),
            collect_function: "collect".into(),
            batch_function: String::new(),
            report_function: "report".into(),
            timers: Default::default(),
            run_machine: "run".into(),
            batch_machine: "batch".into(),
            secrets_prefix: "/fresco".into(),
            max_age_days: self.max_age_days,
            max_stored_bytes: None,
            export_bucket: None,
            unknown: self.policy,
            fal_queue_url: "https://queue.test".into(),
            fal_rest_url: "https://rest.test".into(),
            fal_api_url: "https://api.test".into(),
            fal_media_hosts: "media.test".into(),
            fal_user_id: "us".into(),
            gemini_url: "https://gemini.test".into(),
            function_timeout: 90_000,
        }
    }
}

/// Up to two outages: the first often strikes the first run, and the second comes within some hours.
fn outages(rng: &mut Rng, short: bool) -> Vec<(Millis, Millis)> {
    let mut from = *rng.pick(&[0, 1_000, 60_000, HOUR]);
    (0..rng.below(3))
        .map(|_| {
            let lasts = if short { rng.between(1_000, HOUR / 2) } else { rng.between(60_000, 3 * HOUR) };
            let outage = (from, from + lasts);
            // Far enough from the next that no step takes both for one.
            from = outage.1 + rng.between(2 * HOUR, 6 * HOUR);
            outage
        })
        .collect()
}

/// A run to come.
pub(crate) struct RunPlan {
    pub(crate) request: RunRequest,
    pub(crate) starts_at: Millis,
    /// When it is stopped, and whether its execution is aborted with it.
    pub(crate) stop: Option<(Millis, bool)>,
}

pub(crate) fn runs(knobs: &Knobs, rng: &mut Rng, now: Millis) -> Vec<RunPlan> {
    (0..knobs.runs)
        .map(|_| {
            let starts_at = now + rng.between(0, knobs.spread);
            let document = document(knobs, rng).to_string();
            let stop = rng.percent(15).then(|| (starts_at + rng.between(0, 180_000), rng.one_in(2)));
            RunPlan { request: RunRequest { document, ..RunRequest::default() }, starts_at, stop }
        })
        .collect()
}

/// The params for a prompt: one prompt asks for one number of pictures.
fn params(prompt: usize) -> Value {
    json!({ "prompt": format!("prompt {prompt}"), "num_images": 1 + prompt % 3 })
}

fn document(knobs: &Knobs, rng: &mut Rng) -> Value {
    let steps: Vec<Value> = (0..1 + rng.below(3))
        .map(|n| {
            let cache = match rng.below(100) {
                p if p < knobs.refresh_percent => "refresh",
                p if p < knobs.refresh_percent + 5 => "off",
                _ => "use",
            };
            let mut step = json!({
                "name": format!("s{n}"),
                "type": "text_to_image",
                // One prompt has one model, or the keys would seldom meet.
                "model": "flux_schnell",
                "params": params(rng.below(knobs.prompts)),
                "cache": cache,
                "timeout": *rng.pick(&[10, 60, 600]),
            });
            if n > 0 && rng.percent(knobs.reader_percent) {
                // Its key is known only when the step before has its result.
                step["params"] = json!({ "prompt": step["params"]["prompt"] });
                step["type"] = json!("image_to_image");
                step["model"] = json!("kontext");
                step["input_from"] = json!(format!("s{}", rng.below(n)));
            }
            step
        })
        .collect();
    let schedule = if rng.one_in(2) { "eager" } else { "groups" };
    let mut settings = json!({ "schedule": schedule, "fail_fast": rng.one_in(2), "max_workers": 1 + rng.below(3) });
    if rng.percent(30) {
        // Less than three attempts cost, and sometimes less than one.
        settings["max_cost"] = json!(*rng.pick(&[0.002, 0.003, 0.004, 0.006, 0.007, 0.03]));
    }
    let steps = if rng.percent(70) { json!([{ "type": "parallel_group", "steps": steps }]) } else { json!(steps) };
    json!({ "name": "simulated", "settings": settings, "steps": steps })
}
