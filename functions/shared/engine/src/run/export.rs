//! Outputs expire, deliverables do not: where a document says so, a run's outputs are copied at its end to a bucket that no
//! clean-up of Fresco's touches, named by step. S3 copies them; nothing passes through the function.

use fresco_api_types::filenames::{self, NamedOutput};
use fresco_api_types::{Exported, Manifest, NotExported};
use fresco_ledger::records::StepRecord;
use fresco_ledger::traits::Objects;
use fresco_pipeline::document::Export;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use fresco_pipeline::plan::Plan;
use futures::{StreamExt, stream};

use crate::Engine;
use crate::platform::Platform;

/// How many objects are copied side by side.
const AT_ONCE: usize = 16;
/// What plan copies itself, where nothing else is left to do. S3 copies a gigabyte in some ten seconds; plan has a minute.
const LITTLE_BYTES: u64 = 1_000_000_000;
const LITTLE_FILES: usize = 200;

impl<P: Platform> Engine<P> {
    /// Refuses an export that the stack has no right to, before anything is spent.
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

    /// Whether what there is to export is so little that plan can do it.
    pub(crate) fn exports_little(&self, plan: &Plan, rows: &[StepRecord]) -> bool {
        let outputs = || rows.iter().filter_map(|row| row.pinned.as_ref()).flat_map(|ready| &ready.outputs);
        plan.export.is_none()
            || (outputs().count() <= LITTLE_FILES && outputs().map(|output| output.bytes).sum::<u64>() <= LITTLE_BYTES)
    }

    /// Copies what the run has made. It may be done again. A file that cannot be copied is said, and fails nothing: the run's
    /// results are what they are.
    pub(crate) async fn export(&self, export: &Export, manifest: &Manifest) -> Exported {
        self.export_named(export, &manifest.run_id, filenames::of_run(manifest)).await
    }

    /// Copies these files into the folder of a run, or of a batch.
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

    /// The manifest beside the files, by way of the stack's bucket, where it is written first.
    pub(crate) async fn export_manifest(&self, export: &Export, run: &RunId, key: &str) -> Result<(), Failure> {
        self.export_file(export, run, key, filenames::MANIFEST).await
    }

    /// A file beside them, likewise.
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

/// A folder for each run, so that one delivery never replaces another.
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
