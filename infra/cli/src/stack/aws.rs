//! The AWS clients of a stack on this machine.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// The region of every local stack.
pub const REGION: &str = "us-east-1";

/// A configuration for clients of the emulator at that URL.
pub(crate) fn config(endpoint_url: &str) -> SdkConfig {
    // The emulator takes any credentials. The user's own must not be used, so that nothing here can reach a real account.
    let credentials = Credentials::new("local", "local", None, None, "fresco-cli");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https())
        .endpoint_url(endpoint_url)
        .build()
}
