//! Requests on file. A provider does not forget its jobs when its client's machine goes down, so a simulator with a
//! state file takes up again what it had accepted: what was under way is worked on anew (its inputs are fetched again),
//! what had ended can be fetched again, drawn from the copies of its inputs that are kept beside the state file.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::endpoints;
use super::infrastructure::Infrastructure;
use super::queue::{latency, plan};
use super::requests::{Job, Outcome};
use super::work;
use crate::faults::WorkFault;
use crate::keep::Kept;
use crate::world::World;

/// So many requests are taken up again; older ones are forgotten.
const KEPT: usize = 1_000;

/// A line of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Accepted(Accepted),
    Ended(Ended),
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Ended {
    request_id: String,
    status: u16,
    /// The inputs of what ended well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<Kept>,
    /// What was said of a refusal: it cannot be told again from the body alone, as the inputs may have played a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
    /// Whether the refusal says that another try may help.
    #[serde(default)]
    retryable: bool,
    /// Why the platform ended it, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_type: Option<Infrastructure>,
    /// Where the output says that its files are, if not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    elsewhere: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Accepted {
    request_id: String,
    endpoint: String,
    input: Value,
    webhook: Option<String>,
    keeps_payloads: bool,
    sent_ms: i64,
    /// What goes wrong with its work, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fault: Option<WorkFault>,
}

/// The file, or none.
#[derive(Debug, Default)]
pub(crate) struct Journal(Option<Mutex<File>>);

/// What stood in it.
#[derive(Debug, Default)]
pub(crate) struct Past(Vec<(Accepted, Option<Ended>)>);

impl Journal {
    /// Opens the file beside the state file, and reads what stands in it. A line that was cut off counts for nothing.
    pub(crate) fn open(state: Option<&Path>) -> io::Result<(Self, Past)> {
        let Some(path) = state.map(beside) else { return Ok(Default::default()) };
        let past = Past::read(&std::fs::read_to_string(&path).or_else(absent)?);
        let mut text = String::new();
        for (accepted, ended) in &past.0 {
            let ended = ended.clone().map(Line::Ended);
            for line in std::iter::once(Line::Accepted(accepted.clone())).chain(ended) {
                text.push_str(&serde_json::to_string(&line).map_err(io::Error::other)?);
                text.push('\n');
            }
        }
        crate::identity::write_atomically(&path, text.as_bytes())?;
        let file = OpenOptions::new().append(true).open(&path)?;
        Ok((Journal(Some(Mutex::new(file))), past))
    }

    pub(crate) fn accepted(&self, job: &Job) {
        self.write(&Line::Accepted(Accepted {
            request_id: job.id.clone(),
            endpoint: job.endpoint.id.to_owned(),
            input: job.input.clone(),
            webhook: job.webhook.clone(),
            keeps_payloads: job.keeps_payloads,
            sent_ms: job.sent_ms,
            fault: job.fault.clone(),
        }));
    }

    pub(crate) fn ended(&self, id: &str, outcome: &Outcome) {
        let mut line = Ended { request_id: id.to_owned(), status: outcome.status(), ..Ended::default() };
        match outcome {
            Outcome::Made(output) => {
                line.inputs.clone_from(&output.inputs);
                line.elsewhere.clone_from(&output.elsewhere);
            }
            Outcome::Refused { body, retryable, .. } => {
                line.body = Some(body.clone());
                line.retryable = *retryable;
            }
            Outcome::Ended(reason) => line.error_type = Some(*reason),
        }
        self.write(&Line::Ended(line));
    }

    fn write(&self, line: &Line) {
        let Some(file) = &self.0 else { return };
        let written = serde_json::to_string(line).map_err(io::Error::other).and_then(|text| {
            file.lock().unwrap_or_else(PoisonError::into_inner).write_all(format!("{text}\n").as_bytes())
        });
        if let Err(error) = written {
            tracing::warn!(error = %error, "request not kept on file");
        }
    }
}

impl Ended {
    fn outcome(self, job: &Job) -> Outcome {
        match (self.error_type, self.status, &job.plan) {
            (Some(reason), _, _) => Outcome::Ended(reason),
            // Lines of a time when the reason was not kept.
            (None, 499, _) if self.body.is_none() => Outcome::Ended(Infrastructure::ClientCancelled),
            (None, 504, _) if self.body.is_none() => Outcome::Ended(Infrastructure::RequestTimeout),
            (None, 200, Ok(plan)) => {
                Outcome::Made(Arc::new(work::output(plan, self.inputs, job.fault.as_ref(), self.elsewhere)))
            }
            (None, status, plan) => {
                let told = self.body.or_else(|| plan.as_ref().err().cloned());
                Outcome::Refused { status, body: told.unwrap_or_default(), retryable: self.retryable }
            }
        }
    }
}

impl Past {
    fn read(text: &str) -> Self {
        let mut order: Vec<(Accepted, Option<Ended>)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match line {
                Line::Accepted(accepted) => {
                    places.insert(accepted.request_id.clone(), order.len());
                    order.push((accepted, None));
                }
                Line::Ended(ended) => {
                    if let Some(entry) = places.get(&ended.request_id).and_then(|&place| order.get_mut(place)) {
                        entry.1 = Some(ended);
                    }
                }
            }
        }
        Past(order.split_off(order.len().saturating_sub(KEPT)))
    }

    /// Takes the requests up again. Nothing is counted: they were counted when they came, and are when they end.
    pub(crate) fn resume(self, world: &Arc<World>) {
        for (accepted, ended) in self.0 {
            let Some(endpoint) = endpoints::find(&accepted.endpoint) else { continue };
            let Value::Object(input) = accepted.input.clone() else { continue };
            let (job, ticket) = world.requests.add(&world.gate, |sequence, ticket| Job {
                sequence,
                id: accepted.request_id,
                endpoint,
                plan: plan(world, endpoint, &input),
                input: accepted.input,
                webhook: accepted.webhook,
                keeps_payloads: accepted.keeps_payloads,
                ticket,
                sent_ms: accepted.sent_ms,
                fault: accepted.fault,
                cancelled: tokio::sync::Notify::new(),
            });
            let Some(ended) = ended else {
                work::begin(world, job.clone(), ticket, latency(world, endpoint), None);
                continue;
            };
            drop(world.requests.end(&job.id, ended.outcome(&job)));
        }
    }

    /// The copies of inputs that these requests are drawn from.
    pub(crate) fn copies(&self) -> HashSet<String> {
        let ended = self.0.iter().filter_map(|(_, ended)| ended.as_ref());
        ended.flat_map(|ended| ended.inputs.iter().map(|input| input.copy.clone())).collect()
    }
}

fn beside(state: &Path) -> PathBuf {
    state.with_extension("requests.jsonl")
}

fn absent(error: io::Error) -> io::Result<String> {
    if error.kind() == io::ErrorKind::NotFound { Ok(String::new()) } else { Err(error) }
}
