//! A step of a plan, which becomes a request with its content key when all its inputs exist. The key
//! of a step that reads others is known only then; that it does not shift afterwards is seen to by pinning results.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::catalogue::{self, MediaKind, ProviderName, StepType};
use crate::content_key::{Salt, content_key};
use crate::document::{CachePolicy, Piece, TextSlot};
use crate::error::{ErrorName, Failure};
use crate::ids::{RunId, StepName, StepRef};
use crate::media::{FieldMedia, Media, MediaRef};
use crate::money::Money;
use crate::request::{GenerationRequest, KeyedRequest, StepOutputs};
use crate::text::{canonical, tidy};

/// A step of a plan; a part of a step that fans out is a step of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// The number of its row, in the plan of a chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    /// Row and name are unique in the run.
    pub name: StepName,
    /// The step of the document that it is, or is a part of.
    pub of: StepName,
    /// Its place in the plan, from 0.
    pub index: u32,
    #[serde(rename = "type")]
    pub step: StepType,
    pub model: String,
    pub provider: ProviderName,
    /// The provider's id of the model.
    pub endpoint: String,
    /// The request as it is sent, apart from media and from texts that read steps.
    pub params: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<TextSlot>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<FieldMedia<MediaRef>>,
    /// The number of the result among those of the same request, from 1: the document's `take`.
    pub repetition: u32,
    pub cache: CachePolicy,
    /// The upper-bound price at list prices; an estimate where it depends on what the step reads.
    pub price: Money,
    /// The number of its outputs.
    pub outputs: u32,
    pub kind: MediaKind,
    /// The timeout in seconds, from when the provider is first seen running.
    pub timeout: u32,
    /// Typical seconds, the slow end.
    pub typical: u32,
    /// Whether its failure stops what has not started.
    pub fail_fast: bool,
    /// Whether it differs at every run (`{{timestamp}}`, `{{random}}`) and is never found in the cache.
    #[serde(default)]
    pub uncacheable: bool,
}

impl PlannedStep {
    /// Its row and its name, which identify it in the run.
    pub fn id(&self) -> StepRef {
        self.sibling(&self.name)
    }

    /// The step of this name in the same row.
    pub fn sibling(&self, name: &StepName) -> StepRef {
        StepRef { row: self.row, name: name.clone() }
    }

    /// The steps that it reads.
    pub fn reads(&self) -> BTreeSet<StepRef> {
        let media = self.media.iter().flat_map(|field| &field.media).filter_map(|medium| match medium {
            MediaRef::Output { step, .. } => Some(self.sibling(step)),
            MediaRef::Input(_) => None,
        });
        media.chain(self.reads_text_of()).collect()
    }

    /// The steps whose text it reads.
    pub fn reads_text_of(&self) -> impl Iterator<Item = StepRef> {
        self.texts.iter().flat_map(|slot| &slot.pieces).filter_map(|piece| match piece {
            Piece::Step(name) => Some(self.sibling(name)),
            Piece::Text(_) => None,
        })
    }

    /// The request, or `None` while a step that it reads has no outputs. An error is a text or a medium that cannot be sent.
    pub fn resolve(
        &self,
        run: &RunId,
        outputs: &BTreeMap<StepRef, StepOutputs>,
    ) -> Result<Option<KeyedRequest>, Failure> {
        let Some(model) = catalogue::find(self.step, &self.model) else {
            // The plan was made by another version of the functions.
            return Err(Failure::new(ErrorName::Internal, format!("there is no model {} any more", self.model)));
        };
        let mut params = self.params.clone();
        for slot in &self.texts {
            let Some(text) = self.filled(slot, outputs) else { return Ok(None) };
            params.insert(slot.to.clone(), Value::String(sendable(slot, &text)?));
        }
        let Some(inputs) = self.inputs(outputs)? else { return Ok(None) };
        let request = GenerationRequest {
            provider: self.provider,
            step: self.step,
            model: self.model.clone(),
            endpoint: self.endpoint.clone(),
            params,
            inputs,
            repetition: self.repetition,
            kind: self.kind,
        };
        let name = self.id().public_name();
        let salt = (self.cache == CachePolicy::Off).then_some(Salt { run, step: &name });
        let sizes: Vec<_> = request.media().map(|media| media.width.zip(media.height)).collect();
        let price = model.price_of(&request.params, &sizes);
        Ok(Some(KeyedRequest { key: content_key(&request, salt), price, request }))
    }

    /// The media of the request.
    fn inputs(&self, outputs: &BTreeMap<StepRef, StepOutputs>) -> Result<Option<Vec<FieldMedia<Media>>>, Failure> {
        let mut inputs = Vec::with_capacity(self.media.len());
        for field in &self.media {
            let mut media = Vec::with_capacity(field.media.len());
            for medium in &field.media {
                media.push(match medium {
                    MediaRef::Input(input) => input.clone(),
                    MediaRef::Output { step, index } => {
                        let step = self.sibling(step);
                        let Some(outputs) = outputs.get(&step) else { return Ok(None) };
                        output(&step, outputs, *index)?
                    }
                });
            }
            inputs.push(FieldMedia { to: field.to.clone(), list: field.list, media });
        }
        Ok(Some(inputs))
    }

    /// The text with what the steps gave. It is not read again: what a model writes is never a placeholder.
    fn filled(&self, slot: &TextSlot, outputs: &BTreeMap<StepRef, StepOutputs>) -> Option<String> {
        let mut text = String::new();
        for piece in &slot.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Step(name) => {
                    let given: String = outputs.get(&self.sibling(name))?.text.as_deref()?.replace('\0', "");
                    text.push_str(&tidy(&given));
                }
            }
        }
        Some(text)
    }
}

/// One output of a step.
fn output(step: &StepRef, outputs: &StepOutputs, index: u32) -> Result<Media, Failure> {
    let output = usize::try_from(index).ok().and_then(|index| outputs.media.get(index));
    output.cloned().ok_or_else(|| {
        let (step, number) = (step.public_name(), index + 1);
        let gave = match &outputs.shortfall {
            Some(shortfall) => shortfall.to_string(),
            None => format!("{} outputs", outputs.media.len()),
        };
        let message = format!("{step} gave {gave}, and number {number} is needed");
        Failure::new(ErrorName::StepInput, message)
    })
}

/// Applies the rules for texts of a document to a text that was filled from steps.
fn sendable(slot: &TextSlot, text: &str) -> Result<String, Failure> {
    let text = canonical(text);
    let length = text.chars().count();
    if text.is_empty() {
        let message = format!("`{}` is empty once it is filled from other steps", slot.to);
        return Err(Failure::new(ErrorName::StepInput, message));
    }
    if length > slot.max_chars {
        let message = format!(
            "`{}` has {length} characters once it is filled from other steps; at most {} are accepted",
            slot.to, slot.max_chars
        );
        return Err(Failure::new(ErrorName::StepInput, message));
    }
    Ok(text)
}
