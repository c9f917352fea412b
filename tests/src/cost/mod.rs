//! Measures what runs, steps and batches cost: requests, state transitions, AWS's prices, times and memory. It works on a
//! stack of its own whose emulator counts requests; what is deployed is the same as ever.

mod batch_ends;
mod batches;
mod counts;
mod meter;
mod prices;
mod report;
mod steps;
mod times;
mod transitions;

use std::path::PathBuf;

use fresco_cli::stack::Progress;

use batch_ends::BatchEnds;
use batches::{RowCosts, Throughput, WallTime};
use meter::Meter;
use steps::StepCosts;
use times::{CachedRun, Notification};

pub use report::replace_section;

/// Numbers of cached steps of the runs that are timed.
const CACHED_STEPS: [usize; 3] = [1, 100, 1_000];
/// Numbers of waiters that are notified.
const WAITERS: [usize; 3] = [40, 200, 1_000];

/// The extent of the measurements.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of the stack; its previous contents are removed.
    pub instance: PathBuf,
    /// Measures release builds of the functions instead of dev builds.
    pub release: bool,
    /// Numbers of rows of the batches that are planned and finalized.
    pub rows: Vec<usize>,
    /// Receives the notices of the stack's start.
    pub progress: Progress,
}

/// All that was measured.
#[derive(Debug)]
pub struct Costs {
    /// The machine, the build of the functions and the emulator.
    environment: String,
    steps: StepCosts,
    rows: RowCosts,
    cached_runs: Vec<CachedRun>,
    notifications: Vec<Notification>,
    batch_ends: Vec<BatchEnds>,
    wall_time: WallTime,
    throughput: Vec<Throughput>,
}

/// Measures everything. The stack ends afterwards.
pub async fn measure(options: &Options) -> anyhow::Result<Costs> {
    let meter = Meter::start(options).await?;
    let costs = all(&meter, options).await;
    meter.close().await;
    costs
}

async fn all(meter: &Meter, options: &Options) -> anyhow::Result<Costs> {
    let mut batch_ends = Vec::new();
    for &rows in &options.rows {
        batch_ends.push(meter.batch_ends(rows).await?);
    }
    let rows = meter.row_costs().await?;
    let wall_time = meter.wall_time().await?;
    let throughput = vec![meter.throughput(false).await?, meter.throughput(true).await?];
    let steps = meter.step_costs().await?;
    let mut cached_runs = Vec::new();
    for steps in CACHED_STEPS {
        cached_runs.push(meter.cached_run(steps).await?);
    }
    let mut notifications = Vec::new();
    for waiters in WAITERS {
        notifications.push(meter.notify(waiters).await?);
    }
    let environment = meter::environment(options.release);
    Ok(Costs { environment, steps, rows, cached_runs, notifications, batch_ends, wall_time, throughput })
}
