//! What the engine stands on: one implementation of every capability. On AWS it is [`crate::aws::AwsPlatform`]; tests put
//! the in-memory twins together, and may wrap each to fail or to be interleaved.

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

/// Where one output of an attempt goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What it is.
    pub kind: MediaKind,
    /// The content key.
    pub key: ContentKey,
    /// The attempt.
    pub attempt: Attempt,
    /// Which output, from 0.
    pub index: usize,
}

impl Place {
    /// `outputs/<kind>/<content key>/<attempt>/<n>.<ext>`: no part of it comes from a user.
    pub fn object_key(&self, extension: &str) -> String {
        format!("outputs/{}/{}/{}/{}.{extension}", self.kind.as_str(), self.key, self.attempt, self.index)
    }
}

/// Brings a provider's media into the bucket.
pub trait MediaStore: Send + Sync {
    /// Fetches, checks and stores one object. It is visible only when it is whole and what it should be. Storing the same
    /// object again is no error.
    fn store(&self, place: &Place, media: &RemoteMedia) -> impl Future<Output = Result<Media, Failure>> + Send;
}

/// Every capability that the engine uses.
pub trait Platform: Send + Sync + 'static {
    /// Entries, waiters, runs, batches, firings, the account of what is stored, and the stack's own secret.
    type Ledger: Entries + Waiters + Runs + Batches + Firings + UsageCounter + SigningKeys;
    /// The bucket.
    type Objects: Objects;
    /// Task tokens.
    type TaskCallbacks: TaskCallbacks;
    /// Starting executions.
    type Executions: Executions;
    /// Telling the world.
    type EventPublisher: EventPublisher;
    /// What fires when it is due.
    type Scheduler: Scheduler;
    /// Starting collect.
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
    /// Telling the world.
    fn publisher(&self) -> &Self::EventPublisher;
    /// What fires when it is due.
    fn scheduler(&self) -> &Self::Scheduler;
    /// Starting collect.
    fn invoker(&self) -> &Self::Invoker;
    /// Fetching media.
    fn media(&self) -> &Self::Media;
    /// The time.
    fn clock(&self) -> &Self::Clock;
    /// A provider.
    fn provider(&self, name: ProviderName) -> Arc<dyn Provider>;
    /// Whether the provider's key is in the stack's secrets.
    fn has_key(&self, provider: ProviderName) -> impl Future<Output = Result<bool, Failure>> + Send;
    /// A new unguessable text for an attempt's webhook URL: 32 random bytes in hex.
    fn new_token(&self) -> Result<String, Failure>;
}
