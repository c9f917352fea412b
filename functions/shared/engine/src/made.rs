//! What a step takes from the steps before it. Their results are pinned in the run, so whoever asks gets the same answer, and
//! a step's content key is the same at every call.

use std::collections::{BTreeMap, BTreeSet};

use fresco_ledger::records::{CachedResult, StepId, StepRecord, StepState};
use fresco_ledger::traits::{Objects, Runs};
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::StepName;
use fresco_pipeline::media::InputMedia;
use fresco_pipeline::plan::{ReadyStep, StepOutputs};
use fresco_providers::{InputData, InputForm, SubmittedInput};
use futures::{StreamExt, TryStreamExt};

use crate::Engine;
use crate::platform::Platform;
use crate::transact::failure;

/// How many rows or objects are read side by side.
const AT_ONCE: usize = 16;
/// How long a provider may read what it is given, in seconds: the bound of its queue, and hours for the work.
const INPUT_LINK_SECONDS: u64 = 6 * 3_600;

impl<P: Platform> Engine<P> {
    /// The step with everything that it reads, and its key noted. A step before it that has no result is the end of this
    /// one: the state machine begins a step only when those before it are decided.
    pub(crate) async fn ready(&self, step_id: &StepId, row: &StepRecord) -> Result<ReadyStep, Failure> {
        let ledger = self.platform.ledger();
        let texts: BTreeSet<&StepName> = row.plan.reads_text_of().collect();
        let of = |step: &StepName| StepId { run: step_id.run.clone(), step: step.clone() };
        let reads: Vec<(StepId, bool)> =
            row.plan.reads().into_iter().map(|step| (of(step), texts.contains(step))).collect();
        let made: BTreeMap<StepName, StepOutputs> = futures::stream::iter(reads)
            .map(|(read, text)| async move {
                let before = ledger.step(&read).await.map_err(failure)?;
                let pinned = before.filter(|before| before.state == StepState::Done).and_then(|before| before.pinned);
                let Some(ready) = pinned else {
                    let message = format!("{}, which it needs, has no result", read.step);
                    return Err(Failure::new(ErrorName::StepSkipped, message));
                };
                Ok((read.step, self.made(&ready, text).await?))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let ready = row.plan.resolve(&step_id.run, &made)?;
        let ready = ready.ok_or_else(|| Failure::new(ErrorName::Internal, "a step that was read is not there"))?;
        match &row.key {
            // What it reads is pinned, so the key cannot shift; but a new version of the functions may make other keys, and the
            // job that is under way stands under this one.
            Some(noted) => Ok(ReadyStep { key: noted.clone(), ..ready }),
            None => {
                ledger.record_key(step_id, &ready.key).await.map_err(failure)?;
                Ok(ready)
            }
        }
    }

    /// What stands in a result; its text too, where that is asked for.
    pub(crate) async fn made(&self, ready: &CachedResult, text: bool) -> Result<StepOutputs, Failure> {
        let media: Vec<InputMedia> = ready.outputs.iter().map(InputMedia::from).collect();
        let text = match media.iter().find(|media| text && media.kind == MediaKind::Text) {
            Some(media) => Some(self.text_of(media).await?),
            None => None,
        };
        Ok(StepOutputs { media, text })
    }

    async fn text_of(&self, media: &InputMedia) -> Result<String, Failure> {
        let bytes = self.bytes_of(media).await?;
        String::from_utf8(bytes.to_vec())
            .map_err(|_| Failure::new(ErrorName::StepInput, "the text of a step before it is not UTF-8"))
    }

    async fn bytes_of(&self, media: &InputMedia) -> Result<bytes::Bytes, Failure> {
        let bytes = self.platform.objects().get(&media.key).await.map_err(failure)?;
        bytes.ok_or_else(|| {
            let message = format!("{} that it takes is not in the bucket any more", media.kind.noun());
            Failure::new(ErrorName::StepInput, message)
        })
    }

    /// The step's media in the form that its provider takes.
    pub(crate) async fn submitted_inputs(&self, step: &ReadyStep) -> Result<Vec<SubmittedInput>, Failure> {
        let form = self.platform.provider(step.provider).input_form();
        let mut inputs = Vec::with_capacity(step.inputs.len());
        for slot in &step.inputs {
            let mut media = Vec::with_capacity(slot.media.len());
            for one in &slot.media {
                media.push(match form {
                    InputForm::Url => InputData::Url(
                        self.platform.objects().presign_get(&one.key, INPUT_LINK_SECONDS).await.map_err(failure)?,
                    ),
                    InputForm::Bytes => {
                        InputData::Bytes { content_type: one.content_type.clone(), bytes: self.bytes_of(one).await? }
                    }
                });
            }
            inputs.push(SubmittedInput { to: slot.to.clone(), list: slot.list, media });
        }
        Ok(inputs)
    }
}
