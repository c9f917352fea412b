//! What is there before something is measured: documents, and results in the cache that nobody had to generate.

use bytes::Bytes;
use fresco_engine::RunRequest;
use fresco_engine::platform::{OutputPlace, Platform};
use fresco_ledger::records::{CachedResult, Entry};
use fresco_ledger::traits::{Change, Entries, Objects};
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::ids::{Attempt, ContentKey};
use fresco_pipeline::media::Media;
use fresco_pipeline::money::Money;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Bench, BenchError};

/// How many rows or objects are written side by side.
pub(super) const AT_ONCE: usize = 16;
/// What stands in an object that is only asked whether it is there.
const OBJECT: &[u8] = b"a result of the bench";

/// As many steps side by side as there may be, so that all of them can wait together.
pub(super) const ALL: usize = 40;

/// A document of pictures, so many of them side by side; `prompt` gives each its own, or all the same.
pub(super) fn document(count: usize, workers: usize, prompt: impl Fn(usize) -> String) -> RunRequest {
    let step = |number: usize| {
        json!({
            "name": format!("picture_{number}"),
            "type": "text_to_image",
            "model": "flux_schnell",
            "params": {"prompt": prompt(number), "aspect_ratio": "16:9"},
        })
    };
    let steps: Vec<Value> = (1..=count).map(step).collect();
    let group = json!({"type": "parallel_group", "name": "pictures", "max_workers": workers, "steps": steps});
    // JSON is YAML.
    let document = json!({"name": "bench", "steps": [group]}).to_string();
    RunRequest { document, ..RunRequest::default() }
}

/// A prompt as long as people write them, that no other set of pictures has.
pub(super) fn prompt(set: &str, number: usize) -> String {
    format!(
        "A lighthouse on a cliff at dusk, warm light in its window, waves below, oil on canvas; {set}, picture {number}"
    )
}

impl Bench {
    /// Puts a result of every step of the document into the cache.
    pub(super) async fn cache(&self, request: &RunRequest) -> Result<(), BenchError> {
        let preview = self.admin.engine().preview(request).await?;
        let keys: Option<Vec<ContentKey>> = preview.steps.into_iter().map(|step| step.key).collect();
        let keys = keys.ok_or(BenchError::Unexpected("a step that reads no other has no key"))?;
        futures::stream::iter(keys)
            .map(|key| async move { self.cache_one(key).await })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn cache_one(&self, key: ContentKey) -> Result<(), BenchError> {
        let attempt = Attempt::NONE.next();
        let place = OutputPlace { kind: MediaKind::Image, key: key.clone(), attempt, index: 0 };
        let output = Media {
            key: place.object_key("png"),
            kind: MediaKind::Image,
            content_type: "image/png".to_owned(),
            bytes: OBJECT.len() as u64,
            sha256: hex::encode(Sha256::digest(OBJECT)),
            width: Some(1_024),
            height: Some(576),
            duration_ms: None,
        };
        let objects = self.admin.engine().platform.objects();
        objects.put(&output.key, Bytes::from_static(OBJECT), &output.content_type).await?;
        let ready = CachedResult {
            attempt,
            outputs: vec![output],
            created_at: self.now(),
            cost: Money::micros(3_000),
            took_ms: 2_500,
        };
        let entry = Entry { result: Some(ready), last_attempt: attempt, ..Entry::new(key) };
        Ok(self.ledger.commit(&Change::of(entry)).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use fresco_pipeline::ids::RunId;
    use fresco_pipeline::plan::compile;

    #[test]
    fn documents_check_and_their_keys_are_those_of_their_prompts() {
        let run = RunId::parse("run-of-the-bench").unwrap();
        let keys = |request: &RunRequest| {
            let plan = compile(&request.check().unwrap());
            let ready = plan.steps.iter().map(|step| step.resolve(&run, &Default::default()).unwrap().unwrap());
            ready.map(|ready| ready.key).collect::<BTreeSet<_>>()
        };
        // Transitions are computed for one stage, each step in a lane of its own.
        let side_by_side = compile(&document(20, ALL, |number| prompt("one", number)).check().unwrap()).stages;
        assert_eq!(side_by_side.iter().map(|stage| stage.lanes.len()).collect::<Vec<_>>(), [20]);
        assert_eq!(keys(&document(40, ALL, |number| prompt("one", number))).len(), 40);
        assert_eq!(keys(&document(40, ALL, |_| prompt("one", 0))).len(), 1);
        assert!(
            keys(&document(9, 1, |number| prompt("one", number)))
                .is_disjoint(&keys(&document(9, 1, |number| prompt("two", number))))
        );
    }
}
