//! Media objects in the stack's bucket: what a user gives with a run and what a step generates. An input lies under the hash of
//! its content, so that the same picture under two names is one input and one content key.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::catalogue::MediaKind;
use crate::ids::StepName;

/// The prefix of the media that users give.
pub const INPUTS: &str = "inputs/";

/// A media object in S3 and its description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// The S3 key; of an input see [`input_key`].
    pub key: String,
    pub kind: MediaKind,
    pub content_type: String,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// Pixels; `None` for kinds without a picture.
    pub width: Option<u32>,
    /// Pixels; `None` for kinds without a picture.
    pub height: Option<u32>,
    /// Milliseconds; `None` for kinds without a length, and for inputs.
    #[serde(default)]
    pub duration_ms: Option<u64>,
}

/// What a result lacks of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "lacks", rename_all = "snake_case")]
pub enum Shortfall {
    /// Outputs: fewer were given than were asked for.
    Outputs {
        asked: u32,
        given: u32,
        /// Of those that are missing, the ones that the provider's filter blanked.
        blanked: u32,
    },
    /// The end of the text, which was cut off at a limit that was not asked for.
    Text {
        /// In tokens.
        limit: u64,
    },
}

impl Shortfall {
    /// The shortfall of so many outputs, if it is one.
    pub fn of_outputs(asked: u32, given: u32, blanked: u32) -> Option<Self> {
        (given < asked).then_some(Shortfall::Outputs { asked, given, blanked })
    }

    /// Whether a later request is not content with the result and asks again.
    pub fn is_asked_again(&self) -> bool {
        matches!(self, Shortfall::Outputs { .. })
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shortfall::Outputs { asked, given, blanked: 0 } => write!(f, "{given} of {asked} outputs"),
            Shortfall::Outputs { asked, given, blanked } => {
                write!(f, "{given} of {asked} outputs; the provider's filter blanked {blanked}")
            }
            Shortfall::Text { limit } => {
                write!(f, "cut off at the default of {limit} tokens; a larger `max_output_tokens` helps")
            }
        }
    }
}

/// A medium that a step takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaRef {
    /// A medium that was given with the run.
    Input(Media),
    /// An output of a step of the same run.
    Output {
        step: StepName,
        /// The number among the step's outputs, from 0.
        index: u32,
    },
}

/// The media for one of the provider's fields: references in a plan, objects in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldMedia<T> {
    pub to: String,
    /// Whether the field is a list. One that is not takes a single medium.
    pub list: bool,
    /// In the order of the document.
    pub media: Vec<T>,
}

/// `inputs/<kind>/<sha256>.<ext>`: content-addressed, and no part of it comes from a user.
pub fn input_key(kind: MediaKind, sha256: &str, extension: &str) -> String {
    format!("{INPUTS}{}/{sha256}.{extension}", kind.as_str())
}
