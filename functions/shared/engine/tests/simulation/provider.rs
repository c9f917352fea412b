//! A provider as a model: a list of jobs, each with a fate of its own. It may refuse, lose its reply, list a job late, and
//! report its end never, twice, late, or before it answers the submission.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fresco_ledger::records::Millis;
use fresco_pipeline::catalogue::{ProviderName, StepType, find};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::ids::{Attempt, ContentKey};
use fresco_pipeline::money::Money;
use fresco_pipeline::request::GenerationRequest;
use fresco_providers::{
    Accepted, CancelAnswer, CheckError, FoundJob, InputData, InputForm, JobReport, JobState, Provider, RemoteMedia,
    Submission, SubmitError, WebhookError, WebhookReport, WebhookRequest,
};
use serde_json::{Map, Value};

use crate::world::{Pause, World, brief};

/// A job that the provider accepted.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: String,
    /// For recipients it was submitted.
    pub(crate) key: ContentKey,
    pub(crate) attempt: Attempt,
    pub(crate) endpoint: String,
    pub(crate) params: Map<String, Value>,
    /// The objects that it was given.
    pub(crate) inputs: Vec<String>,
    pub(crate) sent_at: Millis,
    pub(crate) starts_at: Millis,
    pub(crate) ends_at: Millis,
    pub(crate) listed_at: Millis,
    pub(crate) end: JobEnd,
    /// The units that the provider bills.
    pub(crate) units: Option<f64>,
    pub(crate) price: Money,
    pub(crate) webhook_url: Option<String>,
    /// When webhooks go out.
    pub(crate) hooks: Vec<Millis>,
    /// It was answered synchronously: it has no request id, and cannot be checked later.
    pub(crate) sync: bool,
    /// A webhook about it was taken.
    pub(crate) reported: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobEnd {
    Ok,
    /// Paid, and one picture of those that were asked for is blanked.
    Short,
    /// Paid, and what it made is no picture.
    Junk,
    Failed {
        billed: bool,
    },
    Cancelled {
        billed: bool,
    },
}

impl Job {
    /// Whether it costs money, or may.
    pub(crate) fn paid(&self) -> bool {
        matches!(
            self.end,
            JobEnd::Ok
                | JobEnd::Short
                | JobEnd::Junk
                | JobEnd::Failed { billed: true }
                | JobEnd::Cancelled { billed: true }
        )
    }

    pub(crate) fn cost(&self) -> Money {
        match (self.end, self.units) {
            (JobEnd::Ok | JobEnd::Short | JobEnd::Junk, Some(units)) => {
                let model = find(StepType::TextToImage, "flux_schnell").expect("a model of the catalogue");
                Money::micros((units * model.price.list as f64).ceil() as i64)
            }
            _ if self.paid() => self.price,
            _ => Money::ZERO,
        }
    }

    /// The number of pictures that were asked for.
    fn asked(&self) -> u32 {
        self.params.get("num_images").and_then(Value::as_u64).map_or(1, |asked| asked as u32)
    }

    fn report(&self) -> JobReport {
        match self.end {
            JobEnd::Ok | JobEnd::Short | JobEnd::Junk => {
                let what = if self.end == JobEnd::Junk { "junk" } else { "ok" };
                let blanked = u32::from(self.end == JobEnd::Short);
                let media = (blanked..self.asked()).map(|n| {
                    let url = format!("https://media.test/{what}/{}/{n}", self.id);
                    RemoteMedia { url, content_type: None, bytes: None, width: None, height: None }
                });
                JobReport::Succeeded { media: media.collect(), blanked, billable_units: self.units, seconds: None }
            }
            JobEnd::Failed { billed } => {
                JobReport::Failed { failure: Failure::new(ErrorName::ProviderFailed, "it could not be done"), billed }
            }
            JobEnd::Cancelled { billed } => JobReport::Cancelled { billed },
        }
    }

    /// The body of its webhook: the result, or only that there is one.
    pub(crate) fn webhook_body(&self, unread: bool) -> Bytes {
        let report = if unread { JobReport::NotIncluded } else { self.report() };
        Bytes::from(serde_json::to_vec(&(&self.id, report)).expect("serialises"))
    }
}

/// The bytes behind a URL; `None` where they are no picture.
pub(crate) fn media_bytes(url: &str) -> Option<Bytes> {
    url.contains("/ok/").then(|| Bytes::copy_from_slice(url.as_bytes()))
}

/// The objects behind the links of a submission.
fn inputs(submission: &Submission) -> Vec<String> {
    let media = submission.request.media().map(|media| &submission.media[&media.key]);
    let keys = media.map(|media| match media {
        InputData::Url(url) => url.strip_prefix("https://bucket.test/").unwrap_or(url).to_owned(),
        InputData::Bytes { .. } => "not a link".to_owned(),
    });
    keys.collect()
}

pub(crate) struct Model(pub(crate) Arc<World>);

impl Model {
    fn cannot_be_asked(&self) -> Result<(), CheckError> {
        if self.0.outage() || self.0.harm(self.0.knobs.fault_one_in) {
            self.0.count("provider not asked");
            let failure = Failure::new(ErrorName::ProviderUnavailable, "did not answer");
            return Err(CheckError { failure, retry_after: None });
        }
        Ok(())
    }

    /// Takes the job. That there is no other for the attempt is the first guarantee.
    fn accept(&self, submission: &Submission, sync: bool) -> Job {
        let world = &self.0;
        let now = world.now();
        let mut state = world.state();
        let actor = state.actor;
        let claim = state.claims.remove(&actor);
        let (key, attempt) = claim.clone().unwrap_or_else(|| (ContentKey::digest(b"nobody"), Attempt::NONE));
        let rows = world.ledger.all_attempts();
        let price = rows
            .iter()
            .find(|row| (&row.key, row.attempt) == (&key, attempt))
            .map_or(Money::ZERO, |row| row.hold.amount);
        let chaos = state.chaos;
        let lag = world.knobs.list_lag;
        let rng = &mut state.rng;
        let queued = if rng.percent(70) { 0 } else { rng.between(0, 120_000) };
        let works = match rng.below(100) {
            0..20 => 0,
            20..70 => rng.between(1_000, 20_000),
            70..95 => rng.between(20_000, 600_000),
            _ => rng.between(600_000, 10_800_000),
        };
        let ends_at = now + if sync { 0 } else { queued + works };
        let asked = submission.request.params.get("num_images").and_then(Value::as_u64).unwrap_or(1);
        let end = match rng.below(if chaos { 100 } else { 80 }) {
            // Only while chance does harm: with it, every request is content in the end.
            0..10 if chaos && asked > 1 => JobEnd::Short,
            0..80 => JobEnd::Ok,
            80..86 => JobEnd::Junk,
            86..94 => JobEnd::Failed { billed: rng.one_in(3) },
            _ => JobEnd::Cancelled { billed: rng.one_in(3) },
        };
        let hooks = if sync || submission.webhook_url.is_none() { 0 } else { *rng.pick(&[0, 1, 1, 1, 2, 3]) };
        let job = Job {
            id: format!("job-{}", state.jobs.len()),
            endpoint: submission.request.endpoint.clone(),
            params: submission.request.params.clone(),
            inputs: inputs(submission),
            sent_at: now,
            starts_at: now + queued,
            ends_at,
            listed_at: now + if lag == 0 { 0 } else { state.rng.between(0, lag) },
            end,
            // Other models are not billed by units that the engine reads.
            units: if submission.request.inputs.is_empty() {
                *state.rng.pick(&[None, Some(1.0), Some(0.5)])
            } else {
                None
            },
            price,
            webhook_url: submission.webhook_url.clone(),
            hooks: (0..hooks)
                .map(|_| {
                    ends_at
                        + if state.rng.percent(40) {
                            0
                        } else if state.rng.percent(60) {
                            state.rng.between(0, 3_000)
                        } else {
                            state.rng.between(0, 3_600_000)
                        }
                })
                .collect(),
            sync,
            reported: false,
            key,
            attempt,
        };
        let twice = state.jobs.iter().any(|other| (&other.key, other.attempt) == (&job.key, job.attempt));
        state.jobs.push(job.clone());
        drop(state);
        world.note(|| {
            format!(
                "ACCEPTED {} for {} {}, ends in {} ms as {:?}",
                job.id,
                brief(&job.key),
                job.attempt,
                ends_at - now,
                job.end
            )
        });
        world.require(claim.is_some(), || format!("(a) {} was submitted without a claim", job.id));
        world.require(!twice, || {
            format!("(a) two accepted submissions for {} attempt {}", brief(&job.key), job.attempt)
        });
        let ours = |url: &String| url.contains(&format!("/webhooks/fal/{}/{}/", job.key, job.attempt));
        world.require(job.webhook_url.as_ref().is_none_or(ours), || {
            format!("(a) {} reports to another attempt", job.id)
        });
        job
    }

    fn refuse(&self, kind: usize) -> Result<Accepted, SubmitError> {
        let world = &self.0;
        let mut state = world.state();
        let actor = state.actor;
        let claim = state.claims.remove(&actor);
        let (name, billed, pause) = match kind {
            0 => (ErrorName::ProviderThrottled, false, Some(state.rng.between(0, 400) as u64)),
            1 => (ErrorName::ProviderUnavailable, false, None),
            2 => (ErrorName::ProviderRejected, false, None),
            _ => (ErrorName::ProviderContentPolicy, true, None),
        };
        if let (true, Some(claim)) = (billed, claim.clone()) {
            state.billed.insert(claim);
        }
        drop(state);
        world.count("refused");
        world.note(|| format!("REFUSED {name}"));
        world.require(claim.is_some(), || "(a) something was submitted without a claim".to_owned());
        Err(SubmitError::Rejected {
            failure: Failure::new(name, "refused"),
            retry_after: pause.map(Duration::from_secs),
            billed,
        })
    }
}

#[async_trait]
impl Provider for Model {
    fn name(&self) -> ProviderName {
        ProviderName::Fal
    }

    fn input_form(&self) -> InputForm {
        InputForm::Url
    }

    fn can_find(&self) -> bool {
        self.0.knobs.can_find
    }

    async fn submit(&self, submission: &Submission) -> Result<Accepted, SubmitError> {
        let world = &self.0;
        Pause(false).await;
        let unclear = |message: &str| Err(SubmitError::Unknown { message: message.to_owned() });
        let (refuses, is_unclear, coin, kind) = {
            let mut state = world.state();
            let refuses = state.chaos && state.rng.one_in(world.knobs.refuse_one_in);
            let is_unclear = state.rng.percent(world.knobs.unclear_percent);
            (refuses, is_unclear, state.rng.one_in(2), state.rng.below(7) / 2)
        };
        let out = world.outage();
        let answer = match (refuses, is_unclear, coin) {
            _ if out => {
                world.count("refused in an outage");
                self.refuse(usize::from(coin))
            }
            (true, true, true) => {
                world.count("unclear, accepted");
                self.accept(submission, false);
                unclear("the connection broke after it was sent")
            }
            (true, true, false) => {
                let actor = world.state().actor;
                world.state().claims.remove(&actor);
                world.count("unclear, not accepted");
                world.note(|| "UNCLEAR, not accepted".to_owned());
                unclear("a gateway gave up")
            }
            (true, false, _) => self.refuse(kind),
            (false, ..) => {
                // A provider that answers at once has no list to search, and the other way round.
                let sync = world.state().rng.one_in(if world.knobs.can_find { usize::MAX } else { 10 });
                let job = self.accept(submission, sync);
                if sync { Ok(Accepted::Done(job.report())) } else { Ok(Accepted::Queued { request_id: job.id }) }
            }
        };
        Pause(false).await;
        answer
    }

    async fn check(&self, endpoint: &str, request_id: &str) -> Result<JobState, CheckError> {
        Pause(false).await;
        self.cannot_be_asked()?;
        let now = self.0.now();
        let job = self
            .0
            .state()
            .jobs
            .iter()
            .find(|job| job.id == request_id && job.endpoint == endpoint && !job.sync)
            .cloned();
        let state = match job {
            None => JobState::Missing,
            Some(job) if now >= job.ends_at => JobState::Ended(job.report()),
            Some(job) if now >= job.starts_at => JobState::Running,
            Some(_) => JobState::Queued { position: None },
        };
        self.0.note(|| format!("check {request_id} -> {}", format!("{state:?}").chars().take(24).collect::<String>()));
        Pause(false).await;
        Ok(state)
    }

    async fn find(&self, request: &GenerationRequest, not_before_ms: Millis) -> Result<Vec<FoundJob>, CheckError> {
        Pause(false).await;
        self.cannot_be_asked()?;
        let now = self.0.now();
        let found: Vec<FoundJob> = self
            .0
            .state()
            .jobs
            .iter()
            .filter(|job| job.endpoint == request.endpoint && job.params == request.params && !job.sync)
            .filter(|job| job.inputs.iter().eq(request.media().map(|media| &media.key)))
            .filter(|job| job.sent_at >= not_before_ms && job.listed_at <= now)
            .map(|job| FoundJob { request_id: job.id.clone(), sent_at_ms: job.sent_at, ended: job.ends_at <= now })
            .collect();
        self.0.note(|| format!("find -> {:?}", found.iter().map(|job| &job.request_id).collect::<Vec<_>>()));
        Pause(false).await;
        Ok(found)
    }

    /// A queued job is removed; a running one is asked to end, and mostly does not.
    async fn cancel(&self, endpoint: &str, request_id: &str) -> Result<CancelAnswer, CheckError> {
        Pause(false).await;
        self.cannot_be_asked()?;
        let now = self.0.now();
        let answer = {
            let mut state = self.0.state();
            let heeds = state.rng.one_in(4);
            let job = state.jobs.iter_mut().find(|job| job.id == request_id && job.endpoint == endpoint && !job.sync);
            match job {
                None => CancelAnswer::Missing,
                Some(job) if now >= job.ends_at => CancelAnswer::TooLate,
                Some(job) if now < job.starts_at || heeds => {
                    let billed = now >= job.starts_at;
                    job.end = JobEnd::Cancelled { billed };
                    job.ends_at = now;
                    CancelAnswer::Requested
                }
                Some(_) => CancelAnswer::Requested,
            }
        };
        self.0.note(|| format!("cancel {request_id} -> {answer:?}"));
        Pause(false).await;
        Ok(answer)
    }

    async fn read_webhook(&self, request: &WebhookRequest) -> Result<WebhookReport, WebhookError> {
        let read: Result<(String, JobReport), _> = serde_json::from_slice(&request.body);
        let (request_id, report) = read.map_err(|_| WebhookError::Malformed)?;
        Ok(WebhookReport { request_id, gateway_request_id: None, report })
    }
}
