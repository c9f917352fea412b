//! An engine whose clock is ahead, on the stack's own table and bucket. To it, a stored result is older than it is, so that
//! no test has to wait.

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

/// The deployed platform with a clock that is ahead.
pub struct SkewedPlatform {
    platform: AwsPlatform,
    clock: SkewedClock,
}

/// The system clock plus an offset in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct SkewedClock(Millis);

impl Clock for SkewedClock {
    fn now(&self) -> Millis {
        fresco_ledger::clock::SystemClock.now() + self.0
    }

    fn pause(&self, at_most: Millis) -> impl Future<Output = ()> + Send {
        fresco_ledger::clock::SystemClock.pause(at_most)
    }

    fn deadline(&self, after: Millis) -> impl Future<Output = ()> + Send {
        fresco_ledger::clock::SystemClock.deadline(after)
    }
}

impl World {
    /// Returns the stack's engine with a clock that is ahead by that many milliseconds.
    pub fn ahead(&self, by: Millis) -> Engine<SkewedPlatform> {
        let settings = self.admin.engine().settings.clone();
        let platform = AwsPlatform::new(self.aws(), &settings).expect("a platform");
        Engine::new(SkewedPlatform { platform, clock: SkewedClock(by) }, settings)
    }
}

impl Platform for SkewedPlatform {
    type Ledger = <AwsPlatform as Platform>::Ledger;
    type Objects = <AwsPlatform as Platform>::Objects;
    type TaskCallbacks = <AwsPlatform as Platform>::TaskCallbacks;
    type Executions = <AwsPlatform as Platform>::Executions;
    type EventPublisher = <AwsPlatform as Platform>::EventPublisher;
    type Scheduler = <AwsPlatform as Platform>::Scheduler;
    type Invoker = <AwsPlatform as Platform>::Invoker;
    type Media = <AwsPlatform as Platform>::Media;
    type Clock = SkewedClock;

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

    fn clock(&self) -> &SkewedClock {
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
