//! A run of one row: started, driven to its end, and compared with the row. Pauses between tries are not waited for: the
//! times that stand in the ledger are put back instead, as if they had passed.

use std::path::Path;
use std::time::Duration;

use fresco_api_types::Manifest;
use fresco_cli::api::RunRequest;
use fresco_cli::api::{Inputs, gather};
use fresco_engine::platform::Platform;
use fresco_ledger::records::{AttemptStage, Entry, Millis, ResultSource, RunRecord, RunStatus, StepState};
use fresco_ledger::store::DynamoLedger;
use fresco_ledger::traits::{Entries, Wait, Waiters};
use fresco_pipeline::error::ErrorName;
use fresco_pipeline::ids::{ContentKey, RunId};
use fresco_pipeline::money::Money;
use fresco_tests::World;
use serde_json::{Value, json};

use super::table::{Cached, Charged, End, Kind, Row};

/// Longer than a submitter can live, and than any pause between two looks.
pub(crate) const MINUTES: Millis = 1_000_000;
/// Longer than a pause, and not so long that the next failure belongs to another outage.
const PAUSE: Millis = 700_000;
/// Longer than a job may be queued, and a picture made.
const QUEUED: Millis = 6_000_000;
/// The submissions that pass the rule that counts them.
const NEVER: u64 = 1_000_000_000;
/// Between two looks at a run.
const LOOK: Duration = Duration::from_millis(150);
/// The bound of a row.
const LOOKS: u32 = 400;

/// A row for one kind of step.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The row.
    pub(crate) row: Row,
    /// The kind.
    pub(crate) kind: Kind,
    /// Its prompt, which no other row has.
    pub(crate) prompt: String,
}

impl Case {
    /// One that counts the submissions, and those of the row.
    pub(crate) fn rules(&self) -> Vec<Value> {
        let mut rules = vec![json!({"fault": "unauthorized", "skip": NEVER})];
        let faults: Vec<Value> = serde_json::from_str(&format!("[{}]", self.row.faults)).unwrap();
        rules.extend(faults);
        for rule in &mut rules {
            rule["prompt"] = json!(self.prompt);
        }
        rules
    }

    /// The document: one step, with the picture if it takes one.
    pub(crate) async fn request(&self, folder: &Path) -> (RunRequest, Inputs) {
        let (kind, model) = match self.kind {
            Kind::Image => ("text_to_image", "flux_schnell"),
            Kind::Video => ("image_to_video", "hailuo"),
            Kind::Analysis => ("analyze_image", "gemini_describe"),
        };
        let image = if self.kind == Kind::Image { "" } else { ", image: picture.jpg" };
        let timeout = self.row.timeout.map(|seconds| format!(", timeout: {seconds}")).unwrap_or_default();
        let document = format!(
            "steps:\n- {{ name: step, type: {kind}, model: {model}{timeout}, params: {{ prompt: \"{}\"{image} }} }}\n",
            self.prompt
        );
        let mut request = RunRequest::new(document);
        let inputs = gather(&mut request, folder);
        (request, inputs)
    }
}

/// A stack, as a row sees it.
pub(crate) struct Driver<'a> {
    pub(crate) world: &'a World,
    pub(crate) folder: &'a Path,
}

impl Driver<'_> {
    fn ledger(&self) -> &DynamoLedger {
        self.world.admin.engine().platform.ledger()
    }

    /// The entry of the run's only step, once there is one.
    pub(crate) async fn entry(&self, run: &RunId) -> Option<Entry> {
        let (_, steps) = self.world.admin.status(run).await.unwrap();
        self.ledger().entry(steps.first()?.key.as_ref()?).await.unwrap()
    }

    /// Runs the row until it has ended and nothing is left to do. What was wrong.
    pub(crate) async fn run(&self, case: &Case) -> Result<Manifest, String> {
        let (request, inputs) = case.request(self.folder).await;
        let run = self.world.begin(&request, &inputs).await.map_err(|error| error.to_string())?;
        let mut last = String::new();
        for _ in 0..LOOKS {
            let (row, steps) = self.world.admin.status(&run).await.map_err(|error| error.to_string())?;
            let entry = match &steps.first().and_then(|step| step.key.clone()) {
                Some(key) => self.ledger().entry(key).await.map_err(|error| error.0.to_string())?,
                None => None,
            };
            if let Some(entry) = &entry {
                if row.status.is_final() {
                    match self.unsettled(case, &row, entry).await {
                        None => return self.world.admin.manifest(&run).await.map_err(|error| error.to_string()),
                        Some(why) => last = why,
                    }
                }
                self.let_pass(case, &run, entry).await;
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(format!("it does not come to its end: {last}"))
    }

    /// Names what is still open after the run's end.
    async fn unsettled(&self, case: &Case, run: &RunRecord, entry: &Entry) -> Option<String> {
        let waiters = self.ledger().waiters(&entry.key).await.unwrap();
        if !waiters.is_empty() {
            return Some(format!("waiters are left: {}", waiters.len()));
        }
        if (run.held != Money::ZERO) != case.row.goes_on {
            return Some(format!("{} are held", run.held));
        }
        if entry.notify_pending {
            return Some("an entry is still marked for notification".to_owned());
        }
        if entry.result.is_some() != (case.row.cached == Cached::Yes) {
            return Some(format!("a result is there: {}, failure: {:?}", entry.result.is_some(), entry.failure));
        }
        None
    }

    /// Lets pass what a person would have to wait for: the pause after a failure, and in rows that say so whatever takes
    /// minutes. A submission under way is left alone.
    async fn let_pass(&self, case: &Case, run: &RunId, entry: &Entry) {
        if let Some(failed) = entry.failure.as_ref().filter(|failed| failed.retryable) {
            // Once a failure, so that the outage grows by the same with each.
            if failed.not_before > self.world.now() {
                self.world.age(&entry.key, PAUSE).await;
            }
            return;
        }
        if !case.row.minutes {
            return;
        }
        if let Some(pending) = &entry.pending {
            let report = self.ledger().report(&entry.key, pending.attempt).await.unwrap();
            if pending.stage == AttemptStage::Submitting && report.is_none() {
                return;
            }
            // By no timeout of its own.
            if case.row.timeout.is_none() && case.row.end == End::Fails(ErrorName::StepTimedOut) {
                self.wait_since(&entry.key, run).await;
            }
        }
        if entry.next_check_at.is_some() {
            self.world.age(&entry.key, MINUTES).await;
            self.world.admin.sweep().await.unwrap();
        }
    }

    /// Rewrites the waiters of the run as if they had waited for longer than a job may be queued.
    async fn wait_since(&self, key: &ContentKey, run: &RunId) {
        let ledger = self.ledger();
        for waiter in ledger.waiters(key).await.unwrap() {
            let long_ago = waiter.since - QUEUED;
            let (step_id, token) = (&waiter.step_id, &waiter.token);
            if step_id.run != *run
                || waiter.since < self.world.now() - QUEUED / 2
                || !ledger.delete_waiter_if(key, step_id, token).await.unwrap()
            {
                continue;
            }
            let (base, timeout_ms) = (waiter.base, waiter.timeout_ms);
            let wait = Wait { step_id: step_id.clone(), token: token.clone(), base, now: long_ago, timeout_ms };
            ledger.put_waiter(key, &wait).await.unwrap();
            ledger.record_join(key, step_id, waiter.joined).await.unwrap();
            // A decision made meanwhile found no waiter to remove; a later one does.
            if self.world.admin.step(step_id).await.unwrap().is_some_and(|step| step.state != StepState::Running) {
                ledger.delete_waiter_if(key, step_id, token).await.unwrap();
            }
        }
    }

    /// Lists the differences between the row and its run.
    pub(crate) async fn compare(&self, case: &Case, manifest: &Manifest, submits: u64) -> Vec<String> {
        let row = &case.row;
        let mut wrong = Vec::new();
        let mut expect = |what: &str, is: String, should: String| {
            if is != should {
                wrong.push(format!("{what}: {is}, not {should}"));
            }
        };
        let step = &manifest.steps[0];
        let end = match (&step.failure, &manifest.failure) {
            (None, None) if manifest.status == RunStatus::Succeeded => End::Succeeds,
            (Some(failure), Some(of_run)) if failure.name == of_run.name => End::Fails(failure.name),
            _ => panic!("step and run differ: {:?}, {:?}", step.failure, manifest.failure),
        };
        expect("it ends", format!("{end:?} ({:?})", step.failure), format!("{:?} ({:?})", row.end, step.failure));
        expect("submits", submits.to_string(), row.submits.to_string());
        let requests = self.world.requests_for(&case.prompt).await;
        let billed = requests.iter().filter(|request| request["billable_units"].as_f64().is_some()).count();
        expect("billed", billed.to_string(), row.billed.to_string());
        let (record, _) = self.world.admin.status(&manifest.run_id).await.unwrap();
        let charged = if record.settled == Money::ZERO { Charged::Free } else { Charged::Price };
        expect("charged", format!("{charged:?}"), format!("{:?}", row.charged));
        let forged = requests.iter().filter_map(|request| request["webhook"]["forged"].as_array()).flatten();
        let believed = forged.filter(|status| **status != 401).count();
        expect("forged webhooks that were believed", believed.to_string(), "0".to_owned());
        wrong
    }

    /// Runs the row once more, without its faults: what was paid is found, and what was not is generated.
    pub(crate) async fn again(&self, case: &Case) -> Vec<String> {
        let before = self.world.requests_for(&case.prompt).await.len();
        let healthy = Case { row: Row { cached: Cached::Yes, goes_on: false, ..case.row }, ..case.clone() };
        let manifest = match self.run(&healthy).await {
            Ok(manifest) => manifest,
            Err(why) => return vec![format!("again: {why}")],
        };
        let more = self.world.requests_for(&case.prompt).await.len() - before;
        let is = (manifest.status, manifest.steps[0].source, more);
        let should = match case.row.cached {
            Cached::Yes => (RunStatus::Succeeded, Some(ResultSource::Hit), 0),
            Cached::Kept => (RunStatus::Succeeded, Some(ResultSource::Joined), 0),
            Cached::No => (RunStatus::Succeeded, Some(ResultSource::Generated), 1),
        };
        if is == should { Vec::new() } else { vec![format!("again: {is:?}, not {should:?}")] }
    }
}
