//! The platform on AWS: DynamoDB, S3, Step Functions, Lambda and SSM behind one HTTP client, and the real providers.
//! Endpoints are settings.

use std::sync::Arc;

use async_trait::async_trait;
use fresco_ledger::clock::SystemClock;
use fresco_ledger::services::aws::{
    Aws, EventBridgeScheduler, EventBus, LambdaInvoker, S3Objects, SfnCallbacks, SfnExecutions, SsmSecrets,
};
use fresco_ledger::store::DynamoLedger;
use fresco_pipeline::catalogue::ProviderName;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_providers::fal::{Fal, FalConfig};
use fresco_providers::gemini::{Gemini, GeminiConfig};
use fresco_providers::media::{Downloader, HostList};
use fresco_providers::{Provider, Secret, SecretSource};
use ring::rand::{SecureRandom, SystemRandom};

use crate::engine::Engine;
use crate::platform::Platform;
use crate::settings::Settings;
use crate::step::ingest::MediaIngest;

/// Every capability, on AWS.
pub struct AwsPlatform {
    dynamo: DynamoLedger,
    objects: S3Objects,
    tokens: SfnCallbacks,
    executions: SfnExecutions,
    bus: EventBus,
    timers: EventBridgeScheduler,
    hand_over: LambdaInvoker,
    media: MediaIngest<S3Objects>,
    clock: SystemClock,
    random: SystemRandom,
    secrets: Arc<Secrets>,
    fal: Arc<Fal>,
    gemini: Arc<Gemini>,
}

struct Secrets(SsmSecrets);

#[async_trait]
impl SecretSource for Secrets {
    async fn get(&self, name: &str) -> Result<Secret, Failure> {
        self.0.get(name).await.map(Secret::new)
    }
}

impl AwsPlatform {
    /// Makes the platform. It calls nothing yet.
    pub fn new(aws: &Aws, settings: &Settings) -> Result<Self, Failure> {
        let fal = FalConfig {
            queue_url: settings.fal_queue_url.clone(),
            rest_url: settings.fal_rest_url.clone(),
            api_url: settings.fal_api_url.clone(),
            user_id: settings.fal_user_id.clone(),
            key_name: ProviderName::Fal.key_name().to_owned(),
        };
        let gemini =
            GeminiConfig { url: settings.gemini_url.clone(), key_name: ProviderName::Gemini.key_name().to_owned() };
        let secrets = Arc::new(Secrets(aws.secrets(&settings.secrets_prefix)));
        let objects = aws.objects(&settings.bucket);
        let downloader = Downloader::new(HostList::parse(&settings.fal_media_hosts)?)?;
        Ok(AwsPlatform {
            dynamo: aws.ledger(&settings.table),
            media: MediaIngest::new(downloader, objects.clone()),
            objects,
            tokens: aws.callbacks(),
            executions: aws.runs(&settings.run_machine, &settings.batch_machine),
            bus: aws.bus(),
            timers: aws.scheduler(settings.timers.clone()),
            hand_over: aws.invoker(&settings.collect_function, &settings.batch_function, &settings.report_function),
            clock: SystemClock,
            random: SystemRandom::new(),
            fal: Arc::new(Fal::new(fal, secrets.clone())?),
            gemini: Arc::new(Gemini::new(gemini, secrets.clone())?),
            secrets,
        })
    }
}

impl Platform for AwsPlatform {
    type Ledger = DynamoLedger;
    type Objects = S3Objects;
    type TaskCallbacks = SfnCallbacks;
    type Executions = SfnExecutions;
    type EventPublisher = EventBus;
    type Scheduler = EventBridgeScheduler;
    type Invoker = LambdaInvoker;
    type Media = MediaIngest<S3Objects>;
    type Clock = SystemClock;

    fn ledger(&self) -> &DynamoLedger {
        &self.dynamo
    }

    fn objects(&self) -> &S3Objects {
        &self.objects
    }

    fn callbacks(&self) -> &SfnCallbacks {
        &self.tokens
    }

    fn executions(&self) -> &SfnExecutions {
        &self.executions
    }

    fn publisher(&self) -> &EventBus {
        &self.bus
    }

    fn scheduler(&self) -> &EventBridgeScheduler {
        &self.timers
    }

    fn invoker(&self) -> &LambdaInvoker {
        &self.hand_over
    }

    fn media(&self) -> &MediaIngest<S3Objects> {
        &self.media
    }

    fn clock(&self) -> &SystemClock {
        &self.clock
    }

    fn provider(&self, name: ProviderName) -> Arc<dyn Provider> {
        match name {
            ProviderName::Fal => self.fal.clone(),
            ProviderName::Gemini => self.gemini.clone(),
        }
    }

    async fn has_key(&self, provider: ProviderName) -> Result<bool, Failure> {
        match self.secrets.get(provider.key_name()).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.name == ErrorName::SecretMissing => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    fn new_token(&self) -> Result<String, Failure> {
        let mut bytes = [0u8; 32];
        self.random
            .fill(&mut bytes)
            .map_err(|_| Failure::new(ErrorName::Internal, "the system gave no random bytes"))?;
        Ok(hex::encode(bytes))
    }
}

/// The connections that a function opens during its init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// To DynamoDB and S3.
    All,
    /// To DynamoDB: the function has no access to S3.
    Ledger,
}

impl Engine<AwsPlatform> {
    /// Makes the engine of the stack that the environment describes.
    pub async fn from_environment() -> Result<Self, Failure> {
        let settings = Settings::read(|name| std::env::var(name).ok())?;
        let aws = fresco_ledger::services::aws::connect().await;
        Ok(Engine::new(AwsPlatform::new(&aws, &settings)?, settings))
    }

    /// Opens the connections that the first call needs.
    pub async fn warm(&self, connections: Connections) {
        let objects = (connections == Connections::All).then_some(&self.platform.objects);
        Aws::warm(&self.platform.dynamo, objects).await;
    }
}
