//! Configurations of AWS clients: of a stack on this machine, and of the account that the environment names.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// The region of every local stack.
pub const REGION: &str = "us-east-1";

/// A configuration for clients of the emulator at that URL.
pub(crate) fn config(endpoint_url: &str) -> SdkConfig {
    // The emulator takes any credentials. The user's own must not be used, so that nothing here can reach a real account.
    let credentials = Credentials::new("test", "test", None, None, "fresco-cli");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http_client())
        .endpoint_url(endpoint_url)
        .build()
}

/// Loads the configuration that the environment and the profile give: region, credentials, `AWS_ENDPOINT_URL`.
pub async fn environment() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http_client()).load().await
}

fn http_client() -> SharedHttpClient {
    Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}
