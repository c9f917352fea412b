//! Putting together what a batch came to: the parts of all its chunks are written by the bench, as if each row had its picture, and
//! the function is called once, as at the batch's end.

use std::ops::RangeInclusive;

use bytes::Bytes;
use fresco_api_types::{BatchManifest, RowOutput, RowResult, RowStatus};
use fresco_engine::batch_manifest_key;
use fresco_engine::platform::{OutputPlace, Platform};
use fresco_ledger::records::ResultSource;
use fresco_ledger::traits::Objects;
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::ids::{Attempt, ContentKey, RunId};
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use super::super::{Bench, BenchError};
use super::call::BatchCall;
use super::planning::{Planned, id, input};

/// How many parts are written side by side.
const PUT_AT_ONCE: usize = 64;
/// About how long a picture is in bytes, took in milliseconds and cost in micro-dollars.
const PICTURE: u64 = 1_400_000;
const TOOK: i64 = 2_500;
const COST: i64 = 3_000;

impl Bench {
    pub(super) async fn put_together(&self, planned: &Planned) -> Result<BatchCall, BenchError> {
        let Planned { batch, plan, call: BatchCall { rows, .. } } = planned;
        let (rows, size) = (*rows, plan.chunk_size.max(1) as usize);
        if plan.chunks as usize != rows.div_ceil(size) {
            return Err(BenchError::Unexpected("the chunks of a batch are not all of one size"));
        }
        self.progress.step(format!("writing what {} chunks came to", plan.chunks));
        let writes = (0..plan.chunks as usize).map(|chunk| {
            let of_chunk = chunk * size + 1..=rows.min((chunk + 1) * size);
            self.write_part(batch, chunk, rows, of_chunk)
        });
        let written = futures::stream::iter(writes).buffer_unordered(PUT_AT_ONCE);
        let bytes = written.try_fold(0, |sum, bytes| async move { Ok(sum + bytes) }).await?;
        self.progress.step(format!("putting together the results of {rows} rows"));
        let measured = self.call(&json!({"phase": "finish", "batch_id": batch})).await?;
        self.check(batch, rows, bytes).await?;
        if measured.answer["status"] != "succeeded" {
            return Err(BenchError::Unexpected("a batch whose rows are all done has not succeeded"));
        }
        Ok(measured.of(rows, bytes, plan.chunks))
    }

    /// Writes what a chunk came to: how many bytes that is.
    async fn write_part(
        &self,
        batch: &RunId,
        chunk: usize,
        set: usize,
        rows: RangeInclusive<usize>,
    ) -> Result<usize, BenchError> {
        let mut lines = Vec::new();
        for number in rows {
            serde_json::to_writer(&mut lines, &result(set, number))?;
            lines.push(b'\n');
        }
        let (objects, length) = (self.admin.engine().platform.objects(), lines.len());
        let key = format!("batches/{batch}/parts/{chunk}.jsonl");
        objects.put(&key, Bytes::from(lines), "application/jsonl").await?;
        Ok(length)
    }

    /// Whether every row is in the results, which are the parts one behind the other.
    async fn check(&self, batch: &RunId, rows: usize, bytes: usize) -> Result<(), BenchError> {
        let objects = self.admin.engine().platform.objects();
        let results = objects.head(&format!("batches/{batch}/results.jsonl")).await?;
        let manifest = objects.get(&batch_manifest_key(batch)).await?.unwrap_or_default();
        let manifest: BatchManifest = serde_json::from_slice(&manifest)?;
        let whole = results.is_some_and(|results| results.bytes == bytes as u64);
        match whole && manifest.by_status.get("done") == Some(&(rows as u64)) {
            true => Ok(()),
            false => Err(BenchError::Unexpected("the results of a batch are not what its chunks came to")),
        }
    }
}

/// What a row came to of which a picture was generated.
fn result(set: usize, number: usize) -> RowResult {
    let input = input(set, number);
    let key = ContentKey::digest(input.as_bytes());
    let place = OutputPlace { kind: MediaKind::Image, key, attempt: Attempt::NONE.next(), index: 0 };
    let picture = RowOutput {
        step: "picture".to_owned(),
        key: place.object_key("png"),
        content_type: "image/png".to_owned(),
        bytes: PICTURE + number as u64 % 1_000,
        sha256: ContentKey::digest(id(number).as_bytes()).to_string(),
    };
    RowResult {
        row: number as u64,
        id: Some(id(number)),
        status: RowStatus::Done,
        source: Some(ResultSource::Generated),
        // Not all alike: the percentiles are of their order.
        took_ms: Some(TOOK + number as i64 * 7 % 1_000),
        cost: COST,
        outputs: vec![picture],
        failure: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_picture_of_its_own() {
        let (one, two) = (result(10, 1), result(10, 2));
        assert_ne!(one.outputs[0].key, two.outputs[0].key);
        let line = serde_json::to_string(&one).unwrap();
        assert!((300..400).contains(&line.len()), "{} bytes: {line}", line.len());
        assert_eq!(serde_json::from_str::<RowResult>(&line).unwrap(), one);
    }
}
