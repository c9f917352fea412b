//! Chaos: random pipelines on a stack of their own, while providers fail in every way, functions end between two effects,
//! runs are stopped and webhooks are lost, doubled and forged. When it is quiet again, everything has to fit together; a
//! seed draws the same again, though not the instants at which things meet.

mod audit;
mod chance;
mod scenario;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fresco_engine::RunRequest;
use fresco_engine::crash::Point;
use fresco_engine::platform::Platform;
use fresco_ledger::store::{DynamoLedger, Everything};
use fresco_ledger::records::AttemptStage;
use fresco_ledger::traits::{Change, Clock, CommitError, Entries};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::RunId;
use serde::Serialize;
use serde_json::Value;

use crate::api::{Api, ApiError, Inputs};
use crate::stack::{self, Layout, Progress, Stack};
use crate::storage::{Parts, StackAdmin};
use chance::Chance;

/// So many runs go on at a time.
const AT_ONCE: usize = 24;
/// The weather changes after so many runs.
const SPELL: u32 = 8;
/// How often runs are looked at, and how often the sweep is called while they go on.
const LOOK: Duration = Duration::from_millis(150);
const SWEEP: Duration = Duration::from_secs(2);
/// After so long nobody who has claimed an attempt lives any more: a function's timeout, and some.
const SURELY_DEAD: Duration = Duration::from_secs(100);
/// Until when everything has to be quiet after the last run has begun.
const QUIET_WITHIN: Duration = Duration::from_secs(600);

/// What shall be done.
#[derive(Debug, Clone)]
pub struct Options {
    /// The project.
    pub layout: Layout,
    /// The folder of the stack; what was there is removed first.
    pub instance: PathBuf,
    /// So many runs.
    pub runs: u32,
    /// The seed.
    pub seed: u64,
    /// Where notices go.
    pub progress: Progress,
}

/// What it came to.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Runs by how they ended.
    pub runs: BTreeMap<String, u32>,
    /// Submissions that reached a provider.
    pub submits: u64,
    /// Completions that were billed.
    pub billed: u64,
    /// Keys that have a result.
    pub results: usize,
    /// Processes that ended between two effects, by point.
    pub crashes: BTreeMap<String, u32>,
    /// Runs that were stopped.
    pub stops: u32,
    /// Faults by how often they struck.
    pub faults: BTreeMap<String, u64>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What does not fit; empty if all is well.
    pub violations: Vec<String>,
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// The stack.
    #[error("{0}")]
    Stack(#[from] stack::Error),
    /// The ledger, or the stack's answers.
    #[error("{0}")]
    Failed(#[from] Failure),
    /// The API.
    #[error("{0}")]
    Api(#[from] ApiError),
    /// A drawn document does not check, which is a fault of the command.
    #[error("a drawn document does not check: {0}")]
    Document(String),
    /// A crash file.
    #[error("crash points cannot be set: {0}")]
    Crash(#[from] std::io::Error),
}

struct Chaos {
    stack: Stack,
    api: Api,
    admin: StackAdmin,
    dynamo: DynamoLedger,
    crashes: PathBuf,
    chance: Chance,
    seed: u64,
    open: Vec<RunId>,
    /// Runs to stop, and when.
    stops: Vec<(RunId, Instant)>,
    stopped: u32,
    set: Vec<(PathBuf, Point)>,
    faults: BTreeMap<String, u64>,
    swept: Instant,
}

/// Does it all. The stack is ended afterwards; its folder stays, for a look at what went wrong.
pub async fn chaos(options: &Options) -> Result<Outcome, ChaosError> {
    let begun = Instant::now();
    let (folder, progress) = (options.instance.clone(), Progress::silent());
    let purged = tokio::task::spawn_blocking(move || stack::purge(&folder, &progress)).await;
    purged.map_err(|_| stack::Error::Interrupted)??;
    let crashes = std::path::absolute(options.instance.join("crashes"))?;
    let stack = Stack::start(stack::Options {
        instance: options.instance.clone(),
        scale: 0.01,
        wait_scale: Some(0.05),
        crashes: Some(crashes.clone()),
        progress: options.progress.clone(),
        ..stack::Options::new(options.layout.clone())
    })
    .await?;
    let aws = fresco_ledger::services::aws::connect_local(stack.endpoint_url()).await;
    let mut chaos = Chaos {
        api: Api::new(&stack::aws_config(&stack), &stack.api_url())?,
        admin: StackAdmin::new(&aws, &Parts::of(stack.outputs()))?,
        dynamo: aws.ledger(stack.output("TableName")),
        stack,
        crashes,
        chance: Chance::new(options.seed),
        seed: options.seed,
        open: Vec::new(),
        stops: Vec::new(),
        stopped: 0,
        set: Vec::new(),
        faults: BTreeMap::new(),
        swept: Instant::now(),
    };
    for n in 0..options.runs {
        if n % SPELL == 0 {
            options.progress.step(format!("{n} of {} runs begun", options.runs));
            chaos.change_the_weather(true)?;
        }
        chaos.begin(options.runs).await?;
        while chaos.open.len() >= AT_ONCE {
            chaos.look().await?;
        }
    }
    options.progress.step("all runs are begun; waiting until it is quiet");
    chaos.change_the_weather(false)?;
    let crashed = chaos.take_back_crashes();
    let everything = chaos.settle().await?;
    let requests = chaos.stack.control("GET", "requests", &Value::Null)?;
    let requests = requests.as_array().cloned().unwrap_or_default();
    let violations = audit::violations(&chaos.admin, &everything, &requests).await?;
    let counters = chaos.stack.control("GET", "counters", &Value::Null)?;
    let mut runs = BTreeMap::new();
    for run in &everything.runs {
        *runs.entry(crate::view::progress::status_text(run.status).to_owned()).or_insert(0) += 1;
    }
    let outcome = Outcome {
        seed: options.seed,
        runs,
        submits: counters["submits"].as_u64().unwrap_or(0),
        billed: counters["billed_completions"].as_u64().unwrap_or(0),
        results: everything.entries.iter().filter(|entry| entry.result.is_some()).count(),
        crashes: crashed,
        stops: chaos.stopped,
        faults: chaos.faults.clone(),
        seconds: begun.elapsed().as_secs_f64(),
        violations,
    };
    chaos.stack.close().await;
    Ok(outcome)
}

impl Chaos {
    /// New rules for the simulator, or none; what the old ones did is counted.
    fn change_the_weather(&mut self, bad: bool) -> Result<(), ChaosError> {
        let before = self.stack.control("GET", "faults", &Value::Null)?;
        for rule in before.as_array().into_iter().flatten() {
            let name = rule["fault"].as_str().unwrap_or_default().to_owned();
            *self.faults.entry(name).or_default() += rule["hits"].as_u64().unwrap_or(0);
        }
        let rules = if bad { scenario::weather(&mut self.chance) } else { Vec::new() };
        self.stack.control("POST", "faults", &Value::Array(rules))?;
        Ok(())
    }

    async fn begin(&mut self, runs: u32) -> Result<(), ChaosError> {
        let prompts = usize::try_from(runs / 3).unwrap_or(1).clamp(2, 40);
        let document = scenario::document(&mut self.chance, self.seed, prompts);
        if self.chance.percent(35) {
            let (output, point) = scenario::crash(&mut self.chance);
            let folder = self.crashes.join(self.stack.output(output));
            fs::create_dir_all(&folder)?;
            let file = folder.join(point.name());
            fs::write(&file, "")?;
            self.set.push((file, point));
        }
        let request = RunRequest { document, ..RunRequest::default() };
        let run = match self.api.start(&request, &Inputs::default(), None).await {
            Ok(started) => RunId::parse(started.id).map_err(|error| ChaosError::Document(error.to_string()))?,
            Err(ApiError::Document(problems)) => return Err(ChaosError::Document(problems.to_string())),
            Err(error) => return Err(error.into()),
        };
        if self.chance.percent(10) {
            let after = Duration::from_millis(self.chance.below(3_000) as u64);
            self.stops.push((run.clone(), Instant::now() + after));
        }
        self.open.push(run);
        Ok(())
    }

    /// Looks once at what goes on: stops what is to be stopped, forgets what has ended, sweeps now and then.
    async fn look(&mut self) -> Result<(), ChaosError> {
        tokio::time::sleep(LOOK).await;
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.stops).into_iter().partition(|(_, at)| *at <= now);
        self.stops = later;
        let due: Vec<(RunId, Instant)> = due;
        for (run, _) in due {
            // The function that stops runs may crash, too; whoever stops a run then does it again.
            match self.api.stop(&run).await {
                Ok(stopped) => self.stopped += u32::from(stopped.was_running),
                Err(_) => self.stops.push((run, now)),
            }
        }
        let mut open = Vec::new();
        for run in std::mem::take(&mut self.open) {
            if !self.admin.status(&run).await?.0.status.is_final() {
                open.push(run);
            }
        }
        self.open = open;
        if self.swept.elapsed() > SWEEP {
            self.swept = Instant::now();
            // What waits for its minutes would keep everything waiting.
            let everything = self.dynamo.everything().await.map_err(|error| error.0)?;
            self.let_time_pass(&everything).await?;
            // It may crash; the next one does what it left.
            drop(self.admin.sweep().await);
        }
        Ok(())
    }

    /// What has not fired is taken back; what has is counted.
    fn take_back_crashes(&mut self) -> BTreeMap<String, u32> {
        let mut fired = BTreeMap::new();
        for (file, point) in std::mem::take(&mut self.set) {
            // Two crashes of one point share a file: it counts when it is gone.
            if fs::remove_file(&file).is_err() {
                *fired.entry(point.name().to_owned()).or_insert(0) += 1;
            }
        }
        fired
    }

    /// Waits until nothing is left to happen: the table as it then is, or as it is when patience ends.
    async fn settle(&mut self) -> Result<Everything, ChaosError> {
        let until = Instant::now() + QUIET_WITHIN;
        loop {
            self.look().await?;
            let everything = self.dynamo.everything().await.map_err(|error| error.0)?;
            let quiet = self.open.is_empty()
                && self.stops.is_empty()
                && everything.runs.iter().all(|run| run.status.is_final())
                && everything
                    .entries
                    .iter()
                    .all(|e| e.pending.is_none() && !e.notify_pending && e.late_completion.is_none())
                && everything.waiters.is_empty();
            if quiet || Instant::now() > until {
                return Ok(everything);
            }
        }
    }

    /// What sweep would look at in minutes it looks at now; and who is surely dead counts as dead. Only of attempts whose
    /// submitter cannot live any more: what the ledger relies on stays true.
    async fn let_time_pass(&self, everything: &Everything) -> Result<(), Failure> {
        let now = self.admin.engine().platform.clock().now();
        let dead = i64::try_from(SURELY_DEAD.as_millis()).unwrap_or(i64::MAX);
        for entry in &everything.entries {
            let Some(pending) = &entry.pending else { continue };
            let row = everything.attempts.iter().find(|row| row.key == entry.key && row.attempt == pending.attempt);
            let Some(row) = row.filter(|row| pending.stage == AttemptStage::Submitted || now - row.claimed_at > dead)
            else {
                continue;
            };
            let due = pending.next_check_at <= now && row.submitter_dead_at <= now;
            if due {
                continue;
            }
            let (mut entry, mut row) = (entry.clone(), row.clone());
            if let Some(pending) = &mut entry.pending {
                pending.next_check_at = pending.next_check_at.min(now);
            }
            if now - row.claimed_at > dead {
                row.submitter_dead_at = row.submitter_dead_at.min(now);
            }
            entry.next_check_at = Some(entry.next_check_at.unwrap_or(now).min(now));
            match self.dynamo.commit(&Change { attempt: Some(row), ..Change::of(entry) }).await {
                // Somebody was quicker: it moves by itself.
                Ok(()) | Err(CommitError::Conflict) => {}
                Err(CommitError::Unclear(failure)) => return Err(failure),
                Err(_) => {}
            }
        }
        Ok(())
    }
}

impl Outcome {
    /// What runs the same again.
    pub fn again(&self, runs: u32) -> String {
        format!("cargo fresco chaos --runs {runs} --seed {}", self.seed)
    }

    /// The outcome in lines.
    pub fn text(&self, runs: u32, instance: &Path) -> String {
        let list = |counts: &BTreeMap<String, u64>| {
            let parts: Vec<String> =
                counts.iter().filter(|(_, n)| **n > 0).map(|(name, n)| format!("{name} {n}")).collect();
            if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
        };
        let wide =
            |counts: &BTreeMap<String, u32>| counts.iter().map(|(name, n)| (name.clone(), u64::from(*n))).collect();
        let mut text = format!(
            "seed {}: {runs} runs in {:.0} s ({})\nsubmits {}, billed completions {}, results {}\nstops: {}\ncrashes: {}\nfaults: {}\n",
            self.seed,
            self.seconds,
            list(&wide(&self.runs)),
            self.submits,
            self.billed,
            self.results,
            self.stops,
            list(&wide(&self.crashes)),
            list(&self.faults),
        );
        if self.violations.is_empty() {
            text.push_str("All fits: every billed completion is the one result of its key, no hold, run or waiter is left, and every result is there.\n");
            return text;
        }
        for violation in &self.violations {
            text.push_str(&format!("BROKEN: {violation}\n"));
        }
        text.push_str(&format!("The stack's state is in {}. Again: {}\n", instance.display(), self.again(runs)));
        text
    }
}

/// A seed for who gives none.
pub fn new_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(0) % 1_000_000
}
