//! A rule: a fault and the requests that it is meant for, read strictly, so that a misspelt field is an error and not a
//! fault that never strikes.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::kinds::{CancelFault, Fault, MediaFault, PollFault, SubmitFault, WebhookFault, WorkFault};
use crate::fal::model_errors;

/// The longest that a fault may take.
const LONGEST_SECONDS: f64 = 86_400.0;
/// The most deliveries of one webhook.
const LARGEST_BURST: u32 = 1_000;

/// A fault and whom it strikes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultRule {
    /// The fault with its own fields.
    #[serde(flatten)]
    pub fault: Fault,
    /// The exact endpoint id, or its beginning with `*` at the end; `None` means every one.
    pub endpoint: Option<String>,
    /// What the prompt has to contain.
    pub prompt: Option<String>,
    /// So many matches go unharmed first.
    pub skip: u64,
    /// So many are struck at most.
    pub times: Option<u64>,
    /// How likely a match that is not skipped is struck; `None` is certain.
    pub probability: Option<f64>,
}

/// A rule with what has come of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultStatus {
    /// The rule.
    #[serde(flatten)]
    pub rule: FaultRule,
    /// How often it matched, struck or not.
    pub seen: u64,
    /// How often it struck.
    pub hits: u64,
}

/// Why a rule is no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadRule {
    /// There is no fault of this name.
    #[error("there is no fault {0:?}")]
    Unknown(String),
    /// A field has the wrong type, or one is missing.
    #[error("fault {name}: {source}")]
    Form {
        /// The fault.
        name: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A field that the fault does not have.
    #[error("fault {name} has no field {field:?}")]
    Field {
        /// The fault.
        name: String,
        /// The field.
        field: String,
    },
    /// A value out of bounds.
    #[error("fault {name}: {field} is out of bounds")]
    Bounds {
        /// The fault.
        name: &'static str,
        /// The field.
        field: &'static str,
    },
}

/// The fields that every rule may have.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Common {
    endpoint: Option<String>,
    prompt: Option<String>,
    skip: u64,
    times: Option<u64>,
    probability: Option<f64>,
}

const COMMON: [&str; 5] = ["endpoint", "prompt", "skip", "times", "probability"];

impl FaultRule {
    /// A rule that strikes always.
    pub fn new(fault: impl Into<Fault>) -> Self {
        Self { fault: fault.into(), endpoint: None, prompt: None, skip: 0, times: None, probability: None }
    }

    /// Only requests to this endpoint, or to those that begin with what stands before a `*` at the end.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Only requests whose prompt contains this.
    #[must_use]
    pub fn prompt(mut self, part: impl Into<String>) -> Self {
        self.prompt = Some(part.into());
        self
    }

    /// The first so many go unharmed.
    #[must_use]
    pub fn skip(mut self, number: u64) -> Self {
        self.skip = number;
        self
    }

    /// So many are struck at most.
    #[must_use]
    pub fn times(mut self, number: u64) -> Self {
        self.times = Some(number);
        self
    }

    /// Strikes by chance, which the seed of the simulator repeats.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = Some(probability);
        self
    }

    /// Reads a rule from JSON.
    pub fn read(rule: Value) -> Result<Self, BadRule> {
        let name = rule.get("fault").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Value::Object(given) = rule else { return Err(BadRule::Unknown(name)) };
        let (common, own): (Map<_, _>, Map<_, _>) =
            given.into_iter().partition(|(field, _)| COMMON.contains(&field.as_str()));
        let form = |source| BadRule::Form { name: name.clone(), source };
        let common: Common = serde_json::from_value(Value::Object(common)).map_err(form)?;
        let fault = fault(&name, own)?;
        let Common { endpoint, prompt, skip, times, probability } = common;
        let rule = Self { fault, endpoint, prompt, skip, times, probability };
        rule.check()?;
        Ok(rule)
    }

    /// Refuses what cannot be carried out.
    pub(crate) fn check(&self) -> Result<(), BadRule> {
        if self.probability.is_some_and(|probability| !(0.0..=1.0).contains(&probability)) {
            return Err(BadRule::Bounds { name: self.fault.name(), field: "probability" });
        }
        match wrong_field(&self.fault) {
            Some(field) => Err(BadRule::Bounds { name: self.fault.name(), field }),
            None => Ok(()),
        }
    }

    /// Whether a request is meant.
    pub(super) fn matches(&self, endpoint: &str, prompt: Option<&str>) -> bool {
        let by_endpoint = match self.endpoint.as_deref() {
            None => true,
            Some(pattern) => match pattern.strip_suffix('*') {
                Some(start) => endpoint.starts_with(start),
                None => endpoint == pattern,
            },
        };
        let by_prompt = self.prompt.as_deref().is_none_or(|part| prompt.is_some_and(|prompt| prompt.contains(part)));
        by_endpoint && by_prompt
    }
}

impl<'de> Deserialize<'de> for FaultRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

fn fault(name: &str, own: Map<String, Value>) -> Result<Fault, BadRule> {
    if SubmitFault::NAMES.contains(&name) {
        of::<SubmitFault>(name, own)
    } else if WorkFault::NAMES.contains(&name) {
        of::<WorkFault>(name, own)
    } else if PollFault::NAMES.contains(&name) {
        of::<PollFault>(name, own)
    } else if MediaFault::NAMES.contains(&name) {
        of::<MediaFault>(name, own)
    } else if WebhookFault::NAMES.contains(&name) {
        of::<WebhookFault>(name, own)
    } else if CancelFault::NAMES.contains(&name) {
        of::<CancelFault>(name, own)
    } else {
        Err(BadRule::Unknown(name.to_owned()))
    }
}

/// Reads the fault of a stage. Serde ignores what it does not know, so what was given is compared with what was read.
fn of<T: DeserializeOwned + Serialize + Into<Fault>>(name: &str, own: Map<String, Value>) -> Result<Fault, BadRule> {
    let fields: Vec<String> = own.keys().cloned().collect();
    let form = |source| BadRule::Form { name: name.to_owned(), source };
    let fault: T = serde_json::from_value(Value::Object(own)).map_err(form)?;
    let known = serde_json::to_value(&fault).map_err(form)?;
    match fields.into_iter().find(|field| known.get(field).is_none()) {
        Some(field) => Err(BadRule::Field { name: name.to_owned(), field }),
        None => Ok(fault.into()),
    }
}

/// The field whose value makes no sense, if there is one.
fn wrong_field(fault: &Fault) -> Option<&'static str> {
    let status = |wrong: bool| wrong.then_some("status");
    let seconds = |seconds: f64| (!(0.0..=LONGEST_SECONDS).contains(&seconds)).then_some("seconds");
    let (errors, server_errors) = (400..600, 500..600);
    match fault {
        Fault::Submit(SubmitFault::ServerError { status: code }) => status(!server_errors.contains(code)),
        Fault::Submit(SubmitFault::ReplyNever { seconds: long } | SubmitFault::SlowReply { seconds: long }) => {
            seconds(*long)
        }
        Fault::Work(WorkFault::ModelError { r#type, status: code, .. }) => match code {
            Some(code) => status(!errors.contains(code)),
            None => status(model_errors::status(r#type).is_none()),
        },
        Fault::Work(WorkFault::PayloadNull { status: code }) => status(*code != 200 && !errors.contains(code)),
        Fault::Work(WorkFault::Slow { seconds: long }) => seconds(*long),
        Fault::Poll(
            PollFault::StatusError { status: code }
            | PollFault::ResultError { status: code }
            | PollFault::ListingError { status: code }
            | PollFault::KeysError { status: code },
        ) => status(!errors.contains(code)),
        Fault::Media(MediaFault::MediaStatus { status: code }) => status(!errors.contains(code)),
        Fault::Media(MediaFault::Slow { seconds: long }) => seconds(*long),
        // It becomes a header.
        Fault::Media(MediaFault::Redirect { location }) => {
            axum::http::HeaderValue::from_str(location).is_err().then_some("location")
        }
        Fault::Webhook(WebhookFault::Burst { count }) => (!(1..=LARGEST_BURST).contains(count)).then_some("count"),
        Fault::Webhook(WebhookFault::Late { seconds: long } | WebhookFault::BeforeReply { seconds: long }) => {
            seconds(*long)
        }
        Fault::Webhook(WebhookFault::Reordered { seconds: long }) => long.and_then(seconds),
        _ => None,
    }
}
