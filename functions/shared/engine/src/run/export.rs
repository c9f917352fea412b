//! Copies the outputs of a run to the bucket that its document names, since outputs expire and deliverables do not. S3
//! copies them; no byte passes through the function.

use std::sync::Arc;

use fresco_api_types::filenames::{self, NamedOutput};
use fresco_api_types::{Exported, Manifest, NotExported};
use fresco_ledger::records::StepRecord;
use fresco_ledger::traits::Objects;
use fresco_pipeline::document::Export;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use fresco_pipeline::plan::Plan;
use futures::{StreamExt, stream};

use crate::platform::Platform;
use crate::settings::Settings;

/// Objects that are copied concurrently.
const AT_ONCE: usize = 16;
/// The most bytes that the plan function exports itself. S3 copies a gigabyte in some ten seconds, and the function has
/// a minute.
const LITTLE_BYTES: u64 = 1_000_000_000;
const LITTLE_FILES: usize = 200;

/// Copies outputs to the export bucket.
pub(crate) struct Exporter<P> {
    pub(crate) platform: Arc<P>,
    pub(crate) settings: Arc<Settings>,
}

impl<P: Platform> Exporter<P> {
    /// Fails with `Export.Denied` where the stack may not export to the bucket.
    pub(crate) fn require_export(&self, export: Option<&Export>) -> Result<(), Failure> {
        let Some(export) = export else { return Ok(()) };
        match &self.settings.export_bucket {
            Some(bucket) if *bucket == export.bucket => Ok(()),
            Some(bucket) => {
                let message =
                    format!("`export` names the bucket {}; this stack exports to {bucket} only", export.bucket);
                Err(Failure::new(ErrorName::ExportDenied, message))
            }
            None => Err(Failure::new(ErrorName::ExportDenied, "this stack has no bucket to export to")),
        }
    }

    /// Returns whether the export is small enough for the plan function.
    pub(crate) fn exports_little(&self, plan: &Plan, rows: &[StepRecord]) -> bool {
        let outputs = || rows.iter().filter_map(|row| row.pinned.as_ref()).flat_map(|ready| &ready.outputs);
        plan.export.is_none()
            || (outputs().count() <= LITTLE_FILES && outputs().map(|output| output.bytes).sum::<u64>() <= LITTLE_BYTES)
    }

    /// Copies the outputs of a run. It is idempotent. A file that cannot be copied is listed and does not fail the run.
    pub(crate) async fn export_run(&self, export: &Export, manifest: &Manifest) -> Exported {
        self.export_named(export, &manifest.run_id, filenames::of_run(manifest)).await
    }

    /// Copies files into the export folder of a run or a batch.
    pub(crate) async fn export_named(&self, export: &Export, run: &RunId, files: Vec<NamedOutput>) -> Exported {
        let folder = folder(export, run);
        let to = format!("s3://{}/{folder}", export.bucket);
        let copied: Vec<(String, Result<(), Failure>)> = stream::iter(files)
            .map(|named| {
                let to = format!("{folder}/{}", named.name);
                async move { (named.name, self.copy(&named.key, export, &to).await) }
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        let mut exported = Exported { to, files: Vec::new(), failed: Vec::new() };
        for (name, outcome) in copied {
            match outcome {
                Ok(()) => exported.files.push(name),
                Err(failure) => {
                    tracing::warn!(run.id = %run, error.name = %failure.name, error.message = failure.message, "output not exported");
                    exported.failed.push(NotExported { name, failure });
                }
            }
        }
        exported
    }

    /// Copies the manifest to the export folder, from the stack's bucket.
    pub(crate) async fn export_manifest(&self, export: &Export, run: &RunId, key: &str) -> Result<(), Failure> {
        self.export_file(export, run, key, filenames::MANIFEST).await
    }

    /// Copies an object of the stack's bucket to the export folder.
    pub(crate) async fn export_file(&self, export: &Export, run: &RunId, key: &str, name: &str) -> Result<(), Failure> {
        self.copy(key, export, &format!("{}/{name}", folder(export, run))).await
    }

    async fn copy(&self, key: &str, export: &Export, to: &str) -> Result<(), Failure> {
        match self.platform.objects().copy(key, &export.bucket, to).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::new(ErrorName::StorageUnavailable, "the output is not in the stack's bucket")),
            Err(error) => Err(error.0),
        }
    }
}

/// The export folder of a run; each has its own, so that one delivery never replaces another.
fn folder(export: &Export, run: &RunId) -> String {
    let slash = if export.prefix.is_empty() { "" } else { "/" };
    format!("{}{slash}{run}", export.prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_a_folder_of_its_own() {
        let run = RunId::parse("run-00000001").unwrap();
        for (uri, expected) in [
            ("s3://bucket", "run-00000001"),
            ("s3://bucket/", "run-00000001"),
            ("s3://bucket/a/b", "a/b/run-00000001"),
            ("s3://bucket/a/b/", "a/b/run-00000001"),
        ] {
            assert_eq!(folder(&Export::parse(uri).unwrap(), &run), expected, "{uri}");
        }
    }
}
