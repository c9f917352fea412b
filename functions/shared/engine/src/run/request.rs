//! The request of a run, stored with the plan that was compiled from it.

use std::collections::BTreeMap;

use bytes::Bytes;
use fresco_ledger::records::Millis;
use fresco_ledger::traits::Objects;
use fresco_pipeline::document::{Checked, MediaReference, Problem, Problems, RunInputs, check, media_references};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::RunId;
use fresco_pipeline::media::Media;
use fresco_pipeline::plan::{Plan, compile};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of stored plans. It is raised when a plan is compiled differently or its fields change.
const PLAN_VERSION: u32 = 2;

/// The request of a run: `runs/<id>/request.json`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunRequest {
    /// The text of the pipeline document.
    pub document: String,
    pub input: Option<String>,
    /// The name or URL of the input image.
    pub image: Option<String>,
    /// `{{vars.x}}`, before those of the document.
    pub vars: BTreeMap<String, String>,
    /// `{{env.X}}`.
    pub env: BTreeMap<String, String>,
    /// The default of the document's `parallel`.
    pub parallel: Option<bool>,
    /// The stored media, by the text with which the document names them.
    pub media: BTreeMap<String, Media>,
    /// `{{timestamp}}`, fixed when the run is recorded.
    pub timestamp: String,
    /// `{{random}}`, fixed when the run is recorded.
    pub random: String,
    /// The hash of the request under an idempotency key; empty without one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_hash: String,
    /// Media that cannot be used. They are not stored, since such a run is not recorded.
    #[serde(skip)]
    pub refused: BTreeMap<String, Problem>,
}

impl RunRequest {
    /// Checks the document.
    pub fn check(&self) -> Result<Checked, Problems> {
        check(&self.document, &self.inputs())
    }

    /// Returns the files and URLs that the document names; they have to be in `media` before it is checked.
    pub fn media_references(&self) -> Vec<MediaReference> {
        media_references(&self.document, &self.inputs())
    }

    /// Returns the request with `{{timestamp}}` and `{{random}}` fixed.
    pub fn fixed(&self, now: Millis, random: &str) -> Result<Self, Failure> {
        let at = jiff::Timestamp::from_millisecond(now)
            .map_err(|error| Failure::new(ErrorName::Internal, error.to_string()))?;
        let random = random.get(..8).unwrap_or(random).to_owned();
        Ok(RunRequest { timestamp: at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), random, ..self.clone() })
    }

    pub(crate) fn inputs(&self) -> RunInputs {
        let kept = self.media.iter().map(|(text, media)| (text.clone(), Ok(media.clone())));
        let refused = self.refused.iter().map(|(text, problem)| (text.clone(), Err(problem.clone())));
        RunInputs {
            input: self.input.clone(),
            image: self.image.clone(),
            vars: self.vars.clone(),
            row: BTreeMap::new(),
            env: self.env.clone(),
            parallel: self.parallel,
            timestamp: self.timestamp.clone(),
            random: self.random.clone(),
            media: kept.chain(refused).collect(),
        }
    }
}

/// The key of the request of a run.
pub fn request_key(run: &RunId) -> String {
    format!("runs/{run}/request.json")
}

/// `runs/<id>/request.json`: a request, and the plan that was compiled from it.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredRun {
    #[serde(flatten)]
    pub(crate) request: RunRequest,
    #[serde(default)]
    plan: Option<StoredPlan>,
}

#[derive(Serialize, Deserialize)]
struct StoredPlan {
    version: u32,
    /// Not a [`Plan`]: one of another version may have other fields.
    plan: Value,
}

impl StoredRun {
    /// Makes it of a request and its plan.
    pub(crate) fn new(request: RunRequest, plan: &Plan) -> Result<Self, Failure> {
        let plan = serde_json::to_value(plan).map_err(internal)?;
        Ok(StoredRun { request, plan: Some(StoredPlan { version: PLAN_VERSION, plan }) })
    }

    /// Reads the request and the plan of a run.
    pub(crate) async fn read(objects: &impl Objects, run: &RunId) -> Result<Self, Failure> {
        let bytes = objects.get(&request_key(run)).await?;
        let bytes = bytes.ok_or_else(|| Failure::new(ErrorName::RunNotFound, "the run's document is gone"))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::new(ErrorName::Internal, format!("the run's document cannot be read: {error}")))
    }

    /// Serializes it for the bucket.
    pub(crate) fn json(&self) -> Result<Bytes, Failure> {
        serde_json::to_vec(self).map(Bytes::from).map_err(internal)
    }

    /// Returns the stored plan. A plan of another version is compiled again from the document.
    pub(crate) fn plan(self) -> Result<Plan, Failure> {
        match self.plan.filter(|stored| stored.version == PLAN_VERSION) {
            Some(stored) => serde_json::from_value(stored.plan).map_err(internal),
            None => match self.request.check() {
                Ok(checked) => Ok(compile(&checked)),
                Err(problems) => Err(Failure::new(ErrorName::DocumentInvalid, problems.to_string())),
            },
        }
    }
}

/// The failure of a stored document that cannot be read or written.
pub(crate) fn internal(error: serde_json::Error) -> Failure {
    Failure::new(ErrorName::Internal, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stored() -> (StoredRun, Plan) {
        let document = "
name: p
settings: { max_cost: 2.5, export: s3://bucket/a }
steps:
  - { name: a, type: text_to_image, model: flux_dev, params: { prompt: one, guidance_scale: 3.7, num_images: 2 } }
  - { name: b, type: image_to_video, params: { prompt: two } }
";
        let request = RunRequest { document: document.to_owned(), ..RunRequest::default() };
        let plan = compile(&request.check().unwrap());
        (StoredRun::new(request, &plan).unwrap(), plan)
    }

    fn read(json: &Value) -> StoredRun {
        serde_json::from_value(json.clone()).unwrap()
    }

    #[test]
    fn the_stored_plan_is_the_compiled_one() {
        let (stored, plan) = stored();
        let read: StoredRun = serde_json::from_slice(&stored.json().unwrap()).unwrap();
        assert_eq!(read.request.document, stored.request.document);
        assert_eq!(read.plan().unwrap(), plan);
    }

    #[test]
    fn the_document_is_not_read_again() {
        let (stored, plan) = stored();
        let mut json = serde_json::to_value(&stored).unwrap();
        json["document"] = json!("not a pipeline");
        assert_eq!(read(&json).plan().unwrap(), plan);
    }

    #[test]
    fn a_plan_of_another_version_is_compiled_again() {
        let (stored, plan) = stored();
        let mut json = serde_json::to_value(&stored).unwrap();
        json["plan"] = json!({ "version": PLAN_VERSION + 1, "plan": { "stages": "of another form" } });
        assert_eq!(read(&json).plan().unwrap(), plan);
        json.as_object_mut().unwrap().remove("plan");
        assert_eq!(read(&json).plan().unwrap(), plan);
        json["document"] = json!("not a pipeline");
        assert_eq!(read(&json).plan().unwrap_err().name, ErrorName::DocumentInvalid);
    }
}
