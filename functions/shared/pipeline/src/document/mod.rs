//! The pipeline document: what a user writes, YAML or JSON. It is parsed into a tree with places and checked whole, so that
//! every problem is reported at once, before anything is started or spent. What this version does not carry out is refused
//! by name, never ignored.

mod diagnostics;
mod export;
mod key_specs;
mod media;
mod media_url;
mod params;
mod parse;
mod problem;
mod reference_graph;
mod references;
mod schedule;
mod schema;
mod settings;
mod template;
mod unread;
mod validate;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::catalogue::{MediaKind, Model};
use crate::ids::StepName;
use crate::media::{FieldMedia, Media, MediaRef};
use crate::money::Money;

pub use export::Export;
pub use problem::{MAX_PROBLEMS, Position, Problem, Problems};
pub use schedule::{Scheduled, ScheduledPipeline, scheduled};
pub use schema::schema;
pub use yaml::MAX_BYTES;

/// The most steps of one run.
pub const MAX_STEPS: usize = 1_000;
/// The most workers.
pub const MAX_WORKERS: u32 = 40;
/// The workers where the document says nothing.
pub const DEFAULT_WORKERS: u32 = 4;

/// The use of the cache by a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CachePolicy {
    /// Use a cached result.
    #[default]
    Use,
    /// Generate and replace.
    Refresh,
    /// Neither find nor be found: the key is salted with run and step.
    Off,
}

impl CachePolicy {
    const ALL: [(&'static str, CachePolicy); 3] =
        [("use", CachePolicy::Use), ("refresh", CachePolicy::Refresh), ("off", CachePolicy::Off)];
}

/// The order in which the items of a document run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionOrder {
    /// An item waits for the whole item before it, as the performance guide says.
    #[default]
    Groups,
    /// A step that is the only reader of one other step follows it at once, wherever that cannot make a run later.
    Eager,
}

/// The treatment of a schedule's firing while the run of the one before goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The firing is dropped.
    #[default]
    Skip,
    /// Its run starts beside the other.
    Allow,
}

/// The inputs of a run.
#[derive(Debug, Clone, Default)]
pub struct RunInputs {
    /// The input text: `{{input}}`, and the prompt of steps without one.
    pub input: Option<String>,
    /// The input image, as it was named: for the first steps that need an image and name none.
    pub image: Option<String>,
    /// `{{vars.x}}`, over the document's own.
    pub vars: BTreeMap<String, String>,
    /// `{{vars.x}}` of a row, over all others. The document need not read them.
    pub row: BTreeMap<String, String>,
    /// `{{env.X}}`: only what was given with the run, never the environment of a function.
    pub env: BTreeMap<String, String>,
    /// Whether groups run side by side where the document does not say (`PIPELINE_PARALLEL_ENABLED`).
    pub parallel: Option<bool>,
    /// `{{timestamp}}`, fixed for the run.
    pub timestamp: String,
    /// `{{random}}`, fixed for the run.
    pub random: String,
    /// The media that the document names, found or with a problem, by the text that names them; see [`media_references`].
    pub media: BTreeMap<String, Result<Media, Problem>>,
}

/// A file or a URL that a document, or its run, names as a medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaReference {
    /// The path or URL, with its placeholders filled.
    pub text: String,
    /// The kind that is needed.
    pub kind: MediaKind,
}

/// A part of a text that is filled when the steps that it reads are done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// Text as it is; never rendered again.
    Text(String),
    /// The text that this step of the document gave; of several parts, one after the other.
    Step(StepName),
}

/// A text param that reads steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextSlot {
    pub to: String,
    /// The most characters of the filled text.
    pub max_chars: usize,
    pub pieces: Vec<Piece>,
}

/// A step without problems.
#[derive(Debug, Clone)]
pub struct ValidStep {
    pub name: StepName,
    pub model: &'static Model,
    /// The request as it is sent, apart from media and from texts that read steps.
    pub params: Map<String, Value>,
    pub texts: Vec<TextSlot>,
    /// Media; the field that [`Model::inputs`] has first is first. An output's number counts over all parts of its step.
    pub media: Vec<FieldMedia<MediaRef>>,
    /// The number of the result among those of the same request, from 1: the document's `take`.
    pub repetition: u32,
    pub cache: CachePolicy,
    /// Its timeout in seconds, where given.
    pub timeout: Option<u32>,
    /// Whether its failure stops what has not started.
    pub fail_fast: bool,
    /// Whether `{{timestamp}}` or `{{random}}` stands in it: it is never found in the cache.
    pub uncacheable: bool,
}

impl ValidStep {
    /// The steps of the document that it reads.
    pub fn reads(&self) -> BTreeSet<&StepName> {
        let media = self.media.iter().flat_map(|field| &field.media).filter_map(|medium| match medium {
            MediaRef::Output { step, .. } => Some(step),
            MediaRef::Input(_) => None,
        });
        let texts = self.texts.iter().flat_map(|slot| &slot.pieces).filter_map(|piece| match piece {
            Piece::Step(name) => Some(name),
            Piece::Text(_) => None,
        });
        media.chain(texts).collect()
    }
}

/// Steps that may run side by side; a step outside a group is a group of one.
#[derive(Debug, Clone)]
pub struct ValidGroup {
    /// Its name, if it is a group that has one.
    pub name: Option<StepName>,
    /// At most so many at a time. Of a group of one step it bounds the parts of that step.
    pub workers: u32,
    /// The steps that are enabled.
    pub steps: Vec<ValidStep>,
}

/// A document without problems.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The pipeline's name, `pipeline` where it has none.
    pub name: String,
    /// Whether steps run side by side at all; otherwise strictly one after the other, in the document's order.
    pub parallel: bool,
    pub schedule: ExecutionOrder,
    /// Whether the first failure stops what has not started.
    pub fail_fast: bool,
    pub max_cost: Option<Money>,
    pub export: Option<Export>,
    /// The groups in order. A step reads only steps before it: of earlier groups, or earlier ones of its own group.
    pub groups: Vec<ValidGroup>,
}

/// Parses and checks a document for a run. Every file and URL that it names has to be in [`RunInputs::media`].
pub fn check(text: &str, given: &RunInputs) -> Result<Checked, Problems> {
    let root = yaml::parse(text).map_err(|problem| Problems(vec![problem]))?;
    validate::examine(&root, given).0
}

/// Checks that the document reads the run's input text. A person who gives one by hand wants it read; a text in an inbox and a
/// column of rows are there whatever the document reads, so [`check`] takes them.
pub fn check_unread_input(text: &str, given: &RunInputs) -> Result<(), Problems> {
    let root = yaml::parse(text).map_err(|problem| Problems(vec![problem]))?;
    validate::examine_unread_input(&root, given)
}

/// A document that is checked for one row after the other.
#[derive(Debug, Clone)]
pub struct Prepared(yaml::Node);

/// Parses a document once for all rows.
pub fn prepare(text: &str) -> Result<Prepared, Problems> {
    yaml::parse(text).map(Prepared).map_err(|problem| Problems(vec![problem]))
}

impl Prepared {
    /// Lists the media references, as [`media_references`] does.
    pub fn media_references(&self, given: &RunInputs) -> Vec<MediaReference> {
        validate::examine(&self.0, given).1
    }

    /// The names of its vars: those that it gives, and those that its texts read.
    pub fn var_names(&self) -> BTreeSet<String> {
        template::var_names(&self.0)
    }

    /// The pipeline's name, where it gives a text for one.
    pub fn name(&self) -> Option<String> {
        let value = self.0.value();
        value.get("name")?.as_str().map(str::to_owned)
    }

    /// Checks that the document reads the vars and the environment of a run, whatever its rows give.
    pub fn check_unread(&self, given: &RunInputs) -> Result<(), Problems> {
        validate::examine_unread(&self.0, given)
    }

    /// Checks the document, as [`check`] does.
    pub fn check(&self, given: &RunInputs) -> Result<Checked, Problems> {
        validate::examine(&self.0, given).0
    }
}

/// The files and URLs that the enabled steps of a document name, and the run's image if a step takes it; each once, in order.
/// What cannot be one (a URL on a private address) is left to [`check`] to report. Of a document that cannot be read there
/// are none, of one with problems those that are found all the same.
pub fn media_references(text: &str, given: &RunInputs) -> Vec<MediaReference> {
    yaml::parse(text).map(|root| validate::examine(&root, given).1).unwrap_or_default()
}
