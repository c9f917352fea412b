//! The bucket that pipelines on this machine export to. On AWS it is one of the user's own; here it is made, so that
//! `export: s3://fresco-exports/…` works as it will there. Nothing that is deployed knows of it but by the parameter.

use aws_config::SdkConfig;
use aws_sdk_s3::Client;

use super::error::Error;

/// The bucket where `--set ExportBucket=…` names no other. It is not part of the stack.
pub(crate) const BUCKET: &str = "fresco-exports";

/// Makes the bucket where it is missing; empty is none.
pub(crate) async fn ensure(config: &SdkConfig, bucket: &str) -> Result<(), Error> {
    let s3 = Client::new(config);
    if bucket.is_empty() || s3.head_bucket().bucket(bucket).send().await.is_ok() {
        return Ok(());
    }
    let created = s3.create_bucket().bucket(bucket).send().await;
    created.map(drop).map_err(Error::aws(format!("creating the bucket {bucket} for exports")))
}
