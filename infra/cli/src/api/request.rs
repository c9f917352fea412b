//! A run or a plan as the command line requests it.

use std::collections::BTreeMap;

use fresco_api_types::RunBody;
use fresco_pipeline::document::{self, Checked, MediaReference, Problems, RunInputs};

/// A pipeline document with its inputs.
#[derive(Debug, Clone, Default)]
pub struct RunRequest {
    /// The text of the document.
    pub document: String,
    /// The inputs. Those that are media are noted by [`gather`](super::gather).
    pub inputs: RunInputs,
}

impl RunRequest {
    /// Creates a request without inputs.
    pub fn new(document: impl Into<String>) -> Self {
        RunRequest { document: document.into(), inputs: RunInputs::default() }
    }

    /// Sets the input text.
    #[must_use]
    pub fn with_input(mut self, input: impl Into<String>) -> Self {
        self.inputs.input = Some(input.into());
        self
    }

    /// Checks the document with its inputs.
    pub fn check(&self) -> Result<Checked, Problems> {
        document::check(&self.document, &self.inputs)
    }

    /// Checks that the document reads the input text, where one is given.
    pub fn check_unread_input(&self) -> Result<(), Problems> {
        document::check_unread_input(&self.document, &self.inputs)
    }

    /// Returns the files and URLs that the document and the inputs name.
    pub fn media_references(&self) -> Vec<MediaReference> {
        document::media_references(&self.document, &self.inputs)
    }

    /// Whether a file or a URL that is named cannot be used.
    pub fn has_refused_media(&self) -> bool {
        self.inputs.media.values().any(Result::is_err)
    }

    /// Returns the body for the API, without the document, with these uploads.
    pub(super) fn body(&self, media: BTreeMap<String, String>) -> RunBody {
        RunBody {
            input: self.inputs.input.clone(),
            image: self.inputs.image.clone(),
            vars: self.inputs.vars.clone(),
            env: self.inputs.env.clone(),
            parallel: self.inputs.parallel,
            media,
            ..RunBody::default()
        }
    }
}
