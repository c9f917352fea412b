//! The stack that is measured: starting work on it, waiting until it is idle, and reading the counts.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use fresco_api_types::{BatchBody, BatchView};
use fresco_cli::stack::{self, Layout};
use fresco_ledger::batch::BatchStatus;
use fresco_ledger::records::{ResultSource, RunRecord, RunStatus};
use fresco_ledger::traits::Runs;
use fresco_pipeline::ids::RunId;
use serde_json::{Value, json};

use super::Options;
use super::batch_ends::FUNCTION;
use super::counts::{Counts, Snapshot};
use super::transitions::Transitions;
use crate::tool_stack::{ToolStack, until};

/// The stack is idle when nothing was counted for this long.
const IDLE: Duration = Duration::from_millis(150);
/// Nothing that is waited for takes longer.
pub(super) const WITHIN: Duration = Duration::from_secs(300);
/// The emulator's packages, for its version.
const REQUIREMENTS: &str = include_str!("../../../infra/emulator/requirements.txt");

/// A started stack whose emulator counts requests.
pub(super) struct Meter {
    pub(super) tools: ToolStack,
    pub(super) transitions: Transitions,
}

impl Meter {
    /// Starts a stack that holds nothing.
    pub(super) async fn start(options: &Options) -> anyhow::Result<Self> {
        let layout = Layout::find()?;
        let machine = |name: &str| -> anyhow::Result<Value> {
            let path = layout.root().join(format!("infra/{name}.asl.json"));
            Ok(serde_json::from_slice(&std::fs::read(path)?)?)
        };
        let transitions = Transitions::of(&machine("run")?, &machine("batch")?)?;
        let tools = ToolStack::start(stack::Options {
            instance: options.instance.clone(),
            release: options.release,
            scale: 0.0,
            measure: true,
            // The sweep's own requests would be counted, too.
            parameters: [("SweepState".to_owned(), "DISABLED".to_owned())].into(),
            progress: options.progress.clone(),
            ..stack::Options::new(layout)
        })
        .await?;
        Ok(Meter { tools, transitions })
    }

    pub(super) async fn close(self) {
        self.tools.stack.close().await;
    }

    /// Reads the counts.
    fn snapshot(&self) -> anyhow::Result<Snapshot> {
        Ok(Snapshot::parse(&self.tools.stack.requests()?, |name| self.label(name))?)
    }

    /// Names a function after its output of the template: `plan`, `text_to_image`.
    fn label(&self, function: &str) -> String {
        let mut outputs = self.tools.stack.outputs().iter().filter(|(_, value)| *value == function);
        let name = outputs.find_map(|(name, _)| name.strip_suffix("FunctionName"));
        match name {
            Some(name) => snake_case(name),
            // It has no output.
            None if function.contains(FUNCTION) => "batch".to_owned(),
            None => function.to_owned(),
        }
    }

    /// Waits until the stack is idle, and returns the counts.
    pub(super) async fn idle(&self) -> anyhow::Result<Counts> {
        let mut before = self.snapshot()?;
        until("an idle stack", WITHIN, async || {
            tokio::time::sleep(IDLE).await;
            let now = self.snapshot()?;
            let idle = now.running == 0 && now == before;
            before = now;
            Ok(idle.then(|| before.counts.clone()))
        })
        .await
    }

    /// Returns what is counted during `work` and until the stack is idle again, except for the start of processes.
    pub(super) async fn counted<T>(
        &self,
        work: impl AsyncFnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, Counts)> {
        let before = self.idle().await?;
        let done = work().await?;
        Ok((done, self.idle().await?.minus(&before).without_start_up()))
    }

    /// Starts a run and waits for its success.
    pub(super) async fn run(&self, document: String) -> anyhow::Result<RunRecord> {
        let run = self.tools.start_run(document).await?;
        self.run_succeeded(&run).await
    }

    pub(super) async fn run_succeeded(&self, run: &RunId) -> anyhow::Result<RunRecord> {
        let ended = until("the end of a run", WITHIN, async || {
            Ok(self.tools.ledger.run(run).await?.filter(|record| record.status.is_final()))
        });
        let record = ended.await?;
        if record.status != RunStatus::Succeeded {
            bail!("run {run} ended as {:?}: {:?}", record.status, record.failure);
        }
        Ok(record)
    }

    /// Starts a batch through the API.
    pub(super) async fn start_batch(&self, body: &BatchBody) -> anyhow::Result<RunId> {
        Ok(RunId::parse(self.tools.api.start_batch(body, None).await?.id)?)
    }

    pub(super) async fn batch_succeeded(&self, batch: &RunId) -> anyhow::Result<BatchView> {
        let view = until("the end of a batch", WITHIN, async || {
            let view = self.tools.admin.engine().batches.view(batch).await?;
            Ok(view.status.is_final().then_some(view))
        })
        .await?;
        ensure!(view.status == BatchStatus::Succeeded, "batch {batch} ended as {:?}: {:?}", view.status, view.failure);
        Ok(view)
    }

    /// Holds the providers' webhooks, or delivers them at once again.
    pub(super) fn hold_webhooks(&self, hold: bool) -> anyhow::Result<()> {
        self.tools.control("settings", &json!({"webhook_mode": if hold { "held" } else { "normal" }})).map(drop)
    }

    /// Waits until all steps of a run wait for a result of this source, and returns their number.
    pub(super) async fn all_wait(&self, run: &RunId, source: ResultSource) -> anyhow::Result<usize> {
        let steps = until("steps that wait", WITHIN, async || {
            let Some(record) = self.tools.ledger.run(run).await? else { return Ok(None) };
            let steps = self.tools.ledger.steps(run).await?;
            let waiting = steps.iter().filter(|step| step.source == Some(source)).count();
            // While the plan is being written, only some of the steps exist.
            Ok((record.steps > 0 && waiting == steps.len()).then_some(waiting))
        })
        .await?;
        // A joining step notes the source of its result first, and joins then.
        self.idle().await?;
        Ok(steps)
    }

    /// Delivers that many held webhooks.
    pub(super) async fn release_webhooks(&self, webhooks: usize) -> anyhow::Result<()> {
        let mut released = 0;
        until("a webhook for every step", WITHIN, async || {
            let answer = self.tools.control("webhooks/release", &Value::Null)?;
            released += answer["released"].as_u64().context("the simulator released no webhooks")? as usize;
            Ok((released >= webhooks).then_some(()))
        })
        .await
    }
}

/// Returns the middle one of several measurements.
pub(super) fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// A prompt of usual length that no other set of pictures has.
pub(super) fn prompt(set: &str, number: usize) -> String {
    format!(
        "A lighthouse on a cliff at dusk, warm light in its window, waves below, oil on canvas; {set}, picture {number}"
    )
}

/// Describes the machine, the build and the emulator.
pub(super) fn environment(release: bool) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let build = if release { "release" } else { "dev" };
    let version = REQUIREMENTS.lines().find_map(|line| line.strip_prefix("ministack==")).unwrap_or_default();
    format!("{cores} cores, {build} builds of the functions, MiniStack {}", version.trim())
}

fn snake_case(name: &str) -> String {
    let letters = name.chars().enumerate().flat_map(|(position, letter)| {
        let separator = (position > 0 && letter.is_uppercase()).then_some('_');
        separator.into_iter().chain(letter.to_lowercase())
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_emulators_version() {
        let (_, version) =
            environment(true).split_once("MiniStack ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{version}");
    }

    #[test]
    fn functions_are_named_after_their_outputs() {
        assert_eq!(snake_case("TextToImage"), "text_to_image");
    }

    #[test]
    fn the_median_is_the_middle_value() {
        assert_eq!(median(vec![9, 1, 5]), 5);
        assert_eq!(median(Vec::new()), 0);
    }
}
