//! Chaos: random pipelines on a stack of their own, while providers fail in every way, functions crash between two effects,
//! runs are stopped and webhooks are lost, repeated and forged. An audit follows when nothing is open any more. A seed
//! draws the same pipelines, faults, crashes and stops again, but not the instants at which they meet.

mod audit;
mod chance;
mod scenario;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fresco_cli::stack::{self, Layout, Progress};
use fresco_engine::failpoint::Failpoint;
use fresco_engine::platform::Platform;
use fresco_ledger::records::{AttemptRecord, AttemptStage, Entry, Millis};
use fresco_ledger::store::Everything;
use fresco_ledger::traits::{Change, Clock, CommitError, Entries};
use fresco_pipeline::ids::RunId;
use serde_json::Value;

use crate::tool_stack::ToolStack;
use chance::Chance;

/// The most runs that are open at a time.
const OPEN_RUNS: usize = 24;
/// The faults change after this many runs.
const RUNS_PER_FAULTS: u32 = 8;
const POLL_INTERVAL: Duration = Duration::from_millis(150);
const SWEEP_INTERVAL: Duration = Duration::from_secs(2);
/// A process that claimed an attempt this long ago has ended: a function's timeout, and some.
const SUBMITTER_DEAD_AFTER: Millis = 100_000;
/// The longest time from the last start of a run until nothing is open.
const QUIET_WITHIN: Duration = Duration::from_secs(600);

/// The extent of a chaos.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of the stack; its previous contents are removed.
    pub instance: PathBuf,
    /// The number of runs.
    pub runs: u32,
    /// The seed of all draws.
    pub seed: u64,
    /// Receives the notices of the stack's start.
    pub progress: Progress,
}

/// The results of a chaos and its audit.
#[derive(Debug, Clone)]
pub struct Report {
    /// Runs by their final status.
    pub runs: BTreeMap<String, u64>,
    /// Completions that a provider billed.
    pub billed: u64,
    /// The findings of the audit, a line each; empty if everything fits together.
    pub violations: Vec<String>,
    submits: u64,
    results: usize,
    crashes: BTreeMap<String, u64>,
    stops: u32,
    faults: BTreeMap<String, u64>,
    seconds: f64,
    options: Options,
}

struct Chaos {
    tools: ToolStack,
    crashes: PathBuf,
    chance: Chance,
    seed: u64,
    open: Vec<RunId>,
    /// Runs to stop, and when.
    stops: Vec<(RunId, Instant)>,
    stopped: u32,
    crash_files: Vec<(PathBuf, Failpoint)>,
    faults: BTreeMap<String, u64>,
    swept: Instant,
}

/// Runs a chaos and its audit. The stack ends afterwards; its folder stays for inspection.
pub async fn chaos(options: &Options) -> anyhow::Result<Report> {
    let started = Instant::now();
    let mut chaos = Chaos::start(options).await?;
    for n in 0..options.runs {
        if n % RUNS_PER_FAULTS == 0 {
            eprintln!("{n} of {} runs started", options.runs);
            chaos.change_faults(true)?;
        }
        chaos.start_run(options.runs).await?;
        while chaos.open.len() >= OPEN_RUNS {
            chaos.poll().await?;
        }
    }
    eprintln!("all runs are started; waiting until nothing is open");
    chaos.change_faults(false)?;
    let crashes = chaos.remove_crash_files();
    let everything = chaos.settle().await?;
    let report = chaos.report(options, &everything, crashes, started).await?;
    chaos.tools.stack.close().await;
    Ok(report)
}

impl Chaos {
    async fn start(options: &Options) -> anyhow::Result<Self> {
        let crashes = std::path::absolute(options.instance.join("crashes"))?;
        let tools = ToolStack::start(stack::Options {
            instance: options.instance.clone(),
            scale: 0.01,
            wait_scale: Some(0.05),
            crashes: Some(crashes.clone()),
            progress: options.progress.clone(),
            ..stack::Options::new(Layout::find()?)
        })
        .await?;
        Ok(Chaos {
            tools,
            crashes,
            chance: Chance::new(options.seed),
            seed: options.seed,
            open: Vec::new(),
            stops: Vec::new(),
            stopped: 0,
            crash_files: Vec::new(),
            faults: BTreeMap::new(),
            swept: Instant::now(),
        })
    }

    /// Sets new fault rules at the simulator, or none, and adds up how often the old ones struck.
    fn change_faults(&mut self, any: bool) -> anyhow::Result<()> {
        let before = self.tools.control_state("faults")?;
        for rule in before.as_array().into_iter().flatten() {
            let name = rule["fault"].as_str().unwrap_or_default().to_owned();
            *self.faults.entry(name).or_default() += rule["hits"].as_u64().unwrap_or(0);
        }
        let rules = if any { scenario::faults(&mut self.chance) } else { Vec::new() };
        self.tools.control("faults", &Value::Array(rules))?;
        Ok(())
    }

    /// Starts a drawn pipeline, sometimes with a crash on its way, sometimes to be stopped.
    async fn start_run(&mut self, runs: u32) -> anyhow::Result<()> {
        let prompts = usize::try_from(runs / 3)?.clamp(2, 40);
        let document = scenario::document(&mut self.chance, self.seed, prompts);
        if self.chance.percent(35) {
            let (output, point) = scenario::crash(&mut self.chance);
            let folder = self.crashes.join(self.tools.stack.output(output));
            fs::create_dir_all(&folder)?;
            let file = folder.join(point.name());
            fs::write(&file, "")?;
            self.crash_files.push((file, point));
        }
        let run = self.tools.start_run(document).await?;
        if self.chance.percent(10) {
            let after = Duration::from_millis(self.chance.below(3_000) as u64);
            self.stops.push((run.clone(), Instant::now() + after));
        }
        self.open.push(run);
        Ok(())
    }

    /// Stops the runs whose time has come, forgets those that have ended, and sweeps if it is time.
    async fn poll(&mut self) -> anyhow::Result<()> {
        tokio::time::sleep(POLL_INTERVAL).await;
        self.stop_runs().await;
        let mut open = Vec::new();
        for run in std::mem::take(&mut self.open) {
            if !self.tools.admin.status(&run).await?.0.status.is_final() {
                open.push(run);
            }
        }
        self.open = open;
        if self.swept.elapsed() > SWEEP_INTERVAL {
            self.swept = Instant::now();
            let everything = self.tools.ledger.everything().await?;
            self.let_time_pass(&everything).await?;
            // The sweep may crash; the next one does what it left.
            drop(self.tools.admin.sweep().await);
        }
        Ok(())
    }

    async fn stop_runs(&mut self) {
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.stops).into_iter().partition(|(_, at)| *at <= now);
        self.stops = later;
        for (run, _) in due {
            // The function that stops runs may crash, too; the request is then repeated.
            match self.tools.api.stop(&run).await {
                Ok(stopped) => self.stopped += u32::from(stopped.was_running),
                Err(_) => self.stops.push((run, now)),
            }
        }
    }

    /// Removes the files of crashes that have not happened, and counts those that have.
    fn remove_crash_files(&mut self) -> BTreeMap<String, u64> {
        let mut happened = BTreeMap::new();
        for (file, point) in std::mem::take(&mut self.crash_files) {
            // Two crashes at one point share a file: both count when it is gone.
            if fs::remove_file(&file).is_err() {
                *happened.entry(point.name().to_owned()).or_default() += 1;
            }
        }
        happened
    }

    /// Waits until nothing is open, or until the time for it is over, and returns the table's contents.
    async fn settle(&mut self) -> anyhow::Result<Everything> {
        let deadline = Instant::now() + QUIET_WITHIN;
        loop {
            self.poll().await?;
            let everything = self.tools.ledger.everything().await?;
            let quiet = self.open.is_empty() && self.stops.is_empty() && audit::is_quiet(&everything);
            if quiet || Instant::now() > deadline {
                return Ok(everything);
            }
        }
    }

    /// Brings forward the next checks, and declares dead the submitters that surely are. It touches only attempts whose
    /// submitter cannot be alive, so that the ledger's assumptions stay true.
    async fn let_time_pass(&self, everything: &Everything) -> anyhow::Result<()> {
        let now = self.tools.admin.engine().platform.clock().now();
        for entry in &everything.entries {
            let Some(pending) = &entry.pending else { continue };
            let attempt = everything.attempts.iter().find(|one| one.key == entry.key && one.attempt == pending.attempt);
            let Some(change) = attempt.and_then(|attempt| aged(entry, attempt, now)) else { continue };
            // After a conflict the entry has moved on by itself.
            if let Err(CommitError::Unclear(failure)) = self.tools.ledger.commit(&change).await {
                return Err(failure.into());
            }
        }
        Ok(())
    }

    async fn report(
        &self,
        options: &Options,
        everything: &Everything,
        crashes: BTreeMap<String, u64>,
        started: Instant,
    ) -> anyhow::Result<Report> {
        let requests = self.tools.control_state("requests")?;
        let counters = self.tools.control_state("counters")?;
        let counter = |name: &str| counters[name].as_u64().unwrap_or(0);
        let mut runs = BTreeMap::new();
        for run in &everything.runs {
            *runs.entry(format!("{:?}", run.status).to_lowercase()).or_default() += 1;
        }
        let requests = requests.as_array().map_or(&[][..], Vec::as_slice);
        Ok(Report {
            runs,
            billed: counter("billed_completions"),
            violations: audit::violations(&self.tools.admin, everything, requests).await?,
            submits: counter("submits"),
            results: everything.entries.iter().filter(|entry| entry.result.is_some()).count(),
            crashes,
            stops: self.stopped,
            faults: self.faults.clone(),
            seconds: started.elapsed().as_secs_f64(),
            options: options.clone(),
        })
    }
}

/// The change that brings forward an entry's next check, and its submitter's end where that is sure; `None` where nothing
/// is to change.
fn aged(entry: &Entry, attempt: &AttemptRecord, now: Millis) -> Option<Change> {
    let mut entry = entry.clone();
    let pending = entry.pending.as_mut()?;
    let dead = now - attempt.claimed_at > SUBMITTER_DEAD_AFTER;
    let may_age = pending.stage == AttemptStage::Submitted || dead;
    if !may_age || (pending.next_check_at <= now && attempt.submitter_dead_at <= now) {
        return None;
    }
    pending.next_check_at = pending.next_check_at.min(now);
    entry.next_check_at = Some(entry.next_check_at.unwrap_or(now).min(now));
    let mut attempt = attempt.clone();
    if dead {
        attempt.submitter_dead_at = attempt.submitter_dead_at.min(now);
    }
    Some(Change { attempt: Some(attempt), ..Change::of(entry) })
}

impl Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Options { runs, seed, instance, .. } = &self.options;
        writeln!(f, "seed {seed}: {runs} runs in {:.0} s ({})", self.seconds, list(&self.runs))?;
        writeln!(f, "submits {}, billed completions {}, results {}", self.submits, self.billed, self.results)?;
        writeln!(f, "stops: {}", self.stops)?;
        writeln!(f, "crashes: {}", list(&self.crashes))?;
        writeln!(f, "faults: {}", list(&self.faults))?;
        for violation in &self.violations {
            writeln!(f, "VIOLATION: {violation}")?;
        }
        if self.violations.is_empty() {
            return write!(
                f,
                "All fits together: every billed completion is the one result of its key, no hold, run or waiter is left, \
                 and every result exists."
            );
        }
        writeln!(f, "The stack's state is in {}. The same again:", instance.display())?;
        write!(f, "cargo run -p fresco-tests --bin chaos -- --runs {runs} --seed {seed}")
    }
}

/// The counts that are not 0, with their names.
fn list(counts: &BTreeMap<String, u64>) -> String {
    let parts: Vec<String> = counts.iter().filter(|(_, n)| **n > 0).map(|(name, n)| format!("{name} {n}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}
