//! The providers that generate media and texts, behind one trait: submit, check, find, cancel, read a webhook. What a provider
//! says on the wire ends here; what goes on from here is a closed set of answers and errors that the ledger can act on. The
//! `media` module fetches what was generated, or what a user gave, and looks at it before anybody relies on it.

pub mod fal;
pub mod gemini;
mod http;
mod key;
pub mod media;
mod message;
mod secret;
mod submission;
mod types;

pub use secret::{Secret, SecretSource};
pub use submission::{InputData, InputForm, Lookup, LookupInput, Submission, SubmittedInput};
pub use types::{
    Accepted, CancelAnswer, CheckError, FoundJob, JobReport, JobState, Provider, RemoteMedia, SubmitError,
    WebhookError, WebhookReport, WebhookRequest,
};
