//! Secrets: SSM SecureStrings, read at first use and kept for five minutes, so that a rotated key is found without a
//! deployment. Values never reach a log, an error or a `Debug` output.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_ssm::Client;
use fresco_pipeline::error::{ErrorName, Failure};

use crate::sdk::{code, describe};

/// How long a value is kept.
const KEPT: Duration = Duration::from_secs(300);

/// Secrets under one prefix. Clones share what they have read.
#[derive(Clone)]
pub struct SsmSecrets {
    client: Client,
    prefix: String,
    read: Arc<Mutex<HashMap<String, (Instant, String)>>>,
}

impl fmt::Debug for SsmSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SsmSecrets").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl SsmSecrets {
    /// Secrets whose parameters are named `{prefix}/{name}`.
    pub fn new(client: Client, prefix: impl Into<String>) -> Self {
        SsmSecrets { client, prefix: prefix.into(), read: Arc::default() }
    }

    /// A secret. Of one that is missing, the failure names the parameter and the command that sets it.
    pub async fn get(&self, name: &str) -> Result<String, Failure> {
        if let Some(value) = self.kept(name) {
            return Ok(value);
        }
        let parameter = format!("{}/{name}", self.prefix.trim_end_matches('/'));
        let answer = self.client.get_parameter().name(&parameter).with_decryption(true).send().await;
        let value = match answer {
            Ok(answer) => answer.parameter.and_then(|parameter| parameter.value),
            Err(error) if code(&error) == Some("ParameterNotFound") => None,
            Err(error) => return Err(Failure::new(ErrorName::LedgerUnavailable, describe("SSM GetParameter", &error))),
        };
        let value = value.filter(|value| !value.trim().is_empty()).ok_or_else(|| missing(&parameter))?;
        self.read
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), (Instant::now(), value.clone()));
        Ok(value)
    }

    fn kept(&self, name: &str) -> Option<String> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.get(name).filter(|(at, _)| at.elapsed() < KEPT).map(|(_, value)| value.clone())
    }
}

fn missing(parameter: &str) -> Failure {
    let command = format!("aws ssm put-parameter --type SecureString --name '{parameter}' --value '<the key>'");
    Failure::new(ErrorName::SecretMissing, format!("there is no secret {parameter}; set it with: {command}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_secret_says_how_to_set_it() {
        let failure = missing("/fresco/prod/FAL_KEY");
        assert_eq!(failure.name, ErrorName::SecretMissing);
        let command = "aws ssm put-parameter --type SecureString --name '/fresco/prod/FAL_KEY' --value '<the key>'";
        assert!(failure.message.ends_with(command), "{}", failure.message);
    }
}
