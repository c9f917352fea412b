//! Resolves the inputs of a step. The results of the steps before it are pinned in the run, so that its content key is
//! the same at every call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fresco_ledger::records::{StepId, StepRecord, StepState};
use fresco_ledger::traits::{Objects, Runs};
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::StepRef;
use fresco_pipeline::request::{GenerationRequest, KeyedRequest, StepOutputs};
use fresco_providers::{InputData, InputForm};
use futures::{StreamExt, TryStreamExt};

use crate::planning::outputs::{media_bytes, outputs_of};
use crate::platform::Platform;
use crate::step::sent_picture;

/// Records or objects that are read concurrently.
const AT_ONCE: usize = 16;
/// The life of the links to input media in seconds: the bound of the queue, and hours for the work.
const INPUT_LINK_SECONDS: u64 = 6 * 3_600;

/// Resolves the inputs of a step, and prepares them for its provider.
pub(crate) struct StepInputs<P> {
    pub(crate) platform: Arc<P>,
}

impl<P: Platform> StepInputs<P> {
    /// Returns the step with its inputs, and records its key. It fails where a step before it has no result: the state
    /// machine starts a step only when those before it are decided.
    pub(crate) async fn resolve(&self, step_id: &StepId, row: &StepRecord) -> Result<KeyedRequest, Failure> {
        let ledger = self.platform.ledger();
        let texts: BTreeSet<StepRef> = row.plan.reads_text_of().collect();
        let reads = row.plan.reads().into_iter().map(|step| {
            let text = texts.contains(&step);
            (StepId { run: step_id.run.clone(), step }, text)
        });
        let reads: Vec<(StepId, bool)> = reads.collect();
        let made: BTreeMap<StepRef, StepOutputs> = futures::stream::iter(reads)
            .map(|(read, text)| async move {
                let before = ledger.step(&read).await?;
                let pinned = before.filter(|before| before.state == StepState::Done).and_then(|before| before.pinned);
                let Some(ready) = pinned else {
                    let message = format!("{}, which it needs, has no result", read.step.public_name());
                    return Err(Failure::new(ErrorName::StepSkipped, message));
                };
                Ok((read.step, outputs_of(self.platform.objects(), &ready, text).await?))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let ready = row.plan.resolve(&step_id.run, &made)?;
        let ready = ready.ok_or_else(|| Failure::new(ErrorName::Internal, "a step that was read is not there"))?;
        match &row.key {
            // Its inputs are pinned, so the key cannot shift; but a new version of the functions may make other keys,
            // and the job under way has this one.
            Some(noted) => Ok(KeyedRequest { key: noted.clone(), ..ready }),
            None => {
                ledger.record_key(step_id, &ready.key).await?;
                Ok(ready)
            }
        }
    }

    /// Returns the media of a request, by the keys of their objects, in the form that its provider takes.
    pub(crate) async fn submitted_media(
        &self,
        request: &GenerationRequest,
    ) -> Result<BTreeMap<String, InputData>, Failure> {
        let (objects, form) = (self.platform.objects(), self.platform.provider(request.provider).input_form());
        let mut submitted = BTreeMap::new();
        for media in request.media() {
            if submitted.contains_key(&media.key) {
                continue;
            }
            let data = match form {
                InputForm::Url => {
                    let sent = sent_picture::sent(objects, media, MediaKind::Image.max_bytes()).await?;
                    InputData::Url(objects.presign_get(&sent.key, INPUT_LINK_SECONDS).await?)
                }
                InputForm::Bytes => {
                    let sent = sent_picture::sent(objects, media, MediaKind::Image.max_input_bytes()).await?;
                    let bytes = media_bytes(objects, &sent).await?;
                    InputData::Bytes { content_type: sent.content_type, bytes }
                }
            };
            submitted.insert(media.key.clone(), data);
        }
        Ok(submitted)
    }
}
