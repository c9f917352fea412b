//! A step of a plan, and what becomes of it when everything that it reads is there: a request with its content key. The key
//! of a step that reads others is known only then; that it does not shift afterwards is seen to by pinning results.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use crate::catalogue::{self, MediaKind, ProviderName, StepType};
use crate::content_key::{Salt, content_key};
use crate::document::{CachePolicy, Piece, TextSlot};
use crate::error::{ErrorName, Failure};
use crate::ids::{ContentKey, RunId, StepName};
use crate::media::InputMedia;
use crate::money::Money;

/// Where one medium of a planned step comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputSource {
    /// It was given with the run.
    Given(InputMedia),
    /// It is made in the run.
    Output {
        /// By this step.
        step: StepName,
        /// Which of its outputs, from 0.
        index: u32,
    },
}

/// The media for one of the provider's fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMedia {
    /// The provider's field.
    pub to: String,
    /// Whether the field is a list.
    pub list: bool,
    /// The media, in order.
    pub from: Vec<InputSource>,
}

/// A step of a plan; a part of a step that fans out is a step of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// Its name, unique in the run.
    pub name: StepName,
    /// The step of the document that it is, or is a part of.
    pub of: StepName,
    /// Its place in the plan, from 0.
    pub index: u32,
    /// What it does.
    #[serde(rename = "type")]
    pub step: StepType,
    /// The catalogue's name of the model.
    pub model: String,
    /// Who runs it.
    pub provider: ProviderName,
    /// The provider's id of the model.
    pub endpoint: String,
    /// The request as it is sent, apart from media and from texts that read steps.
    pub params: Map<String, Value>,
    /// Texts that read steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<TextSlot>,
    /// Media.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<PlannedMedia>,
    /// Another picture of the same prompt.
    pub take: u32,
    /// How the cache is used.
    pub cache: CachePolicy,
    /// The upper-bound price at list prices; an estimate where it depends on what the step reads.
    pub price: Money,
    /// How many outputs it gives.
    pub outputs: u32,
    /// What they are.
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

/// The media for one of the provider's fields, found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyMedia {
    /// The provider's field.
    pub to: String,
    /// Whether the field is a list.
    pub list: bool,
    /// The media, in order.
    pub media: Vec<InputMedia>,
}

/// A step that can be asked for: everything that it reads is there.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadyStep {
    /// What it does.
    pub step: StepType,
    /// The catalogue's name of the model.
    pub model: String,
    /// Who runs it.
    pub provider: ProviderName,
    /// The provider's id of the model.
    pub endpoint: String,
    /// The request as it is sent, apart from media.
    pub params: Map<String, Value>,
    /// Its media.
    pub inputs: Vec<ReadyMedia>,
    /// How the cache is used.
    pub cache: CachePolicy,
    /// The content key.
    pub key: ContentKey,
    /// The upper-bound price; what a hold reserves.
    pub price: Money,
    /// What its outputs are.
    pub kind: MediaKind,
    /// The timeout in seconds.
    pub timeout: u32,
}

/// What a step has made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepOutputs {
    /// Its outputs, in order.
    pub media: Vec<InputMedia>,
    /// The text, where that is what it gives and it has been read.
    pub text: Option<String>,
}

impl PlannedStep {
    /// The steps that it reads.
    pub fn reads(&self) -> BTreeSet<&StepName> {
        let media = self.media.iter().flat_map(|slot| &slot.from).filter_map(|source| match source {
            InputSource::Output { step, .. } => Some(step),
            InputSource::Given(_) => None,
        });
        media.chain(self.reads_text_of()).collect()
    }

    /// The steps whose text it reads.
    pub fn reads_text_of(&self) -> impl Iterator<Item = &StepName> {
        self.texts.iter().flat_map(|slot| &slot.pieces).filter_map(|piece| match piece {
            Piece::Step(name) => Some(name),
            Piece::Text(_) => None,
        })
    }

    /// The request, if everything that the step reads has been made; `None` if not. An error is a text or a medium that
    /// cannot be sent.
    pub fn resolve(&self, run: &RunId, made: &BTreeMap<StepName, StepOutputs>) -> Result<Option<ReadyStep>, Failure> {
        let Some(model) = catalogue::find(self.step, &self.model) else {
            // The plan was made by another version of the functions.
            return Err(Failure::new(ErrorName::Internal, format!("there is no model {} any more", self.model)));
        };
        let mut params = self.params.clone();
        for slot in &self.texts {
            let Some(text) = filled(slot, made) else { return Ok(None) };
            params.insert(slot.to.clone(), Value::String(sendable(slot, &text)?));
        }
        let mut inputs = Vec::with_capacity(self.media.len());
        for slot in &self.media {
            let mut media = Vec::with_capacity(slot.from.len());
            for source in &slot.from {
                match source {
                    InputSource::Given(given) => media.push(given.clone()),
                    InputSource::Output { step, index } => {
                        let Some(there) = made.get(step) else { return Ok(None) };
                        let output = usize::try_from(*index).ok().and_then(|index| there.media.get(index));
                        media.push(output.cloned().ok_or_else(|| {
                            let message = format!(
                                "{step} gave {} outputs, and number {} is needed",
                                there.media.len(),
                                index + 1
                            );
                            Failure::new(ErrorName::StepInput, message)
                        })?);
                    }
                }
            }
            inputs.push(ReadyMedia { to: slot.to.clone(), list: slot.list, media });
        }
        let hashes: Vec<String> = inputs
            .iter()
            .flat_map(|slot| slot.media.iter().map(|media| format!("{}={}", slot.to, media.sha256)))
            .collect();
        let salt = (self.cache == CachePolicy::Off).then_some(Salt { run, step: &self.name });
        let media = inputs.iter().flat_map(|slot| &slot.media);
        let sizes: Vec<_> = media.map(|media| media.width.zip(media.height)).collect();
        Ok(Some(ReadyStep {
            step: self.step,
            model: self.model.clone(),
            provider: self.provider,
            endpoint: self.endpoint.clone(),
            key: content_key(model, &params, &hashes, self.take, salt),
            price: model.price_of(&params, &sizes),
            params,
            inputs,
            cache: self.cache,
            kind: self.kind,
            timeout: self.timeout,
        }))
    }
}

/// The text with what the steps gave. It is not read again: what a model writes is never a placeholder.
fn filled(slot: &TextSlot, made: &BTreeMap<StepName, StepOutputs>) -> Option<String> {
    let mut text = String::new();
    for piece in &slot.pieces {
        match piece {
            Piece::Text(piece) => text.push_str(piece),
            Piece::Step(name) => text.push_str(made.get(name)?.text.as_deref()?.trim()),
        }
    }
    Some(text)
}

/// What holds for every text of a document holds for this one too.
fn sendable(slot: &TextSlot, text: &str) -> Result<String, Failure> {
    // First the NULs, then NFC: what a NUL kept apart may belong together.
    let text: String = text.chars().filter(|c| *c != '\0').nfc().collect();
    let length = text.chars().count();
    if text.trim().is_empty() {
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
