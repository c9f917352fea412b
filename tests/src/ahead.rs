//! An engine that takes the time to be later than it is. What it works on is the stack's own table and bucket, with their
//! own times; so what is an hour old by its clock need not be waited for.

use std::sync::Arc;

use fresco_engine::Engine;
use fresco_engine::aws::AwsPlatform;
use fresco_engine::platform::Platform;
use fresco_ledger::records::Millis;
use fresco_ledger::traits::Clock;
use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::error::Failure;
use fresco_providers::Provider;

use crate::World;

/// The platform that is deployed, with a clock that is ahead.
pub struct Ahead {
    platform: AwsPlatform,
    clock: Later,
}

/// So much later.
#[derive(Debug, Clone, Copy)]
pub struct Later(Millis);

impl Clock for Later {
    fn now(&self) -> Millis {
        fresco_ledger::clock::SystemClock.now() + self.0
    }
}

impl World {
    /// The client's engine, with a clock that is so far ahead.
    pub fn ahead(&self, by: Millis) -> Engine<Ahead> {
        let settings = self.admin.engine().settings.clone();
        let platform = AwsPlatform::new(self.aws(), &settings).expect("a platform");
        Engine::new(Ahead { platform, clock: Later(by) }, settings)
    }
}

impl Platform for Ahead {
    type Ledger = <AwsPlatform as Platform>::Ledger;
    type Objects = <AwsPlatform as Platform>::Objects;
    type TaskCallbacks = <AwsPlatform as Platform>::TaskCallbacks;
    type Executions = <AwsPlatform as Platform>::Executions;
    type EventPublisher = <AwsPlatform as Platform>::EventPublisher;
    type Scheduler = <AwsPlatform as Platform>::Scheduler;
    type Invoker = <AwsPlatform as Platform>::Invoker;
    type Media = <AwsPlatform as Platform>::Media;
    type Clock = Later;

    fn ledger(&self) -> &Self::Ledger {
        self.platform.ledger()
    }

    fn objects(&self) -> &Self::Objects {
        self.platform.objects()
    }

    fn callbacks(&self) -> &Self::TaskCallbacks {
        self.platform.callbacks()
    }

    fn executions(&self) -> &Self::Executions {
        self.platform.executions()
    }

    fn publisher(&self) -> &Self::EventPublisher {
        self.platform.publisher()
    }

    fn scheduler(&self) -> &Self::Scheduler {
        self.platform.scheduler()
    }

    fn invoker(&self) -> &Self::Invoker {
        self.platform.invoker()
    }

    fn media(&self) -> &Self::Media {
        self.platform.media()
    }

    fn clock(&self) -> &Later {
        &self.clock
    }

    fn provider(&self, name: ProviderName) -> Arc<dyn Provider> {
        self.platform.provider(name)
    }

    async fn has_key(&self, provider: ProviderName) -> Result<bool, Failure> {
        self.platform.has_key(provider).await
    }

    fn new_token(&self) -> Result<String, Failure> {
        self.platform.new_token()
    }
}
