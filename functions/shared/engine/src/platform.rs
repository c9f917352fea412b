//! The capabilities that the use cases are generic over. On AWS they are [`crate::aws::AwsPlatform`]; tests combine
//! in-memory fakes, and may wrap each of them to fail or to be interleaved.

use std::future::Future;
use std::sync::Arc;

use fresco_ledger::traits::{
    Batches, Clock, Entries, EventPublisher, Executions, Firings, Invoker, Objects, Runs, Scheduler, SigningKeys,
    TaskCallbacks, UsageCounter, Waiters,
};
use fresco_pipeline::catalogue::{MediaKind, ProviderName};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey};
use fresco_pipeline::media::Media;
use fresco_providers::{Provider, RemoteMedia};

/// The place of one output of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputPlace {
    pub kind: MediaKind,
    pub key: ContentKey,
    pub attempt: Attempt,
    /// Counted from 0.
    pub index: usize,
}

impl OutputPlace {
    /// The key of the object: `outputs/<kind>/<content key>/<attempt>/<n>.<ext>`. No part of it comes from a user.
    pub fn object_key(&self, extension: &str) -> String {
        format!("outputs/{}/{}/{}/{}.{extension}", self.kind.as_str(), self.key, self.attempt, self.index)
    }
}

/// Stores the media of a provider in the bucket.
pub trait MediaStore: Send + Sync {
    /// Fetches, checks and stores one object. It becomes visible only when it is whole and of the right kind. Storing
    /// the same object again is no error.
    fn store(&self, place: &OutputPlace, media: &RemoteMedia) -> impl Future<Output = Result<Media, Failure>> + Send;
}

/// Every capability that the use cases need.
pub trait Platform: Send + Sync + 'static {
    /// Entries, waiters, runs, batches, firings, the count of stored bytes, and the signing key.
    type Ledger: Entries + Waiters + Runs + Batches + Firings + UsageCounter + SigningKeys;
    /// The bucket.
    type Objects: Objects;
    /// Task tokens.
    type TaskCallbacks: TaskCallbacks;
    /// Starting executions.
    type Executions: Executions;
    /// Publishing events.
    type EventPublisher: EventPublisher;
    /// Timers of schedules.
    type Scheduler: Scheduler;
    /// Invoking functions asynchronously.
    type Invoker: Invoker;
    /// Fetching media.
    type Media: MediaStore;
    /// The time.
    type Clock: Clock;

    /// Entries, waiters and runs.
    fn ledger(&self) -> &Self::Ledger;
    /// The bucket.
    fn objects(&self) -> &Self::Objects;
    /// Task tokens.
    fn callbacks(&self) -> &Self::TaskCallbacks;
    /// Starting executions.
    fn executions(&self) -> &Self::Executions;
    /// Publishing events.
    fn publisher(&self) -> &Self::EventPublisher;
    /// Timers of schedules.
    fn scheduler(&self) -> &Self::Scheduler;
    /// Invoking functions asynchronously.
    fn invoker(&self) -> &Self::Invoker;
    /// Fetching media.
    fn media(&self) -> &Self::Media;
    /// The time.
    fn clock(&self) -> &Self::Clock;
    /// A provider.
    fn provider(&self, name: ProviderName) -> Arc<dyn Provider>;
    /// Returns whether the provider's key is in the stack's secrets.
    fn has_key(&self, provider: ProviderName) -> impl Future<Output = Result<bool, Failure>> + Send;
    /// Returns a new secret for an attempt's webhook URL: 32 random bytes in hex.
    fn new_token(&self) -> Result<String, Failure>;
}
