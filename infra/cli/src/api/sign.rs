//! Signs requests with AWS Signature Version 4 for the service execute-api, or with a bearer token.

use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;

use super::ApiError;

const SERVICE: &str = "execute-api";

/// The environment variable with the bearer token, for a stack with a JWT authoriser (its parameter `JwtIssuer`).
const TOKEN: &str = "FRESCO_TOKEN";

/// Signs requests.
#[derive(Clone)]
pub(super) struct Signer {
    token: Option<String>,
    credentials: Option<SharedCredentialsProvider>,
    region: String,
}

impl Signer {
    pub(super) fn new(config: &SdkConfig) -> Self {
        Signer {
            token: std::env::var(TOKEN).ok().filter(|token| !token.is_empty()),
            credentials: config.credentials_provider(),
            region: config.region().map_or_else(String::new, ToString::to_string),
        }
    }

    /// Returns the headers that sign the request.
    pub(super) async fn headers(
        &self,
        method: &str,
        url: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Vec<(String, String)>, ApiError> {
        if let Some(token) = &self.token {
            return Ok(vec![("authorization".to_owned(), format!("Bearer {token}"))]);
        }
        let unsigned = |error: String| ApiError::unexpected(format!("the request cannot be signed: {error}"));
        let Some(credentials) = &self.credentials else {
            return Err(unsigned("no AWS credentials found".to_owned()));
        };
        let credentials = credentials.provide_credentials().await.map_err(|error| unsigned(error.to_string()))?;
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsigned(error.to_string()))?
            .into();
        let named = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = SignableRequest::new(method, url, named, SignableBody::Bytes(body));
        let request = request.map_err(|error| unsigned(error.to_string()))?;
        let (instructions, _) = sign(request, &params).map_err(|error| unsigned(error.to_string()))?.into_parts();
        Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// Leaves out the token, which is a secret.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("token", &self.token.is_some())
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_config::{BehaviorVersion, Region};
    use aws_credential_types::Credentials;

    #[tokio::test]
    async fn a_request_is_signed_for_the_api_and_its_region() {
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "AKID",
                "secret",
                Some("token".into()),
                None,
                "test",
            )))
            .build();
        let headers = [("content-type".to_owned(), "application/json".to_owned())];
        let signed =
            Signer::new(&config).headers("POST", "https://x.test/runs?limit=1", &headers, b"{}").await.unwrap();
        let of = |name: &str| signed.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str());
        let authorization = of("authorization").unwrap();
        assert!(authorization.contains("/eu-central-1/execute-api/aws4_request"), "{authorization}");
        assert!(authorization.contains("content-type;host;x-amz-date;x-amz-security-token"), "{authorization}");
        assert_eq!(of("x-amz-security-token"), Some("token"));
        let anonymous = Signer { token: None, credentials: None, region: String::new() };
        let bearer = Signer { token: Some("t".into()), ..anonymous.clone() };
        let sent = bearer.headers("GET", "https://x.test/", &[], b"").await.unwrap();
        assert_eq!(sent, [("authorization".to_owned(), "Bearer t".to_owned())]);
        assert!(!format!("{bearer:?}").contains("\"t\""));
        assert!(
            anonymous
                .headers("GET", "https://x.test/", &[], b"")
                .await
                .unwrap_err()
                .to_string()
                .contains("credentials")
        );
    }
}
