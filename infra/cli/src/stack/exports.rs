//! The bucket that pipelines on this machine export to. On AWS it is one of the user's own; here it is created, so that
//! `export: s3://fresco-exports/…` works as it does there. The stack knows it by its parameter alone.

use anyhow::Context;
use aws_config::SdkConfig;
use aws_sdk_s3::Client;

/// The bucket where `--set ExportBucket=…` names no other. It is not part of the stack.
pub(crate) const BUCKET: &str = "fresco-exports";

/// Creates the bucket if it is missing. An empty name is no bucket.
pub(crate) async fn ensure(config: &SdkConfig, bucket: &str) -> anyhow::Result<()> {
    let s3 = Client::new(config);
    if bucket.is_empty() || s3.head_bucket().bucket(bucket).send().await.is_ok() {
        return Ok(());
    }
    let created = s3.create_bucket().bucket(bucket).send().await;
    created.map(drop).with_context(|| format!("cannot create the bucket {bucket} for exports"))
}
