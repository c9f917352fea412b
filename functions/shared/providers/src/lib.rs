//! The providers that generate media and texts, behind one trait: submit, check, find, cancel, read a webhook. What a provider
//! says on the wire ends here; what goes on from here is a closed set of answers and errors that the ledger can act on. The
//! `media` module fetches media and inspects them before they are stored.

mod api_key;
pub mod fal;
pub mod gemini;
mod http;
pub mod media;
mod message;
mod provider;
mod secret;
mod submission;

pub use provider::{
    Accepted, CancelAnswer, CheckError, FoundJob, JobReport, JobState, Provider, RemoteMedia, SubmitError,
    WebhookError, WebhookReport, WebhookRequest,
};
pub use secret::{Secret, SecretSource};
pub use submission::{InputData, InputForm, Submission};
