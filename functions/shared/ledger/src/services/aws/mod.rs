//! The connection to AWS, and one small adapter a service. One HTTP client, one pool and one TLS
//! configuration serve every SDK client; a function builds only the adapters it uses, so that only those are linked.

mod callbacks;
mod event_bus;
mod executions;
mod invoker;
mod lifecycle;
mod objects;
mod scheduler;
mod secrets;
mod upload;

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

pub use callbacks::SfnCallbacks;
pub use event_bus::EventBus;
pub use executions::SfnExecutions;
pub use invoker::{LambdaCall, LambdaInvoker};
pub use objects::S3Objects;
pub use scheduler::{EventBridgeScheduler, TimerTarget};
pub use secrets::SsmSecrets;
pub use upload::S3Upload;

use crate::store::DynamoLedger;
use crate::table::dynamo::DynamoTable;

/// Tries of a call to AWS, the first one counted. Every call is idempotent or conditional; nothing that costs money at a
/// provider goes this way.
const ATTEMPTS: u32 = 3;
/// The pause before a second try, at most; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// For a connection. It is the same for all clients: the pool is chosen by it.
const CONNECT: Duration = Duration::from_secs(2);
/// For one try of a call that carries little.
const CALL: Duration = Duration::from_secs(5);
/// For one try of a call that carries a part of 8 MiB.
const TRANSFER: Duration = Duration::from_secs(60);

/// Makes the adapters of one account and region.
#[derive(Debug, Clone)]
pub struct Aws {
    config: SdkConfig,
}

/// Connects as the environment says: region, credentials, `AWS_ENDPOINT_URL`. Opens nothing yet, see [`Aws::warm`].
pub async fn connect() -> Aws {
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http_client())
        .retry_config(retries())
        .timeout_config(timeouts(CALL))
        .load()
        .await;
    Aws { config }
}

/// Connects to an emulator on this machine with a fixed region and test credentials, regardless of the environment.
pub async fn connect_local(endpoint: &str) -> Aws {
    let credentials = Credentials::new("test", "test", None, None, "local");
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http_client())
        .retry_config(retries())
        .timeout_config(timeouts(CALL))
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .load()
        .await;
    Aws { config }
}

impl Aws {
    /// The settings that all clients share, for a client that this crate has no adapter for.
    pub fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// The ledger's table.
    pub fn ledger(&self, table: impl Into<String>) -> DynamoLedger {
        DynamoLedger::new(DynamoTable::new(self.dynamo_client(), table))
    }

    /// A DynamoDB client.
    pub fn dynamo_client(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.config)
    }

    /// The stack's bucket.
    pub fn objects(&self, bucket: impl Into<String>) -> S3Objects {
        S3Objects::new(self.s3_client(), bucket)
    }

    /// An S3 client.
    ///
    /// Checksums are left to the signature: it carries the SHA-256 of each part, which S3 verifies, so that a part is hashed
    /// once on its way out; a second sum would add nothing. It keeps presigned links free of checksum parameters, too.
    pub fn s3_client(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.config)
            .timeout_config(timeouts(TRANSFER))
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            // An emulator on loopback has no host name for each bucket.
            .force_path_style(self.config.endpoint_url().is_some())
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// Task tokens.
    pub fn callbacks(&self) -> SfnCallbacks {
        SfnCallbacks::new(aws_sdk_sfn::Client::new(&self.config))
    }

    /// Executions of the state machines of runs and of batches.
    pub fn runs(&self, machine_arn: impl Into<String>, batch_machine_arn: impl Into<String>) -> SfnExecutions {
        SfnExecutions::new(aws_sdk_sfn::Client::new(&self.config), machine_arn, batch_machine_arn)
    }

    /// The account's default bus.
    pub fn bus(&self) -> EventBus {
        EventBus::new(aws_sdk_eventbridge::Client::new(&self.config))
    }

    /// The timers of a stack.
    pub fn scheduler(&self, target: TimerTarget) -> EventBridgeScheduler {
        EventBridgeScheduler::new(aws_sdk_scheduler::Client::new(&self.config), target)
    }

    /// Collect, by its name or ARN.
    pub fn invoker(
        &self,
        collect: impl Into<String>,
        batch: impl Into<String>,
        report: impl Into<String>,
    ) -> LambdaInvoker {
        LambdaInvoker::new(aws_sdk_lambda::Client::new(&self.config), collect, batch, report)
    }

    /// A function to ask, by its name or ARN.
    pub fn call(&self, function: impl Into<String>) -> LambdaCall {
        LambdaCall::new(aws_sdk_lambda::Client::new(&self.config), function)
    }

    /// Secrets under this prefix (`/fresco/prod`).
    pub fn secrets(&self, prefix: impl Into<String>) -> SsmSecrets {
        SsmSecrets::new(aws_sdk_ssm::Client::new(&self.config), prefix)
    }

    /// Opens the connections to DynamoDB and to S3 during a function's init, so that its first call finds them open. It reads
    /// an item that does not exist and asks for the bucket, and ignores the outcome.
    pub async fn warm(ledger: &DynamoLedger, objects: Option<&S3Objects>) {
        let objects = async {
            if let Some(objects) = objects {
                objects.warm().await;
            }
        };
        futures::join!(ledger.warm(), objects);
    }
}

fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https()
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(FIRST_PAUSE)
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(attempt).build()
}
