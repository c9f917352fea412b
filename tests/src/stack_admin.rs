//! Direct access to a stack's table, bucket and sweep, through the same engine as the functions. A client of the API is
//! [`fresco_cli::api::Api`].

use anyhow::Context;
use bytes::Bytes;
use fresco_cli::stack::Stack;
use fresco_engine::aws::AwsPlatform;
use fresco_engine::platform::Platform;
use fresco_engine::settings::Settings;
use fresco_api_types::Manifest;
use fresco_engine::{Engine, manifest_key};
use fresco_ledger::aws::{Aws, LambdaCall};
use fresco_ledger::records::{RunRecord, StepId, StepRecord};
use fresco_ledger::traits::{Objects, Runs};
use fresco_pipeline::ids::RunId;

/// A stack's table, bucket and sweep.
pub struct StackAdmin {
    engine: Engine<AwsPlatform>,
    sweep: LambdaCall,
}

impl StackAdmin {
    /// Opens the table and the bucket of a started stack.
    pub fn new(aws: &Aws, stack: &Stack) -> anyhow::Result<Self> {
        Self::with_batch_machine(aws, stack, stack.output("BatchMachineArn"))
    }

    /// Does the same with another state machine for batches.
    pub fn with_batch_machine(aws: &Aws, stack: &Stack, machine: &str) -> anyhow::Result<Self> {
        let settings = settings(stack, machine)?;
        let engine = Engine::new(AwsPlatform::new(aws, &settings)?, settings);
        Ok(StackAdmin { engine, sweep: aws.call(stack.output("SweepFunctionName")) })
    }

    /// The engine, on the stack's table and bucket.
    pub fn engine(&self) -> &Engine<AwsPlatform> {
        &self.engine
    }

    /// Returns a run's record and its steps in the document's order.
    pub async fn status(&self, run: &RunId) -> anyhow::Result<(RunRecord, Vec<StepRecord>)> {
        let ledger = self.engine.platform.ledger();
        let record = ledger.run(run).await?;
        let record = record.with_context(|| format!("run {run} is not in this stack"))?;
        Ok((record, ledger.steps(run).await?))
    }

    /// Calls the sweep now instead of at the next full minute.
    pub async fn sweep(&self) -> anyhow::Result<()> {
        Ok(self.sweep.ask(&serde_json::json!({})).await.map(drop)?)
    }

    /// Returns the manifest of a run that has ended.
    pub async fn manifest(&self, run: &RunId) -> anyhow::Result<Manifest> {
        let bytes = self.object(&manifest_key(run)).await?;
        serde_json::from_slice(&bytes).context("the run's manifest cannot be read")
    }

    /// Returns a whole object of the stack's bucket.
    pub async fn object(&self, key: &str) -> anyhow::Result<Bytes> {
        let bytes = self.engine.platform.objects().get(key).await?;
        bytes.with_context(|| format!("{key} is not in the bucket"))
    }

    /// Returns a step of a run.
    pub async fn step(&self, step_id: &StepId) -> anyhow::Result<Option<StepRecord>> {
        Ok(self.engine.platform.ledger().step(step_id).await?)
    }
}

/// The settings of an engine that calls no provider: the stack's own parts, and the template's defaults for the rest.
fn settings(stack: &Stack, batch_machine: &str) -> anyhow::Result<Settings> {
    Ok(Settings::read(|name| {
        let value = match name {
            "FRESCO_STACK" => "tests",
            "FRESCO_TABLE" => stack.output("TableName"),
            "FRESCO_BUCKET" => stack.output("BucketName"),
            "FRESCO_RUN_MACHINE" => stack.output("RunMachineArn"),
            "FRESCO_BATCH_MACHINE" => batch_machine,
            "FRESCO_PUBLIC_URL" => "none",
            "FRESCO_SECRETS_PREFIX" => "/fresco",
            "FRESCO_MAX_AGE_DAYS" => stack.output("MaxAgeDays"),
            "FRESCO_MAX_STORED_GIGABYTES" => stack.output("MaxStoredGigabytes"),
            "FRESCO_EXPORT_BUCKET" => stack.output("ExportBucket"),
            "FRESCO_FAL_QUEUE_URL" => "https://queue.fal.run",
            "FRESCO_FAL_REST_URL" => "https://rest.fal.ai",
            "FRESCO_FAL_API_URL" => "https://api.fal.ai",
            "FRESCO_GEMINI_URL" => "https://generativelanguage.googleapis.com",
            "FRESCO_FAL_MEDIA_HOSTS" => "fal.media,*.fal.media",
            _ => return None,
        };
        Some(value.to_owned())
    })?)
}
