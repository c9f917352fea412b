//! What the cache costs: requests and money for a miss, a hit and a join, the time to look many steps up, and the time to
//! tell many waiters; and what batches cost. Measured on a stack of its own whose emulator counts requests; what is deployed is
//! as ever.

mod batches;
mod counts;
mod planning;
mod prices;
mod seed;
mod steps;
mod transitions;
mod waiters;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fresco_engine::platform::Platform;
use fresco_engine::{RunRequest, StartError};
use fresco_ledger::services::aws::Aws;
use fresco_ledger::store::DynamoLedger;
use fresco_ledger::records::{BatchStatus, RunRecord, RunStatus};
use fresco_ledger::traits::{CommitError, Runs, StoreError};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::RunId;
use serde::Serialize;
use serde_json::Value;

use crate::stack::{self, Layout, Progress, Stack};
use crate::storage::{Parts, StackAdmin};

pub use batches::{BatchCall, BatchEnds, Batches, RowCosts, Throughput, WallTime};
pub use counts::{Calls, Counts, Kind, Tally};
pub use planning::Planning;
pub use prices::Bill;
pub use steps::Steps;
pub use transitions::{BatchTransitions, Transitions};
pub use waiters::Telling;

use counts::Seen;

/// So many cached steps are planned and looked up.
const CACHED: [usize; 3] = [1, 100, 1_000];
/// How often something is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(25);
/// It is quiet when nothing was asked for so long.
const QUIET: Duration = Duration::from_millis(150);
/// Nothing that is waited for takes longer; telling the most waiters has collect's own timeout.
const PATIENCE: Duration = Duration::from_secs(300);
/// The emulator's packages, for its name and version.
const REQUIREMENTS: &str = include_str!("../../../emulator/requirements.txt");

/// What shall be measured.
#[derive(Debug, Clone)]
pub struct Options {
    /// The project.
    pub layout: Layout,
    /// The folder of the stack; what was there is removed first.
    pub instance: PathBuf,
    /// Release builds of the functions instead of dev builds.
    pub release: bool,
    /// So many waiters are told at once, one measurement each.
    pub waiters: Vec<usize>,
    /// So many rows has a batch that is planned, and whose results are put together; one measurement each.
    pub rows: Vec<usize>,
    /// Where notices go.
    pub progress: Progress,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// On what.
    pub machine: Machine,
    /// Requests of runs and steps.
    pub steps: Steps,
    /// What they cost, in nano-dollars.
    pub bills: Bills,
    /// Planning and looking up.
    pub planning: Vec<Planning>,
    /// Telling waiters.
    pub telling: Vec<Telling>,
    /// Batches.
    pub batches: Batches,
    /// How long all of it took, in seconds.
    pub seconds: f64,
}

/// What it was measured on.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// `dev` or `release`: how the functions were built.
    pub build: &'static str,
    /// The emulator.
    pub emulator: String,
}

/// The bills of what [`Steps`] counts, in nano-dollars: of a run, and of [`Steps::count`] steps.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Bills {
    /// A run with something left to do.
    pub run: Bill,
    /// So many misses.
    pub misses: Bill,
    /// So many joins.
    pub joins: Bill,
    /// A run where all is cached.
    pub cached_run: Bill,
    /// So many hits.
    pub hits: Bill,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The stack.
    #[error("{0}")]
    Stack(#[from] stack::Error),
    /// The ledger, or the stack's answers.
    #[error("{0}")]
    Failed(#[from] Failure),
    /// A row could not be prepared.
    #[error("the ledger could not be filled: {0}")]
    Fill(#[from] CommitError),
    /// A document of the bench does not check, which is a fault of the command.
    #[error("a document of the bench does not check: {0}")]
    Document(String),
    /// The emulator's counts.
    #[error("the emulator's counts cannot be read: {0}")]
    Counts(#[from] serde_json::Error),
    /// A state machine is not what the bench knows.
    #[error("{path} cannot be read, or is not built of what the bench knows")]
    Machine {
        /// The definition.
        path: PathBuf,
    },
    /// A run did not end well.
    #[error("run {run} has {status:?}: {reason}")]
    Run {
        /// The run.
        run: RunId,
        /// How it ended.
        status: RunStatus,
        /// Why.
        reason: String,
    },
    /// A batch did not end well.
    #[error("batch {batch} has {status:?}: {reason}")]
    Batch {
        /// The batch.
        batch: RunId,
        /// How it ended.
        status: BatchStatus,
        /// Why.
        reason: String,
    },
    /// Something is not what the measurement needs.
    #[error("{0}")]
    Unexpected(&'static str),
    /// Something that was waited for has not come.
    #[error("{what} has not come within {} s", PATIENCE.as_secs())]
    Late {
        /// What.
        what: &'static str,
    },
}

impl From<StoreError> for BenchError {
    fn from(error: StoreError) -> Self {
        BenchError::Failed(error.0)
    }
}

impl From<StartError> for BenchError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Document(problems) => BenchError::Document(problems.to_string()),
            StartError::Failed(failure) => BenchError::Failed(failure),
            StartError::Order(_) | StartError::OtherRequest => BenchError::Unexpected("a bench's runs are no orders"),
        }
    }
}

/// A started stack, and what looks at it.
struct Bench {
    stack: Stack,
    admin: StackAdmin,
    aws: Aws,
    ledger: DynamoLedger,
    transitions: Transitions,
    batch_transitions: BatchTransitions,
    progress: Progress,
}

/// Measures all of it. The stack is ended afterwards.
pub async fn bench(options: &Options) -> Result<Outcome, BenchError> {
    let begun = Instant::now();
    let bench = start(options).await?;
    let measured = bench.measure(options, begun).await;
    bench.stack.close().await;
    measured
}

/// Measures only how batches are planned and put together, of which many rows take long.
pub async fn planning(options: &Options) -> Result<(Machine, BatchEnds), BenchError> {
    let bench = start(options).await?;
    let measured = bench.batch_ends(&options.rows).await;
    bench.stack.close().await;
    Ok((Machine::of(options), measured?))
}

/// Starts a stack that holds nothing.
async fn start(options: &Options) -> Result<Bench, BenchError> {
    let transitions = machine(&options.layout, "run", Transitions::of)?;
    let batch_transitions = machine(&options.layout, "batch", BatchTransitions::of)?;
    let (folder, progress) = (options.instance.clone(), Progress::silent());
    let purged = tokio::task::spawn_blocking(move || stack::purge(&folder, &progress)).await;
    purged.map_err(|_| stack::Error::Interrupted)??;
    let stack = Stack::start(stack::Options {
        instance: options.instance.clone(),
        release: options.release,
        scale: 0.0,
        measure: true,
        // Nothing is to be asked but what is measured.
        parameters: [("SweepState".to_owned(), "DISABLED".to_owned())].into(),
        progress: options.progress.clone(),
        ..stack::Options::new(options.layout.clone())
    })
    .await?;
    let aws = fresco_ledger::services::aws::connect_local(stack.endpoint_url()).await;
    Ok(Bench {
        admin: StackAdmin::new(&aws, &Parts::of(stack.outputs()))?,
        ledger: aws.ledger(stack.output("TableName")),
        stack,
        aws,
        transitions,
        batch_transitions,
        progress: options.progress.clone(),
    })
}

impl Machine {
    fn of(options: &Options) -> Self {
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            build: if options.release { "release" } else { "dev" },
            emulator: emulator(),
        }
    }
}

/// What a machine's definition comes to.
fn machine<T>(layout: &Layout, name: &str, read: impl Fn(&Value) -> Option<T>) -> Result<T, BenchError> {
    let path = layout.root().join(format!("infra/{name}.asl.json"));
    let definition = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    definition.as_ref().and_then(read).ok_or(BenchError::Machine { path })
}

impl Bench {
    /// Starts a run beside the API, so that what is counted is the run alone.
    async fn begin(&self, request: &RunRequest) -> Result<RunId, BenchError> {
        Ok(self.admin.engine().begin_run(request).await?)
    }

    async fn measure(&self, options: &Options, begun: Instant) -> Result<Outcome, BenchError> {
        let batches = self.batches(&options.rows).await?;
        let mut steps = self.steps().await?;
        let mut planning = Vec::new();
        for cached in CACHED {
            planning.push(self.planning(cached).await?);
        }
        if let Some(time) = planning::time_of_hits(&planning, steps.count) {
            steps.hits.functions.insert("plan".to_owned(), time);
        }
        let mut telling = Vec::new();
        for &waiters in &options.waiters {
            telling.push(self.telling(waiters).await?);
        }
        Ok(Outcome {
            machine: Machine::of(options),
            bills: steps.bills(),
            steps,
            planning,
            telling,
            batches,
            seconds: begun.elapsed().as_secs_f64(),
        })
    }

    /// What has been counted by now.
    fn seen(&self) -> Result<Seen, BenchError> {
        Ok(Seen::parse(&self.stack.requests()?, |name| self.label(name))?)
    }

    /// A function by its place in the template: `plan`, `text_to_image`.
    fn label(&self, function: &str) -> String {
        let outputs = self.stack.outputs().iter();
        let named = outputs.filter(|(_, value)| *value == function).find_map(|(name, _)| {
            let name = name.strip_suffix("FunctionName")?;
            let snake = name.chars().enumerate().flat_map(|(place, letter)| {
                let rule = (place > 0 && letter.is_uppercase()).then_some('_');
                rule.into_iter().chain(letter.to_lowercase())
            });
            Some(snake.collect())
        });
        // Not every function has an output.
        named.unwrap_or_else(|| match function.contains(batches::FUNCTION) {
            true => "batch".to_owned(),
            false => function.to_owned(),
        })
    }

    /// Waits until nothing goes on any more: what had been counted then.
    async fn quiet(&self) -> Result<Seen, BenchError> {
        let mut before = self.seen()?;
        until("quiet", async || {
            tokio::time::sleep(QUIET).await;
            let now = self.seen()?;
            let quiet = now.running == 0 && now.stack == before.stack;
            before = now.clone();
            Ok(quiet.then_some(now))
        })
        .await
    }

    /// Waits for the end of a run, which has to be a success.
    async fn ended(&self, run: &RunId) -> Result<RunRecord, BenchError> {
        let row =
            until("the end of a run", async || Ok(self.ledger.run(run).await?.filter(|row| row.status.is_final())))
                .await?;
        if row.status == RunStatus::Succeeded {
            return Ok(row);
        }
        let reason = row.failure.map_or_else(String::new, |failure| failure.to_string());
        Err(BenchError::Run { run: run.clone(), status: row.status, reason })
    }

    /// Now, by the clock that the rows are written by.
    fn now(&self) -> i64 {
        use fresco_ledger::traits::Clock;
        self.admin.engine().platform.clock().now()
    }
}

/// Looks until there is something.
async fn until<T>(
    what: &'static str,
    mut look: impl AsyncFnMut() -> Result<Option<T>, BenchError>,
) -> Result<T, BenchError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(BenchError::Late { what });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// `MiniStack 1.5.33`.
fn emulator() -> String {
    let version = REQUIREMENTS.lines().find_map(|line| line.strip_prefix("ministack=="));
    format!("MiniStack {}", version.unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emulator_has_a_version() {
        let emulator = emulator();
        assert!(
            emulator.trim_start_matches("MiniStack ").starts_with(|first: char| first.is_ascii_digit()),
            "{emulator}"
        );
    }

    #[tokio::test]
    async fn what_is_looked_for_is_found() {
        let mut looks = 0;
        let found = until("three", async || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found.await.unwrap(), 3);
    }
}
